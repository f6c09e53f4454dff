"""Decide what an image needs, and do it to a copy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.segmentation.restoration._classical import deblur_classical
from parfocal.segmentation.restoration._condition import ImageCondition, assess_image, checked_image
from parfocal.segmentation.restoration._denoisers import ClassicalDenoiser
from parfocal.segmentation.restoration._pixel_noise import image_noise
from parfocal.segmentation.restoration._record import (
    RESTORATION_MODES,
    Denoiser,
    Floats,
    RestorationLimits,
    RestorationMode,
    RestorationRecord,
    Restored,
)

_LEAST_SIGMA_PX = 0.7


def restore(
    image: NDArray[np.generic],
    mode: RestorationMode = "auto",
    *,
    camera_model: CameraModel | None = None,
    denoiser: Denoiser | None = None,
    psf: NDArray[np.floating[Any]] | None = None,
    limits: RestorationLimits | None = None,
    scale_px: float = 3.0,
    guarded: bool = False,
) -> Restored:
    """Return pixels that are easier to segment, and a record of what was done.

    `auto` decides in this order: a saturated or empty image is left alone; a noisy one is denoised; its blur is
    measured again, and if it is still blurred it is sharpened. Denoisers soften, so it counts as blurred only
    where the raw image did too, or was too noisy to tell.

    The result is for segmentation only. Measure on the raw image, which is neither changed nor replaced.

    Parameters
    ----------
    image : ndarray of shape (y, x) or (z, y, x)
        Raw pixels of any real dtype; planes are restored one by one.
    mode : {"none", "auto", "denoise", "deblur", "denoise+deblur"}
        What to do.
    camera_model : CameraModel, optional
        Offset, gain and read noise, where known; else they are estimated from the pixels.
    denoiser : Denoiser, optional
        What denoises; wavelets by default, see `open_denoiser`.
    psf : ndarray of shape (y, x), optional
        A measured spot for Richardson-Lucy; by default a Gaussian as wide as the blur that was measured.
    limits : RestorationLimits, optional
        What `auto` decides by.
    scale_px : float
        See `assess_image`.
    guarded : bool
        The caller will compare the result with the raw image (`restore_if_it_helps` does): `auto` then also
        tries what does not always help.

    Returns
    -------
    Restored

    Raises
    ------
    BadInputError
        No such mode, or no such image (see `assess_image`).
    """
    if mode not in RESTORATION_MODES:
        raise BadInputError(f"restoration: mode is {mode!r}, expected one of {', '.join(RESTORATION_MODES)}")
    limits = limits or RestorationLimits()
    raw = checked_image(image, "restore")
    before = assess_image(image, camera_model, scale_px)
    denoise, deblur, why = _plan(mode, before, limits, guarded)
    if not denoise and not deblur:
        return Restored(image, RestorationRecord(mode, "none", before, why=why))
    denoiser = denoiser or ClassicalDenoiser()
    pixels: Floats = raw.astype(np.float32)  # astype copies
    noise, steps, methods = before.noise, list[str](), list[str]()
    blur_px = before.blur_px
    if denoise:
        pixels = np.asarray(denoiser(pixels, noise), np.float32).reshape(raw.shape)
        noise = image_noise(pixels)
        steps.append("denoise")
        methods.append(denoiser.name)
        if mode == "auto":
            blur_px = _blur_after(before, assess_image(pixels, scale_px=scale_px))
            deblur = blur_px > limits.blurred_px and (guarded or not limits.deblur_needs_guard)
            if blur_px > limits.blurred_px:
                why += f"; blur {blur_px:.1f} px after it, above {limits.blurred_px:g}"
                why += "" if deblur else ", not sharpened without a guard"
    if deblur:
        sigma_px = _excess_px(blur_px, limits)
        pixels, iterations = deblur_classical(
            pixels, noise, before.background_adu, sigma_px if psf is None else psf
        )
        steps.append("deblur")
        width = f"sigma {sigma_px:.1f} px" if psf is None else "measured spot"
        methods.append(f"Richardson-Lucy {width}, {iterations} iterations")
    record = RestorationRecord(
        asked=mode,
        applied="+".join(steps),
        before=before,
        after=assess_image(pixels, scale_px=scale_px),
        method=", ".join(methods),
        weights_sha256=denoiser.weights_sha256 if denoise else None,
        kept=True,
        why=why,
    )
    return Restored(pixels.reshape(np.shape(image)), record)


def recommended_restoration(
    image: NDArray[np.generic],
    *,
    camera_model: CameraModel | None = None,
    limits: RestorationLimits | None = None,
    scale_px: float = 3.0,
) -> tuple[RestorationMode, str]:
    """Return what an image would be helped by, and why, in plain words; nothing is done to it.

    What `auto` tries under a guard, as `restore_if_it_helps` does: whether it helps shows only when it is tried.

    Parameters
    ----------
    image : ndarray of shape (y, x) or (z, y, x)
        Raw pixels of any real dtype.
    camera_model, limits, scale_px
        See `restore`.

    Returns
    -------
    mode : {"none", "denoise", "deblur"}
    why : str

    Raises
    ------
    BadInputError
        No such image (see `assess_image`).
    """
    found = assess_image(image, camera_model, scale_px)
    denoise, deblur, why = _plan("auto", found, limits or RestorationLimits(), guarded=True)
    return "denoise" if denoise else "deblur" if deblur else "none", why


def _plan(
    mode: RestorationMode, found: ImageCondition, limits: RestorationLimits, guarded: bool
) -> tuple[bool, bool, str]:
    """Return whether to denoise, whether to sharpen before anything is measured again, and why."""
    if mode == "none":
        return False, False, "not asked for"
    if mode != "auto":
        return "denoise" in mode, "deblur" in mode, "asked for"
    if found.saturated_share > limits.saturated_share:
        return False, False, f"{found.saturated_share:.1%} of pixels are saturated: what they held is lost"
    if found.empty:
        return False, False, f"nothing stands out of the noise (SNR {found.snr:.1f})"
    if found.snr < limits.noisy_snr:
        return True, False, f"SNR {found.snr:.1f}, below {limits.noisy_snr:g}"
    doubtful = found.snr < limits.doubtful_snr
    if doubtful and guarded:
        return True, False, f"SNR {found.snr:.1f}, below {limits.doubtful_snr:g}, and the raw image went badly"
    if found.blur_px > limits.blurred_px:
        why = f"SNR {found.snr:.1f}; blur {found.blur_px:.1f} px, above {limits.blurred_px:g}"
        if guarded or not limits.deblur_needs_guard:
            return False, True, why
        return False, False, why + ", not sharpened without a guard"
    known = "unknown" if math.isnan(found.blur_px) else f"{found.blur_px:.1f} px"
    return False, False, f"SNR {found.snr:.1f}, blur {known}: nothing to do"


def _blur_after(before: ImageCondition, after: ImageCondition) -> float:
    """Return the smaller of two blurs, since a denoiser adds some; the one that is known, or 0."""
    known = [b for b in (before.blur_px, after.blur_px) if not math.isnan(b)]
    return min(known, default=0.0)


def _excess_px(blur_px: float, limits: RestorationLimits) -> float:
    """Return how wide a Gaussian stands between nuclei in focus and these."""
    if math.isnan(blur_px):
        return limits.sharp_px
    excess = math.sqrt(max(blur_px**2 - limits.sharp_px**2, _LEAST_SIGMA_PX**2))
    return min(excess, limits.most_deblur_px)
