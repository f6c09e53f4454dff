"""Sums over all pairs of a track that are so many frames apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]


@njit(nogil=True, cache=True)
def lag_sums(first: Any, frame: Any, y: Any, x: Any, max_lag: int) -> Any:
    """Return squared displacements summed, and counted, `[track, lag - 1]`.

    Parameters
    ----------
    first : ndarray of int64, shape (n_tracks + 1,)
        Where each track's rows begin; within a track frames rise.
    """
    n_tracks = first.size - 1
    sums = np.zeros((n_tracks, max_lag))
    counts = np.zeros((n_tracks, max_lag), np.int64)
    for track in range(n_tracks):
        for i in range(first[track], first[track + 1]):
            for j in range(i + 1, first[track + 1]):
                lag = frame[j] - frame[i]
                if lag > max_lag:
                    break
                if lag < 1:
                    continue
                sums[track, lag - 1] += (x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2
                counts[track, lag - 1] += 1
    return sums, counts


@njit(nogil=True, cache=True)
def step_sums(first: Any, frame: Any, y: Any, x: Any) -> Any:
    """Return for each track what steps of one frame sum to, both axes together.

    Columns: their squares, their number, the products of two in a row, the number of those.
    """
    out = np.zeros((first.size - 1, 4))
    for track in range(first.size - 1):
        before_y = before_x = 0.0
        has_before = False
        for i in range(first[track], first[track + 1] - 1):
            if frame[i + 1] - frame[i] != 1:
                has_before = False
                continue
            dy, dx = y[i + 1] - y[i], x[i + 1] - x[i]
            out[track, 0] += dy * dy + dx * dx
            out[track, 1] += 1
            if has_before:
                out[track, 2] += dy * before_y + dx * before_x
                out[track, 3] += 1
            before_y, before_x = dy, dx
            has_before = True
    return out


@njit(nogil=True, cache=True)
def scaled_radius(y: Any, x: Any) -> float:
    """Return sqrt(pi / 2) times the radius of gyration over the mean step of points in order."""
    n = y.size
    if n < 2:
        return np.nan
    mean_y, mean_x, steps = y[0], x[0], 0.0
    for i in range(1, n):
        mean_y += y[i]
        mean_x += x[i]
        steps += np.sqrt((y[i] - y[i - 1]) ** 2 + (x[i] - x[i - 1]) ** 2)
    mean_y /= n
    mean_x /= n
    spread = 0.0
    for i in range(n):
        spread += (y[i] - mean_y) ** 2 + (x[i] - mean_x) ** 2
    if steps == 0.0:
        return np.nan
    return np.sqrt(0.5 * np.pi * spread / n) * (n - 1) / steps


@njit(nogil=True, cache=True)
def sliding_scaled_radius(first: Any, y: Any, x: Any, window: int) -> Any:
    """Return for each row the scaled radius of the window about it, of its track's end windows at the ends.

    NaN where a track has fewer points than a window. `window` 0 takes whole tracks.
    """
    out = np.full(y.size, np.nan)
    for track in range(first.size - 1):
        begin, end = first[track], first[track + 1]
        if window == 0:
            out[begin:end] = scaled_radius(y[begin:end], x[begin:end])
            continue
        if end - begin < window:
            continue
        for start in range(begin, end - window + 1):
            value = scaled_radius(y[start : start + window], x[start : start + window])
            out[start + window // 2] = value
        out[begin : begin + window // 2] = out[begin + window // 2]
        out[end - window + window // 2 + 1 : end] = out[end - window + window // 2]
    return out


@njit(nogil=True, cache=True)
def scaled_radii(y: Any, x: Any) -> Any:
    """Return the scaled radius of each row of points, `[row, point]`."""
    out = np.empty(y.shape[0])
    for i in range(y.shape[0]):
        out[i] = scaled_radius(y[i], x[i])
    return out
