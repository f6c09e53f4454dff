"""Where spots may be: local maxima of the wavelet plane above a threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.optics import CameraModel
from parfocal.puncta.detection._expression import Value, evaluate
from parfocal.puncta.detection._settings import LocalizeSettings
from parfocal.puncta.detection._wavelet import WaveletPlanes, noise_height, spot_plane_moments, wavelet_filter

Image = NDArray[np.float32]


def threshold_of(
    settings: LocalizeSettings, electrons: Image, planes: WaveletPlanes, camera_model: CameraModel
) -> NDArray[np.float32]:
    """Return what a local maximum must exceed, photoelectrons, of shape (1, 1) or that of the frame."""
    if settings.threshold == "auto":
        return noise_threshold(planes.smooth, camera_model, settings)
    pictures: dict[str, Callable[[], Value]] = {
        "Wave.F1": lambda: planes.f1,
        "Wave.F2": lambda: planes.f2,
        "Wave.F": lambda: planes.f2,
        "Wave.I": lambda: electrons,
        "I1": lambda: electrons,
        "I": lambda: electrons,
    }
    return np.atleast_2d(np.asarray(evaluate(settings.threshold, pictures), dtype=np.float32))


def noise_threshold(smooth: Image, camera_model: CameraModel, settings: LocalizeSettings) -> NDArray[np.float32]:
    """Return the height of the wavelet plane that noise alone exceeds as rarely as the settings say.

    The plane's variance is the pixels' (local background, times the excess noise, plus read variance) times the
    sum of the filter's squares. Counts of a few photons are skew: Cornish and Fisher's first term raises
    the height.
    """
    from parfocal.puncta.detection import _wavelet_kernel as kernel  # numba is slow to import

    squares, cubes, _ = spot_plane_moments()
    excess = settings.excess_of(camera_model)
    # a spot's own light is in the local background; a hole in it is not believed
    least = 0.5 * max(float(np.median(smooth[::4, ::4])), 0.0)
    out = np.empty_like(smooth)
    numbers = (
        least,
        excess,
        math.sqrt(squares),
        cubes / squares**1.5 * excess * (2 * excess - 1),
        noise_height(settings.false_positives_per_1000_px / 1000.0),
    )
    read = np.square(np.atleast_2d(np.asarray(camera_model.read_noise_e, dtype=np.float32)))
    told: list[Any] = [smooth, np.ascontiguousarray(read), *(np.float32(one) for one in numbers), out]
    kernel.noise_heights(*told)
    return out


def find_candidates(
    frame: NDArray[Any],
    camera_model: CameraModel,
    settings: LocalizeSettings,
    baseline_e: Image | None = None,
    n_threads: int | None = 1,
) -> NDArray[np.int64]:
    """Return (y, x) of the pixels in which a spot may be, shape (n, 2), in order of the rows.

    Parameters
    ----------
    frame : ndarray of shape (height, width)
        Raw ADU.
    camera_model : CameraModel
    settings : LocalizeSettings
    baseline_e : ndarray of float32 of the frame's shape, optional
        Photoelectrons that are no spots.
    n_threads : int, optional
        Threads to use; None: all usable cores.
    """
    from parfocal.puncta.detection import _wavelet_kernel as kernel  # numba is slow to import

    electrons = camera_model.to_electrons(frame)
    planes = wavelet_filter(electrons, n_threads)
    if baseline_e is not None:
        still = wavelet_filter(baseline_e, n_threads)
        planes = WaveletPlanes(planes.f1 - still.f1, planes.f2 - still.f2, planes.smooth)
    threshold = threshold_of(settings, electrons, planes, camera_model)
    out = np.empty((frame.size // 4 + 1, 2), np.int64)
    n = kernel.local_maxima(planes.f2, threshold, settings.neighbours, out)
    found = out[:n].copy()
    if settings.border == "skip":
        radius = settings.radius_px
        inside = (found >= radius).all(axis=1) & (found < np.subtract(frame.shape, radius)).all(axis=1)
        found = found[inside]
    return found


def find_wide_candidates(
    frame: NDArray[Any],
    camera_model: CameraModel,
    settings: LocalizeSettings,
    baseline_e: Image | None = None,
    n_threads: int | None = 1,
) -> NDArray[np.int64]:
    """Return where spots of twice the width may be, as `find_candidates` does, to two pixels.

    The filter is made for spots of about a pixel. Four pixels taken together are one of a camera with four times
    the read variance, in which a spot is half as wide.
    """
    read_e = np.broadcast_to(np.asarray(camera_model.read_noise_e, np.float32), frame.shape)
    binned = CameraModel(0.0, 1.0, np.sqrt(_by_fours(np.square(read_e))), math.inf)
    how = replace(settings, excess_noise=settings.excess_of(camera_model), border="fit")
    baseline = None if baseline_e is None else _by_fours(baseline_e)
    return 2 * find_candidates(_by_fours(camera_model.to_electrons(frame)), binned, how, baseline, n_threads)


def _by_fours(image: Image) -> Image:
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    even = image[:height, :width]
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
