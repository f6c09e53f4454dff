"""The filter against theory: it reaches the bound, learns walk and noise, and foretells over gaps."""

import math

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.focus import DriftFilter, kalman_bound


def followed(drift_um, se_um, filter_, seed=0, seen=None, ahead=1):
    rng = np.random.default_rng(seed)
    off = []
    for k, d in enumerate(drift_um[:-ahead]):
        if k:
            filter_.advance(1)
        if seen is not None and not seen[k]:
            continue
        z = d + rng.normal(0, se_um)
        if filter_.is_started:
            filter_.update(z, se_um)
        else:
            filter_.start(z, se_um)
        off.append(filter_.foretell_um(ahead) - drift_um[k + ahead])
    return np.array(off[500:])


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize(("walk_um", "se_um"), [(0.004, 0.0073), (0.0003, 0.0016), (0.01, 0.002)])
def test_a_walk_is_foretold_as_well_as_theory_allows(walk_um, se_um, delay):
    drift = np.cumsum(np.random.default_rng(1).normal(0, walk_um, 8000))
    off = followed(drift, se_um, DriftFilter(), ahead=1 + delay)
    bound = kalman_bound(se_um**2, walk_um**2, delay)
    assert 0.95 * bound < np.sqrt(np.mean(off**2)) < 1.1 * bound


@pytest.mark.parametrize("walk_um", [0.0005, 0.004, 0.02])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_walk_and_noise_are_learnt_while_running(walk_um, factor):
    drift = np.cumsum(np.random.default_rng(2).normal(0, walk_um, 5000))
    filter_ = DriftFilter(noise_factor=None)
    rng = np.random.default_rng(3)
    filter_.start(0.0, 0.005)
    for d in drift:
        filter_.advance(1)
        filter_.update(d + rng.normal(0, 0.005 * factor), 0.005)
    assert walk_um / 1.8 < filter_.walk_um_per_frame < 1.8 * walk_um
    if walk_um < 0.01:  # else the walk hides the noise, and it does not matter
        assert factor / 1.3 < filter_.noise_factor < 1.3 * factor


def test_a_steady_drift_leaves_no_lag_behind():
    drift = 0.00067 * np.arange(6000) + np.cumsum(np.random.default_rng(4).normal(0, 0.0003, 6000))
    filter_ = DriftFilter()
    off = followed(drift, 0.002, filter_)
    assert abs(np.mean(off[1000:])) < 1e-4
    assert filter_.rate_um_per_frame == pytest.approx(0.00067, rel=0.1)


def test_dropped_frames_lengthen_the_prediction():
    steady, jumped = DriftFilter(0.004), DriftFilter(0.004)
    for filter_ in (steady, jumped):
        filter_.start(0.0, 0.005)
        filter_.advance(1)
        filter_.update(0.01, 0.005)
    for _ in range(7):
        steady.advance(1)
    jumped.advance(7)
    assert jumped.drift_um == pytest.approx(steady.drift_um)
    assert jumped.drift_sd_um == pytest.approx(steady.drift_sd_um)
    assert jumped.drift_sd_um > 0.004 * math.sqrt(7)


def test_standard_deviations_are_true():
    rng = np.random.default_rng(5)
    drift = np.cumsum(rng.normal(0, 0.004, 6000))
    filter_ = DriftFilter()
    filter_.start(0.0, 0.0073)
    inside = []
    for d in drift:
        filter_.advance(1)
        filter_.update(d + rng.normal(0, 0.0073), 0.0073)
        inside.append(abs(filter_.drift_um - d) < filter_.drift_sd_um)
    assert 0.62 < np.mean(inside[500:]) < 0.74


@pytest.mark.parametrize(("r", "q", "delay"), [(50.0, 16.0, 1), (3.0, 0.09, 1), (100.0, 1.0, 0), (10.0, 10.0, 4)])
def test_the_bound_is_what_a_kalman_filter_of_known_noise_reaches(r, q, delay):
    rng = np.random.default_rng(6)
    n = 60_000
    drift = np.cumsum(rng.normal(0, math.sqrt(q), n + delay + 1))
    noise = rng.normal(0, math.sqrt(r), n)
    estimate, variance, off = 0.0, r, []
    for k in range(n):
        variance += q
        gain = variance / (variance + r)
        estimate += gain * (drift[k] + noise[k] - estimate)
        variance *= 1 - gain
        off.append(estimate - drift[k + 1 + delay])
    assert np.std(off[1000:]) == pytest.approx(kalman_bound(r, q, delay), rel=0.02)


def test_a_bound_of_negative_variance_is_refused():
    with pytest.raises(BadInputError, match="q=-1"):
        kalman_bound(1, -1)
