"""Restoration that needs no weights: stabilised noise and wavelets or non-local means; Richardson-Lucy."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.segmentation.restoration._pixel_noise import PixelNoise

Floats = NDArray[np.float32]
DenoiseMethod = Literal["wavelet", "nlm"]

_B3 = np.array([1, 4, 6, 4, 1]) / 16
_WAVELET_SCALES = 5
_SHRINK = 2.0  # 1 is Wiener's; energies that are noise alone scatter to twice their mean


def stabilise(image: Floats, noise: PixelNoise) -> Floats:
    """Return the image with noise of standard deviation 1 everywhere (generalised Anscombe).

    With variance a I + c of a pixel: f(I) = 2/a sqrt(a I + 3/8 a² + c), or I / sqrt(c) where there is no shot
    noise.

    References
    ----------
    .. [1] F. Murtagh, J.-L. Starck, A. Bijaoui, "Image restoration with noise suppression using a multiresolution
       support", Astron. Astrophys. Suppl. 112, 179 (1995).
    """
    a, c = _line(noise)
    if a == 0.0:
        return (image / math.sqrt(c)).astype(np.float32)
    inside = a * image + (0.375 * a * a + c)
    return ((2 / a) * np.sqrt(np.maximum(inside, 0))).astype(np.float32)


def unstabilise(stable: Floats, noise: PixelNoise) -> Floats:
    """Undo `stabilise` for averages, without the bias that its plain inverse has at few photons [2]_.

    References
    ----------
    .. [2] M. Mäkitalo, A. Foi, "Optimal inversion of the generalized Anscombe transformation for
       Poisson-Gaussian noise", IEEE Trans. Image Process. 22, 91 (2013): the closed form.
    """
    a, c = _line(noise)
    if a == 0.0:
        return (stable * math.sqrt(c)).astype(np.float32)
    d = np.maximum(stable, 2 * math.sqrt(0.375)).astype(np.float64)
    root = math.sqrt(1.5)
    photons = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8
    return (a * photons - c / a).astype(np.float32)


def _line(noise: PixelNoise) -> tuple[float, float]:
    """Return slope and intercept; 0 and 1 where there is no noise at all, so that nothing is divided by 0."""
    if noise.slope_adu <= 0:
        return 0.0, noise.floor_adu2 if noise.floor_adu2 > 0 else 1.0
    return noise.slope_adu, noise.intercept_adu2


def denoise_classical(image: Floats, noise: PixelNoise, method: DenoiseMethod = "wavelet") -> Floats:
    """Return planes `[z, y, x]` with less noise, each plane for itself.

    `wavelet`: undecimated B3-spline wavelets of the stabilised plane, each scale's coefficients shrunk by the
    Wiener factor of their local energy. `nlm`: non-local means (scikit-image) of the stabilised plane, patches of
    5 px, h = 0.8.
    """
    if noise.slope_adu <= 0 and noise.floor_adu2 <= 0:
        return image.copy()
    stable = stabilise(image, noise)
    clean = np.stack([_wavelet(plane) if method == "wavelet" else _nlm(plane) for plane in stable])
    return unstabilise(clean, noise)


def _wavelet(plane: Floats) -> Floats:
    """Shrink the starlet coefficients of a plane whose noise has standard deviation 1."""
    scales = min(_WAVELET_SCALES, int(math.log2(min(plane.shape))) - 2)
    smooth = plane
    out = np.zeros_like(plane)
    for scale in range(scales):
        coarser = _b3(smooth, 2**scale)
        detail = smooth - coarser
        floor = _starlet_variance(scale)
        # energy over the wavelet's own reach: single coefficients are too noisy to be judged alone
        energy = ndimage.gaussian_filter(np.square(detail), 1.5 * 2**scale, truncate=2.5)
        out += detail * np.maximum(1 - _SHRINK * floor / np.maximum(energy, 1e-12), 0)
        smooth = coarser
    return out + smooth


def _b3(plane: Floats, step: int) -> Floats:
    kernel = np.zeros(4 * step + 1)
    kernel[::step] = _B3
    once = ndimage.correlate1d(plane, kernel, axis=0, mode="mirror")
    return np.asarray(ndimage.correlate1d(once, kernel, axis=1, mode="mirror"), np.float32)


def _starlet_variance(scale: int) -> float:
    """Return the variance of white noise of unit variance in the coefficients of a scale."""
    line = np.ones(1)
    for k in range(scale):
        line = np.convolve(line, _spread(2**k))
    coarser = np.convolve(line, _spread(2**scale))
    both = float(np.square(line).sum()) ** 2 + float(np.square(coarser).sum()) ** 2
    pad = (coarser.size - line.size) // 2
    return both - 2 * float((np.pad(line, pad) * coarser).sum()) ** 2


def _spread(step: int) -> NDArray[np.float64]:
    kernel = np.zeros(4 * step + 1)
    kernel[::step] = _B3
    return kernel


def _nlm(plane: Floats) -> Floats:
    from skimage import restoration  # slow to import

    nlm: Any = restoration.denoise_nl_means
    return nlm(plane, patch_size=5, patch_distance=6, h=0.8, sigma=1.0, fast_mode=True).astype(np.float32)


def deblur_classical(
    image: Floats,
    noise: PixelNoise,
    background_adu: float,
    psf: float | NDArray[np.floating[Any]],
    max_iterations: int = 30,
) -> tuple[Floats, int]:
    """Sharpen planes `[z, y, x]` by Richardson-Lucy, and stop before noise is what is sharpened.

    The background is taken off first and put back after. Iteration ends where the blurred estimate fits the image
    as well as its noise lets it, mean((I - H x)²) <= mean(variance), where it hardly changes any more, or at
    `max_iterations`.

    Parameters
    ----------
    image : float32[z, y, x]
        Raw or denoised.
    noise : PixelNoise
        Of the image.
    background_adu : float
        Level without light; less than 1 % of pixels may lie below it, they count as dark.
    psf : float or ndarray of shape (y, x)
        Standard deviation of a Gaussian, px, or a measured spot, of odd sides.
    max_iterations : int
        At most.

    Returns
    -------
    float32[z, y, x], int
        The sharper planes and the most iterations that one took.

    References
    ----------
    .. [3] W. H. Richardson, J. Opt. Soc. Am. 62, 55 (1972); L. B. Lucy, Astron. J. 79, 745 (1974).
    """
    from scipy import signal  # slow to import, and only needed here

    spot = None if np.ndim(psf) == 0 else np.asarray(psf, np.float64)
    if spot is not None and (
        spot.ndim != 2 or spot.shape[0] % 2 == 0 or spot.shape[1] % 2 == 0 or spot.sum() <= 0
    ):
        raise BadInputError(f"deblur: psf has shape {spot.shape}, expected [y, x] of odd sides and a sum above 0")

    def blur(plane: Floats, flip: bool = False) -> Floats:
        if spot is None:
            return np.asarray(ndimage.gaussian_filter(plane, float(np.asarray(psf)), mode="nearest"), np.float32)
        kernel = (spot[::-1, ::-1] if flip else spot) / spot.sum()
        reach = (spot.shape[0] // 2, spot.shape[1] // 2)
        padded = np.pad(plane, ((reach[0],) * 2, (reach[1],) * 2), mode="edge")
        return np.asarray(signal.fftconvolve(padded, kernel, mode="valid"), np.float32)

    out = np.empty(image.shape, np.float32)
    most = 0
    for z, plane in enumerate(image):
        light = np.maximum(plane - background_adu, 0).astype(np.float32)
        tiny = max(1e-6 * float(light.max()), 1e-30)
        target = float(np.mean(noise.variance_adu2(plane), dtype=np.float64))
        estimate = np.maximum(light, tiny)
        last = math.inf
        n = 0
        while n < max_iterations:
            seen = np.maximum(blur(estimate), tiny)
            misfit = float(np.mean(np.square(light - seen), dtype=np.float64))
            if misfit <= target or misfit > 0.99 * last:
                break
            last = misfit
            estimate = np.maximum(estimate * blur(light / seen, flip=True), tiny)
            n += 1
        out[z] = estimate + background_adu
        most = max(most, n)
    return out, most
