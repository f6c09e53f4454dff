"""Drift of simulated recordings, found again."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations
from parfocal.puncta.drift import (
    CorrelationSettings,
    Drift,
    FiducialSettings,
    corrected,
    drift_by_correlation,
    drift_by_fiducials,
    no_drift,
    read_drift,
    write_drift,
)

PIXEL_UM = (0.13, 0.11)


def smooth_drift(n_frames, reach_um=0.4):
    t = np.linspace(0, 1, n_frames)
    y, x = reach_um * (0.7 * t + 0.3 * np.sin(4 * t)), -0.6 * reach_um * t**2
    return Drift(y - y[0], x - x[0])


def recording(drift, n_spots=60, share_on=0.5, se_nm=20.0, n_mobile=0, size_um=20.0, seed=0):
    """Spots that blink on a drifting sample; the last ones diffuse."""
    rng = np.random.default_rng(seed)
    shape = (drift.n_frames, n_spots)
    frame, spot = np.nonzero(rng.random(shape) < share_on)
    moving = np.arange(n_spots) >= n_spots - n_mobile
    columns = []
    for along_um, pixel_um in zip((drift.y_um, drift.x_um), PIXEL_UM, strict=True):
        walk = np.cumsum(rng.normal(0, 0.04, shape), 0) * moving
        place = rng.uniform(2, size_um - 2, n_spots)[spot] + walk[frame, spot]
        columns.append((place + along_um[frame] + rng.normal(0, se_nm / 1e3, len(frame))) / pixel_um)
    se = {f"{a}_se_px": np.full(len(frame), se_nm / 1e3 / p) for a, p in zip("yx", PIXEL_UM, strict=True)}
    return Localizations(PIXEL_UM, frame.astype(np.int64), columns[1], columns[0], np.full(len(frame), 1e3), **se)


def error_nm(found, truth):
    """RMSE but for a constant: where frame 0 lies cannot be known better than one frame."""
    left = np.concatenate(
        [a - b - np.mean(a - b) for a, b in ((found.y_um, truth.y_um), (found.x_um, truth.x_um))]
    )
    return 1e3 * float(np.sqrt(np.mean(left**2)))


@pytest.fixture(scope="module")
def drifting():
    truth = smooth_drift(240)
    return recording(truth), truth


def test_correlation_finds_drift_to_nanometers(drifting):
    spots, truth = drifting
    assert error_nm(no_drift(truth.n_frames), truth) > 60
    found = drift_by_correlation(spots)
    assert error_nm(found, truth) < 3
    assert (found.method, found.n_used, found.n_dropped) == ("correlation", 66, 0)


def test_puncta_that_move_by_themselves_do_not_carry_the_drift_away():
    truth = smooth_drift(240)
    assert error_nm(drift_by_correlation(recording(truth, n_mobile=40)), truth) < 5


def test_pairs_that_contradict_the_others_are_left_out(drifting):
    spots, truth = drifting
    # Two segments share a structure of their own elsewhere: their correlation peaks far from the drift.
    extra, rng = [], np.random.default_rng(1)
    ghost = rng.uniform(20, 100, (2, 300))
    for segment, shift in ((1, 0.0), (5, 5.0)):
        frames = np.sort(rng.integers(segment * 20, segment * 20 + 20, 3000))
        which = rng.integers(0, 300, 3000)
        extra.append((frames, ghost[0, which] + shift, ghost[1, which]))
    frame, x, y = (np.concatenate(parts) for parts in zip(*extra, strict=True))
    both = Localizations(
        PIXEL_UM,
        np.concatenate([spots.frame, frame]),
        np.concatenate([spots.x_px, x]),
        np.concatenate([spots.y_px, y]),
        np.ones(len(spots) + len(frame)),
    )
    found = drift_by_correlation(both)
    assert found.n_dropped >= 1
    assert error_nm(found, truth) < 5


def test_what_is_corrected_stands_still(drifting):
    spots, _ = drifting
    still = corrected(spots, drift_by_correlation(spots))
    assert error_nm(drift_by_correlation(still), no_drift(240)) < 2
    assert still.frame is spots.frame


def test_a_recording_too_poor_for_correlation_is_refused_with_what_to_do():
    poor = recording(smooth_drift(240), n_spots=2, share_on=0.1)
    with pytest.raises(BadInputError, match=r"localizations, 20 or more were expected: give a larger"):
        drift_by_correlation(poor)
    with pytest.raises(BadInputError, match="two or more were expected"):
        drift_by_correlation(poor, CorrelationSettings(frames_per_segment=500))


def test_fiducials_find_drift_in_every_frame_and_one_that_moves_is_left_out():
    rng = np.random.default_rng(3)
    steps = np.cumsum(rng.normal(0, 0.02, (2, 200)), 1)
    truth = Drift(steps[0] - steps[0, 0], steps[1] - steps[1, 0])  # a random walk: no spline follows it
    found = drift_by_fiducials(recording(truth, n_spots=8, share_on=0.95, se_nm=5, n_mobile=2, size_um=30))
    assert (found.n_used, found.n_dropped) == (6, 2)
    assert error_nm(found, truth) < 1.6 * 5 / np.sqrt(6 * 0.95)
    assert found.residual_um == pytest.approx(0.005, rel=0.2)


def test_frames_without_a_fiducial_are_interpolated():
    truth = smooth_drift(120)
    spots = recording(truth, n_spots=1, share_on=1.0, se_nm=2)
    gap = spots.take((spots.frame < 50) | (spots.frame > 53))
    found = drift_by_fiducials(gap)
    assert found.n_frames == 120
    assert error_nm(found, truth) < 4
    assert np.isnan(found.residual_um)  # one alone agrees with itself: that says nothing


def test_fiducials_can_be_named_and_must_be_there():
    truth = smooth_drift(80)
    spots = recording(truth, n_spots=4, share_on=1.0, se_nm=4)
    first = spots.take(spots.frame == 0)
    place = np.array([[first.y_um[2] + 0.3, first.x_um[2]]])
    assert drift_by_fiducials(spots, place).n_used == 1
    with pytest.raises(BadInputError, match="no spot stays on within 1 um"):
        drift_by_fiducials(spots, np.array([[900.0, 900.0]]))


def test_without_a_spot_that_stays_on_there_is_no_fiducial():
    with pytest.raises(BadInputError, match="no spot is seen in 90% of 100 frames"):
        drift_by_fiducials(
            recording(smooth_drift(100), share_on=0.1),
            settings=FiducialSettings(min_share=0.9, max_missing_frames=0),
        )


def test_drift_survives_a_file(tmp_path):
    truth = smooth_drift(30)
    write_drift(tmp_path / "drift.csv", truth)
    again = read_drift(tmp_path / "drift.csv")
    np.testing.assert_allclose(again.y_um, truth.y_um, atol=1e-6)
    np.testing.assert_allclose(again.x_um, truth.x_um, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frame,y_um\n0,1\n", "no column x_um"),
        ("frame,y_um,x_um\n0,far,1\n", "numbers were expected"),
        ("frame,y_um,x_um\n1,0,0\n", "must count 0, 1, 2"),
        ("frame,y_um,x_um\n0,nan,0\n", "a value is no number"),
    ],
)
def test_a_file_that_is_no_drift_says_where(tmp_path, text, said):
    (tmp_path / "drift.csv").write_text(text)
    with pytest.raises(BadInputError, match=said):
        read_drift(tmp_path / "drift.csv")
