"""Six focus scores of an image from one read of its pixels."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging._bands import for_each_band
from parfocal.imaging._scores import FocusScoreSet, Sharpness
from parfocal.optics import CameraModel
from parfocal.read_only import read_only

NoiseSource = Literal["model", "immerkaer", "none"]

_BAND_ROWS = 256
_SCORES_OF_RAW_TYPES = ("uint8", "uint16", "int16", "float32", "float64")
_NAN_SCORES = FocusScoreSet(*(math.nan,) * 6)


def sharpness(
    image: ArrayLike,
    camera_model: CameraModel | None = None,
    noise: NoiseSource | None = None,
    log_sigma_px: float = 1.5,
    n_threads: int | None = None,
) -> Sharpness:
    """Score how sharp an image is.

    With I the image less the camera's offset, m its mean and s² the variance of its pixel noise::

        score                 raw                                                     floor of white noise
        laplacian_variance    var(L), L = I * [0 1 0; 1 -4 1; 0 1 0]                  20 s²
        tenengrad             mean(Gx² + Gy²), Sobel 3x3                              24 s²
        brenner               mean of (I(x+1) - I(x-1))² and (I(y+1) - I(y-1))²       2 s²
        normalized_variance   var(I) / m²                                             s² / m²
        vollath_f4            mean (I(x-1) - m) (I(x) - I(x+1))                       0
        mean_abs_log          mean |G_sigma * L|                                      sqrt(2/pi) s ‖kernel‖

    Floors are subtracted; that of `mean_abs_log`, an absolute value, in quadrature (exact where the signal's
    response is normally distributed). Every mean is over pixels whose whole neighbourhood lies inside the
    image: nothing is padded. Sums do not depend on the number of threads.

    Parameters
    ----------
    image : array_like of shape (height, width)
        Any integer or real type; at least 3x3.
    camera_model : CameraModel, optional
        Offset, gain and read noise. Per-pixel maps are applied to the image first, at their mean gain.
    noise : {"model", "immerkaer", "none"}, optional
        Where s comes from. "model" (default with a camera model): shot and read noise at the image's mean.
        "immerkaer" (default without): from the image itself [4]_; fine texture counts as noise. "none": 0.
    log_sigma_px : float
        Standard deviation of the Gaussian in `mean_abs_log`, 0.5 to 8 px.
    n_threads : int, optional
        Threads to use; all usable cores by default.

    Returns
    -------
    Sharpness

    Raises
    ------
    BadInputError
        The image is not 2D, is smaller than 3x3, is complex, or "model" was asked for without a model.

    References
    ----------
    .. [1] S. Pertuz, D. Puig, M. A. Garcia, "Analysis of focus measure operators for shape-from-focus",
       Pattern Recognition 46, 1415 (2013).
    .. [2] D. Vollath, "The influence of the scene parameters and of noise on the behaviour of automatic
       focusing algorithms", J. Microsc. 151, 133 (1988).
    .. [3] T. Lindeberg, "Scale-space for discrete signals", IEEE Trans. PAMI 12, 234 (1990): why the
       Laplacian of Gaussian is the 4-neighbour Laplacian of the smoothed pixels here.
    .. [4] J. Immerkær, "Fast noise variance estimation", Comput. Vis. Image Underst. 64, 300 (1996).
    """
    if noise is None:
        noise = "immerkaer" if camera_model is None else "model"
    if noise == "model" and camera_model is None:
        raise BadInputError('sharpness: noise="model" needs a camera_model; give one or use noise="immerkaer"')
    if not 0.5 <= log_sigma_px <= 8:
        raise BadInputError(f"sharpness: log_sigma_px is {log_sigma_px:g}, expected 0.5 to 8 px")
    pixels, offset_adu = prepared(np.asarray(image), camera_model)
    reference = near_mean(pixels)
    taps = gaussian_taps(log_sigma_px)
    sums = _sums(pixels, reference, taps, n_threads)
    if not np.isfinite(sums).all():
        return Sharpness(_NAN_SCORES, _NAN_SCORES, _NAN_SCORES, math.nan, math.nan, noise, ("non_finite",))
    return _scored(pixels.shape, float(reference), offset_adu, sums, taps, camera_model, noise)


def prepared(image: NDArray[np.generic], camera_model: CameraModel | None) -> tuple[NDArray[np.generic], float]:
    """Return the pixels as the kernel takes them and the offset that is still in them, ADU."""
    if image.ndim != 2 or min(image.shape) < 3:
        raise BadInputError(f"sharpness: image has shape {image.shape}, expected [y, x] of at least 3x3")
    if image.dtype.kind not in "buif":
        raise BadInputError(f"sharpness: image has dtype {image.dtype}, expected integers or real numbers")
    offset_adu = 0.0
    if camera_model is not None:
        if np.ndim(camera_model.offset_adu) or np.ndim(camera_model.gain_adu_per_e):
            image = camera_model.to_electrons(image) * np.float32(np.mean(camera_model.gain_adu_per_e))
        else:
            offset_adu = float(np.mean(camera_model.offset_adu))
    if image.dtype == np.bool_:
        image = image.view(np.uint8)
    elif image.dtype.name not in _SCORES_OF_RAW_TYPES:
        image = image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("=")), offset_adu


def near_mean(pixels: NDArray[Any]) -> np.float32 | np.float64:
    """Return a value near the mean, from about 4,000 pixels: taken away, it costs float32 sums nothing."""
    step_y, step_x = (max(1, n // 64) for n in pixels.shape)
    sample = pixels[::step_y, ::step_x]
    with np.errstate(invalid="ignore", over="ignore"):
        mean = float(np.mean(sample, dtype=np.float64))
    if not math.isfinite(mean):
        mean = 0.0
    elif (sample == sample[0, 0]).all():
        mean = float(sample[0, 0])  # rounding in the mean must not make a constant image uneven
    if pixels.dtype.kind in "iu":
        mean = float(round(mean))  # so that differences stay exact
    return np.float64(mean) if pixels.dtype == np.float64 else np.float32(mean)


def _sums(
    pixels: NDArray[np.generic],
    reference: np.float32 | np.float64,
    taps: NDArray[np.float32],
    n_threads: int | None,
) -> NDArray[np.float64]:
    from parfocal.imaging._sharpness_kernel import N_SUMS, band_sums  # numba is slow to import

    pixels, height = read_only(pixels), pixels.shape[0]
    n_bands = -(-height // _BAND_ROWS)
    sums = np.empty((n_bands, N_SUMS))

    def one_band(band: int) -> None:
        first_row = band * _BAND_ROWS
        band_sums(pixels, reference, first_row, min(height, first_row + _BAND_ROWS), taps, sums[band])

    for_each_band(one_band, n_bands, n_threads)
    return sums.sum(axis=0)


def _scored(
    shape: tuple[int, ...],
    reference: float,
    offset_adu: float,
    sums: NDArray[np.float64],
    taps: NDArray[np.float32],
    camera_model: CameraModel | None,
    noise: str,
) -> Sharpness:
    from parfocal.imaging import _sharpness_kernel as kernel

    height, width = shape
    n, n_inner = height * width, (height - 2) * (width - 2)
    margin = taps.size
    n_log = max(0, height - 2 * margin) * max(0, width - 2 * margin)
    flags: list[str] = []

    mean_above_reference = float(sums[kernel.SUM]) / n
    mean = reference + mean_above_reference - offset_adu
    variance = max(0.0, float(sums[kernel.SUM_SQUARES]) / n - mean_above_reference**2)
    laplacian_mean = float(sums[kernel.LAPLACIAN]) / n_inner
    lapv = max(0.0, float(sums[kernel.LAPLACIAN_SQUARES]) / n_inner - laplacian_mean**2)
    teng = float(sums[kernel.TENENGRAD]) / n_inner
    bren = float(sums[kernel.BRENNER]) / (2 * n_inner)
    vol4 = float(sums[kernel.VOLLATH] - mean_above_reference * sums[kernel.ROW_SHIFT]) / n_inner
    log = float(sums[kernel.ABS_LOG]) / n_log if n_log else math.nan
    if teng == 0.0 and bren == 0.0 and lapv == 0.0:
        flags.append("flat")
        variance = vol4 = 0.0
        log = 0.0 if n_log else math.nan
    if not n_log:
        flags.append("too_small_for_log")
    if mean <= 0.0:
        flags.append("mean_not_positive")

    noise_sd = 0.0
    if "flat" in flags:
        pass
    elif noise == "model" and camera_model is not None:
        # a per-pixel offset has been taken away already; the model wants the level that it was measured at
        level = mean + float(np.mean(camera_model.offset_adu))
        noise_sd = math.sqrt(camera_model.noise_variance_adu2(level))
    elif noise == "immerkaer":
        noise_sd = math.sqrt(math.pi / 2) * float(sums[kernel.IMMERKAER]) / (6 * n_inner)
    floor = noise_sd**2
    log_floor = math.sqrt(2 / math.pi) * noise_sd * log_kernel_norm(taps.tobytes())
    over_mean = 1 / mean if mean > 0 else math.nan

    raw = FocusScoreSet(lapv, teng, bren, variance * over_mean**2, vol4, log)
    debiased = FocusScoreSet(
        lapv - 20 * floor,
        teng - 24 * floor,
        bren - 2 * floor,
        (variance - floor) * over_mean**2,
        vol4,
        less_in_quadrature(log, log_floor),
    )
    normalized = FocusScoreSet(
        debiased.laplacian_variance * over_mean**2,
        debiased.tenengrad * over_mean**2,
        debiased.brenner * over_mean**2,
        debiased.normalized_variance,
        debiased.vollath_f4 * over_mean**2,
        debiased.mean_abs_log * over_mean,
    )
    return Sharpness(raw, debiased, normalized, mean, noise_sd, noise, tuple(flags))


def less_in_quadrature(value: float, floor: float) -> float:
    difference = value**2 - floor**2
    return math.copysign(math.sqrt(abs(difference)), difference)


@lru_cache(maxsize=16)
def gaussian_taps(sigma_px: float) -> NDArray[np.float32]:
    """Return the half kernel from its centre outwards, to 4 sigma, zeros up to 1 + a multiple of 6."""
    radius = math.ceil(4 * sigma_px)
    half = np.exp(-0.5 * np.square(np.arange(radius + 1) / sigma_px))
    half /= half[0] + 2 * half[1:].sum()
    taps = np.zeros(1 + 6 * -(-radius // 6), np.float32)
    taps[: radius + 1] = half
    taps.setflags(write=False)
    return taps


@lru_cache(maxsize=16)
def log_kernel_norm(taps: bytes) -> float:
    """Return the Euclidean norm of Gaussian * Laplacian, which white noise of unit variance is scaled by."""
    half = np.frombuffer(taps, np.float32).astype(np.float64)
    line = np.pad(np.concatenate([half[:0:-1], half]), 1)
    second = np.convolve(line, [1.0, -2.0, 1.0], mode="same")
    return float(np.linalg.norm(np.outer(line, second) + np.outer(second, line)))
