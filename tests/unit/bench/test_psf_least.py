"""What no estimate comes below, where the answer is known otherwise."""

import numpy as np
import pytest

from parfocal.bench._psf_least import least_worst_error

N_COUNTS = 10_000.0


def brightness(mean_of, n_bounds, n_depths=25):
    """Return the pixel, depths and bound of a z that is known from how bright one pixel is."""
    slope = (mean_of(1e-3) - mean_of(-1e-3)) / 2e-3
    bound = np.sqrt(mean_of(0.0)) / slope
    z = np.linspace(-n_bounds * bound, n_bounds * bound, n_depths)
    return mean_of(z)[:, None, None], z, np.full((n_depths, 1), bound)


def least(case, **told):
    return least_worst_error(*case, bias_in_bounds=0.05, n_per_depth=200, **told).over_bound


def test_where_counts_are_z_the_bound_is_the_least():
    """The count itself is an estimate that reaches the bound; a small bias buys little over twenty bounds."""
    case = brightness(lambda z: N_COUNTS + 1000 * np.asarray(z), 10)
    assert least(case) == pytest.approx(1.0, abs=0.06)


def test_where_the_range_is_narrow_its_middle_is_a_good_answer():
    case = brightness(lambda z: N_COUNTS + 1000 * np.asarray(z), 0.04)
    assert least(case) < 0.01


def test_where_z_hardly_shows_in_half_of_the_range_the_bound_of_the_other_half_is_out_of_reach():
    """Told that the bound is the same everywhere, where the slope is in truth a third on one side."""
    case = brightness(
        lambda z: N_COUNTS + 1000 * np.where(np.asarray(z) > 0.2, 0.2 + (np.asarray(z) - 0.2) / 3, z), 5
    )
    assert least(case) > 2


def test_its_error_is_that_of_the_pictures_drawn():
    case = brightness(lambda z: N_COUNTS + 1000 * np.asarray(z), 3, 13)
    found = [least_worst_error(*case, bias_in_bounds=0.05, n_per_depth=200, seed=k) for k in range(8)]
    scatter = np.std([one.over_bound for one in found])
    assert 0.4 < scatter / np.mean([one.over_bound_se for one in found]) < 2
