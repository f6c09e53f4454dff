"""Modes, limits, and what is written down of a restoration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.restoration._condition import ImageCondition
from parfocal.segmentation.restoration._pixel_noise import PixelNoise

RestorationMode = Literal["none", "auto", "denoise", "deblur", "denoise+deblur"]
RESTORATION_MODES: tuple[RestorationMode, ...] = get_args(RestorationMode)

Floats = NDArray[np.float32]


class Denoiser(Protocol):
    """Takes planes `[z, y, x]` and their noise, returns planes of the same shape on the same grey scale."""

    @property
    def name(self) -> str:
        """What it is, for the record."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """SHA-256 of its weights; None where it has none."""
        ...

    def __call__(self, planes: Floats, noise: PixelNoise) -> Floats:
        """Return the planes with less noise."""
        ...


@dataclass(frozen=True)
class RestorationLimits:
    """What `auto` decides by; `python docs/restoration_tables.py` prints the ladder that the defaults come from.

    Parameters
    ----------
    noisy_snr : float
        Below it an image is denoised.
    doubtful_snr : float
        Between the two it is denoised only where segmenting the raw image went badly, which takes a guard.
    blurred_px : float
        Above it an image counts as blurred (`ImageCondition.blur_px`).
    sharp_px : float
        What nuclei measure in focus: Richardson-Lucy is given the rest, root of the difference of squares.
    most_deblur_px : float
        The widest Gaussian that Richardson-Lucy is given.
    deblur_needs_guard : bool
        `auto` sharpens only under a guard: on the ladder sharpening rarely made better objects.
    saturated_share : float
        Above it an image is left alone.
    flow_error : float
        Objects whose mean flow error is below it went well.
    count_ratio : (float, float)
        By how much restoring may change the number of objects, weighed by their sizes.
    """

    noisy_snr: float = 6.0
    doubtful_snr: float = 12.0
    blurred_px: float = 4.0
    sharp_px: float = 1.6
    most_deblur_px: float = 5.0
    deblur_needs_guard: bool = True
    saturated_share: float = 0.02
    flow_error: float = 0.2
    count_ratio: tuple[float, float] = (0.5, 2.0)


@dataclass(frozen=True)
class RestorationRecord:
    """What was done to pixels before they were segmented, and why.

    Parameters
    ----------
    asked, applied : str
        Mode that was asked for, and what was done: `none` where nothing was, or where the guard kept the raw.
    before : ImageCondition
        Of the raw image.
    after : ImageCondition, optional
        Of the restored image, where there is one; its noise is no longer that of a camera.
    method : str
        By what, `wavelet`, say, or `wavelet, Richardson-Lucy sigma 3.2 px, 12 iterations`.
    weights_sha256 : str, optional
        Of a learned denoiser.
    kept : bool
        Whether the restored pixels were segmented.
    why : str
        In plain words.
    flow_error_raw, flow_error_restored, contrast_raw, contrast_restored : float, optional
        What the guard went by: mean flow error of the objects, or how they stand out of raw pixels that were held
        back, see `restore_if_it_helps`.
    count_raw, count_restored : int, optional
        Objects found.
    """

    asked: str
    applied: str
    before: ImageCondition
    after: ImageCondition | None = None
    method: str = ""
    weights_sha256: str | None = None
    kept: bool = False
    why: str = ""
    flow_error_raw: float | None = None
    flow_error_restored: float | None = None
    contrast_raw: float | None = None
    contrast_restored: float | None = None
    count_raw: int | None = None
    count_restored: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values: the SNR and blur of the raw image; a number that is none is None."""
        names = ("asked", "applied", "why", "method", "weights_sha256", "kept")
        told: dict[str, Any] = {name: getattr(self, name) for name in names}
        told |= {"snr": self.before.snr, "blur_px": self.before.blur_px}
        for name in ("flow_error", "contrast", "count"):
            told |= {f"{name}_{of}": getattr(self, f"{name}_{of}") for of in ("raw", "restored")}
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in told.items()}


@dataclass(frozen=True)
class Restored:
    """Pixels to segment, never to measure on, and how they came about.

    Parameters
    ----------
    image : ndarray
        Of the raw image's shape: itself where nothing was done to it, else float32.
    record : RestorationRecord
        What was done.
    """

    image: NDArray[np.generic]
    record: RestorationRecord

    @property
    def mode(self) -> str:
        """What was done: `none`, `denoise`, `deblur`, `denoise+deblur`."""
        return self.record.applied
