"""Everything of a recording at once, on a simulated one."""

import numpy as np
import pytest

from parfocal.puncta.calcium import ReadSettings, calcium_sigma_px, join_readings, read_signals
from parfocal.puncta.detection import localize_movie
from parfocal.puncta.evaluation import match_localizations, score_events
from parfocal.puncta.following import FollowSettings, follow_puncta, follow_read
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


def test_a_recording_that_was_read_while_it_came_is_followed_as_one_that_is_there():
    scene = PunctaScene(shape_px=(96, 96), n_frames=40, n_puncta=5, calcium=Calcium(events_per_s=0.5), seed=4)
    recording = simulate_puncta(scene)
    truth, camera = recording.truth, recording.calcium_camera_model
    spots = localize_movie(recording.movie, recording.camera_model, pixel_size_um=truth.pixel_size_um)
    how, read = FollowSettings(calcium_sigma_px=2.5), ReadSettings(2.5)
    whole = follow_puncta(
        spots, truth.frame_interval_s, lambda: recording.calcium, calcium_camera=camera, settings=how
    )
    parts = []
    for frame, image in enumerate(recording.calcium):
        here = spots.frame == frame
        parts.append(read_signals(camera.to_electrons(image), spots.y_px[here], spots.x_px[here], read))
    again = follow_read(spots, truth.frame_interval_s, join_readings(parts), 40, read.footprint_px, settings=how)
    np.testing.assert_array_equal(again.traces.dff, whole.traces.dff)
    np.testing.assert_array_equal(again.results.events.onset_s, whole.results.events.onset_s)
    assert again.association is None
    assert whole.association is not None
    assert follow_read(spots, truth.frame_interval_s, None, 40, 1.0).traces is None
