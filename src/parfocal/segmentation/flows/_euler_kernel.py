"""Voxels carried along a flow until they rest, and what they found there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_FASTMATH = {"reassoc", "contract", "nsz", "arcp", "afn"}
_SMALLEST_STRIDE = np.float32(1 / 16)


@njit(nogil=True, cache=True)
def count_foreground(foreground: Any, threshold: float) -> int:
    """Return how many voxels are above the threshold."""
    n = 0
    for v in foreground:
        if v > threshold:
            n += 1
    return n


@njit(nogil=True, cache=True)
def gather(flow: Any, foreground: Any, threshold: float, first: int, stop: int, voxels: Any, packed: Any) -> int:
    """Fill `packed` (voxel, axis) with the foreground's flow and `voxels` with where it is; return how many.

    The background's flow is set to 0: whoever leaves an object rests, and is nobody's.
    """
    n = 0
    for i in range(first, stop):
        if foreground[i] > threshold:
            for axis in range(flow.shape[0]):
                packed[i, axis] = flow[axis, i]
            if voxels.size:
                voxels[n] = i
            n += 1
        else:
            for axis in range(flow.shape[0]):
                packed[i, axis] = 0.0
    return n


@njit(nogil=True, cache=True, fastmath=_FASTMATH, error_model="numpy")
def follow_3d(flow: Any, voxels: Any, first: int, stop: int, max_steps: int, rest: float, ends: Any) -> None:
    """Carry voxels `first` to `stop - 1` by `p += s F(p)`, trilinear; `ends` is the voxel where each stops.

    s is 1 and is halved where the flow turns round, so that a voxel rests at a sink that it would hop over.
    """
    depth, height, width = flow.shape[0], flow.shape[1], flow.shape[2]
    top_z, top_y, top_x = np.float32(depth - 1), np.float32(height - 1), np.float32(width - 1)
    zero, one = np.float32(0), np.float32(1)
    rest2 = np.float32(rest * rest)
    for n in range(first, stop):
        i = voxels[n]
        z = np.float32(i // (height * width))
        y = np.float32((i // width) % height)
        x = np.float32(i % width)
        stride = one
        before_z, before_y, before_x = zero, zero, zero
        for _ in range(max_steps):
            k, j, m = min(int(z), depth - 2), min(int(y), height - 2), min(int(x), width - 2)
            c, b, a = z - np.float32(k), y - np.float32(j), x - np.float32(m)
            w00, w01 = (one - c) * (one - b), (one - c) * b
            w10, w11 = c * (one - b), c * b
            u = one - a
            vz = (
                w00 * (u * flow[k, j, m, 0] + a * flow[k, j, m + 1, 0])
                + w01 * (u * flow[k, j + 1, m, 0] + a * flow[k, j + 1, m + 1, 0])
                + w10 * (u * flow[k + 1, j, m, 0] + a * flow[k + 1, j, m + 1, 0])
                + w11 * (u * flow[k + 1, j + 1, m, 0] + a * flow[k + 1, j + 1, m + 1, 0])
            )
            vy = (
                w00 * (u * flow[k, j, m, 1] + a * flow[k, j, m + 1, 1])
                + w01 * (u * flow[k, j + 1, m, 1] + a * flow[k, j + 1, m + 1, 1])
                + w10 * (u * flow[k + 1, j, m, 1] + a * flow[k + 1, j, m + 1, 1])
                + w11 * (u * flow[k + 1, j + 1, m, 1] + a * flow[k + 1, j + 1, m + 1, 1])
            )
            vx = (
                w00 * (u * flow[k, j, m, 2] + a * flow[k, j, m + 1, 2])
                + w01 * (u * flow[k, j + 1, m, 2] + a * flow[k, j + 1, m + 1, 2])
                + w10 * (u * flow[k + 1, j, m, 2] + a * flow[k + 1, j, m + 1, 2])
                + w11 * (u * flow[k + 1, j + 1, m, 2] + a * flow[k + 1, j + 1, m + 1, 2])
            )
            if vz * vz + vy * vy + vx * vx < rest2:
                break
            if vz * before_z + vy * before_y + vx * before_x < zero:
                stride *= np.float32(0.5)
                if stride < _SMALLEST_STRIDE:
                    break
            z = min(max(z + stride * vz, zero), top_z)
            y = min(max(y + stride * vy, zero), top_y)
            x = min(max(x + stride * vx, zero), top_x)
            before_z, before_y, before_x = vz, vy, vx
        half = np.float32(0.5)
        ends[n] = (int(z + half) * height + int(y + half)) * width + int(x + half)


@njit(nogil=True, cache=True, fastmath=_FASTMATH, error_model="numpy")
def follow_2d(flow: Any, voxels: Any, first: int, stop: int, max_steps: int, rest: float, ends: Any) -> None:
    """As `follow_3d`, in a plane, bilinear."""
    height, width = flow.shape[0], flow.shape[1]
    top_y, top_x = np.float32(height - 1), np.float32(width - 1)
    zero, one = np.float32(0), np.float32(1)
    rest2 = np.float32(rest * rest)
    for n in range(first, stop):
        i = voxels[n]
        y, x = np.float32(i // width), np.float32(i % width)
        stride = one
        before_y, before_x = zero, zero
        for _ in range(max_steps):
            j, m = min(int(y), height - 2), min(int(x), width - 2)
            b, a = y - np.float32(j), x - np.float32(m)
            u, v = one - a, one - b
            vy = v * (u * flow[j, m, 0] + a * flow[j, m + 1, 0]) + b * (
                u * flow[j + 1, m, 0] + a * flow[j + 1, m + 1, 0]
            )
            vx = v * (u * flow[j, m, 1] + a * flow[j, m + 1, 1]) + b * (
                u * flow[j + 1, m, 1] + a * flow[j + 1, m + 1, 1]
            )
            if vy * vy + vx * vx < rest2:
                break
            if vy * before_y + vx * before_x < zero:
                stride *= np.float32(0.5)
                if stride < _SMALLEST_STRIDE:
                    break
            y = min(max(y + stride * vy, zero), top_y)
            x = min(max(x + stride * vx, zero), top_x)
            before_y, before_x = vy, vx
        half = np.float32(0.5)
        ends[n] = int(y + half) * width + int(x + half)


@njit(nogil=True, cache=True)
def add_ends(ends: Any, density: Any) -> None:
    """Count the voxels that rest at each voxel."""
    for end in ends:
        density[end] += 1.0


@njit(nogil=True, cache=True)
def inherit(seeds: Any, voxels: Any, ends: Any, reach: int, labels: Any) -> None:
    """Give every voxel the seed at its end, or the nearest one within `reach` voxels of it."""
    depth, height, width = seeds.shape
    flat = seeds.ravel()
    out = labels.ravel()
    for n in range(voxels.size):
        seed = flat[ends[n]]
        if seed == 0 and reach > 0:
            z, y, x = ends[n] // (height * width), (ends[n] // width) % height, ends[n] % width
            best = 3 * reach * reach + 1
            for k in range(max(z - reach, 0), min(z + reach + 1, depth)):
                for j in range(max(y - reach, 0), min(y + reach + 1, height)):
                    for m in range(max(x - reach, 0), min(x + reach + 1, width)):
                        if seeds[k, j, m]:
                            d = (k - z) ** 2 + (j - y) ** 2 + (m - x) ** 2
                            if d < best:
                                best = d
                                seed = seeds[k, j, m]
        out[voxels[n]] = seed
