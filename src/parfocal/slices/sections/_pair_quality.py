"""How alike two sections are: structure, edges, variance, after laying one on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.imaging import ncc, phase_shift, ssim

WEIGHTS = (0.5, 0.3, 0.2)
"""Of structure, edges and variance."""

_PERCENTILES = (0.5, 99.5)
_TOP = 65535  # planes are scaled to uint16: the fast way through `ssim`
_REGISTER_PX = 256
_SMALLEST_PX = 8


@dataclass(frozen=True, eq=False)
class SampledSection:
    """What is kept of a section: some planes, scaled between their percentiles.

    Attributes
    ----------
    depth : int
        Planes it has.
    planes : mapping of plane number to ndarray of uint16
        Scaled; a flat plane is 0 throughout.
    spreads : mapping of plane number to float
        Variance of the plane, clipped at its percentiles, in the units of its pixels squared; 0 for a flat one.
    edges : mapping of plane number to ndarray of float32
        Sobel magnitude of some planes.
    projection : ndarray of float32
        Sum of the planes, by which sections are laid on each other.
    """

    depth: int
    planes: Mapping[int, NDArray[np.uint16]]
    spreads: Mapping[int, float]
    edges: Mapping[int, NDArray[np.float32]]
    projection: NDArray[np.float32]

    @property
    def has_data(self) -> bool:
        """Whether any plane shows anything."""
        return any(spread > 0 for spread in self.spreads.values())


@dataclass(frozen=True)
class PairQuality:
    """How alike two sections are.

    Attributes
    ----------
    ssim, edge, variance : float
        Each 0 to 1.
    dy_px, dx_px : int
        What the second section was moved by.
    """

    ssim: float
    edge: float
    variance: float
    dy_px: int
    dx_px: int

    @property
    def overall(self) -> float:
        """0.5 SSIM + 0.3 edge + 0.2 variance."""
        return self.likeness + WEIGHTS[2] * self.variance

    @property
    def likeness(self) -> float:
        """0.5 SSIM + 0.3 edge: what two sections of noise do not have in common, whatever their variance."""
        return WEIGHTS[0] * self.ssim + WEIGHTS[1] * self.edge


def sampled_planes(depth: int, sample_depth: int) -> tuple[int, ...]:
    """Return the numbers of `sample_depth` planes spread evenly over `depth`; all of them for 0."""
    if sample_depth <= 0 or sample_depth >= depth:
        return tuple(range(depth))
    return tuple(np.linspace(0, depth - 1, sample_depth, dtype=int).tolist())


def middle_of(planes: tuple[int, ...]) -> int:
    """Return the plane whose edges are compared."""
    return planes[len(planes) // 2]


def sample_section(
    volume: NDArray[Any], planes: set[int], edge_planes: set[int], roi_size: int = 0
) -> SampledSection:
    """Read some planes of a volume `[z, y, x]`, the middle `roi_size` pixels of them (0: all)."""
    scaled: dict[int, NDArray[np.uint16]] = {}
    spreads: dict[int, float] = {}
    for z in sorted(planes):
        plane = centre_crop(np.asarray(volume[z]), roi_size)
        scaled[z], spreads[z] = _scaled(plane)
    edges = {z: sobel(scaled[z]) for z in sorted(edge_planes)}
    projection = np.zeros(next(iter(scaled.values())).shape, np.float32)
    for plane in scaled.values():
        projection += plane
    return SampledSection(int(volume.shape[0]), scaled, spreads, edges, projection)


def centre_crop(plane: NDArray[Any], roi_size: int) -> NDArray[Any]:
    """Return the middle `roi_size` x `roi_size` pixels, or all where that is 0."""
    if roi_size <= 0:
        return plane
    half = roi_size // 2
    cy, cx = plane.shape[0] // 2, plane.shape[1] // 2
    return plane[max(0, cy - half) : cy + half, max(0, cx - half) : cx + half]


def compare_sections(
    first: SampledSection, second: SampledSection, planes: tuple[int, ...], max_shift_px: int
) -> PairQuality:
    """Return how alike two sections are in these planes; of unequal shapes, the common part at the corner counts.

    The second is laid on the first by whole pixels (phase correlation of the sums of their planes), within
    `max_shift_px`. SSIM is the mean over planes; where one is flat and the other is not, it counts 0, and where
    both are, nothing.
    """
    edge_plane = middle_of(planes)
    height, width = (min(a, b) for a, b in zip(first.planes[planes[0]].shape, second.planes[planes[0]].shape))
    corner = (slice(height), slice(width))
    dy, dx = _shift(first.projection[corner], second.projection[corner], max_shift_px)
    if height - abs(dy) < _SMALLEST_PX or width - abs(dx) < _SMALLEST_PX:
        dy = dx = 0
    a = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
    b = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
    structures: list[float] = []
    ratios: list[float] = []
    for z in planes:
        spread_a, spread_b = first.spreads[z], second.spreads[z]
        if spread_a == 0.0 and spread_b == 0.0:
            continue
        if spread_a == 0.0 or spread_b == 0.0:
            structures.append(0.0)
            ratios.append(0.0)
            continue
        structures.append(max(0.0, ssim(first.planes[z][a], second.planes[z][b], data_range=_TOP)))
        ratios.append(min(spread_a, spread_b) / max(spread_a, spread_b))  # exp(-abs(ln r))
    edge = ncc(first.edges[edge_plane][a], second.edges[edge_plane][b])
    return PairQuality(
        ssim=float(np.mean(structures)) if structures else 0.0,
        edge=max(0.0, float(edge)) if np.isfinite(edge) else 0.0,
        variance=float(np.mean(ratios)) if ratios else 0.0,
        dy_px=dy,
        dx_px=dx,
    )


def sobel(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Return the magnitude of the Sobel gradient; the outermost pixels are 0."""
    p = plane.astype(np.float32)
    down, across = p[2:] - p[:-2], p[:, 2:] - p[:, :-2]
    gy, gx = down[:, :-2] + down[:, 2:], across[:-2] + across[2:]
    for _ in range(2):  # the middle counts twice; in place, since new arrays of this size are what takes time
        gy += down[:, 1:-1]
        gx += across[1:-1]
    gy *= gy
    gx *= gx
    gy += gx
    magnitude = np.zeros_like(p)
    np.sqrt(gy, out=magnitude[1:-1, 1:-1])
    return magnitude


def _scaled(plane: NDArray[Any]) -> tuple[NDArray[np.uint16], float]:
    """Return the plane between its percentiles as 0 to 65535, and the variance of what was clipped there."""
    # Percentiles of a sixteenth of the pixels: a hot pixel does not move them, and sorting is what takes time.
    step = 4 if min(plane.shape) >= 4 * _SMALLEST_PX * 4 else 1
    low, high = (float(v) for v in np.percentile(plane[::step, ::step], _PERCENTILES))
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        return np.zeros(plane.shape, np.uint16), 0.0
    unit = plane.astype(np.float32)
    unit -= np.float32(low)
    unit *= np.float32(_TOP / (high - low))
    if plane.dtype.kind == "f":
        np.nan_to_num(unit, copy=False)
    np.clip(unit, 0, _TOP, out=unit)
    spread = float(unit[::step, ::step].var(dtype=np.float64)) * ((high - low) / _TOP) ** 2
    return unit.astype(np.uint16), spread


def _shift(a: NDArray[np.float32], b: NDArray[np.float32], max_shift_px: int) -> tuple[int, int]:
    """Return what to move the second section by: coarsely on binned pixels, then in the middle at full size."""
    shape = a.shape
    if max_shift_px <= 0 or min(shape) < 4 * _SMALLEST_PX:
        return 0, 0
    bound = min(max_shift_px, min(shape) // 4)
    n = max(1, min(shape) // _REGISTER_PX)
    coarse = phase_shift(_binned(a, n), _binned(b, n), max_shift_px=-(-bound // n))
    dy, dx = round(coarse.dy_px) * n, round(coarse.dx_px) * n
    candidates = {(0, 0), (dy, dx)}
    if n > 1:
        half = min(_REGISTER_PX // 2, (min(shape) - bound) // 2 - bound)
        y, x = shape[0] // 2, shape[1] // 2
        y, x = (
            min(max(c, half + abs(d)), side - half - abs(d))
            for c, d, side in ((y, dy, shape[0]), (x, dx, shape[1]))
        )
        if half >= 4 * _SMALLEST_PX:
            fine = phase_shift(
                a[y - half : y + half, x - half : x + half],
                b[y - dy - half : y - dy + half, x - dx - half : x - dx + half],
                max_shift_px=n + 1,
            )
            candidates.add((dy + round(fine.dy_px), dx + round(fine.dx_px)))
    return max(sorted(candidates, key=lambda d: abs(d[0]) + abs(d[1])), key=lambda d: _overlap_ncc(a, b, *d))


def _overlap_ncc(a: NDArray[np.float32], b: NDArray[np.float32], dy: int, dx: int) -> float:
    height, width = a.shape
    value = ncc(
        a[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)],
        b[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)],
    )
    return float(value) if np.isfinite(value) else -1.0


def _binned(frame: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    if n == 1:
        return frame
    height, width = frame.shape[0] // n, frame.shape[1] // n
    return frame[: height * n, : width * n].reshape(height, n, width, n).mean(axis=(1, 3), dtype=np.float32)
