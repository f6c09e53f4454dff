"""All ways to measure agree with the stage on images by diffraction, which no model of theirs knows."""

import math

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import OpticsFacts, Sweep, calibrate
from parfocal.focus import measure_of
from parfocal.optics import Objective, expose, psf_stack, scmos_camera

OBJECTIVE = Objective(1.2, 1.33, 0.68, (0.108, 0.108))
SIDE = 17
CAMERA = scmos_camera((SIDE, SIDE), 0)
KINDS = ("direct", "widths", "moments")


def regions(z_um, seed, photons=9000.0, shift=(0.2, -0.3)):
    """Return regions of a bead with the stage at each z, in focus at z = 0."""
    planes, index = np.unique(np.round(-np.asarray(z_um), 9), return_inverse=True)
    psf = psf_stack(OBJECTIVE, {6: 0.12}, planes, SIDE, 1, shift)[index]
    return np.stack([expose(photons * image + 10.0, CAMERA, seed, k) for k, image in enumerate(psf)])


@pytest.fixture(scope="module")
def calibration():
    up = np.linspace(-0.75, 0.75, 21)
    z_um = np.concatenate([up, up[::-1]])
    direction = np.repeat(np.array([1, -1], np.int8), 21)
    facts = OpticsFacts(0.108, camera="sCMOS 1", roi_px=(0, 0, SIDE, SIDE))
    made = calibrate(Sweep(regions(z_um, 0), z_um, 0.1 * np.arange(42.0), direction, CAMERA, facts))
    assert made.is_armable, made.issues
    return made


def measured(kind, calibration, z_um, seed):
    measure = measure_of(kind, calibration)
    found = [measure(k, 0.1 * k, roi, CAMERA) for k, roi in enumerate(regions(z_um, seed))]
    return np.array([m.z_um for m in found]), np.array([m.z_se_um for m in found])


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_of_the_stage_is_measured_as_that_move(kind, calibration):
    """Within what the probe at engage allows, also where a bare ratio or line would be a third off."""
    for centre_um in (-0.2, 0.0, 0.2):
        z_um = np.repeat([centre_um - 0.05, centre_um + 0.05], 40)
        found, _ = measured(kind, calibration, z_um, 3)
        step_um = np.nanmean(found[40:]) - np.nanmean(found[:40])
        assert step_um / 0.1 == pytest.approx(1.0, abs=0.2), centre_um


@pytest.mark.parametrize("kind", KINDS)
def test_the_place_of_the_stage_is_told_and_its_scatter_is_not_hidden(kind, calibration):
    for z_um in (-0.2, 0.0, 0.2):
        found, se_um = measured(kind, calibration, np.full(60, z_um + calibration.focus_um), 5)
        assert np.nanmean(found) == pytest.approx(z_um, abs=0.03)
        assert np.nanstd(found) < 1.5 * np.nanmedian(se_um)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dark_region_is_no_measurement(kind, calibration):
    dark = expose(np.full((SIDE, SIDE), 10.0), CAMERA, 1, 0)
    m = measure_of(kind, calibration)(0, 0.0, dark, CAMERA)
    assert not m.is_fit_ok or m.photons < 500 or math.isnan(m.z_um)


def test_an_unknown_kind_is_refused(calibration):
    with pytest.raises(BadInputError, match="measure is 'eyes', expected direct, widths or moments"):
        measure_of("eyes", calibration)
