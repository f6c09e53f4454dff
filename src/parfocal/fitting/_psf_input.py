"""From raw pictures to what the kernels take, and pictures shared out over threads."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel

_CHUNK = 64
_SMALLEST_PX, _LARGEST_PX = 5, 64


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures in photoelectrons, as the kernels take them (see `_psf_kernel`)."""

    counts: NDArray[np.float64]
    variances: NDArray[np.float64]
    finite: NDArray[np.bool_]
    saturated: NDArray[np.bool_]


def prepared(
    rois: NDArray[Any],
    camera_model: CameraModel,
    corners_px: ArrayLike | None,
    excess_noise: float,
    who: str,
    known_light: ArrayLike | None = None,
) -> Pictures:
    """Return pictures (n, height, width) of raw ADU as photoelectrons plus read variance.

    Light that is known goes with the variances, which the kernels add to the mean.

    Raises
    ------
    BadInputError
        Shape or dtype of the pictures, of a camera map or of the corners cannot be used.
    """
    if rois.ndim != 3 or not (
        _SMALLEST_PX <= rois.shape[1] <= _LARGEST_PX and _SMALLEST_PX <= rois.shape[2] <= _LARGEST_PX
    ):
        shape = rois.shape[1:] if who == "fit_psf" or who == "estimate_z" else rois.shape
        raise BadInputError(
            f"{who}: picture of shape {shape}, expected [y, x] of {_SMALLEST_PX} to {_LARGEST_PX} px a side"
        )
    if rois.dtype.kind not in "uif":
        raise BadInputError(f"{who}: picture of dtype {rois.dtype}, expected raw ADU as integers or real numbers")
    if not (math.isfinite(excess_noise) and excess_noise >= 1.0):
        raise BadInputError(f"{who}: excess_noise is {excess_noise}, expected 1, or 2 for an EMCCD")
    maps = [
        _mapped(getattr(camera_model, name), name, rois.shape, corners_px, who)
        for name in ("offset_adu", "gain_adu_per_e", "read_noise_e")
    ]
    offset, gain, read_noise = maps
    variance = np.square(np.asarray(read_noise) * (1.0 / excess_noise))
    counts = (rois - offset) * (1.0 / (np.asarray(gain) * excess_noise)) + variance
    variances = np.ascontiguousarray(
        variance if variance.ndim == 3 else np.broadcast_to(variance, (1, *rois.shape[1:]))
    )
    if known_light is not None:
        light = np.asarray(known_light, dtype=np.float64) * (1.0 / excess_noise)
        if light.shape not in (rois.shape, rois.shape[1:]) or not (np.isfinite(light).all() and light.min() >= 0):
            raise BadInputError(f"{who}: known_light of shape {light.shape}, expected {rois.shape} of 0 or more")
        variances = np.ascontiguousarray(variances + light)
    finite = np.isfinite(counts).all(axis=(1, 2))
    saturated = rois.max(axis=(1, 2)) >= camera_model.saturation_adu
    return Pictures(counts, variances, finite, saturated)


def as_prior(width_prior_px: tuple[float, float] | None, who: str) -> NDArray[np.float64]:
    """Return mean and 1 / variance of a width as it is known beforehand; zeros where nothing is."""
    if width_prior_px is None:
        return np.zeros(2)
    try:
        told = np.asarray(width_prior_px, np.float64)
    except (TypeError, ValueError):
        told = np.empty(0)
    if told.shape != (2,) or not ((told > 1e-6) & (told < 1e6)).all():
        raise BadInputError(
            f"{who}: width_prior_px is {width_prior_px}, expected a mean and a standard deviation above 0"
        )
    return np.array([told[0], 1.0 / told[1] ** 2])


def as_centers(at_px: ArrayLike | None, n: int, who: str) -> NDArray[np.float64]:
    """Return (y, x) of starts as the kernels take them, (n, 2) of (x, y); without rows where none are told."""
    if at_px is None:
        return np.empty((0, 2))
    centers = np.asarray(at_px, dtype=np.float64)
    if centers.shape != (n, 2) or not np.isfinite(centers).all():
        raise BadInputError(f"{who}: at_px has shape {centers.shape}, expected (y, x) of {n} pictures")
    return np.ascontiguousarray(centers[:, ::-1])


def _mapped(
    value: Any, name: str, shape: tuple[int, ...], corners_px: ArrayLike | None, who: str
) -> float | NDArray[np.float64]:
    if isinstance(value, float | int):
        return float(value)
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0:
        return float(array)
    if corners_px is not None:
        return _cut(array, name, shape, np.asarray(corners_px), who)
    if array.shape not in (shape[1:], shape):
        raise BadInputError(
            f"{who}: camera model's {name} has shape {array.shape}, expected one number or {shape[1:]} as a "
            "picture (crop the model, or say corners_px)"
        )
    return array


def _cut(
    array: NDArray[np.float64], name: str, shape: tuple[int, ...], corners: NDArray[Any], who: str
) -> NDArray[np.float64]:
    n, height, width = shape
    if corners.shape != (n, 2) or corners.dtype.kind not in "ui":
        raise BadInputError(f"{who}: corners_px has shape {corners.shape}, expected whole (y, x) of {n} pictures")
    if array.ndim != 2 or corners.min(initial=0) < 0 or np.any(corners > np.subtract(array.shape, shape[1:])):
        raise BadInputError(f"{who}: a picture's corner lies outside the camera model's {name} map {array.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(array, (height, width))
    return np.ascontiguousarray(windows[corners[:, 0], corners[:, 1]])


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, usable_cores() - 1), thread_name_prefix="parfocal-fits")


if hasattr(os, "register_at_fork"):  # a forked child has the pool's object but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def for_each_chunk(work: Callable[[slice], None], n: int, n_threads: int | None) -> None:
    """Call `work` for slices of n pictures, the caller's thread taking part; it must release the GIL."""
    n_chunks = -(-n // _CHUNK)
    chunks = itertools.count()

    def take_chunks() -> None:
        while (chunk := next(chunks)) < n_chunks:
            work(slice(chunk * _CHUNK, min(n, (chunk + 1) * _CHUNK)))

    n_threads = min(n_chunks, usable_cores() if n_threads is None else n_threads)
    helpers = [_pool().submit(take_chunks) for _ in range(n_threads - 1)]
    take_chunks()
    for helper in helpers:
        helper.result()
