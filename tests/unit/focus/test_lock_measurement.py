"""A region and its fit become one measurement; spots are counted on diffraction images."""

import math
from dataclasses import replace

import numpy as np
import pytest

from parfocal.fitting import DefocusModel, WidthCurve, ZCorrection, estimate_z
from parfocal.focus import measurement_from
from parfocal.optics import CameraModel, Objective, expose, psf_stack

OBJECTIVE = Objective(1.2, 1.33, 0.6, (0.1, 0.1))
CAMERA = CameraModel(100.0, 2.2, 1.6, 65535.0)
MODEL = DefocusModel(WidthCurve(1.1, 0.25, 0.4), WidthCurve(1.1, -0.25, 0.4), 0.0, (-0.5, 0.5), 0.1)


def spot(z_um=0.0, y=0.0, x=0.0):
    return psf_stack(OBJECTIVE, {6: 0.1}, [-z_um], 13, 1, (y, x))[0]


def region(mean_electrons, number=0, camera=CAMERA):
    return expose(mean_electrons + 10.0, camera, 1, number)


def measured(roi, model=MODEL, camera=CAMERA):
    return measurement_from(7, 0.5, roi, estimate_z(roi, camera, model), camera, model)


@pytest.mark.parametrize("z_um", [-0.6, -0.3, 0.0, 0.3, 0.6])
@pytest.mark.parametrize("photons", [500.0, 4000.0, 1e5])
def test_one_bead_is_one_spot_however_far_it_is_from_focus(z_um, photons):
    counts = [measured(region(photons * spot(z_um, 0.3, -0.2), k)).n_peaks for k in range(20)]
    assert max(counts) <= 1


@pytest.mark.parametrize("photons", [2000.0, 1e5])
def test_a_second_bead_is_counted(photons):
    pair = photons * (spot(0, -2, -2) + 0.7 * spot(0, 3, 2))
    assert [measured(region(pair, k)).n_peaks for k in range(10)] == [2] * 10


def test_numbers_of_the_fit_are_passed_on():
    roi = region(4000 * spot(0.1))
    fit = estimate_z(roi, CAMERA, MODEL)
    m = measured(roi)
    assert (m.frame, m.t_s) == (7, 0.5)
    assert (m.z_um, m.z_se_um, m.photons, m.x_px) == (fit.z_um, fit.z_se_um, fit.photons, fit.x_px)
    assert m.excess_deviance == fit.excess_deviance
    assert m.peak_fraction == roi.max() / 65535
    assert m.is_fit_ok


def test_a_correction_learnt_in_calibration_is_applied_with_its_slope():
    curve = ZCorrection((-0.5, 0.0, 0.5), ((-0.25, 0.0, 0.25),), ((400.0,) * 3,), usual=0, se_factor=1.5)
    halved = replace(MODEL, correction=curve)
    roi = region(4000 * spot(0.1))
    plain, corrected = measured(roi), measured(roi, halved)
    assert corrected.z_um == pytest.approx(plain.z_um / 2)
    assert corrected.z_se_um == pytest.approx(1.5 * plain.z_se_um / 2)


def test_an_empty_region_is_no_measurement():
    m = measured(region(np.zeros((13, 13))))
    assert not m.is_fit_ok or m.photons < 100
    assert m.n_peaks <= 1


def test_moments_never_steer():
    roi = region(4000 * spot(0.1))
    fallback = replace(estimate_z(roi, CAMERA, MODEL), kind="moment_fallback", reason="did not converge")
    m = measurement_from(0, 0.0, roi, fallback, CAMERA, MODEL)
    assert not m.is_fit_ok
    assert math.isnan(m.z_um)
    assert m.reason == "did not converge"


def test_saturated_pixels_show():
    camera = replace(CAMERA, saturation_adu=1000.0)
    assert measured(region(2e4 * spot(), camera=camera), camera=camera).peak_fraction == 1.0
