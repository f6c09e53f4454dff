"""Which planes of a stack were taken while the sample moved."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import band_limited
from parfocal.robust import robust_sd
from parfocal.slices._verdict import Verdict

_LONGEST_SIDE_PX = 512
_LEAST_PAIRS = 3
_NOTHING = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class StackSettings:
    """What counts as motion between planes.

    Attributes
    ----------
    k : float
        Standard deviations below what planes so far apart in z have in common.
    least_drop : float
        And at least so much lower, in correlation: planes that are all alike must not make the judge pedantic.
    reach : int
        How many planes in a row may be bad, and those before and after them still be compared.
    sigma_px : float
        Of the smoothing before frames are correlated, so that noise does not count.
    """

    k: float = 5.0
    least_drop: float = 0.01
    reach: int = 6
    sigma_px: float = 2.0


def moved_planes(
    pairs: Mapping[tuple[int, int], float], n_planes: int, settings: StackSettings = StackSettings()
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Say which planes are out of line with the others.

    Planes i < j agree if their correlation is not below what planes j - i apart have (median, and k times the
    standard deviation by MAD, at least `least_drop`). The longest chain of planes of which each agrees with the
    next is where the sample was; a plane outside it was taken elsewhere, or in motion. So a bad plane does not
    cost its good neighbours, a motion may last several planes, and of a sample that has gone for good the shorter
    part is out of line.

    Parameters
    ----------
    pairs : mapping of (i, j) to float
        Correlation of band-limited planes i < j; NaN where one is flat. Pairs may be missing.
    n_planes : int
        How many there are.
    settings : StackSettings
        See there.

    Returns
    -------
    moved : ndarray of bool, shape (n_planes,)
    drop : ndarray of float64, shape (n_planes,)
        How far the plane's correlation with its neighbours in the chain lies below what is expected, over what is
        allowed: above 1 where it moved; NaN where there is nothing to compare with.
    """
    ratio: dict[tuple[int, int], float] = {}
    for gap in range(1, settings.reach + 2):
        near = {p: r for p, r in pairs.items() if p[1] - p[0] == gap and np.isfinite(r)}
        if not near:
            continue
        values = np.fromiter(near.values(), np.float64)
        # The better half: where much has moved, the median of all is a moved one's.
        better = np.sort(values)[values.size // 2 :]
        middle = float(np.median(better))
        sd = robust_sd(better)
        allowed = max(settings.k * sd, settings.least_drop * gap)
        ratio.update({p: (middle - r) / allowed for p, r in near.items()})
    chain = _longest_chain(ratio, n_planes)
    moved = np.ones(n_planes, np.bool_)
    moved[chain] = False
    drop = np.full(n_planes, np.nan)
    for plane in range(n_planes):
        beside = [ratio.get((min(plane, c), max(plane, c)), np.nan) for c in _beside(plane, chain)]
        known = [r for r in beside if np.isfinite(r)]
        if known:
            drop[plane] = min(known) if not moved[plane] else max(known)
    return moved, drop


def _longest_chain(ratio: Mapping[tuple[int, int], float], n_planes: int) -> list[int]:
    """Return the longest ascending chain of planes that agree one by one; of equals, the one that agrees best."""
    length = [1] * n_planes
    cost = [0.0] * n_planes
    before = [-1] * n_planes
    for j in range(n_planes):
        for i in range(j):
            r = ratio.get((i, j), np.inf)
            if r > 1:
                continue
            better = (length[i] + 1, -(cost[i] + max(r, 0.0)))
            if better > (length[j], -cost[j]) or before[j] < 0:
                length[j], cost[j], before[j] = length[i] + 1, cost[i] + max(r, 0.0), i
    at = max(range(n_planes), key=lambda p: (length[p], -cost[p]), default=-1)
    chain: list[int] = []
    while at >= 0:
        chain.append(at)
        at = before[at]
    return chain[::-1]


def _beside(plane: int, chain: list[int]) -> list[int]:
    below, above = [c for c in chain if c < plane], [c for c in chain if c > plane]
    return [*below[-1:], *above[:1]]


@dataclass
class StackJudge:
    """Judges the planes of one stack: `see` while it is taken, `again` when all are there.

    While the stack is taken a plane is compared with those before it, so that a motion is told as it happens; that
    verdict is provisional. A plane that is seen again, as it was taken again, replaces the one before. Keep to
    one stack: `forget` before the next. May be called from several threads.

    Parameters
    ----------
    settings : StackSettings
        What counts as motion.
    """

    settings: StackSettings = field(default_factory=StackSettings)
    _frames: dict[int, int] = field(default_factory=dict[int, int])
    _planes: dict[int, NDArray[np.float32]] = field(default_factory=dict[int, NDArray[np.float32]])
    _pairs: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    score_names = ("ncc", "ncc_skip")

    def __call__(self, pixels: ArrayLike) -> Verdict:
        """Judge the next plane."""
        with self._lock:
            plane = max(self._planes, default=-1) + 1
        return self.see(pixels, plane, str(plane))

    def see(self, pixels: ArrayLike, frame: int, slice_id: str) -> Verdict:
        """Judge a plane by those before it; `slice_id` is its number in the stack."""
        plane = _number(slice_id)
        small = _standardized(np.asarray(pixels), self.settings.sigma_px)
        with self._lock:
            self._frames[frame], self._planes[plane] = plane, small
            for other, image in self._planes.items():
                if 0 < abs(other - plane) <= self.settings.reach + 1:
                    pair = (min(plane, other), max(plane, other))
                    self._pairs[pair] = float(np.vdot(image, small)) if image.shape == small.shape else np.nan
            return self._verdict(plane, is_provisional=True, up_to=plane)

    @property
    def n_planes(self) -> int:
        """How many planes it has seen."""
        return len(self._planes)

    def beside(self, plane: int) -> tuple[list[float], list[float]]:
        """Return a plane's correlations with those before it, nearest first, and those after it; NaN for none."""
        with self._lock:
            gaps = range(1, self.settings.reach + 2)
            before = [self._pairs.get((plane - gap, plane), float("nan")) for gap in gaps]
            return before, [self._pairs.get((plane, plane + gap), float("nan")) for gap in gaps]

    def again(self, frame: int) -> Verdict:
        """Judge a plane by the whole stack.

        Raises
        ------
        BadInputError
            The frame was never seen.
        """
        with self._lock:
            return self._verdict(self._plane_of(frame), is_provisional=False, up_to=max(self._planes))

    def let_go(self) -> None:
        """Keep the correlations, and no pixels: planes that come now are compared with nothing."""
        with self._lock:
            self._planes = dict.fromkeys(self._planes, _NOTHING)

    def forget(self) -> None:
        """Begin with a new stack."""
        with self._lock:
            self._frames.clear()
            self._planes.clear()
            self._pairs.clear()

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for metadata."""
        return {"settings": asdict(self.settings)}

    def _plane_of(self, frame: int) -> int:
        if frame not in self._frames:
            raise BadInputError(f"stack judge: frame {frame} was never seen, it cannot be judged again")
        return self._frames[frame]

    def _verdict(self, plane: int, *, is_provisional: bool, up_to: int) -> Verdict:
        numbers = [p for p in sorted(self._planes) if p <= up_to]
        at = {p: k for k, p in enumerate(numbers)}
        pairs = {(at[i], at[j]): r for (i, j), r in self._pairs.items() if i in at and j in at}
        scores = {
            "ncc": self._pairs.get((plane - 1, plane), float("nan")),
            "ncc_skip": self._pairs.get((plane - 2, plane), float("nan")),
        }
        if len(numbers) < _LEAST_PAIRS + 1:
            return Verdict(True, "", is_provisional=is_provisional, scores=scores)
        moved, drop = moved_planes(pairs, len(numbers), self.settings)
        k = at[plane]
        return Verdict(not moved[k], "moved" if moved[k] else "", float(drop[k]), is_provisional, scores)


def _number(slice_id: str) -> int:
    try:
        return int(slice_id)
    except ValueError:
        raise BadInputError(
            f"stack judge: plane {slice_id!r}; its number in the stack was expected as slice id"
        ) from None


def _standardized(pixels: NDArray[np.generic], sigma_px: float) -> NDArray[np.float32]:
    """Return a band-limited, binned frame of mean 0 and norm 1, so that a dot product is the correlation."""
    image = np.asarray(band_limited(pixels, sigma_px), np.float32)
    bins = -(-max(image.shape) // _LONGEST_SIDE_PX)
    if bins > 1:
        height, width = (n // bins for n in image.shape)
        image = image[: height * bins, : width * bins].reshape(height, bins, width, bins).mean(axis=(1, 3))
    image = image - image.mean(dtype=np.float64)
    norm = float(np.sqrt(np.vdot(image, image)))
    return (image / norm if norm > 0 else np.full_like(image, np.nan)).astype(np.float32)
