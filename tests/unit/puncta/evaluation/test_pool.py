"""Several recordings judged as one, and calcium as a network says it."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta import CalciumEvents, Localizations, PunctaTracks, no_localizations
from parfocal.puncta.evaluation import (
    evaluate_puncta,
    match_localizations,
    pool_evaluations,
    score_probabilities,
    worst_first,
)
from parfocal.puncta.simulation import Calcium, PunctaScene, simulate_puncta


def made(seed, n_puncta=6, n_missed=0, error_px=0.1, n_frames=30):
    """Return a recording's truth and what somebody found: what comes first is missed, all else a little off."""
    recording = simulate_puncta(
        PunctaScene(
            shape_px=(64, 64),
            n_frames=n_frames,
            n_puncta=n_puncta,
            is_count_exact=True,
            calcium=Calcium(events_per_s=1.0),
            seed=seed,
        )
    )
    truth = recording.truth
    rng = np.random.default_rng(seed)
    row = np.flatnonzero(truth.is_visible)
    row = row[np.argsort(truth.frame[row], kind="stable")][n_missed:]
    noise = rng.normal(0, error_px, (2, row.size))
    found = Localizations(
        truth.pixel_size_um, truth.frame[row], truth.x_px[row] + noise[0], truth.y_px[row] + noise[1],
        truth.photons[row] * rng.normal(1.05, 0.1, row.size),
        x_se_px=np.full(row.size, error_px), y_se_px=np.full(row.size, error_px),
        calcium_probability=np.where(truth.is_calcium_on[row], 0.9, 0.1),
    )  # fmt: skip
    return truth, found, truth.punctum[row]


def events_of(truth):
    """Return the true events as if they had been found, at tracks that are the puncta."""
    own = np.flatnonzero(truth.event_punctum >= 0)
    onset = truth.event_onset_s[own]
    begin = np.round(onset / truth.frame_interval_s).astype(np.int64)
    n = own.size
    return CalciumEvents(
        truth.event_punctum[own], onset, np.zeros(n), begin, begin, begin + 2, np.ones(n), np.full(n, 9.0),
        np.zeros(n, bool),
    )  # fmt: skip


def judged(truth, found, punctum, **more):
    tracks = PunctaTracks(punctum, np.empty((0, 2), np.int64), int(truth.punctum.max()) + 1)
    given = {"tracks": tracks, "events": events_of(truth), "camera_model": CameraModel()} | more
    return evaluate_puncta(truth, found, **given)


def test_the_same_recording_twice_is_as_good_as_once_and_twice_as_much():
    one = judged(*made(seed=1, n_missed=20), n_frames=30, seconds=2.0)
    once, twice = one.figures(), pool_evaluations([one, one]).figures()
    assert once["n_missed"] == 20
    assert once["n_true_events"] > 3
    for name, value in once.items():
        doubled = name.startswith("n_") or name.endswith(("_n_on", "_n_quiet"))
        expected = None if value is None else pytest.approx(2 * value if doubled else value, rel=1e-9)
        assert twice[name] == expected, name


def test_halves_of_a_recording_make_up_the_whole():
    truth, found, _ = made(seed=2, n_missed=15)
    keyed = Localizations(truth.pixel_size_um, truth.frame, truth.x_px, truth.y_px, truth.photons).take(
        truth.is_visible
    )
    keyed = keyed.take(np.argsort(keyed.frame, kind="stable"))
    whole = evaluate_puncta(keyed, found).figures()
    # the first part is much smaller than the second: a mean of the two would say something else
    parts = [
        evaluate_puncta(keyed.take(mine(keyed)), found.take(mine(found)))
        for mine in (lambda table: table.frame < 5, lambda table: table.frame >= 5)
    ]
    pooled = pool_evaluations(parts)
    told = {name: value for name, value in whole.items() if value is not None}
    assert {name: pooled.figures()[name] for name in told} == pytest.approx(told, rel=1e-9)
    assert {"recall", "rmse_nm", "within_one_sigma", "sigma_scale", "photon_bias", "photon_correlation"} <= set(
        told
    )
    mean_recall = np.mean([part.matching.recall for part in parts])
    assert abs(mean_recall - pooled.matching.recall) > 0.05


def test_counts_of_unlike_recordings_add_up_and_ratios_follow_from_them():
    few = judged(*made(seed=3, n_puncta=2, n_missed=25, error_px=0.4), n_frames=30, seconds=1.0)
    many = judged(*made(seed=4, n_puncta=12), n_frames=30, seconds=5.0)
    pooled = pool_evaluations([few, many])
    a, b, both = few.figures(), many.figures(), pooled.figures()
    for name in ("n_matched", "n_missed", "n_puncta", "n_tracks", "n_true_events", "network_calcium_n_on"):
        assert both[name] == a[name] + b[name]
    n = a["n_matched"] + b["n_matched"]
    assert both["recall"] == pytest.approx(n / (n + a["n_missed"] + b["n_missed"]))
    squares = a["n_matched"] * a["rmse_nm"] ** 2 + b["n_matched"] * b["rmse_nm"] ** 2
    assert both["rmse_nm"] == pytest.approx((squares / n) ** 0.5)
    whole = (a["completeness"] * a["n_puncta"] + b["completeness"] * b["n_puncta"]) / both["n_puncta"]
    assert both["completeness"] == pytest.approx(whole)
    assert both["frames_per_s"] == pytest.approx(60 / 6)
    # rows of the second recording stand after those of the first
    assert pooled.n_rows == (few.n_rows[0] + many.n_rows[0], few.n_rows[1] + many.n_rows[1])
    assert pooled.matching.truth_row[-1] == few.n_rows[0] + many.matching.truth_row[-1]
    assert worst_first([many, few, many]) == [1, 0, 2]


def test_what_cannot_be_pooled_is_refused():
    truth, found, _ = made(seed=1)
    with pytest.raises(BadInputError, match="at least one"):
        pool_evaluations([])
    unlike = [evaluate_puncta(truth, found, tolerance_um=t) for t in (0.2, 0.3)]
    with pytest.raises(BadInputError, match="tolerances"):
        pool_evaluations(unlike)


def test_a_network_that_says_calcium_as_it_is_is_perfect_and_errors_are_counted_by_frame():
    truth, found, _ = made(seed=5, n_missed=0)
    matching = match_localizations(truth, found)
    perfect = score_probabilities(truth, found, matching)
    assert (perfect.f1, perfect.sensitivity, perfect.specificity, perfect.f1_of_found) == (1, 1, 1, 1)
    on = np.flatnonzero(found.calcium_probability > 0.5)
    off = np.flatnonzero(found.calcium_probability < 0.5)
    worse = found.calcium_probability.copy()
    worse[on[:3]], worse[off[:4]] = 0.2, 0.8
    score = score_probabilities(truth, replace(found, calcium_probability=worse), matching)
    assert score.sensitivity == pytest.approx(1 - 3 / on.size)
    assert score.specificity == pytest.approx(1 - 4 / off.size)
    assert score.f1 == pytest.approx(2 * (on.size - 3) / (2 * on.size - 3 + 4))


def test_a_punctum_with_signal_that_the_network_did_not_localize_is_missed_by_it():
    truth, found, _ = made(seed=5)
    on = np.flatnonzero(found.calcium_probability > 0.5)
    fewer = found.take(np.setdiff1d(np.arange(len(found)), on[:6]))
    score = score_probabilities(truth, fewer, match_localizations(truth, fewer))
    assert score.sensitivity == pytest.approx(1 - 6 / on.size)
    assert (score.f1_of_found, score.specificity) == (1, 1)
    # a recording in which it localized nothing at all counts in the pool, too
    nothing = evaluate_puncta(truth, no_localizations(truth.pixel_size_um))
    assert nothing.network_calcium is None
    both = pool_evaluations([nothing, evaluate_puncta(truth, found)]).network_calcium
    assert both.sensitivity == pytest.approx(0.5)


def test_frames_between_two_levels_of_calcium_are_neither_on_nor_quiet():
    truth, found, _ = made(seed=6)
    matching = match_localizations(truth, found)
    dff = truth.calcium[matching.truth_row]
    score = score_probabilities(truth, found, matching, dff_levels=(0.05, 0.35))
    assert 0 < score.n_on < (truth.is_calcium_on & truth.is_visible).sum()
    assert score.n_quiet == (dff < 0.05).sum()


def test_without_a_network_nothing_is_said_of_its_calcium():
    truth, found, _ = made(seed=1)
    plain = replace(found, calcium_probability=np.full(len(found), np.nan))
    assert score_probabilities(truth, plain, match_localizations(truth, plain)) is None
    names = evaluate_puncta(truth, plain).figures()
    assert not [name for name in names if name.startswith("network_calcium")]
