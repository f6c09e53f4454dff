"""When a punctum goes over from resting to moving, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta.tracking._by_track import ByTrack
from parfocal.puncta.tracking._steps_kernel import scaled_radius, sliding_scaled_radius, step_sums
from parfocal.puncta.tracking._stillness import MIN_POINTS, motion_p, scaled_radius_cut

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
States = NDArray[np.int8]


@dataclass(frozen=True)
class MobilitySettings:
    """How motion is judged.

    Parameters
    ----------
    false_mobile_rate : float
        How many of the puncta that do not move may be called mobile.
    min_points : int
        Shorter tracks are measured but not judged.
    window : int
        Points of the window that slides along a track to see it change; 0 does not look.
    """

    false_mobile_rate: float = 0.01
    min_points: int = MIN_POINTS
    window: int = MIN_POINTS

    def __post_init__(self) -> None:
        if not 0 < self.false_mobile_rate < 0.5:
            raise BadInputError(f"mobility: false_mobile_rate is {self.false_mobile_rate}, expected 0 to 0.5")
        if self.min_points < 3:
            raise BadInputError(f"mobility: min_points is {self.min_points}, expected 3 or more")
        if self.window != 0 and self.window < 5:
            raise BadInputError(f"mobility: window is {self.window}, expected 0, or 5 points or more")


def stretches(
    rows: ByTrack,
    is_judged: Flags,
    is_mobile: Flags,
    error2: Floats,
    interval_s: float,
    settings: MobilitySettings,
) -> States:
    """Return the state of each point: 1 mobile, 0 immobile, -1 not judged.

    A window of points slides along a track. Where its scaled radius of gyration is what a still punctum hardly
    has, it moves. Where it is not, that alone does not say that it rests: a slow one often looks like that. So a
    stretch is immobile only if, moving as in the rest of its track, it would hardly have stayed so near.
    """
    n = rows.n_points
    state = np.where(is_judged, is_mobile, -1).astype(np.int8).repeat(n)
    if not settings.window:
        return state
    sliding = np.asarray(sliding_scaled_radius(rows.first, rows.y_um, rows.x_um, settings.window))
    for track in np.flatnonzero(is_judged & (n >= 2 * settings.window)):
        begin, end = rows.first[track : track + 2]
        # as many chances as there are windows that share few points
        rate = _round_rate(settings.false_mobile_rate * settings.window / (2.0 * int(n[track])))
        here = (sliding[begin:end] > scaled_radius_cut(settings.window, rate)).astype(np.int8)
        here = _without_short_runs(here, settings.window)
        if is_mobile[track] and not here.any():
            here[:] = 1  # the whole says more than its windows
        state[begin:end] = _with_rests(here, rows, int(begin), float(error2[track]), interval_s, settings)
    return state


def _with_rests(
    state: States, rows: ByTrack, begin: int, error2: float, interval_s: float, settings: MobilitySettings
) -> States:
    """Keep the immobile stretches of a mobile track that its motion does not explain."""
    if state.all() or not state.any():
        return state
    state = state.copy()
    edges = _edges(state)
    moving = [(a, b) for a, b in pairwise(edges) if state[a]]
    first = np.concatenate([[0], np.cumsum([b - a for a, b in moving])]).astype(np.int64)
    row = begin + np.concatenate([np.arange(a, b) for a, b in moving])
    squares, n_steps, products, n_products = np.asarray(
        step_sums(first, rows.frame[row], rows.y_um[row], rows.x_um[row])
    ).sum(axis=0)
    step2 = squares / (2 * max(n_steps, 1)) + products / max(n_products, 1)  # 2 D times the interval
    error2 = max(error2, 1e-12)
    for a, b in pairwise(edges):
        if state[a]:
            continue
        here = slice(begin + a, begin + b)
        radius = float(scaled_radius(rows.y_um[here], rows.x_um[here]))
        chance = motion_p(radius, int(b - a), step2 / error2) if step2 > 0 else 1.0
        if chance > settings.false_mobile_rate * (b - a) / state.size:
            state[a:b] = 1
    return state


def _round_rate(rate: float) -> float:
    """Return one of few rates below, so that few nulls are drawn."""
    return max(10 ** (math.floor(4 * math.log10(rate)) / 4), 1e-3)


def _edges(state: States) -> list[int]:
    return [0, *(np.flatnonzero(np.diff(state)) + 1).tolist(), state.size]


def _without_short_runs(state: States, least: int) -> States:
    """Give runs that are too short to what is around them, the shortest first."""
    state = state.copy()
    while True:
        edges = np.array(_edges(state))
        lengths = np.diff(edges)
        if lengths.size < 2 or lengths.min() >= least:
            return state
        k = int(lengths.argmin())
        state[edges[k] : edges[k + 1]] = 1 - state[edges[k]]
