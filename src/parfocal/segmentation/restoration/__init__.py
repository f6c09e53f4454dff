"""Restore noisy and blurred pixels for segmentation alone, by what the image's own physics says of it."""

from parfocal.segmentation.restoration._classical import DenoiseMethod, deblur_classical, denoise_classical
from parfocal.segmentation.restoration._condition import ImageCondition, assess_image
from parfocal.segmentation.restoration._denoisers import SHIPPED_DENOISER, ClassicalDenoiser, open_denoiser
from parfocal.segmentation.restoration._guard import GuardedSegmentation, restore_if_it_helps
from parfocal.segmentation.restoration._pixel_noise import PixelNoise, camera_noise, image_noise
from parfocal.segmentation.restoration._record import (
    RESTORATION_MODES,
    Denoiser,
    RestorationLimits,
    RestorationMode,
    RestorationRecord,
    Restored,
)
from parfocal.segmentation.restoration._restore import recommended_restoration, restore

__all__ = [
    "RESTORATION_MODES",
    "SHIPPED_DENOISER",
    "ClassicalDenoiser",
    "DenoiseMethod",
    "Denoiser",
    "GuardedSegmentation",
    "ImageCondition",
    "PixelNoise",
    "RestorationLimits",
    "RestorationMode",
    "RestorationRecord",
    "Restored",
    "assess_image",
    "camera_noise",
    "deblur_classical",
    "denoise_classical",
    "image_noise",
    "open_denoiser",
    "recommended_restoration",
    "restore",
    "restore_if_it_helps",
]
