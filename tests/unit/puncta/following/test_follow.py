"""Everything of a recording at once, on a simulated one."""

import pytest

from parfocal.puncta.calcium import calcium_sigma_px
from parfocal.puncta.detection import localize_movie
from parfocal.puncta.evaluation import match_localizations, score_events
from parfocal.puncta.following import follow_puncta
from parfocal.puncta.simulation import Calcium, PunctaScene, simulate_puncta


def test_the_events_of_a_short_recording_are_found_without_a_word_of_how_wide_calcium_is():
    """60 frames of the usual scene, 3 s; only the rate of events is raised, so that there are some."""
    scene = PunctaScene(
        shape_px=(128, 128),
        n_frames=60,
        n_puncta=12,
        is_count_exact=True,
        margin_px=-8,
        min_distance_px=8,
        calcium=Calcium(events_per_s=0.4),
        seed=2,
    )
    recording = simulate_puncta(scene)
    truth, calcium = recording.truth, recording.calcium
    spots = localize_movie(recording.movie, recording.camera_model, pixel_size_um=truth.pixel_size_um)
    results = follow_puncta(
        spots, truth.frame_interval_s, lambda: calcium, calcium_camera=recording.calcium_camera_model
    ).results
    own = results.events.take(results.is_own)
    score = score_events(truth, spots, results.tracks, own, match_localizations(truth, spots))
    assert score.n_true >= 8
    assert score.recall >= 0.8
    assert score.precision >= 0.9
    assert score.specificity >= 0.9


def test_calcium_is_as_wide_as_its_spot_and_what_diffuses_from_it_together():
    assert calcium_sigma_px(4.0, 0.1) == 5.0
    assert calcium_sigma_px(0.0, 0.1) == pytest.approx(3.0)
