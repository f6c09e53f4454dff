"""Points linked over time: frame by frame first, then gaps, splits and merges of the whole recording at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from parfocal.errors import BadInputError
from parfocal.linking._assign import assign, merge_pairs

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

_NO_PAIRS = np.empty((0, 2), np.int32)

_PRIOR_STEPS = 1.0  # how many steps the mean of the recording counts for beside a track's own
_LIKELY = 9.0  # in step variances of a track's own: one step in a hundred of a plane is longer
_REACH = 20.0  # in step variances of a track's own: exp(-10) of its steps go farther in a plane


@dataclass(frozen=True)
class PointTracks:
    """Which points are one thing. Points are counted through all frames, in the order they were given.

    Parameters
    ----------
    frame, index : int32[n_points]
        The frame of each point, and its place in that frame.
    track : int32[n_points]
        The track of each, from 0; tracks are numbered by their first point. A track ends where it splits or
        merges.
    parents : int32[n_track_links, 2]
        Tracks that go over into one another: (before, after). A split has one before and two after.
    links : int32[n_links, 2]
        Points that follow each other, (earlier, later): within tracks, across gaps, and over splits and merges.
    """

    frame: Ints
    index: Ints
    track: Ints
    parents: Ints
    links: Ints

    @property
    def n_tracks(self) -> int:
        """How many tracks there are."""
        return int(self.track.max()) + 1 if self.track.size else 0

    def of_frame(self, frame: int) -> Ints:
        """Return the tracks of a frame's points, in their order."""
        begin, end = np.searchsorted(self.frame, [frame, frame + 1])
        return self.track[begin:end]


def link_points(
    frames_of_points: Sequence[ArrayLike],
    max_distance: float,
    max_missing_frames: int = 0,
    *,
    max_split_distance: float | None = None,
    max_merge_distance: float | None = None,
    min_branch_frames: int = 2,
    sizes: Sequence[ArrayLike] | None = None,
    size_weight: float = 0.0,
    max_size_change: float | None = None,
    own_steps: bool = False,
) -> PointTracks:
    """Link points of successive frames into tracks, over frames where they are missing, through splits and merges.

    As K. Jaqaman et al., Nature Methods 5, 695 (2008): points of neighbouring frames are linked so that the sum of
    squared distances is least, where a point without a successor costs `max_distance` squared; then, in one more
    assignment, the ends of what came out are joined to beginnings after a gap, beginnings to tracks that they
    split from, ends to tracks that they merge into. Both are solved exactly, on the pairs that are near enough.

    A gap of g frames (g - 1 missing) may be `max_distance * sqrt(g)` long, as a diffusing point goes, and costs
    `d^2 / g + n_axes s^2 ln(g)`, twice the negative logarithm of its probability times s^2, with s^2 the mean
    square step along an axis of what was linked frame by frame.

    Parameters
    ----------
    frames_of_points : sequence of array_like, shape (n_points, n_axes)
        Positions in each frame, in any one unit; a frame may be empty.
    max_distance : float
        The longest step between neighbouring frames.
    max_missing_frames : int
        How many frames a point may be missing in and still be the same.
    max_split_distance, max_merge_distance : float, optional
        How far from a track another may begin to have split from it, or end to have merged. None: neither is
        sought. With `sizes`, a split also costs what it says against the sum of the sizes being kept.
    min_branch_frames : int
        A branch of fewer frames is not a split or a merge, unless the recording begins or ends with it.
    sizes : sequence of array_like, shape (n_points,), optional
        Area, volume or brightness of each point, above 0.
    size_weight : float
        How much sizes count: distances are multiplied by `1 + 3 w |a - b| / (a + b)`, as in TrackMate.
    max_size_change : float, optional
        The most that `|whole - parts| / (whole + parts)` may be where a track splits or merges, with `sizes`; two
        of one size that pass each other have 1/3.
    own_steps : bool
        Let a gap be as wide as the tracks on both sides of it step (their own mean square step, drawn towards that
        of the recording by as much as one step), and no wider than what hardly any step exceeds. And decide anew,
        with the gaps, on the steps that are long for their track: a neighbour may have stepped in for a point that
        is missing.

    Raises
    ------
    BadInputError
        Axes differ between frames, a position is not finite, a distance is not above 0, sizes do not fit.
    """
    points = _Points(frames_of_points, sizes, size_weight)
    for name, value in (
        ("max_distance", max_distance),
        ("max_split_distance", max_split_distance),
        ("max_merge_distance", max_merge_distance),
    ):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise BadInputError(f"link points: {name} is {value}, expected a length above 0")
    if max_size_change is not None and sizes is None:
        raise BadInputError("link points: max_size_change needs sizes")
    if max_missing_frames < 0:
        raise BadInputError(f"link points: max_missing_frames is {max_missing_frames}, expected 0 or more")

    steps = [points.step(t, max_distance) for t in range(points.n_frames - 1)]
    links = np.concatenate([_NO_PAIRS, *steps])
    branches = _NO_PAIRS
    splits = max_split_distance is not None
    merges = max_merge_distance is not None
    if max_missing_frames or splits or merges:
        offers = _Offers(points, links, max_size_change)
        if own_steps:
            links = offers.likely_links()
            offers = _Offers(points, links, max_size_change)
            offers.add_gaps(1, max_distance, False)
        for gap in range(2, max_missing_frames + 2):
            offers.add_gaps(gap, max_distance * math.sqrt(gap), own_steps)
        if max_split_distance is not None:
            offers.add_splits(max_split_distance, min_branch_frames)
        if max_merge_distance is not None:
            offers.add_merges(max_merge_distance, min_branch_frames)
        gaps, branches = offers.choose()
        links = np.concatenate([links, gaps])
    return _tracks(points, links, branches)


class _Points:
    """All points in one array, with their frames and their nearest neighbours on demand."""

    def __init__(self, frames: Sequence[ArrayLike], sizes: Sequence[ArrayLike] | None, size_weight: float) -> None:
        each = [np.asarray(one, np.float64) for one in frames]
        n_axes = {one.shape[1] for one in each if one.ndim == 2 and one.size}
        if len(n_axes) > 1 or any(one.ndim != 2 for one in each if one.size):
            raise BadInputError(
                f"link points: frames of shape {sorted({one.shape[1:] for one in each})}, expected [point, axis]"
            )
        self.n_axes = n_axes.pop() if n_axes else 1
        each = [one.reshape(-1, self.n_axes) for one in each]
        self.n_frames = len(each)
        counts = np.array([len(one) for one in each], np.int64)
        self.first = np.concatenate([[0], np.cumsum(counts)])
        self.at = np.concatenate([np.empty((0, self.n_axes)), *each])
        if not np.isfinite(self.at).all():
            raise BadInputError("link points: a position is not finite")
        self.frame = np.repeat(np.arange(self.n_frames, dtype=np.int32), counts)
        self.index = (np.arange(len(self.at)) - self.first[self.frame]).astype(np.int32)
        self.size: Floats | None = None
        self.size_weight = size_weight
        if sizes is not None:
            told = [np.asarray(one, np.float64).ravel() for one in sizes]
            if [one.size for one in told] != counts.tolist():
                raise BadInputError("link points: sizes do not fit, expected one a point")
            self.size = np.concatenate([np.empty(0), *told])
            if not (np.isfinite(self.size).all() and np.all(self.size > 0)):
                raise BadInputError("link points: a size is not above 0")
        self._trees: dict[int, KDTree] = {}

    def of(self, frame: int) -> Ints:
        return np.arange(self.first[frame], self.first[frame + 1], dtype=np.int32)

    def near(self, ours: Ints, theirs: Ints, max_distance: float) -> tuple[Ints, Ints, Floats]:
        """Return the pairs of two sets of points that are near enough, and the squares of their distances."""
        if not (ours.size and theirs.size):
            return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0)
        found = self._tree(ours).sparse_distance_matrix(self._tree(theirs), max_distance, output_type="ndarray")
        a, b = ours[found["i"]], theirs[found["j"]]
        return a, b, np.square(found["v"])

    def _tree(self, points: Ints) -> KDTree:
        # a whole frame is asked for twice, as the later and as the earlier one
        frame = int(self.frame[points[0]])
        if points.size < self.first[frame + 1] - self.first[frame]:
            return KDTree(self.at[points], balanced_tree=False, compact_nodes=False)
        if frame not in self._trees:
            self._trees = {k: v for k, v in self._trees.items() if k >= frame - 1}
            self._trees[frame] = KDTree(self.at[points], balanced_tree=False, compact_nodes=False)
        return self._trees[frame]

    def stretched(self, squares: Floats, a: Floats, b: Floats) -> Floats:
        """Return squared distances made longer by unequal sizes."""
        return squares * np.square(1 + 3 * self.size_weight * np.abs(a - b) / (a + b))

    def step(self, frame: int, max_distance: float) -> Ints:
        """Link a frame to the next."""
        a, b, squares = self.near(self.of(frame), self.of(frame + 1), max_distance)
        if self.size is not None:
            squares = self.stretched(squares, self.size[a], self.size[b])
        n = np.diff(self.first)
        pairs = assign(
            a - self.first[frame],
            b - self.first[frame + 1],
            squares,
            int(n[frame]),
            int(n[frame + 1]),
            1.05 * max_distance**2,
        )
        return (pairs + self.first[frame : frame + 2]).astype(np.int32)


class _Offers:
    """Everything that an end may go over into, and what a beginning may come from."""

    def __init__(self, points: _Points, links: Ints, max_size_change: float | None) -> None:
        n = len(points.at)
        self.points, self.links, self.max_size_change = points, links, max_size_change
        self.after = np.full(n, -1, np.int32)
        self.before = np.full(n, -1, np.int32)
        self.after[links[:, 0]] = links[:, 1]
        self.before[links[:, 1]] = links[:, 0]
        steps = np.sum(np.square(points.at[links[:, 1]] - points.at[links[:, 0]]), axis=1)
        self.step_variance = float(steps.mean()) / points.n_axes if steps.size else 0.0
        root = merge_pairs(n, links)
        self.n_in_segment = np.bincount(root, minlength=n)[root]
        of = root[links[:, 0]]
        n_steps, squares = np.bincount(of, minlength=n)[root], np.bincount(of, steps, n)[root] / points.n_axes
        self.own_variance = (squares + _PRIOR_STEPS * self.step_variance) / (n_steps + _PRIOR_STEPS)
        self._rows: list[Ints] = []
        self._cols: list[Ints] = []
        self._costs: list[Floats] = []

    def likely_links(self) -> Ints:
        """Return the links without those that are long for their tracks, which are decided with the gaps."""
        a, b = self.links.T
        squares = np.sum(np.square(self.points.at[b] - self.points.at[a]), axis=1)
        return self.links[squares <= _LIKELY * self.own_variance[a]]

    def _of(self, frame: int, chosen: NDArray[np.bool_]) -> Ints:
        begin, end = self.points.first[frame : frame + 2]
        return (np.flatnonzero(chosen[begin:end]) + begin).astype(np.int32)

    def add_gaps(self, gap: int, max_distance: float, own_steps: bool) -> None:
        """Offer each end the beginnings `gap` frames later."""
        ends, starts = self.after < 0, self.before < 0
        for t in range(self.points.n_frames - gap):
            a, b, squares = self.points.near(self._of(t, ends), self._of(t + gap, starts), max_distance)
            if own_steps and self.step_variance > 0:
                ratio = 0.5 * (self.own_variance[a] + self.own_variance[b]) / self.step_variance
                near = squares <= _REACH * gap * ratio * self.step_variance
                a, b, squares, ratio = a[near], b[near], squares[near], ratio[near]
            else:
                ratio = np.ones(a.size)
            if self.points.size is not None:
                squares = self.points.stretched(squares, self.points.size[a], self.points.size[b])
            spread = self.points.n_axes * self.step_variance * np.log(gap * ratio)
            self._add(a, b, squares / (gap * ratio) + spread)

    def add_splits(self, max_distance: float, min_frames: int) -> None:
        """Offer each beginning the linked points of the frame before."""
        lasts = self.n_in_segment >= min_frames
        if self.points.n_frames:
            lasts |= self.points.frame + min_frames > self.points.n_frames - 1
        starts, middles = (self.before < 0) & lasts, self.after >= 0
        middles &= lasts[np.maximum(self.after, 0)]
        for t in range(self.points.n_frames - 1):
            a, b, squares = self.points.near(self._of(t, middles), self._of(t + 1, starts), max_distance)
            self._add_branches(a, b, self.after[a], squares, max_distance, len(self.points.at) + a, b)

    def add_merges(self, max_distance: float, min_frames: int) -> None:
        """Offer each end the linked points of the frame after."""
        lasts = (self.n_in_segment >= min_frames) | (self.points.frame < min_frames)
        ends, middles = (self.after < 0) & lasts, self.before >= 0
        for t in range(self.points.n_frames - 1):
            a, b, squares = self.points.near(self._of(t, ends), self._of(t + 1, middles), max_distance)
            self._add_branches(b, a, self.before[b], squares, max_distance, a, len(self.points.at) + b)

    def _add_branches(
        self, whole: Ints, part: Ints, other: Ints, squares: Floats, max_distance: float, rows: Ints, cols: Ints
    ) -> None:
        """Offer branches: two parts should lie about the whole, and add up to it."""
        points = self.points
        middle = 0.5 * (points.at[part] + points.at[other])
        off = np.sum(np.square(middle - points.at[whole]), axis=1)
        cost = 0.25 * squares + off
        near = off <= max_distance**2
        if points.size is not None:
            both = points.size[part] + points.size[other]
            if self.max_size_change is not None:
                change = np.abs(points.size[whole] - both) / (points.size[whole] + both)
                near &= change <= self.max_size_change
            cost = points.stretched(cost, points.size[whole], both)
            cost = points.stretched(cost, points.size[part], points.size[other])
        self._add(rows[near], cols[near], cost[near])

    def _add(self, rows: Ints, cols: Ints, costs: Floats) -> None:
        self._rows.append(rows)
        self._cols.append(cols)
        self._costs.append(costs)

    def choose(self) -> tuple[Ints, Ints]:
        """Return the gaps that are closed and the branches that are there, as pairs of points."""
        rows, cols = np.concatenate([*self._rows, _NO_PAIRS[:, 0]]), np.concatenate([*self._cols, _NO_PAIRS[:, 0]])
        costs = np.concatenate([*self._costs, np.empty(0)])
        if not costs.size:
            return _NO_PAIRS, _NO_PAIRS
        n = len(self.points.at)
        # nothing that is near enough costs more than not being linked: the distances are the limit
        pairs = assign(rows, cols, costs, 2 * n, 2 * n, 1.05 * float(costs.max()) or 1.0)
        is_gap = np.all(pairs < n, axis=1)
        return pairs[is_gap], (pairs[~is_gap] % n).astype(np.int32)


def _tracks(points: _Points, links: Ints, branches: Ints) -> PointTracks:
    """Give tracks their numbers: a branch ends what it leaves and what it enters."""
    n = len(points.at)
    splits = np.isin(links[:, 0], branches[:, 0]) | np.isin(links[:, 1], branches[:, 1])
    root = merge_pairs(n, links[~splits])
    firsts, track = np.unique(root, return_inverse=True)
    del firsts  # a root is a track's first point: numbers follow from it
    track = track.reshape(-1).astype(np.int32)
    over = np.concatenate([links[splits], branches])
    order = np.lexsort((over[:, 1], over[:, 0]))
    everything = np.concatenate([links, branches])
    everything = everything[np.lexsort((everything[:, 1], everything[:, 0]))]
    return PointTracks(points.frame, points.index, track, track[over[order]], everything)
