"""Loops over voxels: outlines of nuclei, their inside, small balls, resampling; compiled once, without the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

# Columns of a table of nuclei.
Z, Y, X, AZ, AY, AX = 0, 1, 2, 3, 4, 5
ROTATION = 6  # nine columns, row by row: from the grid's axes to the nucleus' own
BUMPS = 15  # five columns: amplitudes of low harmonics of direction
BEND = 20
HALO, HALO_LEVEL = 21, 22
N_COLUMNS = 23


@njit(cache=True, nogil=True)
def throw_darts(
    uniforms: Any, radii: Any, low: Any, high: Any, spacing: float, touching: float, n_wanted: int
) -> Any:
    """Return centres float64[n, 3] of balls no nearer than `spacing` times the sum of their radii.

    `uniforms` float64[tries, 5] in [0, 1): a place (3), whether to go beside another ball, and which one.
    """
    centres = np.empty((n_wanted, 3))
    n = 0
    for t in range(uniforms.shape[0]):
        if n == n_wanted:
            break
        r = radii[n]
        place = np.empty(3)
        if n > 0 and uniforms[t, 3] < touching:
            other = int(uniforms[t, 4] * n)
            cos = 2 * uniforms[t, 0] - 1
            sin = np.sqrt(1 - cos * cos)
            far = (r + radii[other]) * spacing * (1.0 + 0.08 * uniforms[t, 2])
            place[0] = centres[other, 0] + far * cos
            place[1] = centres[other, 1] + far * sin * np.cos(6.283185307 * uniforms[t, 1])
            place[2] = centres[other, 2] + far * sin * np.sin(6.283185307 * uniforms[t, 1])
            if high[0] - low[0] < 1e-9:
                place[0] = low[0]
        else:
            for k in range(3):
                place[k] = low[k] + (high[k] - low[k]) * uniforms[t, k]
        good = True
        for k in range(3):
            if place[k] < low[k] - 1e-9 or place[k] > high[k] + 1e-9:
                good = False
        for i in range(n):
            if not good:
                break
            d2 = 0.0
            for k in range(3):
                d2 += (place[k] - centres[i, k]) ** 2
            least = spacing * (r + radii[i]) * 0.999
            if d2 < least * least:
                good = False
        if good:
            centres[n] = place
            n += 1
    return centres[:n]


@njit(cache=True, nogil=True)
def draw_outlines(nuclei: Any, first: int, labels: Any, depth: Any, halo: Any) -> None:
    """Write labels int32, `depth` float32 (0 at a centre, 1 at its outline) and the level of cytoplasm.

    Where two nuclei meet, a voxel goes to the one in which it lies deeper: what touches is flattened.
    """
    nz, ny, nx = labels.shape
    for n in range(nuclei.shape[0]):
        p = nuclei[n]
        longest = max(p[AZ], max(p[AY], p[AX])) * 1.35 * max(1.0, p[HALO])
        z0, z1 = max(0, int(p[Z] - longest)), min(nz - 1, int(p[Z] + longest) + 1)
        y0, y1 = max(0, int(p[Y] - longest)), min(ny - 1, int(p[Y] + longest) + 1)
        x0, x1 = max(0, int(p[X] - longest)), min(nx - 1, int(p[X] + longest) + 1)
        edge = 1.0 / (p[HALO] - 1.0) if p[HALO] > 1.0 else 0.0
        for z in range(z0, z1 + 1):
            dz = z - p[Z]
            for y in range(y0, y1 + 1):
                dy = y - p[Y]
                for x in range(x0, x1 + 1):
                    dx = x - p[X]
                    u = (p[6] * dz + p[7] * dy + p[8] * dx) / p[AZ]
                    v = (p[9] * dz + p[10] * dy + p[11] * dx) / p[AY]
                    w = (p[12] * dz + p[13] * dy + p[14] * dx) / p[AX]
                    v += p[BEND] * (w * w - 0.35)
                    r2 = u * u + v * v + w * w
                    r = np.sqrt(r2)
                    if r > 1e-6:
                        bump = (p[15] * u * v + p[16] * v * w + p[17] * u * w + p[18] * (v * v - w * w)) / r2
                        bump += p[19] * 2.6 * u * v * w / (r2 * r)
                        r /= 1.0 + 2.0 * bump
                    if r < 1.0:
                        if r < depth[z, y, x]:
                            depth[z, y, x] = r
                            labels[z, y, x] = first + n
                    elif edge > 0.0 and p[HALO_LEVEL] > 0.0:
                        fall = 1.0 - (r - 1.0) * edge
                        if fall > 0.0:
                            halo[z, y, x] = max(halo[z, y, x], p[HALO_LEVEL] * min(1.0, 2.0 * fall))


@njit(cache=True, nogil=True)
def fill_insides(labels: Any, depth: Any, fine: Any, coarse: Any, looks: Any, light: Any) -> None:
    """Write the brightness of labelled voxels; `looks` float64[n + 1, 4]: level, texture, share of fine, rim."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                n = labels[z, y, x]
                if n > 0:
                    r = depth[z, y, x]
                    t = looks[n, 2] * fine[z, y, x] + (1.0 - looks[n, 2]) * coarse[z, y, x]
                    value = looks[n, 0] * (1.0 + looks[n, 1] * t) * (1.0 + looks[n, 3] * (r * r * r * r - 0.3))
                    light[z, y, x] = max(value, 0.1 * looks[n, 0])


@njit(cache=True, nogil=True)
def dim_balls(balls: Any, labels: Any, light: Any) -> None:
    """Dim the light in balls float64[n, 6] (z, y, x, radius, factor, label), within their label alone."""
    nz, ny, nx = labels.shape
    for b in range(balls.shape[0]):
        cz, cy, cx, radius, factor, label = balls[b]
        for z in range(max(0, int(cz - radius)), min(nz - 1, int(cz + radius) + 1) + 1):
            for y in range(max(0, int(cy - radius)), min(ny - 1, int(cy + radius) + 1) + 1):
                for x in range(max(0, int(cx - radius)), min(nx - 1, int(cx + radius) + 1) + 1):
                    if labels[z, y, x] == label:
                        d = np.sqrt((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) - radius
                        share = min(1.0, max(0.0, 0.5 - d))
                        light[z, y, x] *= 1.0 - share * (1.0 - factor)


@njit(cache=True, nogil=True)
def add_blobs(blobs: Any, light: Any) -> None:
    """Add Gaussian spots float64[n, 7]: z, y, x, sigma z, y, x, level."""
    nz, ny, nx = light.shape
    for b in range(blobs.shape[0]):
        cz, cy, cx, sz, sy, sx, level = blobs[b]
        for z in range(max(0, int(cz - 3 * sz)), min(nz - 1, int(cz + 3 * sz) + 1) + 1):
            for y in range(max(0, int(cy - 3 * sy)), min(ny - 1, int(cy + 3 * sy) + 1) + 1):
                for x in range(max(0, int(cx - 3 * sx)), min(nx - 1, int(cx + 3 * sx) + 1) + 1):
                    d = ((z - cz) / sz) ** 2 + ((y - cy) / sy) ** 2 + ((x - cx) / sx) ** 2
                    light[z, y, x] += level * np.exp(-0.5 * d)


@njit(cache=True, nogil=True)
def planes_at(volume: Any, z_px: Any, out: Any) -> None:
    """Write the planes at heights `z_px` float64[k] of `volume` into `out`, linearly interpolated, ends held."""
    nz, ny, nx = volume.shape
    for k in range(z_px.size):
        z = min(max(z_px[k], 0.0), nz - 1.0)
        low = min(int(z), max(0, nz - 2))
        share = z - low
        high = min(low + 1, nz - 1)
        for y in range(ny):
            for x in range(nx):
                out[k, y, x] = (1.0 - share) * volume[low, y, x] + share * volume[high, y, x]


@njit(cache=True, nogil=True)
def enlarge(small: Any, step: Any, phase: Any, out: Any) -> None:
    """Write `small`, sampled every `step` voxels and shifted by `phase`, into `out`, trilinearly interpolated."""
    nz, ny, nx = out.shape
    for z in range(nz):
        fz = z / step[0] + phase[0]
        iz = int(fz)
        tz = fz - iz
        for y in range(ny):
            fy = y / step[1] + phase[1]
            iy = int(fy)
            ty = fy - iy
            for x in range(nx):
                fx = x / step[2] + phase[2]
                ix = int(fx)
                tx = fx - ix
                a = (1 - tx) * small[iz, iy, ix] + tx * small[iz, iy, ix + 1]
                b = (1 - tx) * small[iz, iy + 1, ix] + tx * small[iz, iy + 1, ix + 1]
                c = (1 - tx) * small[iz + 1, iy, ix] + tx * small[iz + 1, iy, ix + 1]
                d = (1 - tx) * small[iz + 1, iy + 1, ix] + tx * small[iz + 1, iy + 1, ix + 1]
                out[z, y, x] = (1 - tz) * ((1 - ty) * a + ty * b) + tz * ((1 - ty) * c + ty * d)
