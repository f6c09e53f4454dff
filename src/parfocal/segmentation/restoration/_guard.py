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
    Denoiser,
    RestorationLimits,
    RestorationMode,
    RestorationRecord,
    Restored,
)
from parfocal.segmentation.restoration._restore import restore

_RING_PX = 4
_LEAST_GAIN = 0.02


@dataclass(frozen=True)
class GuardedSegmentation:
    """A segmentation, of the raw or of the restored image, whichever did better, and the record of the choice."""

    segmentation: Segmentation
    record: RestorationRecord


@dataclass(frozen=True)
class _Quality:
    flow_error: float | None
    contrast: float
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
      none: its objects stand out more. Contrast is judged on the raw pixels for both, so that a restoration cannot
      flatter itself: mean inside less mean of a ring of 4 px, over the pixel's noise, weighed by size.

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
        Its segmentation's `restoration` says what its pixels went through.
    """
    limits = limits or RestorationLimits()
    raw_segmentation = segment(image)
    first = _quality(raw_segmentation, image, None)
    went_well = first.flow_error is not None and first.flow_error <= limits.flow_error
    restored = restore(
        image,
        mode,
        camera_model=camera_model,
        denoiser=denoiser,
        psf=psf,
        limits=limits,
        scale_px=scale_px,
        guarded=not went_well,
    )
    before = restored.record.before
    raw_quality = replace(first, contrast=_contrast(raw_segmentation.labels, image, before))
    if restored.mode == "none":
        return GuardedSegmentation(replace(raw_segmentation, restoration="none"), restored.record)
    found = segment(restored.image)
    quality = _quality(found, image, before)
    kept, why = _better(raw_quality, quality, limits)
    record = _judged(restored, raw_quality, quality, kept, why)
    chosen = replace(found, restoration=restored.mode) if kept else replace(raw_segmentation, restoration="none")
    return GuardedSegmentation(chosen, record)


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
    numbers = f"objects stand out by {raw.contrast:.2f} raw, {found.contrast:.2f} restored"
    return found.contrast > raw.contrast * (1 + _LEAST_GAIN), numbers


def _quality(segmentation: Segmentation, image: NDArray[np.generic], before: ImageCondition | None) -> _Quality:
    labels = segmentation.labels
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0].astype(np.float64)
    effective = float(areas.sum() ** 2 / np.square(areas).sum()) if areas.size else 0.0
    contrast = 0.0 if before is None else _contrast(labels, image, before)
    return _Quality(_mean_flow_error(segmentation), contrast, areas.size, effective)


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
    return float(np.average(step, weights=n_inside[known])) / (sd if sd > 0 else 1.0)
