"""What `parfocal bench psf` says of a cell, on few pictures."""

import numpy as np
import pytest

from parfocal.bench._psf import _cell, _nearness


def test_a_bright_cell_reaches_its_bound_and_a_faint_one_does_not():
    rng = np.random.default_rng(0)
    bright = _cell(1e4, 10.0, 0.1, 3000, rng)
    assert bright.efficiency == pytest.approx(1.0, abs=0.1)
    assert abs(bright.bias_sd) < 0.08
    assert bright.covered == pytest.approx(0.683, abs=0.035)
    assert bright.lost == 0
    faint = _cell(500.0, 100.0, -0.4, 1500, rng)
    assert _nearness(faint) < 0.7
    assert faint.lost > 0
