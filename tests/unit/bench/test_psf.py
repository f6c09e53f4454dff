"""What `parfocal bench psf` says of a cell, on few pictures."""

import numpy as np
import pytest

from parfocal.bench._psf import CAMERA, MODEL, _cell, _nearness, _noisy, _picture
from parfocal.bench._psf_dim import posterior_means
from parfocal.fitting import estimate_zs


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


def test_the_posterior_mean_is_the_true_z_where_there_is_light():
    z_um = np.array([-0.5, -0.2, 0.0, 0.3, 0.6])
    pictures = np.stack([_picture(z, 1e5, 5.0, 6.3, 5.8) for z in z_um])
    assert posterior_means(pictures, 2.0, MODEL) == pytest.approx(z_um, abs=0.002)


def test_no_estimate_has_less_squared_error_on_average_than_the_posterior_mean():
    """Nor have the prior's own mean, which knows no picture, and direct z, where there is hardly any light."""
    rng = np.random.default_rng(3)
    z_um = rng.uniform(*MODEL.search_um, 400)
    raw = np.concatenate([_noisy(_picture(z, 500.0, 100.0, 6.0, 6.0), 1, rng) for z in z_um])
    found = estimate_zs(raw, CAMERA, MODEL)
    least = posterior_means(CAMERA.to_electrons(raw).astype(np.float64), 1.6**2, MODEL)
    rms = [np.sqrt(np.mean(np.square(e[found.is_mle]))) for e in (least - z_um, found.z_um - z_um, z_um)]
    assert rms[0] < rms[1]
    assert rms[0] < rms[2]
