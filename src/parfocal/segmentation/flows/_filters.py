"""Objects held against what their network, their neighbours and the image say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.flows._settings import DroppedObject, MaskSettings
from parfocal.segmentation.flows._targets import flow_errors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class FoundMasks:
    """Objects, what each scored, and what was dropped.

    Parameters
    ----------
    labels : int32[...]
    flow_error : float32[n]
        Of the ids 1 to n.
    contrast : float32[n]
        Mean of the object less that of its shell, in the image's units; NaN where no image was given, or where
        other objects fill the shell.
    foreground_logit : float32[n]
        Mean over each object.
    dropped : tuple of DroppedObject
    """

    labels: Labels
    flow_error: Floats
    contrast: Floats
    foreground_logit: Floats
    dropped: tuple[DroppedObject, ...] = ()


@dataclass(frozen=True)
class ObjectScores:
    """What the filters ask of each object, ids 1 to n; sums, so that parts of an object can be added up.

    Parameters
    ----------
    volume_px : float64[n]
    flow_error_sum, foreground_sum : float64[n]
        Over the object's voxels: the squared distance of its flow, its foreground logit.
    inside, shell : float64[n, 2]
        Sum of the image, and of voxels, in the object and in its shell.
    at_edge : bool[n]
        The edge of the volume cuts it.
    centre_sum_px : float64[n, ndim]
        Of its voxels' positions.
    """

    volume_px: Doubles
    flow_error_sum: Doubles
    foreground_sum: Doubles
    inside: Doubles
    shell: Doubles
    at_edge: NDArray[np.bool_]
    centre_sum_px: Doubles

    @property
    def flow_error(self) -> Floats:
        """Mean over each object's voxels."""
        return (self.flow_error_sum / np.maximum(self.volume_px, 1)).astype(np.float32)

    @property
    def foreground_logit(self) -> Floats:
        """Mean over each object's voxels."""
        return (self.foreground_sum / np.maximum(self.volume_px, 1)).astype(np.float32)

    @property
    def contrast(self) -> Floats:
        """Mean inside less mean of the shell; NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.inside[:, 0] / self.inside[:, 1] - self.shell[:, 0] / self.shell[:, 1]).astype(np.float32)


def score_objects(
    labels: Labels,
    output: NetOutput | None,
    image: NDArray[np.generic] | None,
    n_threads: int | None = None,
) -> ObjectScores:
    """Measure what the filters ask of each object; without a network's output its scores are 0."""
    from parfocal.segmentation.flows._regions_kernel import add_means, grow, touching_edge

    n = int(labels.max())
    volume = labels[np.newaxis] if labels.ndim == 2 else labels
    voxels = np.bincount(labels.ravel(), minlength=n + 1)[1:].astype(np.float64)
    error_sum, foreground_sum = np.zeros(n), np.zeros(n)
    if output is not None and n:
        error_sum += np.nan_to_num(flow_errors(labels, output.flow, n_threads=n_threads)) * voxels
        foreground_sum += np.bincount(labels.ravel(), output.foreground.ravel(), n + 1)[1:]
    inside, shell = np.zeros((n + 1, 2)), np.zeros((n + 1, 2))
    if image is not None and n:
        near, far = np.empty_like(volume), np.empty_like(volume)
        grow(volume, near)
        grow(near, far)
        grow(far, outer := np.empty_like(volume))
        add_means(
            volume, near, outer, np.ascontiguousarray(image, np.float32).reshape(volume.shape), inside, shell
        )
    return ObjectScores(
        voxels,
        error_sum,
        foreground_sum,
        inside[1:],
        shell[1:],
        touching_edge(volume, n)[1:],
        _centre_sums(labels, n, voxels),
    )


def judge_objects(
    scores: ObjectScores, settings: MaskSettings, ndim: int
) -> tuple[NDArray[np.bool_], tuple[DroppedObject, ...]]:
    """Return which objects are kept, and why the others are not: the first reason that holds.

    Reasons are tried in the order volume, flow error, foreground, relative contrast, relative volume, and medians
    are taken over what the reasons before have left.
    """
    n = scores.volume_px.size
    keep = np.ones(n, np.bool_)
    dropped: list[DroppedObject] = []

    def drop(reason: str, values: NDArray[Any], limit: float, bad: NDArray[np.bool_]) -> None:
        for i in np.flatnonzero(keep & bad):
            centre = tuple(float(c) for c in scores.centre_sum_px[i] / max(scores.volume_px[i], 1))
            dropped.append(DroppedObject(reason, float(values[i]), limit, centre, int(scores.volume_px[i])))
        keep[bad] = False

    smallest = settings.smallest_px(ndim)
    drop("volume", scores.volume_px, smallest, scores.volume_px < smallest)
    if settings.max_flow_error is not None:
        errors = scores.flow_error
        drop("flow error", errors, settings.max_flow_error, errors > settings.max_flow_error)
    if settings.min_foreground_logit is not None:
        logits = scores.foreground_logit
        drop("foreground", logits, settings.min_foreground_logit, logits < settings.min_foreground_logit)
    contrast = scores.contrast
    seen = keep & np.isfinite(contrast)
    if settings.min_relative_contrast is not None and seen.sum() >= 3:
        usual = _median_by_voxel(contrast[seen], scores.volume_px[seen])
        if usual > 0:
            relative = contrast / usual
            low = np.isfinite(contrast) & (relative < settings.min_relative_contrast)
            drop("relative contrast", relative, settings.min_relative_contrast, low)
    if settings.min_relative_volume is not None and ndim == 3 and keep.sum() >= 3:
        relative = scores.volume_px / _median_by_voxel(scores.volume_px[keep], scores.volume_px[keep])
        small = ~scores.at_edge & (relative < settings.min_relative_volume)
        drop("relative volume", relative, settings.min_relative_volume, small)
    return keep, tuple(dropped)


def filtered(
    labels: Labels,
    output: NetOutput,
    image: NDArray[np.generic] | None,
    settings: MaskSettings,
    n_threads: int | None = None,
) -> FoundMasks:
    """Clear the objects that fail a filter, in place, and number the others 1 to n."""
    from parfocal.segmentation.flows._regions_kernel import renumber

    if not labels.any():
        none = np.zeros(0, np.float32)
        return FoundMasks(labels, none, none, none)
    scores = score_objects(labels, output, image, n_threads)
    keep, dropped = judge_objects(scores, settings, labels.ndim)
    new_ids = np.zeros(keep.size + 1, np.int32)
    new_ids[1:][keep] = np.arange(1, keep.sum() + 1)
    renumber(labels, new_ids)
    return FoundMasks(
        labels, scores.flow_error[keep], scores.contrast[keep], scores.foreground_logit[keep], dropped
    )


def _median_by_voxel(values: NDArray[Any], volumes: Doubles) -> float:
    order = np.argsort(values)
    reached = np.cumsum(volumes[order])
    return float(values[order[np.searchsorted(reached, reached[-1] / 2)]])


def _centre_sums(labels: Labels, n: int, voxels: Doubles) -> Doubles:
    from parfocal.segmentation.flows._targets_kernel import boxes_and_centroids

    volume = labels[np.newaxis] if labels.ndim == 2 else labels
    _, centroids, _ = boxes_and_centroids(volume, n)
    return centroids[1:, 3 - labels.ndim :] * voxels[:, np.newaxis]
