"""Frames of a live camera may not be written to, those of a file may: one compiled kernel serves both."""

import numpy as np
import pytest

from parfocal.fitting import fit_psfs
from parfocal.imaging import sharpness
from parfocal.optics import CameraModel
from parfocal.read_only import read_only


def locked(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def test_it_is_the_same_memory_and_the_array_stays_as_it_was():
    array = np.arange(3.0)
    view = read_only(array)
    array[0] = 7.0
    assert view[0] == 7.0
    with pytest.raises(ValueError, match="read-only"):
        view[1] = 0.0


def test_focus_is_scored_by_one_kernel():
    from parfocal.imaging._sharpness_kernel import band_sums

    image = np.random.default_rng(1).integers(0, 999, (32, 32)).astype(np.uint16)
    scores = sharpness(image, None)
    n_compiled = len(band_sums.signatures)
    assert sharpness(locked(image), None) == scores
    assert len(band_sums.signatures) == n_compiled


def test_spots_are_fitted_by_one_kernel():
    from parfocal.fitting._psf_kernel import climbs

    rois = np.random.default_rng(2).poisson(20.0, (3, 9, 9)).astype(np.float64)
    noise_map = np.full((9, 9), 1.5)
    corners_px = np.zeros((3, 2), np.int64)
    fit_psfs(rois, CameraModel(read_noise_e=noise_map), corners_px=corners_px)
    n_compiled = len(climbs.signatures)
    fit_psfs(locked(rois), CameraModel(read_noise_e=locked(noise_map)), corners_px=corners_px)
    fit_psfs(locked(rois), CameraModel())
    assert len(climbs.signatures) == n_compiled
