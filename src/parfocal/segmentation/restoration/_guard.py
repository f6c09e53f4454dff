"""Segment the raw and the restored image, and keep the restored one only where it did better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.optics import CameraModel
from parfocal.segmentation._object_flow_errors import object_flow_errors
from parfocal.segmentation._segmentation import Labels, Segmentation
from parfocal.segmentation.restoration._condition import ImageCondition, checked_image
from parfocal.segmentation.restoration._record import (
    RESTORATION_MODES,
    Denoiser,
    RestorationLimits,
    RestorationMode,
    RestorationRecord,
    Restored,
)
from parfocal.segmentation.restoration._restore import restore

_RING_PX = 4
_ADDED_NOISE = 0.5


@dataclass(frozen=True)
class GuardedSegmentation:
    """A segmentation, of the raw or of the restored image, whichever did better, and the record of the choice."""

    segmentation: Segmentation
    record: RestorationRecord


@dataclass(frozen=True)
class _Quality:
    flow_error: float | None
    contrast: float | None
    count: int
    effective_count: float


def restore_if_it_helps(
    image: NDArray[np.generic],
    segment: Callable[[NDArray[np.generic]], Segmentation],
    mode: RestorationMode = "auto",
    *,
    camera_model: CameraModel | None = None,
    denoiser: Denoiser | None = None,
    psf: NDArray[np.floating[Any]] | None = None,
    limits: RestorationLimits | None = None,
    scale_px: float = 3.0,
) -> GuardedSegmentation:
    """Segment raw and restored pixels, and return the better segmentation.

    The restored one is kept if

    - restoring changed the number of objects by no more than `limits.count_ratio`. Objects are weighed by size,
      (sum A)² / sum A², so that losing a hundred specks of noise is no loss;
    - and its objects' mean flow error is lower, where both segmentations have a network's output. Where they have
      none: its objects stand out more.

    How objects stand out is judged on pixels that neither segmentation saw, or the one that fits noise best
    would win. With e drawn from the pixel's own noise, I + e/2 is segmented, as it is and restored, and I - 2 e
    is judged on: for normal noise the two are independent [1]_. The contrast is the mean over objects, large and
    small, of what an object has above a ring of 4 px about it, over the noise. A speck has nothing there, and a
    fragment of a nucleus less than its ring.

    In `auto`, an image that is merely doubtful (`limits.noisy_snr` to `limits.doubtful_snr`) is restored only if
    the raw objects' mean flow error is above `limits.flow_error`, or where there is none.

    Parameters
    ----------
    image : ndarray of shape (y, x) or (z, y, x)
        Raw pixels; neither changed nor replaced.
    segment : callable
        Takes pixels, returns a `Segmentation`, in the same way each time.
    mode, camera_model, denoiser, psf, limits, scale_px
        See `restore`.

    Returns
    -------
    GuardedSegmentation
        Its segmentation's `restoration` says what its pixels went through, its `restoration_record` why.

    References
    ----------
    .. [1] A. Neufeld et al., "Data thinning for convolution-closed distributions", J. Mach. Learn. Res. 25
       (2024).
    """
    limits = limits or RestorationLimits()

    def restored_of(pixels: NDArray[np.generic], how: RestorationMode, guarded: bool) -> Restored:
        return restore(
            pixels,
            how,
            camera_model=camera_model,
            denoiser=denoiser,
            psf=psf,
            limits=limits,
            scale_px=scale_px,
            guarded=guarded,
        )

    raw = segment(image)
    raw_quality = _quality(raw)
    went_well = raw_quality.flow_error is not None and raw_quality.flow_error <= limits.flow_error
    restored = restored_of(image, mode, not went_well)
    if restored.mode == "none":
        return _guarded(raw, restored.record)
    found = segment(restored.image)
    quality = _quality(found)
    if raw_quality.flow_error is None or quality.flow_error is None:
        before = restored.record.before
        seen, unseen = _thinned(image, before)
        again = restored_of(seen, _mode_of(restored), True)
        raw_quality = replace(raw_quality, contrast=_contrast(segment(seen).labels, unseen, before))
        quality = replace(quality, contrast=_contrast(segment(again.image).labels, unseen, before))
    kept, why = _better(raw_quality, quality, limits)
    record = _judged(restored, raw_quality, quality, kept, why)
    return _guarded(found if kept else raw, record)


def _guarded(chosen: Segmentation, record: RestorationRecord) -> GuardedSegmentation:
    return GuardedSegmentation(replace(chosen, restoration=record.applied, restoration_record=record), record)


def _mode_of(restored: Restored) -> RestorationMode:
    return next(mode for mode in RESTORATION_MODES if mode == restored.mode)


def _thinned(
    image: NDArray[np.generic], before: ImageCondition
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two images whose noise is independent: the first a little noisier than the image, the second more."""
    pixels = np.asarray(image, np.float32)
    sd = np.sqrt(before.noise.variance_adu2(pixels)).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(pixels.shape, np.float32) * sd
    return pixels + _ADDED_NOISE * noise, pixels - noise / _ADDED_NOISE


def _judged(restored: Restored, raw: _Quality, found: _Quality, kept: bool, why: str) -> RestorationRecord:
    return replace(
        restored.record,
        applied=restored.mode if kept else "none",
        kept=kept,
        why=f"{restored.record.why}; {'kept' if kept else 'raw kept'}: {why}",
        flow_error_raw=raw.flow_error,
        flow_error_restored=found.flow_error,
        contrast_raw=raw.contrast,
        contrast_restored=found.contrast,
        count_raw=raw.count,
        count_restored=found.count,
    )


def _better(raw: _Quality, found: _Quality, limits: RestorationLimits) -> tuple[bool, str]:
    low, high = limits.count_ratio
    if found.count == 0:
        return False, "nothing was found in the restored image"
    if raw.count > 0:
        ratio = found.effective_count / raw.effective_count
        if not low <= ratio <= high:
            return False, f"the number of objects changed {ratio:.2f} fold, from {raw.count} to {found.count}"
    if raw.flow_error is not None and found.flow_error is not None:
        numbers = f"flow error {raw.flow_error:.3f} raw, {found.flow_error:.3f} restored"
        return found.flow_error < raw.flow_error, numbers
    raw_contrast, contrast = raw.contrast or 0.0, found.contrast or 0.0
    numbers = f"objects stand out by {raw_contrast:.2f} raw, {contrast:.2f} restored"
    return contrast > raw_contrast, numbers


def _quality(segmentation: Segmentation) -> _Quality:
    labels = segmentation.labels
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0].astype(np.float64)
    effective = float(areas.sum() ** 2 / np.square(areas).sum()) if areas.size else 0.0
    return _Quality(_mean_flow_error(segmentation), None, areas.size, effective)


def _mean_flow_error(segmentation: Segmentation) -> float | None:
    """Return the mean over objects, weighed by size: a speck must not count as a nucleus."""
    errors = object_flow_errors(segmentation)
    if errors is None:
        return None
    areas = np.bincount(segmentation.labels.ravel(), minlength=errors.size).astype(np.float64)
    areas[~np.isfinite(errors)] = 0.0
    return float(np.average(np.nan_to_num(errors), weights=areas)) if areas.any() else None


def _contrast(labels: Labels, image: NDArray[np.generic], before: ImageCondition) -> float:
    from skimage.segmentation import expand_labels  # slow to import

    planes = checked_image(image, "restore_if_it_helps")
    n = int(labels.max(initial=0)) + 1
    if n == 1:
        return 0.0
    inside, ring, n_inside, n_ring = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for plane, plane_labels in zip(planes, labels.reshape(planes.shape)):
        if not plane_labels.any():
            continue
        grown = np.asarray(expand_labels(plane_labels, _RING_PX))
        grown[plane_labels > 0] = 0
        values = plane.ravel().astype(np.float64)
        inside += np.bincount(plane_labels.ravel(), values, n)
        n_inside += np.bincount(plane_labels.ravel(), minlength=n)
        ring += np.bincount(grown.ravel(), values, n)
        n_ring += np.bincount(grown.ravel(), minlength=n)
    known = (n_inside > 0) & (n_ring > 0)
    known[0] = False
    if not known.any():
        return 0.0
    step = inside[known] / n_inside[known] - ring[known] / n_ring[known]
    sd = before.noise.sd_adu(before.peak_adu)
    return float(step.mean()) / (sd if sd > 0 else 1.0)
