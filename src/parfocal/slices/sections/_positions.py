"""Which sections lie where no neighbour agrees: decided on cumulative positions, all at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.robust import robust_sd

FloatArray = NDArray[np.float64]
_LONGEST_RUN = 3


def chains(fixed_id: tuple[str, ...], moving_id: tuple[str, ...]) -> list[list[int]]:
    """Return rows of a shift table as unbroken chains, each in the order of its sections.

    A row whose moving section is another row's fixed one is followed by it. Where a link is missing, a new chain
    begins: nothing is known of the step between them.
    """
    row_of = {fixed: row for row, fixed in enumerate(fixed_id)}
    reached = set(moving_id)
    found: list[list[int]] = []
    taken: set[int] = set()
    for start in [row for row, fixed in enumerate(fixed_id) if fixed not in reached] + list(range(len(fixed_id))):
        chain: list[int] = []
        row: int | None = start
        while row is not None and row not in taken:
            taken.add(row)
            chain.append(row)
            row = row_of.get(moving_id[row])
        if chain:
            found.append(chain)
    return found


def less_tile_steps(
    step_mm: FloatArray, tile_mm: FloatArray | None, tolerance: float
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return steps without whole tile steps, and how many were taken out, x and y on their own.

    Parameters
    ----------
    step_mm : ndarray of float64, shape (..., 2)
        Steps (x, y).
    tile_mm : ndarray of float64, shape (2,), optional
        The tile step along x and y; nothing is taken out along an axis where it is 0.
    tolerance : float
        How far from a multiple a step may be, as a share of one tile step.
    """
    if tile_mm is None:
        return step_mm.copy(), np.zeros(step_mm.shape, np.int64)
    size = np.where(tile_mm > 0, tile_mm, np.inf)
    n = np.rint(step_mm / size)
    n[~((n != 0) & (np.abs(step_mm - n * np.where(n != 0, size, 0.0)) < tolerance * size))] = 0.0
    return step_mm - np.where(n != 0, n * np.where(n != 0, size, 0.0), 0.0), n.astype(np.int64)


def drift_scale_mm(step_mm: FloatArray, max_shift_mm: float) -> tuple[FloatArray, float]:
    """Return the median (x, y) of the steps that are small, and their robust scatter about it along one axis."""
    small = step_mm[np.hypot(step_mm[:, 0], step_mm[:, 1]) <= max_shift_mm]
    if small.shape[0] == 0:
        return np.zeros(2), max(max_shift_mm / 4, 1e-3)
    middle = np.median(small, axis=0)
    return middle, float(max(robust_sd(small - middle, centre=0.0), 1e-3))


def outlying_sections(
    step_mm: FloatArray,
    *,
    max_shift_mm: float,
    return_fraction: float,
    max_run: int,
    tile_mm: FloatArray | None = None,
    tile_tolerance: float = 0.05,
) -> NDArray[np.bool_]:
    """Return which sections of a chain lie off the path of the others, and are come back from.

    The cheapest path through the positions is sought that may leave sections out. A step costs
    `log(1 + (length / s)^2)`, s the scatter of ordinary steps; a section left out costs as much as a step of
    `max_shift_mm`, half of what the two steps to it and back would. So +2, -2, +2, -2 mm is read as a whole, and
    not half of a pair after the other half was mended.

    Parameters
    ----------
    step_mm : ndarray of float64, shape (n, 2)
        Steps (x, y) from section i to i + 1.
    max_shift_mm : float
        Both ways to a section left out must be longer.
    return_fraction : float
        Way from the section before it to the one after it, at most, as a share of the longer of the two.
    max_run : int
        Most sections in a row that may be left out at one place; two or three that lie far from each other are
        glitches one after another, and may.
    tile_mm, tile_tolerance
        Whole tile steps between the section before and the one after are no way at all.

    Returns
    -------
    ndarray of bool, shape (n + 1,)
        The first and the last section are never among them: nothing tells on which side the jump is.
    """
    n = step_mm.shape[0]
    at = np.vstack([np.zeros(2), np.cumsum(step_mm, axis=0)])
    _, scatter = drift_scale_mm(step_mm, max_shift_mm)
    left_out = float(np.log1p((max_shift_mm / scatter) ** 2))
    cost = np.full(n + 1, np.inf)
    cost[0] = 0.0
    came_from = np.zeros(n + 1, np.int64)
    for k in range(1, n + 1):
        for run in range(min(max(max_run, _LONGEST_RUN), k - 1) + 1):
            j = k - 1 - run
            way, tiles = less_tile_steps(at[k] - at[j], tile_mm, tile_tolerance)
            length = float(np.hypot(*way))
            if run and not _comes_back(at[j : k + 1], length, max_shift_mm, return_fraction):
                continue
            if run > max_run and not _disagree(at[j + 1 : k], max_shift_mm):
                continue
            total = cost[j] + float(np.log1p((length / scatter) ** 2)) + run * left_out
            total += left_out / 2 if tiles.any() else 0.0
            if total < cost[k]:
                cost[k], came_from[k] = total, j
    off = np.ones(n + 1, np.bool_)
    k = n
    while True:
        off[k] = False
        if k == 0:
            return off
        k = int(came_from[k])


def _comes_back(at_mm: FloatArray, way_mm: float, max_shift_mm: float, return_fraction: float) -> bool:
    inner = at_mm[1:-1]
    there = np.hypot(*(inner - at_mm[0]).T)
    back = np.hypot(*(inner - at_mm[-1]).T)
    longer = np.maximum(there, back)
    return bool(np.all(longer > max_shift_mm) and np.all(way_mm < return_fraction * longer))


def _disagree(at_mm: FloatArray, max_shift_mm: float) -> bool:
    """Return whether each section lies far from the next: glitches one after another, not a stage homed anew."""
    return bool(np.all(np.hypot(*np.diff(at_mm, axis=0).T) > max_shift_mm))


def mend_sections(
    step_mm: FloatArray,
    off: NDArray[np.bool_],
    tile_mm: FloatArray | None = None,
    tile_tolerance: float = 0.05,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return steps that lay the sections `off` evenly between their neighbours, and the tile steps taken out.

    Without tile steps every other position stays: the last step of each stretch takes what is left of the sum, so
    that not even rounding is carried on. Tile steps within a stretch are counted at its last step.
    """
    mended = step_mm.copy()
    n_tiles = np.zeros(step_mm.shape, np.int64)
    k = 0
    while k < step_mm.shape[0]:
        end = k + 1
        while off[end]:
            end += 1
        total, n = less_tile_steps(step_mm[k:end].sum(axis=0), tile_mm, tile_tolerance)
        n_tiles[end - 1] = n
        if end - k > 1 or n.any():
            mended[k : end - 1] = total / (end - k)
            mended[end - 1] = total - mended[k : end - 1].sum(axis=0)
        k = end
    return mended, n_tiles


def tile_step_mm(component_mm: FloatArray, tolerance: float = 0.05, max_multiple: int = 3) -> float | None:
    """Return the step F of which most of the long steps are whole multiples, or None where there is no such step.

    Every long step, and its half and third, is tried. F must explain at least three steps, and better than chance
    would: steps of any length come as near to multiples as these do with a probability below 3 in 1,000, over all
    that was tried. Of equally good ones the longest is taken, and refined by the median.

    Parameters
    ----------
    component_mm : ndarray of float64
        Long steps along one axis, signed.
    """
    length = np.abs(component_mm[component_mm != 0.0])
    if length.size < 3:
        return None
    candidates = np.unique(np.concatenate([length / m for m in range(1, max_multiple + 1)]))[::-1]
    best, n_best = 0.0, 0
    for size in candidates:
        n_within = int(_multiples(length, float(size), tolerance, max_multiple).astype(bool).sum())
        if n_within > n_best:
            best, n_best = float(size), n_within
    if n_best < 3:
        return None
    n = _multiples(length, best, tolerance, max_multiple)
    size_mm = float(np.median(length[n > 0] / n[n > 0]))
    off = float(np.abs(length[n > 0] / size_mm - n[n > 0]).max())
    by_chance = candidates.size * _chance(n_best - 1, length.size - 1, min(1.0, max(2 * off, 1e-3)))
    return size_mm if by_chance < 0.003 else None


def _multiples(length_mm: FloatArray, size_mm: float, tolerance: float, most: int) -> NDArray[np.int64]:
    n = np.rint(length_mm / size_mm)
    good = (n >= 1) & (n <= most) & (np.abs(length_mm - n * size_mm) < tolerance * size_mm)
    return np.where(good, n, 0).astype(np.int64)


def _chance(at_least: int, of: int, probability: float) -> float:
    from scipy.stats import binom  # slow to import, and only needed here

    return float(binom.sf(at_least - 1, of, probability))
