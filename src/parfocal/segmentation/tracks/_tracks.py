"""Nuclei followed over time, through divisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.linking import compact, link_points

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NucleusTracks:
    """Which objects of successive times are one nucleus: a row an object, by time and id.

    Parameters
    ----------
    time, object_id : int32[n]
        Which object it is.
    track_id : int32[n]
        From 1; a nucleus that divides ends there, and each daughter has a track of its own.
    centroid_um : float64[n, 3]
        z, y, x.
    volume_um3 : float64[n]
        Its volume; its area in um^2 where labels have two axes.
    parent_of : int32[n_tracks + 1]
        By track id: the track that it came from by division, 0 for none.
    """

    time: Ints
    object_id: Ints
    track_id: Ints
    centroid_um: Floats
    volume_um3: Floats
    parent_of: Ints

    @property
    def n_tracks(self) -> int:
        """How many tracks there are."""
        return self.parent_of.size - 1

    @property
    def divisions(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Tracks that divided, with their daughters."""
        mothers = np.unique(self.parent_of[self.parent_of > 0])
        return tuple((int(m), tuple(np.flatnonzero(self.parent_of == m).tolist())) for m in mothers)

    def of(self, time: int) -> dict[int, int]:
        """Return the track of each object at a time, by object id."""
        rows = self.time == time
        return dict(zip(self.object_id[rows].tolist(), self.track_id[rows].tolist(), strict=True))

    def links(self) -> set[tuple[tuple[int, int], tuple[int, int]]]:
        """Return what goes over into what, as ((time, object), (time, object)), divisions included."""
        order = np.lexsort((self.time, self.track_id))
        node = list(zip(self.time[order].tolist(), self.object_id[order].tolist(), strict=True))
        track = self.track_id[order]
        same = np.flatnonzero(track[1:] == track[:-1])
        found = {(node[i], node[i + 1]) for i in same}
        first = {int(track[i]): node[i] for i in reversed(range(len(node)))}
        last = {int(t): n for t, n in zip(track, node, strict=True)}
        found |= {(last[int(m)], first[d]) for d, m in enumerate(self.parent_of) if m and d in first}
        return found

    def relabel(self, labels: ArrayLike, time: int) -> NDArray[np.int32]:
        """Return labels of a time with track ids for object ids."""
        given = np.asarray(labels)
        names = np.zeros(int(given.max(initial=0)) + 1, np.int32)
        for object_id, track in self.of(time).items():
            names[object_id] = track
        return names[given]


def track_objects(
    labels_per_time: Sequence[ArrayLike],
    voxel_size_um: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    max_distance_um: float | None = None,
    max_missing_frames: int = 1,
    divisions: bool = True,
    max_division_distance_um: float | None = None,
    min_daughter_frames: int = 2,
    volume_weight: float = 0.3,
) -> NucleusTracks:
    """Follow nuclei over time by their centroids and volumes, through divisions.

    See `parfocal.linking.link_points` for how. A daughter may begin where another nucleus goes on, if both lie
    about the mother and add up to it.

    Parameters
    ----------
    labels_per_time : sequence of array_like of int, shape (z, y, x) or (y, x)
        Object ids at each time; ids of different times need have nothing in common.
    voxel_size_um : sequence of float
        z, y, x; the last two for planes.
    max_distance_um : float, optional
        The longest step; the median nucleus' equivalent diameter where not given.
    max_missing_frames : int
        How many times a nucleus may be missing at.
    divisions : bool
        Look for them.
    max_division_distance_um : float, optional
        How far from the mother a daughter may appear; 1.5 times `max_distance_um` where not given.
    min_daughter_frames : int
        What appears beside a nucleus for fewer frames is no daughter, unless the recording ends.
    volume_weight : float
        How much a change of volume counts against a link.

    Raises
    ------
    BadInputError
        Labels are no whole numbers, or voxel sizes do not fit.
    """
    sizes_um = np.asarray(voxel_size_um, np.float64)
    tables: list[tuple[Ints, Floats, Floats]] = []
    for t, labels in enumerate(labels_per_time):
        given = np.asarray(labels)
        if given.ndim not in (2, 3) or sizes_um.size < given.ndim or not np.all(sizes_um > 0):
            raise BadInputError(
                f"track objects: labels of shape {given.shape} at time {t}, voxel size {sizes_um.tolist()} um; "
                "expected [z, y, x] or [y, x] and a size above 0 for each axis"
            )
        tables.append(_objects(given, sizes_um[-given.ndim :]))
    return track_tables(
        tables,
        max_distance_um=max_distance_um,
        max_missing_frames=max_missing_frames,
        divisions=divisions,
        max_division_distance_um=max_division_distance_um,
        min_daughter_frames=min_daughter_frames,
        volume_weight=volume_weight,
    )


def track_tables(
    tables: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]],
    *,
    max_distance_um: float | None = None,
    max_missing_frames: int = 1,
    divisions: bool = True,
    max_division_distance_um: float | None = None,
    min_daughter_frames: int = 2,
    volume_weight: float = 0.3,
) -> NucleusTracks:
    """Follow nuclei of which ids, centroids and volumes are known; see `track_objects`.

    Parameters
    ----------
    tables : sequence of (ids, centroids_um, volumes_um3)
        Of each time; centroids are (z, y, x).
    """
    ids = [np.asarray(one[0], np.int32).ravel() for one in tables]
    at = [np.asarray(one[1], np.float64).reshape(-1, 3) for one in tables]
    volumes = [np.asarray(one[2], np.float64).ravel() for one in tables]
    everything = np.concatenate([np.empty(0), *volumes])
    flat = all(np.ptp(one[:, 0]) == 0 for one in at if len(one))
    step_um = max_distance_um
    if step_um is None:
        median = float(np.median(everything)) if everything.size else 1.0
        step_um = 2 * float(np.sqrt(median / np.pi) if flat else np.cbrt(median * 0.75 / np.pi))
    reach_um = max_division_distance_um or 1.5 * step_um
    linked = link_points(
        at,
        step_um,
        max_missing_frames,
        max_split_distance=reach_um if divisions else None,
        min_branch_frames=min_daughter_frames,
        sizes=volumes,
        size_weight=volume_weight,
    )
    parent_of = np.zeros(linked.n_tracks + 1, np.int32)
    for mother, daughter in linked.parents.tolist():
        parent_of[daughter + 1] = mother + 1
    return NucleusTracks(
        linked.frame,
        np.concatenate([np.empty(0, np.int32), *ids]),
        linked.track + np.int32(1),
        np.concatenate([np.empty((0, 3)), *at]),
        everything,
        parent_of,
    )


@dataclass(frozen=True)
class TrackScore:
    """Links found against links that are true.

    Parameters
    ----------
    precision, recall : float
        Of all links, divisions included.
    n_divisions, n_divisions_found, n_divisions_false : int
        A division is found where the mother and both daughters are the true ones.
    """

    precision: float
    recall: float
    n_divisions: int
    n_divisions_found: int
    n_divisions_false: int


def compare_tracks(truth: NucleusTracks, predicted: NucleusTracks) -> TrackScore:
    """Compare tracks of the same objects."""
    true, found = truth.links(), predicted.links()
    both = len(true & found)
    true_forks, forks = _forks(true), _forks(found)
    return TrackScore(
        both / len(found) if found else 1.0,
        both / len(true) if true else 1.0,
        len(true_forks),
        len(true_forks & forks),
        len(forks - true_forks),
    )


Node = tuple[int, int]


def _forks(links: set[tuple[Node, Node]]) -> set[tuple[Node, frozenset[Node]]]:
    after: dict[Node, list[Node]] = {}
    for a, b in links:
        after.setdefault(a, []).append(b)
    return {(a, frozenset(b)) for a, b in after.items() if len(b) > 1}


def _objects(labels: NDArray[np.generic], sizes_um: Floats) -> tuple[Ints, Floats, Floats]:
    """Return ids, centroids and volumes."""
    plane, names = compact(labels)
    flat = plane.ravel()
    inside = np.flatnonzero(flat)
    ids = flat[inside]
    counts = np.bincount(ids, minlength=names.size + 1)[1:]
    there = np.flatnonzero(counts)
    centroid = np.zeros((there.size, 3))
    for axis, where in enumerate(np.unravel_index(inside, plane.shape)):
        sums = np.bincount(ids, where, names.size + 1)[1:]
        centroid[:, 3 - plane.ndim + axis] = sums[there] / counts[there] * sizes_um[axis]
    return names[there].astype(np.int32), centroid, counts[there] * float(np.prod(sizes_um))
