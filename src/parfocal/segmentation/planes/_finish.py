"""What is left to do when the last plane has come: cut necks, fill gaps, deal with thin objects, number anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from parfocal.linking import overlaps
from parfocal.segmentation._segmentation import PlaneLink
from parfocal.segmentation.planes._fill import fill_between
from parfocal.segmentation.planes._kernel import find_necks, rename
from parfocal.segmentation.planes._settings import LinkSettings

Labels = NDArray[np.int32]
Table = NDArray[np.int64]

LINK_FIELDS = np.dtype(
    [
        ("object_id", np.int32),
        ("z_from", np.int32),
        ("z_to", np.int32),
        ("iou", np.float64),
        ("containment", np.float64),
        ("weak", np.bool_),
    ]
)
_GRADUAL = 0.9
_BRIDGED = 0.8  # where a plane is missing a shallower neck will do: a convex body has none


@dataclass(frozen=True)
class MergeCandidate:
    """An object that ended where another begins: they overlap, but not enough. Reported, never applied.

    Parameters
    ----------
    object_id, other_id : int
        The one that ended, the one that begins.
    z : int
        Where it begins.
    iou, containment : float
        Intersection over union, and over the smaller of the two areas.
    """

    object_id: int
    other_id: int
    z: int
    iou: float
    containment: float


@dataclass(frozen=True)
class LinkedPlanes:
    """A volume whose objects have one id in all planes.

    Parameters
    ----------
    labels : int32[z, y, x]
        Ids from 1 to `n_objects`, in the order of their first plane.
    link_table : ndarray
        How they were linked, by object and plane: fields of `PlaneLink`.
    final_id_of : int32[n_ids + 1]
        By the id that `PlaneLinker.add` gave: the final one, 0 for what was dropped. Of an object that was cut at
        a neck, the id of its first part.
    merge_candidates : tuple of MergeCandidate
        What a person may want to look at.
    cuts : tuple of (int, int, int)
        Objects cut at a neck: id below, id above, first plane of the one above.
    """

    labels: Labels
    link_table: NDArray[np.void]
    final_id_of: NDArray[np.int32]
    merge_candidates: tuple[MergeCandidate, ...] = ()
    cuts: tuple[tuple[int, int, int], ...] = ()

    @cached_property
    def links(self) -> tuple[PlaneLink, ...]:
        """The links one by one."""
        return tuple(PlaneLink(*row) for row in self.link_table.tolist())

    @property
    def n_objects(self) -> int:
        """How many objects there are."""
        return int(max(self.final_id_of.max(initial=0), max((c[1] for c in self.cuts), default=0)))


@dataclass(frozen=True)
class RawLinks:
    """The links of one plane to an earlier one."""

    ids: NDArray[np.int32]
    z: int
    gap: int
    iou: NDArray[np.float64]
    containment: NDArray[np.float64]
    weak: NDArray[np.bool_]


def finish_planes(
    planes: list[Labels],
    volume: Labels | None,
    raw_links: list[RawLinks],
    masks: list[Table],
    candidates: list[MergeCandidate],
    n_ids: int,
    settings: LinkSettings,
) -> LinkedPlanes:
    """Put planes together, and empty the list; see `PlaneLinker.finish`.

    `volume` is given where the planes are parts of it already.
    A row of `masks` is a mask: id, plane, area, first and last y, first and last x.
    """
    table = np.concatenate([np.empty((0, 7), np.int64), *masks])
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    table, cut_from = _cut(table, n_ids, settings.neck_ratio)
    names = _names(planes, table, n_ids + len(cut_from), settings)

    before = names[: n_ids + 1]
    same = bool(np.all(before == np.arange(before.size)))
    is_new = volume is None
    if volume is None:
        volume = np.empty((len(planes), *planes[0].shape), np.int32)
    last_renamed = -1 if same else len(planes) - 1
    first_renamed = 0 if not same else min((z for _, z in cut_from.values()), default=len(planes))
    if cut_from:
        last_renamed = len(planes) - 1
    for z in range(len(planes)):
        if first_renamed <= z <= last_renamed:
            own = before.copy()
            for new, (old, first_z) in cut_from.items():
                if z >= first_z:
                    own[old] = names[new]
            rename(planes[z], own, volume[z])
        elif is_new:
            volume[z] = planes[z]
        planes[z] = volume[z]  # the plane itself is let go: no volume is held twice

    def name_at(old: int, z: int) -> int:
        return int(names[_id_at(old, z, cut_from)])

    links = _links(raw_links, names, cut_from)
    if settings.fill_gaps:
        final = names[table[:, 0]]
        for link in links[links["z_to"] - links["z_from"] > 1]:
            is_either = (final == link["object_id"]) & (
                (table[:, 1] == link["z_from"]) | (table[:, 1] == link["z_to"])
            )
            box = table[is_either, 3:]
            fill_between(
                volume,
                int(link["object_id"]),
                int(link["z_from"]),
                int(link["z_to"]),
                (int(box[:, 0].min()), int(box[:, 1].max()) + 1, int(box[:, 2].min()), int(box[:, 3].max()) + 1),
            )
    ends = np.zeros(names.size, np.int64)
    np.maximum.at(ends, table[:, 0], table[:, 1])
    final_candidates = [
        replace(c, object_id=name_at(c.object_id, c.z - 1), other_id=name_at(c.other_id, c.z))
        for c in candidates
        if ends[_id_at(c.object_id, c.z - 1, cut_from)] < c.z
    ]
    cuts = [(name_at(old, z - 1), int(names[new]), z) for new, (old, z) in cut_from.items()]
    return LinkedPlanes(
        volume,
        links,
        names[: n_ids + 1].astype(np.int32),
        tuple(c for c in final_candidates if c.object_id and c.other_id and c.object_id != c.other_id),
        tuple(cut for cut in cuts if cut[0] and cut[1]),
    )


def _cut(table: Table, n_ids: int, ratio: float) -> tuple[Table, dict[int, tuple[int, int]]]:
    """Give what lies above a neck an id of its own; return, by new id, the old one and its first plane."""
    if ratio <= 0 or not len(table):
        return table, {}
    first = np.append(np.flatnonzero(np.diff(table[:, 0], prepend=-1)), len(table))
    roots = np.sqrt(table[:, 2])
    gap_after = (np.diff(table[:, 1], append=0) > 1) & (np.diff(table[:, 0], append=-1) == 0)
    low = roots.copy()
    low[gap_after | np.roll(gap_after, 1)] *= ratio / max(_BRIDGED, ratio)
    places = find_necks(first, roots, low, ratio, _GRADUAL)
    if not places.size:
        return table, {}
    table = table.copy()
    ends = first[np.searchsorted(first, places, side="right")]
    cut_from: dict[int, tuple[int, int]] = {}
    old_ids = table[places, 0]
    for place, end, old in zip(places.tolist(), ends.tolist(), old_ids.tolist(), strict=True):
        new = n_ids + 1 + len(cut_from)
        cut_from[new] = (old, int(table[place, 1]))
        table[place:end, 0] = new  # a later cut of the same object takes its part in turn
    return table, cut_from


def _id_at(old: int, z: int, cut_from: dict[int, tuple[int, int]]) -> int:
    """Return the id after cutting, of what was `old` in plane z."""
    found = old
    for new, (was, first_z) in cut_from.items():
        if was == old and z >= first_z:
            found = new
    return found


def _names(planes: list[Labels], table: Table, n_ids: int, settings: LinkSettings) -> NDArray[np.int64]:
    """Return final ids: from 1 in order of the first plane; 0 for what goes, another's for what joins."""
    joins = np.arange(n_ids + 1)
    n_planes_of = np.bincount(table[:, 0], minlength=n_ids + 1)
    if settings.thin_objects != "keep" and settings.min_depth_planes > 1:
        thin = (n_planes_of < settings.min_depth_planes) & (n_planes_of > 0)
        if settings.thin_objects == "drop":
            joins[thin] = 0
        else:
            _join_thin(planes, table, thin, joins)
    first_z = np.full(n_ids + 1, len(planes))
    np.minimum.at(first_z, table[:, 0], table[:, 1])
    stays = np.flatnonzero((joins == np.arange(n_ids + 1)) & (n_planes_of > 0))
    stays = stays[np.argsort(first_z[stays], kind="stable")]
    names = np.zeros(n_ids + 1, np.int64)
    names[stays] = np.arange(1, stays.size + 1)
    return names[joins]


def _join_thin(planes: list[Labels], table: Table, thin: NDArray[np.bool_], joins: NDArray[np.int64]) -> None:
    """Let thin objects join what lies best above or below them."""
    rows = table[thin[table[:, 0]]]
    at = {(int(row[0]), int(row[1])) for row in table}
    for object_id in np.unique(rows[:, 0]):
        best, best_shared = 0, 0.0
        for row in rows[rows[:, 0] == object_id]:
            crop = (slice(row[3], row[4] + 1), slice(row[5], row[6] + 1))
            z = int(row[1])
            for beside in (z - 1, z + 1):
                if not 0 <= beside < len(planes):
                    continue
                found = overlaps(planes[z][crop], planes[beside][crop])
                for a, b, shared in zip(found.index_a, found.index_b, found.containment, strict=True):
                    other = int(found.ids_b[b])
                    if found.ids_a[a] != object_id or thin[other] or (other, beside) not in at:
                        continue
                    if shared > best_shared:
                        best, best_shared = other, float(shared)
        if best:
            joins[object_id] = best


def _links(
    raw: list[RawLinks], names: NDArray[np.int64], cut_from: dict[int, tuple[int, int]]
) -> NDArray[np.void]:
    table = np.empty(sum(one.ids.size for one in raw), LINK_FIELDS)
    at = 0
    for one in raw:
        rows = table[at : at + one.ids.size]
        at += one.ids.size
        ids = one.ids.astype(np.int64)
        for new, (old, first_z) in cut_from.items():
            if one.z == first_z:
                ids[one.ids == old] = 0
            elif one.z > first_z:
                ids[one.ids == old] = new
        rows["object_id"], rows["z_from"], rows["z_to"] = names[ids], one.z - one.gap, one.z
        rows["iou"], rows["containment"], rows["weak"] = one.iou, one.containment, one.weak
    table = table[table["object_id"] > 0]
    return table[np.lexsort((table["z_from"], table["object_id"]))]
