import csv
import math
from pathlib import Path

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations, PunctaTracks, no_localizations
from parfocal.puncta.tracking import (
    MobilitySettings,
    TrackSettings,
    fit_power_law,
    mobility_of,
    population_msd,
    scaled_radius_cut,
    stillness_p,
    track_puncta,
)

DATA = Path("../shared/data/D_puncta")
INTERVAL_S, ERROR_UM = 0.1, 0.02


def walks(n, n_frames, d_um2_s, seed=0, missing=0.0, is_moving=None, told=False):
    """Return tracks of known diffusion, blurred over the whole interval and localized with a known error."""
    rng = np.random.default_rng(seed)
    sub = 8
    steps = rng.normal(0, math.sqrt(2 * d_um2_s * INTERVAL_S / sub), (n_frames, sub, n, 2))
    if is_moving is not None:
        steps *= is_moving[:, None, None, None]
    at = np.cumsum(steps.reshape(-1, n, 2), axis=0).reshape(n_frames, sub, n, 2).mean(axis=1)
    at += rng.normal(0, ERROR_UM, at.shape)
    frame, who = np.nonzero(rng.random((n_frames, n)) >= missing)
    order = rng.permutation(frame.size)
    frame, who = frame[order], who[order]
    y, x = at[frame, who].T
    error = np.full(frame.size, ERROR_UM) if told else np.empty(0)
    found = Localizations((1.0, 1.0), frame, x, y, np.full(frame.size, 1000.0), x_se_px=error, y_se_px=error)
    return found, PunctaTracks(who.astype(np.int64), np.empty((0, 2), np.int64), n)


@pytest.mark.parametrize(("length", "missing"), [(20, 0.0), (45, 0.15), (160, 0.1)])
def test_stuck_puncta_are_called_mobile_as_seldom_as_was_asked(length, missing):
    found, tracks = walks(1000, length, 0.0, seed=length, missing=missing)
    moves = mobility_of(found, tracks, INTERVAL_S, settings=MobilitySettings(false_mobile_rate=0.02))
    rate = moves.is_mobile[moves.is_judged].mean()
    assert rate >= 0.007 or missing
    assert rate <= 0.034  # 3 standard errors of a share of 1000
    assert np.mean(moves.n_switches > 0) < 0.02
    assert np.nanmean(moves.d_um2_s) == pytest.approx(0, abs=3 * np.nanmean(moves.d_se_um2_s) / math.sqrt(1000))


@pytest.mark.parametrize("told", [False, True])
def test_diffusion_is_measured_without_bias_and_with_its_error(told):
    found, tracks = walks(500, 100, 0.01, seed=1, told=told)
    moves = mobility_of(found, tracks, INTERVAL_S)
    assert moves.d_um2_s.mean() == pytest.approx(0.01, rel=0.03)
    assert moves.d_msd_um2_s.mean() == pytest.approx(0.01, rel=0.04)
    assert moves.d_um2_s.std() == pytest.approx(moves.d_se_um2_s.mean(), rel=0.12)
    assert moves.localization_um.mean() == pytest.approx(ERROR_UM, rel=0.05)
    assert np.nanmean(moves.alpha) == pytest.approx(1, abs=0.05)
    assert moves.is_mobile.mean() > 0.99
    assert np.mean(moves.n_switches > 0) < 0.02


def test_dark_frames_change_the_certainty_but_not_the_value():
    found, tracks = walks(600, 60, 0.005, seed=2, missing=0.2)
    moves = mobility_of(found, tracks, INTERVAL_S)
    assert moves.d_um2_s.mean() == pytest.approx(0.005, rel=0.05)
    assert moves.d_um2_s.std() == pytest.approx(moves.d_se_um2_s.mean(), rel=0.15)


def test_a_track_that_comes_to_rest_switches_once_and_where_it_does():
    is_moving = (np.arange(200) >= 100).astype(float)
    found, tracks = walks(60, 200, 0.05, seed=3, is_moving=is_moving)
    moves = mobility_of(found, tracks, INTERVAL_S)
    assert np.mean(moves.n_switches == 1) > 0.95
    state = np.full((60, 200), -1)
    state[tracks.track, found.frame] = moves.point_is_mobile
    assert np.mean(state[:, :88] == 0) > 0.99
    assert np.mean(state[:, 112:] == 1) > 0.99
    assert moves.mobile_share.mean() == pytest.approx(0.5, abs=0.06)


def test_short_tracks_are_measured_but_not_judged():
    found, tracks = walks(20, 19, 0.1)
    moves = mobility_of(found, tracks, INTERVAL_S)
    assert not moves.is_judged.any()
    assert not moves.is_mobile.any()
    assert np.isfinite(moves.d_um2_s).all()
    assert np.all(moves.point_is_mobile == -1)
    assert np.isnan(moves.mobile_share).all()


def test_the_scaled_radius_of_what_rests_is_one_and_its_cut_falls_with_length():
    found, tracks = walks(800, 200, 0.0, seed=5)
    moves = mobility_of(found, tracks, INTERVAL_S)
    assert moves.scaled_radius.mean() == pytest.approx(1, abs=0.01)
    moving = mobility_of(*walks(800, 200, 1.0, seed=5), INTERVAL_S)
    assert moving.scaled_radius.mean() == pytest.approx(math.sqrt(200 / 3), rel=0.15)
    cuts = [scaled_radius_cut(n) for n in (20, 40, 80, 160)]
    assert cuts == sorted(cuts, reverse=True)
    assert stillness_p([cuts[1]], [40])[0] == pytest.approx(0.01, rel=0.2)
    assert np.isnan(stillness_p([math.nan], [40])[0])


def test_the_population_moves_as_each_does():
    found, tracks = walks(200, 100, 0.02, seed=6)
    curve = population_msd(found, tracks, INTERVAL_S, 12)
    for told in (None, ERROR_UM):
        law = fit_power_law(curve, told, INTERVAL_S)
        assert law.d_um2_s == pytest.approx(0.02, rel=0.05)
        assert law.alpha == pytest.approx(1, abs=0.05)
        assert law.floor_um2 == pytest.approx(4 * ERROR_UM**2 - 4 / 3 * 0.02 * INTERVAL_S, abs=6e-4)
        assert law.r2_line > 0.99
    still, of_still = walks(50, 100, 0.0, seed=7)
    flat = population_msd(still, of_still, INTERVAL_S)
    assert flat.msd_um2 == pytest.approx(4 * ERROR_UM**2, rel=0.1)
    with pytest.raises(BadInputError, match="rise"):
        fit_power_law(flat, 2 * ERROR_UM)


def test_directed_and_confined_motion_have_their_exponents():
    found, tracks = walks(100, 80, 0.02, seed=8)
    drift = Localizations((1.0, 1.0), found.frame, found.x_px + 0.2 * found.frame, found.y_px, found.photons)
    assert np.nanmedian(mobility_of(drift, tracks, INTERVAL_S).alpha) > 1.8
    wall = 0.15
    folded = (
        np.abs((found.x_px + wall) % (4 * wall) - 2 * wall),
        np.abs((found.y_px + wall) % (4 * wall) - 2 * wall),
    )
    confined = Localizations((1.0, 1.0), found.frame, folded[0], folded[1], found.photons)
    assert np.nanmedian(mobility_of(confined, tracks, INTERVAL_S).alpha) < 0.7


def test_nothing_has_no_motion_and_what_cannot_be_is_refused():
    nothing = no_localizations((1.0, 1.0))
    assert len(mobility_of(nothing, track_puncta(nothing), INTERVAL_S)) == 0
    found, tracks = walks(2, 30, 0.1)
    with pytest.raises(BadInputError, match="frame_interval_s"):
        mobility_of(found, tracks, 0.0)
    with pytest.raises(BadInputError, match="exposure_s"):
        mobility_of(found, tracks, 0.1, 0.2)
    with pytest.raises(BadInputError, match="localizations"):
        mobility_of(nothing, tracks, 0.1)
    with pytest.raises(BadInputError, match="false_mobile_rate"):
        MobilitySettings(false_mobile_rate=0.0)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are absent")
def test_single_molecules_of_a_real_recording_are_linked_as_their_authors_linked_them():
    with open(DATA / "spt_u2os_ht_nls_region0_trajs.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    frame, theirs = (np.array([int(r[name]) for r in rows]) for name in ("frame", "trajectory"))
    y, x, photons = (np.array([float(r[name]) for r in rows]) for name in ("y", "x", "I0"))
    found = Localizations((0.16, 0.16), frame, x, y, photons)
    ours = track_puncta(found, TrackSettings(2.0, 0, min_frames=1))

    def links(track):
        order = np.lexsort((frame, track))
        same = track[order[1:]] == track[order[:-1]]
        near = np.diff(frame[order]) == 1
        return set(zip(order[:-1][same & near].tolist(), order[1:][same & near].tolist()))

    a, b = links(theirs), links(ours.track)
    assert len(a & b) / len(a) > 0.99
    assert len(a & b) / len(b) > 0.97
    moves = mobility_of(found, ours, 0.00748)
    # a nuclear protein without a partner diffuses at several um²/s
    long = moves.n_points >= 4
    assert 0.5 < np.median(moves.d_um2_s[long]) < 20
