"""From a region and its fit to what a lock is told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from parfocal.fitting import DefocusModel, ZEstimate
from parfocal.focus._measurement import Measurement
from parfocal.optics import CameraModel

_RIVAL_SHARE = 0.4  # of the brightest spot: below that, a neighbour shows in the fit's deviance
_RIVAL_SIGMA = 6.0
_VALLEY = 0.75  # between two spots it is darker than this share of the fainter; a single spot may be long


def measurement_from(
    frame: int,
    t_s: float,
    roi: NDArray[Any],
    estimate: ZEstimate,
    camera_model: CameraModel,
    model: DefocusModel | None = None,
) -> Measurement:
    """Put the fit of a region and what its raw pixels tell into one measurement.

    Parameters
    ----------
    frame : int
        The camera's count of frames.
    t_s : float
        Middle of the exposure, s.
    roi : ndarray of shape (height, width)
        Raw ADU, as it was fitted.
    estimate : ZEstimate
        Its fit.
    camera_model : CameraModel
        Of the region.
    model : DefocusModel, optional
        The calibration: its correction, for the light of this frame, is applied to z and to the standard error.

    Returns
    -------
    Measurement
        z is NaN where the fit fell back to moments: they are never used to steer.
    """
    is_ok = estimate.kind == "mle" and math.isfinite(estimate.z_um) and math.isfinite(estimate.z_se_um)
    z_um, z_se_um = (estimate.z_um, estimate.z_se_um) if is_ok else (math.nan, math.nan)
    if is_ok and model is not None and model.correction is not None:
        contrast = model.correction.contrast_of(estimate.photons, estimate.background)
        z_se_um *= abs(float(model.correction.slope(z_um, contrast))) * model.correction.se_factor
        z_um = float(model.correction.z_um(z_um, contrast))
    electrons = camera_model.to_electrons(roi)
    read_variance = float(np.mean(np.square(camera_model.read_noise_e)))
    return Measurement(
        frame=frame,
        t_s=t_s,
        z_um=z_um,
        z_se_um=z_se_um,
        x_px=estimate.x_px,
        y_px=estimate.y_px,
        photons=estimate.photons,
        background=estimate.background,
        sigma_x_px=estimate.sigma_x_px,
        sigma_y_px=estimate.sigma_y_px,
        excess_deviance=estimate.excess_deviance,
        peak_fraction=float(roi.max()) / camera_model.saturation_adu,
        n_peaks=count_spots(electrons, max(estimate.background, 0.0), read_variance),
        is_fit_ok=is_ok,
        reason=estimate.reason,
    )


def count_spots(electrons: NDArray[np.float32], background: float, read_variance: float) -> int:
    """Return how many spots a region holds: maxima of its 3x3 means, with darkness between them.

    Parameters
    ----------
    electrons : ndarray of shape (height, width), float32
        Photoelectrons.
    background : float
        Per pixel.
    read_variance : float
        Of the read noise, photoelectrons squared.
    """
    return int(_count_spots(electrons, background, read_variance))


@njit(cache=True)
def _count_spots(image: Any, background: float, read_variance: float) -> int:
    height, width = image.shape
    smooth = np.full((height, width), -np.inf)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            total = 0.0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    total += image[y + dy, x + dx]
            smooth[y, x] = total / 9 - background
    top = smooth.max()
    noise = math.sqrt((background + read_variance) / 9)
    floor = max(_RIVAL_SHARE * top, _RIVAL_SIGMA * noise)
    found = np.empty((16, 2), np.int64)
    n = 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            value = smooth[y, x]
            if value < floor or n == 16:
                continue
            is_top = True
            for yy in range(max(1, y - 2), min(height - 1, y + 3)):
                for xx in range(max(1, x - 2), min(width - 1, x + 3)):
                    if smooth[yy, xx] > value:
                        is_top = False
            if not is_top:
                continue
            is_apart = True
            for i in range(n):
                # Shot noise of the fainter makes shallow valleys of its own.
                fainter = min(value, smooth[found[i, 0], found[i, 1]])
                shot = math.sqrt((max(fainter, 0.0) + background + read_variance) / 9)
                valley = _lowest_between(smooth, found[i, 0], found[i, 1], y, x)
                if valley > min(_VALLEY * fainter, fainter - 3 * shot):
                    is_apart = False
            if is_apart:
                found[n, 0], found[n, 1] = y, x
                n += 1
    return n


@njit(cache=True)
def _lowest_between(smooth: Any, y0: int, x0: int, y1: int, x1: int) -> float:
    n = max(abs(y1 - y0), abs(x1 - x0))
    lowest = np.inf
    for i in range(n + 1):
        y = round(y0 + (y1 - y0) * i / max(n, 1))
        x = round(x0 + (x1 - x0) * i / max(n, 1))
        lowest = min(lowest, smooth[y, x])
    return lowest
