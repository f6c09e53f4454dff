"""From sums over a frame or an object to operators, floors and normalized forms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging._bands import for_each_band
from parfocal.imaging._operator_table import OPERATORS, OperatorScores
from parfocal.imaging._sharpness import (
    NoiseSource,
    gaussian_taps,
    less_in_quadrature,
    log_kernel_norm,
    near_mean,
    prepared,
)
from parfocal.optics import CameraModel

_BAND_ROWS = 256
_ZERO_WOULD_BE_SHARPEST = ("power_slope", "relative_entropy")
_FLOOR_OF_SQUARES = MappingProxyType(
    {"laplacian_variance": 20.0, "tenengrad": 24.0, "brenner": 2.0, "band_power": 1.0}
)


def less_its_mean(
    frame: NDArray[np.generic], camera_model: CameraModel | None, mean_adu: float
) -> tuple[NDArray[np.float32], float]:
    """Return the frame less its mean, and that mean above the camera's offset, ADU."""
    pixels, level = near_zero(frame, camera_model)
    return pixels - np.float32(mean_adu - level), mean_adu


def near_zero(frame: NDArray[np.generic], camera_model: CameraModel | None) -> tuple[NDArray[np.float32], float]:
    """Return the frame less a value near its mean, and that value above the camera's offset, ADU."""
    pixels, offset_adu = prepared(frame, camera_model)
    reference = near_mean(pixels)
    # in float64 where the frame is, so that a large mean costs nothing
    wide = pixels.astype(np.float64 if pixels.dtype == np.float64 else np.float32)
    return np.ascontiguousarray(wide - reference, np.float32), float(reference) - offset_adu


def noise_source(noise: NoiseSource | None, camera_model: CameraModel | None, log_sigma_px: float) -> NoiseSource:
    """Return where the noise floor is to come from, checked."""
    if noise is None:
        noise = "immerkaer" if camera_model is None else "model"
    if noise == "model" and camera_model is None:
        raise BadInputError('operators: noise="model" needs a camera_model; give one or use noise="immerkaer"')
    if not 0.5 <= log_sigma_px <= 8:
        raise BadInputError(f"operators: log_sigma_px is {log_sigma_px:g}, expected 0.5 to 8 px")
    return noise


def sums_by_label(pixels: NDArray[np.float32], labels: NDArray[np.int32], n_labels: int) -> NDArray[np.float64]:
    """Return the kernel's sums, one row a label; labels below 0 are left out."""
    from parfocal.imaging._operators_kernel import N_SUMS, label_sums  # numba is slow to import

    height = pixels.shape[0]
    n_bands = -(-height // _BAND_ROWS)
    sums = np.zeros((n_bands, max(1, n_labels), N_SUMS))

    def one_band(band: int) -> None:
        first = band * _BAND_ROWS
        label_sums(pixels, labels, first, min(height, first + _BAND_ROWS), sums[band])

    for_each_band(one_band, n_bands)
    return sums.sum(axis=0)[:n_labels]


def abs_log_by_label(
    pixels: NDArray[np.float32], labels: NDArray[np.int32], n_labels: int, sigma_px: float
) -> NDArray[np.float64]:
    """Return the mean absolute Laplacian of Gaussian of each label, over pixels whose window it holds whole."""
    taps = gaussian_taps(sigma_px)
    half = taps[: math.ceil(4 * sigma_px) + 1]
    line = np.concatenate([half[:0:-1], half])
    response = np.asarray(ndimage.laplace(pixels))
    for axis in (0, 1):
        response = np.asarray(ndimage.correlate1d(response, line, axis))
    # the window that `sharpness` keeps inside a frame
    side = 2 * taps.size + 1
    lowest = np.asarray(ndimage.minimum_filter(labels, side, mode="constant", cval=-1))
    highest = np.asarray(ndimage.maximum_filter(labels, side, mode="constant", cval=-1))
    whole = (lowest == highest) & (labels >= 0)
    which = labels[whole]
    n = np.bincount(which, minlength=n_labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.bincount(which, weights=np.abs(response[whole]), minlength=n_labels) / n


def neighbourhood_scores(sums: NDArray[np.float64], mean: float) -> dict[str, float]:
    """Return the raw 3x3 operators of one label; NaN where it holds no 3x3 neighbourhood."""
    from parfocal.imaging import _operators_kernel as k

    s = [float(value) for value in sums]
    n, inner = s[k.N], s[k.N_INNER]
    shift = s[k.SUM] / n
    variance = max(0.0, s[k.SUM_SQUARES] / n - shift**2)
    over_mean = 1 / mean if mean > 0 else math.nan
    scores = {"normalized_variance": variance * over_mean**2, "variance_over_mean": variance * over_mean}
    if inner == 0:
        return scores
    return scores | {
        "laplacian_variance": max(0.0, s[k.LAPLACIAN_SQUARES] / inner - (s[k.LAPLACIAN] / inner) ** 2),
        "modified_laplacian": s[k.MODIFIED] / inner,
        "tenengrad": s[k.TENENGRAD] / inner,
        "tenengrad_variance": max(0.0, s[k.TENENGRAD] / inner - (s[k.GRADIENT] / inner) ** 2),
        "brenner": s[k.BRENNER] / (2 * inner),
        "vollath_f4": (s[k.VOLLATH] - shift * s[k.ROW_SHIFT]) / inner,
        "vollath_f5": (s[k.PRODUCT] - shift * s[k.PAIR_SUM]) / inner + shift**2,
    }


def noise_sd(
    sums: NDArray[np.float64], mean: float, noise: NoiseSource, camera_model: CameraModel | None
) -> float:
    """Return the standard deviation of one label's pixel noise, ADU."""
    from parfocal.imaging import _operators_kernel as k

    if noise == "model" and camera_model is not None:
        return math.sqrt(camera_model.noise_variance_adu2(mean + float(np.mean(camera_model.offset_adu))))
    if noise == "immerkaer" and sums[k.N_INNER] > 0:
        return math.sqrt(math.pi / 2) * float(sums[k.IMMERKAER]) / (6 * float(sums[k.N_INNER]))
    return 0.0


def mean_shift(sums: NDArray[np.float64]) -> tuple[int, float]:
    """Return how many pixels a label has, and their mean above the reference."""
    from parfocal.imaging import _operators_kernel as k

    return int(sums[k.N]), float(sums[k.SUM] / sums[k.N])


def flat_scores(names: tuple[str, ...]) -> dict[str, float]:
    """Return what a flat frame scores: 0, but nothing where 0 would be the sharpest of all."""
    return {name: math.nan if name in _ZERO_WOULD_BE_SHARPEST else 0.0 for name in names}


def not_finite(names: tuple[str, ...], noise: str, n_px: int) -> OperatorScores:
    """Return the scores of what holds a pixel that is no number."""
    nothing = MappingProxyType(dict.fromkeys(names, math.nan))
    return OperatorScores(nothing, nothing, nothing, math.nan, math.nan, noise, n_px, ("non_finite",))


def scored(
    raw: dict[str, float],
    mean: float,
    sd: float,
    noise: str,
    n_px: int,
    log_sigma_px: float,
    flags: tuple[str, ...],
    linear_floors: Mapping[str, float] | None = None,
) -> OperatorScores:
    """Return raw scores with their floors taken away and their normalized forms.

    `linear_floors` are those per ADU of noise that depend on the frame; they are taken away in quadrature.
    """
    over_mean = 1 / mean if mean > 0 else math.nan
    flat = "flat" in flags
    if flat and mean <= 0:
        for name in ("normalized_variance", "variance_over_mean", "local_focus"):
            if name in raw:
                raw[name] = math.nan
    debiased = {name: _debiased(name, value, sd, over_mean, log_sigma_px) for name, value in raw.items()}
    for name, per_adu in (linear_floors or {}).items():
        debiased[name] = less_in_quadrature(raw[name], per_adu * sd)
    normalized = {
        name: value * over_mean ** OPERATORS[name].power if OPERATORS[name].power else value
        for name, value in debiased.items()
    }
    missing = [name for name, value in raw.items() if not flat and _is_missing(name, value, mean)]
    kept = tuple(flag for flag in flags if flag != "too_small_for_log")
    return OperatorScores(
        MappingProxyType(raw),
        MappingProxyType(debiased),
        MappingProxyType(normalized),
        mean,
        sd,
        noise,
        n_px,
        kept + tuple(f"too_small_for_{name}" for name in missing),
    )


def _is_missing(name: str, value: float, mean: float) -> bool:
    needs_mean = name in ("normalized_variance", "variance_over_mean", "local_focus")
    return math.isnan(value) and not (needs_mean and mean <= 0)


def _debiased(name: str, value: float, sd: float, over_mean: float, log_sigma_px: float) -> float:
    if name in _FLOOR_OF_SQUARES:
        return value - _FLOOR_OF_SQUARES[name] * sd**2
    if name == "normalized_variance":
        return value - (sd * over_mean) ** 2
    if name == "variance_over_mean":
        return value - sd**2 * over_mean
    if name == "modified_laplacian":
        return less_in_quadrature(value, 2 * math.sqrt(2 / math.pi) * math.sqrt(6) * sd)
    if name == "mean_abs_log":
        norm = log_kernel_norm(gaussian_taps(log_sigma_px).tobytes())
        return less_in_quadrature(value, math.sqrt(2 / math.pi) * sd * norm)
    return value
