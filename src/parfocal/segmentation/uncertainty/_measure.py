"""What is measured of each object: from its voxels, its network's output, its links, its flipped twins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import for_each_band
from parfocal.segmentation._object_flow_errors import object_flow_errors
from parfocal.segmentation._segmentation import Labels, PlaneLink, Segmentation

Doubles = NDArray[np.float64]
Relabel = Callable[[NDArray[np.generic]], Labels]

_NEAR_ZERO = 1.0
_MAD_TO_SD = 1.4826
_BAND_PLANES = 4
_HULL_CHUNKS = 16


@dataclass(frozen=True)
class Measured:
    """Rows are objects, in the order of `ids`."""

    ids: NDArray[np.int32]
    volume_voxels: Doubles
    centroid_px: Doubles
    signals: dict[str, Doubles]
    solidity: Doubles


def measure(segmentation: Segmentation, image: NDArray[np.generic] | None, relabel: Relabel | None) -> Measured:
    """Measure every signal that the segmentation has the means for; larger is more doubtful."""
    labels = np.ascontiguousarray(segmentation.labels, np.int32)
    if labels.ndim != 3:
        raise BadInputError(f"doubts: labels have shape {labels.shape}, expected [z, y, x]")
    counts = np.bincount(labels.ravel()) if labels.size else np.zeros(1, np.int64)
    ids = np.flatnonzero(counts[1:]).astype(np.int32) + np.int32(1)
    place = np.full(max(counts.size, 1), -1, np.int32)
    place[ids] = np.arange(ids.size, dtype=np.int32)
    logits = _logits(segmentation)
    sums, box = _scan(labels, place, ids.size, logits)

    from parfocal.segmentation.uncertainty import _scan_kernel as kernel  # numba is slow to import

    volume = sums[:, kernel.VOLUME]
    centroid = sums[:, kernel.SUM_Z : kernel.SUM_X + 1] / np.maximum(volume, 1)[:, None]
    signals: dict[str, Doubles] = {}
    errors = object_flow_errors(segmentation)
    if errors is not None:
        signals["flow"] = errors[ids]
    if logits.size:
        with np.errstate(invalid="ignore"):
            signals["boundary"] = sums[:, kernel.BAND_ENTROPY] / sums[:, kernel.BAND]
        signals["logits"] = sums[:, kernel.NEAR_ZERO] / np.maximum(volume, 1)
    if relabel is not None:
        if image is None:
            raise BadInputError("doubts: to segment flipped images the image is needed; give image=")
        signals["flips"] = flip_disagreement(labels, place, ids.size, image, relabel)
    solidity = np.full(ids.size, np.nan)
    if segmentation.linked or labels.shape[0] == 1:  # of planes that are not linked no object's shape is known
        solidity = _solidity(labels, ids, box, volume)
        signals["shape"] = np.abs(solidity - np.nanmedian(solidity)) if ids.size else solidity
        signals["size"] = _outlyingness(np.log(np.maximum(volume, 1)))
    if segmentation.links:
        signals["links"] = _link_weakness(segmentation.links, place, ids.size)
    signals["border"] = (sums[:, kernel.AT_BORDER] > 0).astype(np.float64)
    return Measured(ids, volume, centroid, signals, solidity)


_LEAST_LOG_SD = 0.1
"""Volumes of nuclei are not known better than by a tenth."""


def _logits(segmentation: Segmentation) -> NDArray[np.float32]:
    output = segmentation.output
    if output is None or output.foreground.size != segmentation.labels.size:
        return np.empty((0, 0, 0), np.float32)
    return np.ascontiguousarray(output.foreground, np.float32).reshape(segmentation.labels.shape)


def _scan(
    labels: Labels, place: NDArray[np.int32], n: int, logits: NDArray[np.float32]
) -> tuple[Doubles, NDArray[np.int32]]:
    from parfocal.segmentation.uncertainty import _scan_kernel as kernel

    n_bands = max(1, math.ceil(labels.shape[0] / max(_BAND_PLANES, labels.shape[0] // 8)))
    edges = np.linspace(0, labels.shape[0], n_bands + 1).astype(int)
    sums = np.zeros((n_bands, n, kernel.N_SUMS))
    box = np.empty((n_bands, n, 3, 2), np.int32)
    box[..., 0], box[..., 1] = np.iinfo(np.int32).max, -1

    def one_band(band: int) -> None:
        kernel.scan(
            labels, place, logits, _NEAR_ZERO, int(edges[band]), int(edges[band + 1]), sums[band], box[band]
        )

    for_each_band(one_band, n_bands)
    both = np.stack([box[..., 0].min(axis=0), box[..., 1].max(axis=0)], axis=-1)
    return sums.sum(axis=0), np.ascontiguousarray(both)


def _outlyingness(values: Doubles) -> Doubles:
    """Return how many robust standard deviations each log of a volume is from the median."""
    if not values.size:
        return values
    away = np.abs(values - np.median(values))
    sd = _MAD_TO_SD * float(np.median(away)) or 1.2533 * float(away.mean())
    # Where all are of nearly one size, one that is 2 % smaller is not unusual.
    return away / max(sd, _LEAST_LOG_SD)


def _solidity(labels: Labels, ids: NDArray[np.int32], box: NDArray[np.int32], volume: Doubles) -> Doubles:
    """Return volume over the volume of the convex hull, both of the voxels as little boxes; NaN if it fails."""
    from scipy.spatial import ConvexHull, QhullError

    from parfocal.segmentation.uncertainty._scan_kernel import outline

    found = np.full(ids.size, np.nan)

    def some(chunk: int) -> None:
        hull: Any
        for row in range(chunk, ids.size, _HULL_CHUNKS):
            sides = box[row, :, 1] - box[row, :, 0] + 1
            corners = np.empty((int(sides[0]) * (8 * int(sides[1]) + 4), 3))
            points = corners[: outline(labels, int(ids[row]), box[row], corners)]
            try:  # joggled: corners lie in common planes, and to merge those takes Qhull three times as long
                hull = ConvexHull(points[::2, 1:] if labels.shape[0] == 1 else points, qhull_options="QJ Pp")
            except (QhullError, ValueError):
                continue
            found[row] = volume[row] / hull.volume

    for_each_band(some, min(_HULL_CHUNKS, ids.size))
    return found


def _link_weakness(links: tuple[PlaneLink, ...], place: NDArray[np.int32], n: int) -> Doubles:
    """Return 1 less the better overlap of each object's weakest link, and 1 more where that is said to be weak."""
    weakest = np.zeros(n)
    for link in links:
        if 0 < link.object_id < place.size and place[link.object_id] >= 0:
            row = place[link.object_id]
            doubt = 1 - max(link.iou, link.containment) + (1.0 if link.weak else 0.0)
            weakest[row] = max(weakest[row], doubt)
    return weakest


def flip_disagreement(
    labels: Labels, place: NDArray[np.int32], n: int, image: NDArray[np.generic], relabel: Relabel
) -> Doubles:
    """Return, for each object, 1 - its mean best IoU among the objects of the flipped images.

    A volume is mirrored in the seven other ways of z, y and x; a plane is mirrored and turned in its seven.
    """
    pixels = np.asarray(image).reshape(labels.shape)
    total = np.zeros(n)
    times = 0
    for there, back in _flips(labels.shape[0] == 1):
        # an image of one plane is handed over as it came
        flipped = np.ascontiguousarray(there(pixels))
        answer = np.asarray(relabel(flipped[0] if np.ndim(image) == 2 else flipped))
        other = np.ascontiguousarray(back(answer.reshape(flipped.shape)))
        if other.shape != labels.shape:
            raise BadInputError(f"doubts: relabel gave shape {answer.shape}, expected {flipped.shape}")
        total += _best_iou(labels, place, n, other)
        times += 1
    return 1 - total / times


Turn = Callable[[NDArray[Any]], NDArray[Any]]


def _flips(plane: bool) -> Iterator[tuple[Turn, Turn]]:
    if plane:
        for mirror in (False, True):
            for quarter in range(4):
                if mirror or quarter:
                    yield _turned(quarter, mirror)
        return
    for code in range(1, 8):
        yield _mirrored(tuple(axis for axis in range(3) if code >> axis & 1))


def _mirrored(axes: tuple[int, ...]) -> tuple[Turn, Turn]:
    def flip(volume: NDArray[Any]) -> NDArray[Any]:
        return np.flip(volume, axes)

    return flip, flip


def _turned(quarter: int, mirror: bool) -> tuple[Turn, Turn]:
    def there(volume: NDArray[Any]) -> NDArray[Any]:
        turned = np.rot90(volume, quarter, (1, 2))
        return turned[:, :, ::-1] if mirror else turned

    def back(volume: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(volume[:, :, ::-1] if mirror else volume, -quarter, (1, 2))

    return there, back


def _best_iou(labels: Labels, place: NDArray[np.int32], n: int, other: NDArray[Any]) -> Doubles:
    both = (labels > 0) & (other > 0)
    areas = np.bincount(place[labels[labels > 0]], minlength=n).astype(np.float64)
    other_areas = np.bincount(other.ravel()).astype(np.float64)
    width = other_areas.size
    keys, shared = np.unique(
        place[labels[both]].astype(np.int64) * width + other[both].astype(np.int64), return_counts=True
    )
    rows, columns = keys // width, keys % width
    best = np.zeros(n)
    np.maximum.at(best, rows, shared / (areas[rows] + other_areas[columns] - shared))
    return best
