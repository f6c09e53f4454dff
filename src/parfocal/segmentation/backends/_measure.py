"""The table of objects: where each nucleus is, how large, of which form, how bright."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import Labels, Segmentation
from parfocal.segmentation.backends._measure_kernel import intensities, measured

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectTable:
    """One row an object, by column.

    Parameters
    ----------
    ids : int64[n]
        As in the labels.
    z_um, y_um, x_um : float64[n]
        Centroid, from the first voxel's centre (plus `origin_um`).
    volume_um3 : float64[n]
        Voxels times the voxel's volume; of a single plane too, which counts as one step thick.
    n_voxels, n_planes : int64[n]
        Voxels, and planes from the first to the last.
    bounding_box : int64[n, 6]
        First and past-the-last voxel: z0, y0, x0, z1, y1, x1.
    diameter_um : float64[n]
        Of the ball (of one plane: the disc) of the same volume.
    elongation : float64[n]
        Longest over shortest axis of the ellipsoid of the same second moments (of one plane: of the ellipse).
    solidity : float64[n]
        Share that it fills of its convex hull; NaN where not asked for.
    contact : float64[n]
        Share of its surface that lies on other objects, by area in um2.
    at_border : bool[n]
        It touches a side of the volume and may go on beyond. Of a single plane, z is no side.
    mean, sd, maximum : mapping of str to float64[n]
        Of its pixels in each channel; mean and maximum less the camera's offset.
    """

    ids: NDArray[np.int64]
    z_um: Numbers
    y_um: Numbers
    x_um: Numbers
    volume_um3: Numbers
    n_voxels: NDArray[np.int64]
    n_planes: NDArray[np.int64]
    bounding_box: NDArray[np.int64]
    diameter_um: Numbers
    elongation: Numbers
    solidity: Numbers
    contact: Numbers
    at_border: NDArray[np.bool_]
    mean: Mapping[str, Numbers] = field(default_factory=dict[str, Numbers])
    sd: Mapping[str, Numbers] = field(default_factory=dict[str, Numbers])
    maximum: Mapping[str, Numbers] = field(default_factory=dict[str, Numbers])

    def __len__(self) -> int:
        return int(self.ids.size)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the table as one-dimensional columns, in the order in which they are written."""
        told: dict[str, NDArray[Any]] = {
            "id": self.ids,
            "z_um": self.z_um,
            "y_um": self.y_um,
            "x_um": self.x_um,
            "volume_um3": self.volume_um3,
            "n_voxels": self.n_voxels,
            "n_planes": self.n_planes,
            "diameter_um": self.diameter_um,
            "elongation": self.elongation,
            "solidity": self.solidity,
            "contact": self.contact,
            "at_border": self.at_border,
        }
        for i, name in enumerate(("z0", "y0", "x0", "z1", "y1", "x1")):
            told[name] = self.bounding_box[:, i]
        for channel in self.mean:
            told[f"mean_{channel}"] = self.mean[channel]
            told[f"sd_{channel}"] = self.sd[channel]
            told[f"max_{channel}"] = self.maximum[channel]
        return told


def measure_objects(
    segmentation: Segmentation,
    images: Mapping[str, NDArray[np.generic]] | None = None,
    *,
    offset: float | Mapping[str, float] = 0.0,
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    solidity: bool = True,
) -> ObjectTable:
    """Measure every object of a segmentation.

    Parameters
    ----------
    segmentation : Segmentation
        Where planes are not linked, an id is one object of all planes that have it: link them first.
    images : mapping of str to ndarray, shape (z, y, x)
        Raw pixels by channel, of the shape of the labels. Never restored ones: those hold no intensities.
    offset : float or mapping of str to float
        What the camera adds to each pixel, in its units.
    origin_um : (float, float, float)
        z, y, x of the first voxel's centre.
    solidity : bool
        The convex hulls take most of the time; leave them out.

    Returns
    -------
    ObjectTable
        In the order of ids; ids that no voxel has are left out.

    Raises
    ------
    BadInputError
        An image has another shape, or an offset names a channel that is not there.
    """
    labels = np.ascontiguousarray(segmentation.labels, np.int32)
    if labels.ndim != 3 or (labels.size and int(labels.min()) < 0):
        raise BadInputError(f"labels of shape {labels.shape}, expected (z, y, x) with ids from 0")
    given = dict(images or {})
    for channel, image in given.items():
        if image.shape != labels.shape:
            raise BadInputError(f"channel {channel}: image of shape {image.shape}, labels of {labels.shape}")
    if isinstance(offset, Mapping) and (strange := sorted(set(offset) - set(given))):
        raise BadInputError(f"offset of channel {strange[0]}, which is not there")
    n = int(labels.max()) if labels.size else 0
    sums, box = np.zeros((n + 1, 10)), np.zeros((n + 1, 6), np.int64)
    faces, at_border = np.zeros((n + 1, 3, 2), np.int64), np.zeros(n + 1, np.bool_)
    first = measured(labels, sums, box, faces, at_border)
    ids = np.flatnonzero(sums[:, 0] > 0).astype(np.int64)
    count = sums[ids, 0]
    voxel_um = np.array(segmentation.voxel_size_um)
    centre_um = (first[ids] + sums[ids, 1:4] / count[:, None]) * voxel_um + np.array(origin_um)
    volume_um3 = count * float(voxel_um.prod())
    flat = labels.shape[0] == 1
    area_um2 = float(voxel_um.prod()) / voxel_um
    surface_um2 = (faces[ids] * area_um2[None, :, None]).sum(axis=1)
    statistics = {channel: _intensities(labels, image, ids, n, count) for channel, image in given.items()}

    def less(channel: str) -> float:
        return float(offset.get(channel, 0.0)) if isinstance(offset, Mapping) else float(offset)

    return ObjectTable(
        ids=ids,
        z_um=centre_um[:, 0],
        y_um=centre_um[:, 1],
        x_um=centre_um[:, 2],
        volume_um3=volume_um3,
        n_voxels=count.astype(np.int64),
        n_planes=box[ids, 3] - box[ids, 0],
        bounding_box=box[ids],
        diameter_um=(
            2.0 * np.sqrt(volume_um3 / voxel_um[0] / math.pi) if flat else np.cbrt(6.0 / math.pi * volume_um3)
        ),
        elongation=_elongation(sums[ids], voxel_um, flat=flat),
        solidity=solidity_of(labels, ids, box) if solidity else np.full(ids.size, np.nan),
        contact=surface_um2[:, 1] / np.maximum(surface_um2[:, 0], 1e-300),
        at_border=at_border[ids],
        mean={channel: one[0] - less(channel) for channel, one in statistics.items()},
        sd={channel: one[1] for channel, one in statistics.items()},
        maximum={channel: one[2] - less(channel) for channel, one in statistics.items()},
    )


def _intensities(
    labels: Labels, image: NDArray[np.generic], ids: NDArray[np.int64], n: int, count: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    total, squares, largest = np.zeros(n + 1), np.zeros(n + 1), np.full(n + 1, -np.inf)
    intensities(labels, image, total, squares, largest)
    mean = total[ids] / count
    return mean, np.sqrt(np.maximum(squares[ids] / count - mean**2, 0.0)), largest[ids]


def _elongation(sums: Numbers, voxel_um: Numbers, *, flat: bool) -> Numbers:
    if not len(sums):
        return np.empty(0)
    mean = sums[:, 1:4] / sums[:, :1]
    second = np.zeros((len(sums), 3, 3))
    for column, (i, j) in zip(range(4, 10), ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        second[:, i, j] = second[:, j, i] = sums[:, column] / sums[:, 0] - mean[:, i] * mean[:, j]
    # A voxel is a box, not a point: an object of one voxel has its form.
    second += np.eye(3) / 12.0
    second *= voxel_um[:, None] * voxel_um[None, :]
    axes = np.linalg.eigvalsh(second[:, 1:, 1:] if flat else second)
    return np.sqrt(axes[:, -1] / np.maximum(axes[:, 0], 1e-300))


def solidity_of(labels: Labels, ids: NDArray[np.int64], box: NDArray[np.int64]) -> Numbers:
    """Return voxels over those of the convex hull of the voxels' corners; it is the same in voxels and in um."""
    out = np.ones(ids.size)
    for row, i in enumerate(ids):
        z0, y0, x0, z1, y1, x1 = box[i]
        own = labels[z0:z1, y0:y1, x0:x1] == i
        hull = _hull_voxels(own)
        if hull > 0:
            out[row] = min(1.0, float(np.count_nonzero(own)) / hull)
    return out


def _hull_voxels(own: NDArray[np.bool_]) -> float:
    """Return the volume of the convex hull, from the two ends of every row of voxels."""
    rows = own.any(axis=2)
    z, y = np.nonzero(rows)
    low = own.argmax(axis=2)[rows]
    high = own.shape[2] - own[:, :, ::-1].argmax(axis=2)[rows]
    flat = own.shape[0] == 1
    corners = [
        np.column_stack([z + dz, y + dy, x])
        for dz in ((0,) if flat else (0, 1))
        for dy in (0, 1)
        for x in (low, high)
    ]
    points = np.unique(np.concatenate(corners), axis=0)
    try:
        return float(ConvexHull(points[:, 1:] if flat else points).volume)
    except QhullError:
        return 0.0
