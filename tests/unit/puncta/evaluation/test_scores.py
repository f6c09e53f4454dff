import math

import numpy as np
import pytest

from parfocal.fitting import crlb_psf
from parfocal.optics import CameraModel
from parfocal.puncta import CalciumEvents, Localizations, PunctaTracks, PunctaTruth, no_localizations
from parfocal.puncta.evaluation import (
    GATE_TABLES,
    GATES,
    HYBRID_GATES,
    PHYSICS_GATES,
    TRAINING_GATES,
    evaluate_puncta,
    match_localizations,
    photon_accuracy,
    position_bound_nm,
    score_events,
    score_tracks,
    sigma_calibration,
    verdicts,
)
from parfocal.puncta.simulation import PunctaScene, simulate_puncta

PIXEL_UM = (0.1, 0.1)


def truth_of(paths, n_frames, events=(), **columns):
    """Return a truth: `paths` gives each punctum's x in every frame, NaN where it is dark."""
    paths = np.asarray(paths, float)
    frame, who = np.indices((n_frames, len(paths))).reshape(2, -1)
    x = paths[who, frame]
    n = frame.size
    is_on = np.zeros(n, bool)
    for punctum, onset, last in events:
        is_on |= (who == punctum) & (frame >= onset) & (frame <= last)
    given = {
        "pixel_size_um": PIXEL_UM,
        "frame_interval_s": 1.0,
        "frame": frame,
        "punctum": who,
        "x_px": np.nan_to_num(x),
        "y_px": np.full(n, 5.0),
        "z_um": np.zeros(n),
        "photons": np.where(np.isnan(x), 0.0, 1000.0),
        "background": np.full(n, 10.0),
        "sigma_px": np.ones(n),
        "is_visible": ~np.isnan(x),
        "motion": np.full(n, "immobile"),
        "is_calcium_on": is_on,
        "calcium": is_on.astype(float),
        "event_punctum": np.array([e[0] for e in events], np.int64),
        "event_onset_s": np.array([e[1] for e in events], float),
        "event_peak_dff": np.ones(len(events)),
        "event_x_px": np.array([paths[e[0]][e[1]] for e in events], float),
        "event_y_px": np.full(len(events), 5.0),
        "parents": np.empty((0, 2), np.int64),
    }
    return PunctaTruth(**(given | columns))


def found_at(frame, x_px, **columns):
    n = len(frame)
    return Localizations(
        PIXEL_UM,
        np.asarray(frame, np.int64),
        np.asarray(x_px, float),
        np.full(n, 5.0),
        np.full(n, 1000.0),
        **columns,
    )


def of_tracks(track):
    return PunctaTracks(np.asarray(track, np.int64), np.empty((0, 2), np.int64), int(max(track)) + 1)


def events_of(rows, is_wave=None):
    """Return events from (track, onset, last frame)."""
    track, onset, last = np.array(rows, np.int64).reshape(-1, 3).T
    n = track.size
    wave = np.zeros(n, bool) if is_wave is None else np.asarray(is_wave)
    return CalciumEvents(
        track, onset.astype(float), np.zeros(n), onset, onset, last, np.ones(n), np.full(n, 9.0), wave
    )


def test_the_longest_part_of_a_track_and_its_purity_are_counted():
    truth = truth_of([[10] * 6, [50] * 6], 6)
    found = found_at([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], [10] * 6 + [50] * 6)
    # punctum 0 breaks after 4 of 6; then its track goes on as the other's
    tracks = of_tracks([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 0, 0])
    score = score_tracks(truth, found.frame, tracks, match_localizations(truth, found))
    assert score.completeness == pytest.approx((4 / 6 + 4 / 6) / 2)
    assert score.purity == pytest.approx((4 / 6 + 1 + 1) / 3)
    assert score.n_switches == 2
    assert score.link_recall == pytest.approx(8 / 10)
    assert score.link_precision == pytest.approx(8 / 9)
    assert (score.n_puncta, score.n_tracks) == (2, 3)


def test_what_is_not_found_makes_tracks_incomplete_but_is_no_fault_of_linking():
    truth = truth_of([[10] * 10], 10)
    found = found_at([0, 1, 2, 5, 6, 7, 8], [10] * 7)
    score = score_tracks(truth, found.frame, of_tracks([0] * 7), match_localizations(truth, found))
    assert score.completeness == pytest.approx(0.7)
    assert (score.link_recall, score.link_precision, score.n_switches) == (1, 1, 0)


def test_a_false_localization_in_a_track_makes_it_impure():
    truth = truth_of([[10] * 4], 4)
    found = found_at([0, 1, 2, 3], [10, 10, 10, 14])
    score = score_tracks(truth, found.frame, of_tracks([0] * 4), match_localizations(truth, found))
    assert score.purity == pytest.approx(3 / 4)
    assert score.link_precision == pytest.approx(2 / 3)


def test_events_are_right_at_their_punctum_and_time_only():
    truth = truth_of([[10] * 40, [14] * 40], 40, [(0, 5, 9), (1, 20, 24), (0, 30, 34)])
    found = found_at(list(range(40)) * 2, [10] * 40 + [14] * 40)
    tracks = of_tracks([0] * 40 + [1] * 40)
    matching = match_localizations(truth, found)
    perfect = score_events(truth, found, tracks, events_of([(0, 5, 9), (1, 20, 24), (0, 30, 34)]), matching)
    assert (perfect.f1, perfect.sensitivity, perfect.specificity, perfect.association) == (1, 1, 1, 1)
    assert perfect.colocalization_nm == pytest.approx(0)
    # the second at the wrong punctum, the third missed, one too many
    worse = score_events(truth, found, tracks, events_of([(0, 6, 9), (0, 20, 24), (1, 37, 38)]), matching)
    assert (worse.n_true, worse.n_found, worse.n_matched) == (3, 3, 1)
    assert worse.f1 == pytest.approx(1 / 3)
    assert worse.association == pytest.approx(1 / 2)
    assert worse.onset_error_s == pytest.approx(1)
    assert worse.sensitivity == pytest.approx(4 / 15)
    assert worse.specificity == pytest.approx(1 - 7 / 65)


def test_waves_count_for_nothing():
    truth = truth_of([[10] * 20], 20, [(0, 5, 9)])
    found = found_at(range(20), [10] * 20)
    events = events_of([(0, 5, 9), (0, 14, 16)], is_wave=[False, True])
    score = score_events(truth, found, of_tracks([0] * 20), events, match_localizations(truth, found))
    assert (score.f1, score.specificity) == (1, 1)


def test_a_punctum_that_was_not_localized_is_not_sensed():
    truth = truth_of([[10] * 10], 10, [(0, 2, 7)])
    found = found_at(range(5), [10] * 5)
    score = score_events(
        truth, found, of_tracks([0] * 5), events_of([(0, 2, 4)]), match_localizations(truth, found)
    )
    assert score.sensitivity == pytest.approx(3 / 6)
    assert score.recall == 1


def test_stated_errors_are_held_against_real_ones():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 200, (2, 2000))
    frame = np.arange(2000)
    error = rng.uniform(0.05, 0.3, 2000)
    truth = Localizations(PIXEL_UM, frame, x, y, np.full(2000, 100.0))
    for scale, share in ((1.0, 0.683), (0.5, 0.383)):
        found = Localizations(
            PIXEL_UM,
            frame,
            x + rng.normal(0, 1, 2000) * error,
            y + rng.normal(0, 1, 2000) * error,
            np.full(2000, 110.0),
            x_se_px=scale * error,
            y_se_px=scale * error,
        )
        got = sigma_calibration(match_localizations(truth, found), found)
        assert got.within_one == pytest.approx(share, abs=0.03)
        assert got.scale == pytest.approx(1 / scale, rel=0.06)
    light = photon_accuracy(match_localizations(truth, found), truth, found)
    assert light.bias == pytest.approx(0.1)
    assert math.isnan(light.correlation)


def test_the_bound_is_that_of_the_fitting_core():
    camera = CameraModel(read_noise_e=1.5)
    for photons, background, x, y in ((200, 5, 0.0, 0.0), (1000, 100, 0.4, -0.3), (5000, 20, 0.25, 0.5)):
        whole = crlb_psf(1.0, 1.0, photons, background, camera, 13, x_px=6 + x, y_px=6 + y)
        ours = position_bound_nm(photons, background, 1.0, camera, PIXEL_UM, x_px=x, y_px=y)
        assert float(ours) == pytest.approx(100 * math.sqrt(whole[0, 0] + whole[1, 1]), rel=0.01)
    assert position_bound_nm(0.0, 1.0, 1.0, camera, PIXEL_UM) == math.inf


def test_gates_are_the_tables_that_were_asked_for():
    levels = {g.figure: (g.target, g.good, g.excellent, g.unit) for g in GATES}
    assert levels == {
        "rmse_nm": (50, 30, 20, "nm"),
        "precision": (85, 90, 95, "%"),
        "recall": (85, 90, 95, "%"),
        "frames_per_s": (20, 50, 100, "frames/s"),
        "calcium_f1": (80, 85, 90, "%"),
        "sensitivity": (85, 90, 95, "%"),
        "specificity": (80, 85, 90, "%"),
        "association": (70, 80, 90, "%"),
        "completeness": (60, 75, 85, "%"),
        "colocalization_nm": (200, 100, 50, "nm"),
    }
    training = {g.figure: (g.target, g.unit) for g in TRAINING_GATES}
    assert training == {
        "recall": (90, "%"),
        "rmse_nm": (50, "nm"),
        "false_share": (10, "%"),
        "precision": (80, "%"),
    }
    hybrid = {g.figure: (g.target, g.unit) for g in HYBRID_GATES}
    assert hybrid == {
        "rmse_nm": (50, "nm"),
        "calcium_f1": (85, "%"),
        "network_calcium_f1": (85, "%"),
        "association": (80, "%"),
        "frames_per_s": (50, "frames/s"),
    }
    assert GATE_TABLES == {"general": GATES + PHYSICS_GATES, "training": TRAINING_GATES, "hybrid": HYBRID_GATES}
    for gate in (*GATES, *PHYSICS_GATES, *TRAINING_GATES, *HYBRID_GATES):
        sign = 1 if gate.higher_is_better else -1
        assert sign * gate.target < sign * gate.good < sign * gate.excellent


def test_verdicts_say_in_words_what_was_reached_and_what_to_do():
    got = {v.gate.figure: v for v in verdicts({"rmse_nm": 25.0, "precision": 0.85, "recall": 0.5, "f1": 1})}
    assert got["rmse_nm"].level == "good"
    assert got["precision"].level == "target"
    assert got["recall"].level == "missed"
    assert got["recall"].is_met is False
    assert got["sensitivity"].is_met is None
    assert got["rmse_nm"].sentence == "position error (RMSE) 25 nm: met, good (at most 30 nm)"
    assert got["recall"].sentence == (
        "recall 50 %: not met, at least 85 % is asked; lower the detection threshold"
    )
    assert got["sensitivity"].sentence == "calcium sensitivity: not measured"
    assert verdicts({"precision": 0.93}, TRAINING_GATES)[2].level == "good"
    coarse = {v.gate.figure: v for v in verdicts({"rmse_nm": 120.0, "precision": 0.75}, TRAINING_GATES)}
    assert "above 100 nm debug" in coarse["rmse_nm"].sentence
    assert coarse["precision"].sentence == (
        "precision 75 %: not met, at least 80 % is asked; check the detection threshold first"
    )
    assert coarse["false_share"].level == "missed"
    assert verdicts({"within_one_sigma": 0.70}, PHYSICS_GATES)[1].level == "excellent"


def test_a_truth_found_with_known_errors_is_judged_as_it_was_made():
    recording = simulate_puncta(PunctaScene(shape_px=(48, 48), n_frames=12, n_puncta=6, seed=1))
    truth = recording.truth
    seen = np.flatnonzero(truth.is_visible)
    rng = np.random.default_rng(0)
    bound_px = position_bound_nm(
        truth.photons[seen], truth.background[seen], truth.sigma_px[seen], CameraModel(), truth.pixel_size_um
    ) / (1e3 * truth.pixel_size_um[0] * math.sqrt(2))
    dx, dy = 1.2 * bound_px * rng.normal(0, 1, (2, seen.size))
    found = Localizations(
        truth.pixel_size_um, truth.frame[seen], truth.x_px[seen] + dx, truth.y_px[seen] + dy, truth.photons[seen]
    )
    tracks = PunctaTracks(truth.punctum[seen], np.empty((0, 2), np.int64), int(truth.punctum.max()) + 1)
    judged = evaluate_puncta(truth, found, tracks=tracks, camera_model=CameraModel())
    figures = judged.figures()
    assert figures["rmse_over_bound"] == pytest.approx(1.2, rel=0.15)
    assert figures["completeness"] == pytest.approx(1, abs=0.02)
    assert figures["recall"] == pytest.approx(1, abs=0.02)
    assert {v.gate.figure for v in judged.verdicts({"frames_per_s": 30.0}) if v.level == "target"} >= {
        "frames_per_s"
    }


def test_an_empty_movie_has_false_positives_per_area():
    nothing = no_localizations(PIXEL_UM)
    judged = evaluate_puncta(nothing, found_at([0, 1], [3, 3]), shape_px=(100, 100), n_frames=10)
    assert judged.false_per_1000_px == pytest.approx(0.02)
    assert evaluate_puncta(found_at([0], [3]), nothing, shape_px=(9, 9), n_frames=1).false_per_1000_px is None
