"""How noisy and how blurred an image is, in numbers that no gain, offset or bit depth changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.segmentation.restoration._pixel_noise import PixelNoise, camera_noise, image_noise

_PLANES = 16
_LIGHT_SMOOTHING_PX = 1.0
_TRUNCATE = 4.0
_MOST_NOISE_SHARE = 0.5
_SHARPEST_KNOWN, _BLUREST_KNOWN = 0.05, 20.0  # in scales


@dataclass(frozen=True)
class ImageCondition:
    """What `assess_image` finds.

    Parameters
    ----------
    snr : float
        (99.5th percentile - background) / noise of a pixel at that grey level, levels taken after light smoothing.
        Infinite where there is no noise.
    blur_px : float
        Standard deviation of the Gaussian that would make ideal edges as soft as these, px; NaN where noise or
        emptiness hides it.
    peak_photons : float
        The same height in photoelectrons; NaN where no camera model is known.
    background_adu, peak_adu : float
        The two levels.
    noise : PixelNoise
        Variance of a pixel at each level.
    saturated_share : float
        Share of pixels at the camera's ceiling or the largest number that the dtype holds.
    blur_noise_share : float
        Share of noise in what the blur was read from: above 0.5, `blur_px` is NaN.
    """

    snr: float
    blur_px: float
    peak_photons: float
    background_adu: float
    peak_adu: float
    noise: PixelNoise
    saturated_share: float
    blur_noise_share: float

    @property
    def empty(self) -> bool:
        """Nothing stands out of the noise."""
        return not self.snr > 1.5


def assess_image(
    image: NDArray[np.generic], camera_model: CameraModel | None = None, scale_px: float = 3.0
) -> ImageCondition:
    """Measure the noise and the blur of a plane or a volume.

    Signal to noise: with P and B the 99.5th and the 10th percentile of the image under a Gaussian of 1 px (which
    takes most noise off the percentiles), SNR = (P - B) / s(P). The noise s comes from the camera's model, else
    from the pixels themselves (`PixelNoise`).

    Blur: an edge has a power spectrum falling with frequency cubed, so that under a blur of standard deviation b
    the variances V of the Laplacian of Gaussian at scales s and 2 s are as::

        V(s) / V(2 s) = ((4 s² + b²) / (s² + b²))^(3/2),  so  b² = s² (4 - r) / (r - 1),  r = (V(s) / V(2 s))^(2/3)

    the noise's own share taken off both variances (it is the mean variance of a pixel times the kernel's squared
    norm). Objects should be larger than about 8 s; what is soft by nature counts as blurred.

    Multiplying the image or adding to it changes neither.

    Parameters
    ----------
    image : ndarray of shape (y, x) or (z, y, x)
        Raw pixels of any real dtype, at least 16x16. Up to 16 planes of a volume are looked at.
    camera_model : CameraModel, optional
        Offset, gain and read noise, where known.
    scale_px : float
        s, 1 to 8 px. A sixteenth of an object's diameter is a good choice.

    Returns
    -------
    ImageCondition

    Raises
    ------
    BadInputError
        The image is no plane or volume of real numbers, is too small, or `scale_px` is out of range.
    """
    raw = checked_image(image, "assess_image")
    if not 1 <= scale_px <= 8:
        raise BadInputError(f"assess_image: scale_px is {scale_px:g}, expected 1 to 8 px")
    chosen = raw[np.unique(np.linspace(0, len(raw) - 1, min(len(raw), _PLANES)).round().astype(int))]
    planes = np.ascontiguousarray(chosen, np.float32)
    noise = image_noise(planes) if camera_model is None else camera_noise(camera_model)
    smooth = np.stack([ndimage.gaussian_filter(plane, _LIGHT_SMOOTHING_PX) for plane in planes])
    background, peak = (float(v) for v in np.percentile(smooth, (10, 99.5)))
    sd = noise.sd_adu(peak)
    height = peak - background
    snr = height / sd if sd > 0 else (math.inf if height > 0 else 0.0)
    photons = height / noise.slope_adu if camera_model is not None else math.nan
    ceiling = camera_model.saturation_adu if camera_model is not None else math.inf
    if chosen.dtype.kind in "iu":
        ceiling = min(ceiling, float(np.iinfo(chosen.dtype).max))
    saturated = float((chosen >= ceiling).mean()) if math.isfinite(ceiling) else 0.0
    blur_px, share = _blur(planes, noise, scale_px)
    if not snr > 1.5:
        blur_px = math.nan
    return ImageCondition(snr, blur_px, photons, background, peak, noise, saturated, share)


def checked_image(image: NDArray[np.generic], who: str) -> NDArray[Any]:
    """Return the image as a volume, or say what is wrong with it."""
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise BadInputError(f"{who}: image has dtype {array.dtype}, expected integers or real numbers")
    if array.ndim not in (2, 3) or min(array.shape[-2:]) < 16 or array.size == 0:
        raise BadInputError(
            f"{who}: image has shape {array.shape}, expected [y, x] or [z, y, x] of 16x16 and more"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadInputError(f"{who}: image has pixels that are not finite; replace them first")
    return array if array.ndim == 3 else array[None]


def _blur(planes: NDArray[np.float32], noise: PixelNoise, scale_px: float) -> tuple[float, float]:
    """Return the blur and the share of noise in the finer of the two variances."""
    margin = min(math.ceil(2 * scale_px * _TRUNCATE), (min(planes.shape[1:]) - 8) // 2)
    inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
    noise_variance = float(np.mean(noise.variance_adu2(planes), dtype=np.float64))
    signal: list[float] = []
    share = 1.0
    for sigma in (2 * scale_px, scale_px):
        response = np.stack([ndimage.gaussian_laplace(p - p.mean(), sigma, truncate=_TRUNCATE) for p in planes])
        power = float(np.mean(np.square(response[inner]), dtype=np.float64))
        floor = noise_variance * _log_norm2(sigma)
        signal.append(power - floor)
        share = floor / power if power > 0 else 1.0
    if min(signal) <= 0 or share > _MOST_NOISE_SHARE:
        return math.nan, share
    ratio = (signal[1] / signal[0]) ** (2 / 3)
    if ratio >= 4:
        return _SHARPEST_KNOWN * scale_px, share
    if ratio <= 1:
        return _BLUREST_KNOWN * scale_px, share
    blur = scale_px * math.sqrt((4 - ratio) / (ratio - 1))
    return min(max(blur, _SHARPEST_KNOWN * scale_px), _BLUREST_KNOWN * scale_px), share


@lru_cache(maxsize=16)
def _log_norm2(sigma_px: float) -> float:
    """Return the squared norm of the Laplacian of Gaussian: what it makes of white noise of unit variance."""
    side = 2 * math.ceil(sigma_px * _TRUNCATE) + 5
    point = np.zeros((side, side))
    point[side // 2, side // 2] = 1
    return float(np.square(ndimage.gaussian_laplace(point, sigma_px, truncate=_TRUNCATE)).sum())
