"""The stack that correlations are timed on has something to find, and all ways find the same."""

import numpy as np

from parfocal.bench._slices_correlation import simulated_stack
from parfocal.imaging import correlation_matrix


def test_binning_changes_no_verdict_on_the_stack_of_the_benchmark():
    stack = simulated_stack(side_px=128)
    truth = np.corrcoef(stack.reshape(40, -1))
    alike = truth >= 0.95
    assert 0.2 < alike.mean() < 0.95
    assert not alike[7, 8]
    assert alike[20, 21]
    np.testing.assert_array_equal(correlation_matrix(stack) >= 0.95, alike)
    np.testing.assert_array_equal(correlation_matrix(stack, bin_px=4) >= 0.95, alike)
