"""Masks of successive planes linked into objects, each plane as it arrives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.linking import assign, compact
from parfocal.segmentation.planes._finish import LinkedPlanes, MergeCandidate, RawLinks, finish_planes
from parfocal.segmentation.planes._kernel import (
    measure_masks,
    overlap_in_boxes,
    overlap_masks,
    rename,
    rename_in_boxes,
    weigh,
)
from parfocal.segmentation.planes._settings import LinkSettings

Labels = NDArray[np.int32]

_HUGE = np.iinfo(np.int64).max
_EMPTY_MASK = np.array([0, 0, 0, _HUGE, -1, _HUGE, -1], np.int64)
_WEAK_MARGIN, _RIVAL = 0.1, 0.8
_ALIKE, _GRADUAL = 0.5, 0.9


@dataclass
class _Objects:
    """What is known of each object, by id; the arrays grow."""

    last_z: NDArray[np.int64]
    area: NDArray[np.int64]
    root_slope: NDArray[np.float64]
    root_peak: NDArray[np.float64]
    tapers: NDArray[np.bool_]
    centre: NDArray[np.float64]
    n: int = 0

    @classmethod
    def none(cls, capacity: int = 1024) -> _Objects:
        return cls(
            np.full(capacity, -1_000_000),
            np.zeros(capacity, np.int64),
            np.zeros(capacity),
            np.zeros(capacity),
            np.zeros(capacity, np.bool_),
            np.zeros((capacity, 2)),
        )

    def new(self, how_many: int) -> NDArray[np.int32]:
        """Return ids that nobody has had."""
        first, self.n = self.n + 1, self.n + how_many
        while self.n >= self.area.size:
            more = _Objects.none(self.area.size)
            for name in ("last_z", "area", "root_slope", "root_peak", "tapers", "centre"):
                setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)]))
        return np.arange(first, self.n + 1, dtype=np.int32)


class PlaneLinker:
    """Links masks of planes into objects, plane by plane: plane k is linked when it arrives.

    A mask goes on as the mask of a later plane where they overlap enough (`LinkSettings`); of all choices that are
    possible the one with the largest sum of affinities, `(IoU + IoMin) / 2`, is taken. The plane before is asked
    first, then, for what is left on both sides, the one before that, up to `max_distance_z`. Ids grow and are
    never used again; no later plane changes a link.

    Parameters
    ----------
    settings : LinkSettings, optional

    Examples
    --------
    >>> linker = PlaneLinker()
    >>> linker.add(np.array([[0, 7, 7, 7]]))
    array([[0, 1, 1, 1]], dtype=int32)
    >>> linker.add(np.array([[2, 2, 0, 5]]))
    array([[2, 2, 0, 1]], dtype=int32)
    """

    def __init__(self, settings: LinkSettings | None = None) -> None:
        self.settings = settings or LinkSettings()
        self._planes: list[Labels] = []
        self._objects = _Objects.none()
        self._links: list[RawLinks] = []
        self._masks: list[NDArray[np.int64]] = []
        self._candidates: list[MergeCandidate] = []
        self._refused: list[tuple[int, int, float, float]] = []
        self._drifts: list[tuple[int, int]] = []

    @property
    def n_planes(self) -> int:
        """How many planes have come."""
        return len(self._planes)

    @property
    def n_objects(self) -> int:
        """How many ids have been given."""
        return self._objects.n

    def add(self, labels: ArrayLike, out: Labels | None = None) -> Labels:
        """Link a plane to those before it.

        Parameters
        ----------
        labels : array_like of int, shape (height, width)
            One id a mask, in any order; 0 is background.
        out : int32[y, x], optional
            Zeros to write the answer into, such as a plane of a volume.

        Returns
        -------
        int32[y, x]
            The same masks under the ids of the volume so far. Read-only: it is also the linker's own.

        Raises
        ------
        BadInputError
            Not a plane of whole numbers from 0, or of another shape than those before it.
        """
        given = np.asarray(labels)
        shape = self._planes[0].shape if self._planes else given.shape
        if given.ndim != 2 or given.shape != shape:
            expected = f"expected {shape}" if self._planes else "expected [y, x]"
            raise BadInputError(f"link planes: plane {self.n_planes} has shape {given.shape}, {expected}")
        if out is None:
            out = np.zeros(given.shape, np.int32)
        plane, ids = compact(given)
        plane = plane.view()
        plane.flags.writeable = False  # of one kind, whoever hands it over: kernels are compiled once
        masks = np.empty((ids.size + 1, 7), np.int64)
        masks[:] = _EMPTY_MASK
        measure_masks(plane, masks)
        there = np.flatnonzero(masks[:, 0])
        boxes = (masks[there, 4] - masks[there, 3] + 1) * (masks[there, 6] - masks[there, 5] + 1)
        sparse = bool(
            boxes.sum() < plane.size
        )  # else masks are scattered, and their boxes cost more than the plane
        names = np.zeros(len(masks), np.int32)
        drift = (0, 0)
        for gap in range(1, min(self.settings.max_distance_z, self.n_planes) + 1):
            drift = self._link(plane, masks, names, gap, drift, sparse)
        fresh = there[names[there] == 0]
        names[fresh] = self._objects.new(fresh.size)
        self._remember_refused(names, fresh)
        self._drifts.append(drift)
        self._remember(masks[there], names[there])
        if sparse:
            rename_in_boxes(plane, names, masks, out)
        else:
            rename(plane, names, out)
        own = out.view()
        own.flags.writeable = False
        self._planes.append(own)
        return own

    def finish(self, volume: Labels | None = None) -> LinkedPlanes:
        """Cut necks, fill what was bridged, and number objects from 1 without gaps, in order of their first plane.

        The linker gives its planes away and is empty then.

        Parameters
        ----------
        volume : int32[z, y, x], optional
            What every `add` wrote into, a plane each: it becomes the answer. A new one where not given.

        Raises
        ------
        BadInputError
            No plane has come.
        """
        if not self._planes:
            raise BadInputError("link planes: no plane has come")
        linked = finish_planes(
            self._planes, volume, self._links, self._masks, self._candidates, self._objects.n, self.settings
        )
        self.__init__(self.settings)
        return linked

    def _link(
        self,
        plane: Labels,
        masks: NDArray[np.int64],
        names: NDArray[np.int32],
        gap: int,
        drift: tuple[int, int],
        sparse: bool,
    ) -> tuple[int, int]:
        """Name the masks that go on from the plane `gap` before; return how far planes have moved."""
        objects, settings, k = self._objects, self.settings, self.n_planes
        wanted = (masks[:, 0] > 0) & (names == 0)
        is_open = objects.last_z[: objects.n + 1] == k - gap
        if not (wanted.any() and is_open.any()):
            return drift
        before = self._planes[k - gap]
        moved = self._moved(gap, drift)
        overlap = overlap_in_boxes if sparse else overlap_masks
        pairs = overlap(before, plane, is_open, wanted, masks, *moved)
        if not len(pairs):
            return drift
        if gap == 1 and settings.follow_drift and moved == drift:
            drift = self._drift_of(pairs, masks)
            if drift != (0, 0):
                pairs = overlap(before, plane, is_open, wanted, masks, *drift)
        area, now = objects.area[pairs[:, 0]], masks[pairs[:, 1], 0]
        weights = weigh(
            pairs,
            area,
            now,
            # A whole number is another type to the kernel, and compiles it anew.
            float(settings.min_overlap_ratio),
            float(settings.min_containment),
            float(settings.min_containment_iou),
            float(settings.max_area_ratio),
        )
        affinity = weights[:, 2] * settings.gap_penalty ** (gap - 1)
        slope = objects.root_slope[pairs[:, 0]]
        if not settings.bridge_tapered:
            if gap > 1:
                affinity[np.sqrt(area) + gap * slope <= 0] = 0
            by_containment = weights[:, 0] < settings.min_overlap_ratio
            affinity[by_containment & objects.tapers[pairs[:, 0]] & (now > area)] = 0
        allowed = np.flatnonzero(affinity > 0)
        rows, cols = pairs[allowed, 0], pairs[allowed, 1]
        chosen = assign(rows, cols, -affinity[allowed], objects.n + 1, len(masks), 0.0)
        if gap == 1:
            alike = np.flatnonzero((weights[:, 1] >= _ALIKE) & (weights[:, 2] == 0))
            if alike.size:
                alike = alike[~np.isin(pairs[alike, 0], chosen[:, 0])]
            self._refused = [(int(pairs[i, 0]), int(pairs[i, 1]), *weights[i, :2].tolist()) for i in alike]
        if not len(chosen):
            return drift
        names[chosen[:, 1]] = chosen[:, 0]
        self._remember_links(pairs, weights, chosen, gap)
        return drift

    def _moved(self, gap: int, drift: tuple[int, int]) -> tuple[int, int]:
        if not self.settings.follow_drift or gap == 1:
            return drift
        steps = [*self._drifts[self.n_planes - gap + 1 :], drift]
        return sum(dy for dy, _ in steps), sum(dx for _, dx in steps)

    def _drift_of(self, pairs: NDArray[np.int64], masks: NDArray[np.int64]) -> tuple[int, int]:
        """Return the median step of objects to the mask that they overlap most."""
        order = np.lexsort((pairs[:, 2], pairs[:, 0]))
        best = pairs[order[np.append(np.diff(pairs[order, 0]) > 0, True)]]
        steps = masks[best[:, 1], 1:3] / masks[best[:, 1], :1] - self._objects.centre[best[:, 0]]
        dy, dx = np.median(steps, axis=0)
        return round(float(dy)), round(float(dx))

    def _remember(self, masks: NDArray[np.int64], names: NDArray[np.int32]) -> None:
        objects, k = self._objects, self.n_planes
        root = np.sqrt(masks[:, 0])
        planes_since = k - objects.last_z[names]
        root_before = np.sqrt(objects.area[names])
        slope = (root - root_before) / planes_since
        objects.root_slope[names] = np.where(objects.area[names] > 0, slope, 0.0)
        # one small mask is a bad one; two that shrink are a cap
        objects.tapers[names] = (root < root_before) & (root_before < _GRADUAL * objects.root_peak[names])
        objects.root_peak[names] = np.maximum(objects.root_peak[names], root)
        objects.last_z[names] = k
        objects.area[names] = masks[:, 0]
        objects.centre[names] = masks[:, 1:3] / masks[:, :1]
        table = np.empty((names.size, 7), np.int64)
        table[:, 0], table[:, 1], table[:, 2] = names, k, masks[:, 0]
        table[:, 3:] = masks[:, 3:]
        self._masks.append(table)

    def _remember_links(
        self, pairs: NDArray[np.int64], weights: NDArray[np.float64], chosen: NDArray[np.int32], gap: int
    ) -> None:
        width = int(pairs[:, 1].max()) + 1
        keys = pairs[:, 0] * width + pairs[:, 1]  # ascending
        at = np.searchsorted(keys, chosen[:, 0].astype(np.int64) * width + chosen[:, 1])
        iou, contained, rival = weights[at, 0], weights[at, 1], weights[at, 3]
        by_iou = iou >= self.settings.min_overlap_ratio
        barely = iou < self.settings.min_overlap_ratio + _WEAK_MARGIN
        barely &= contained < self.settings.min_containment
        lately = ~by_iou & (
            (contained < self.settings.min_containment + 0.5 * (1 - self.settings.min_containment))
            | (iou < 2 * self.settings.min_containment_iou)
        )
        weak = (by_iou & barely) | lately | (rival >= _RIVAL)
        self._links.append(RawLinks(chosen[:, 0], self.n_planes, gap, iou, contained, weak))

    def _remember_refused(self, names: NDArray[np.int32], fresh: NDArray[np.int64]) -> None:
        """Keep what overlaps and was not linked, neither having another: a person may want to merge it."""
        begun = set(fresh.tolist())
        for object_id, label, iou, contained in self._refused:
            if label in begun and self._objects.last_z[object_id] != self.n_planes:
                self._candidates.append(
                    MergeCandidate(object_id, int(names[label]), self.n_planes, iou, contained)
                )
        self._refused = []


def link_planes(planes: Iterable[ArrayLike], settings: LinkSettings | None = None) -> LinkedPlanes:
    """Link the masks of planes into objects of a volume.

    Parameters
    ----------
    planes : iterable of array_like of int, shape (height, width)
        Labels of each plane, ids of one plane having nothing to do with those of another; a volume will do.
    settings : LinkSettings, optional

    Raises
    ------
    BadInputError
        As `PlaneLinker.add`.
    """
    linker = PlaneLinker(settings)
    volume: Labels | None = None
    if isinstance(planes, np.ndarray) and planes.ndim == 3:
        volume = np.zeros(planes.shape, np.int32)  # written where it will stay
    for z, plane in enumerate(planes):
        linker.add(plane, None if volume is None else volume[z])
    return linker.finish(volume)
