"""The light at every punctum of one frame: amplitudes of the PSF, solved together where they overlap."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from scipy.special import erf

from parfocal.errors import BadInputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FIT_SIGMAS = 3.0
_SPREAD_UM = 0.3  # how far calcium and its indicator diffuse from a mouth within an exposure
_FEWEST_RING_PIXELS = 8
_NEAR_SINGULAR = 1e-9


@dataclass(frozen=True)
class ReadSettings:
    """How light is read at a position.

    Parameters
    ----------
    psf_sigma_px : float
        Width of what a punctum's calcium looks like: the spread function, widened by what diffuses.
    ring_px : (float, float), optional
        Radii of the annulus that tells the surround. Default: 3 to 6 px, or from 3 widths where these are more.
    mask_sigmas : float
        How far around other puncta the annulus leaves out pixels, in widths.
    max_inflation : float
        Two puncta so near that the variance of an amplitude grows by more than this are not told apart: NaN.
    """

    psf_sigma_px: float
    ring_px: tuple[float, float] | None = None
    mask_sigmas: float = 2.5
    max_inflation: float = 10.0

    def __post_init__(self) -> None:
        if not (0.3 <= self.psf_sigma_px <= 20):
            raise BadInputError(f"calcium: psf_sigma_px is {self.psf_sigma_px}, expected 0.3 to 20")
        inner, outer = self.ring
        if not 0 < inner < outer:
            raise BadInputError(f"calcium: ring_px is {self.ring_px}, expected two rising radii above 0")

    @property
    def ring(self) -> tuple[float, float]:
        """Radii of the annulus, px."""
        if self.ring_px is not None:
            return self.ring_px
        inner = max(3.0, _FIT_SIGMAS * self.psf_sigma_px)
        return inner, inner + 3.0

    @property
    def footprint_px(self) -> float:
        """Light of a source over that on its central pixel: 2 pi sigma^2."""
        return 2.0 * math.pi * self.psf_sigma_px**2


def calcium_sigma_px(spot_sigma_px: float, pixel_size_um: float) -> float:
    """Return how wide the calcium at a punctum looks, px: the spot's width and 0.3 um of diffusion, in quadrature.

    Read with the width of the spot alone, an event three times as wide counts as its own surround, and is lost.
    """
    return min(max(math.hypot(spot_sigma_px, _SPREAD_UM / pixel_size_um), 0.7), 10.0)


@dataclass(frozen=True, eq=False)
class Readings:
    """Light at positions, a value each, in photons where the image is.

    Parameters
    ----------
    signal : float64[n]
        Amplitude above the surround: all light of a source there.
    surround : float64[n]
        Per pixel.
    moment_y, moment_x : float64[n]
        2 sigma^2 times the amplitude of the PSF's gradient, photons px. For a source of the same width, moment
        over signal is its distance from the position, however far.
    """

    signal: Floats
    surround: Floats
    moment_y: Floats
    moment_x: Floats


def join_readings(parts: Iterable[Readings]) -> Readings:
    """Return the values of all parts in order."""
    kept = list(parts)
    none = [np.empty(0)]
    return Readings(*(np.concatenate(none + [getattr(p, f.name) for p in kept]) for f in fields(Readings)))


def read_signals(image: NDArray[Any], y_px: ArrayLike, x_px: ArrayLike, settings: ReadSettings) -> Readings:
    """Read the light at every position of one frame.

    A least-squares amplitude of the pixel-integrated Gaussian, above the mean of the middle half of an annulus
    from which the other positions are masked. Positions within reach of each other are solved together; outside
    the image there is nothing, not zeros.

    Parameters
    ----------
    image : ndarray of shape (height, width)
        Photons (or whatever the signal is to be in).
    y_px, x_px : array_like of shape (n,)
        All sources of the frame, also those whose signal is not wanted.
    settings : ReadSettings

    Returns
    -------
    Readings
        NaN where a position lies outside the image, has no surround, or cannot be told from a neighbour.

    Raises
    ------
    BadInputError
        The image is not 2D or the positions do not fit each other.
    """
    seen = np.asarray(image, dtype=np.float64)
    y, x = np.asarray(y_px, dtype=np.float64), np.asarray(x_px, dtype=np.float64)
    if seen.ndim != 2:
        raise BadInputError(f"calcium: a frame of shape {seen.shape}, expected [y, x]")
    if y.shape != x.shape or y.ndim != 1:
        raise BadInputError(f"calcium: {y.shape} y and {x.shape} x positions, expected as many, in one row each")
    height, width = seen.shape
    inside = (y > -0.5) & (y < height - 0.5) & (x > -0.5) & (x < width - 0.5)
    parts = [np.full(y.size, np.nan) for _ in range(4)]
    if inside.any():
        for column, values in zip(parts, _read(seen, y[inside], x[inside], settings)):
            column[inside] = values
    return Readings(*parts)


def _read(image: Floats, y: Floats, x: Floats, settings: ReadSettings) -> tuple[Floats, Floats, Floats, Floats]:
    sigma = settings.psf_sigma_px
    rows = _Profiles.around(y, image.shape[0], sigma)
    columns = _Profiles.around(x, image.shape[1], sigma)
    surround = _surround(image, y, x, settings)
    values = image[rows.index[:, :, None], columns.index[:, None, :]] - surround[:, None, None]
    along_x = np.einsum("nyx,nx->ny", values, columns.psf)
    projected = np.einsum("ny,ny->n", along_x, rows.psf)
    gradient_y = np.einsum("ny,ny->n", along_x, rows.gradient)
    gradient_x = np.einsum("nyx,ny,nx->n", values, rows.psf, columns.gradient)
    norm = np.einsum("ny,ny->n", rows.psf, rows.psf) * np.einsum("nx,nx->n", columns.psf, columns.psf)
    signal = projected / norm
    near = _pairs(y, x, 2 * _FIT_SIGMAS * sigma)
    if len(near):
        a, b = near.T
        y_ab, x_ab = rows.of_others(a, y[b], sigma), columns.of_others(a, x[b], sigma)
        y_overlap, x_overlap = (rows.psf[a] * y_ab).sum(1), (columns.psf[a] * x_ab).sum(1)
        signal = _solve_together(projected, norm, a, b, y_overlap * x_overlap, settings.max_inflation)
        other = np.nan_to_num(signal[b])
        np.subtract.at(gradient_y, a, other * (rows.gradient[a] * y_ab).sum(1) * x_overlap)
        np.subtract.at(gradient_x, a, other * (columns.gradient[a] * x_ab).sum(1) * y_overlap)
    to_moment = 2.0 * sigma**2 / norm
    return signal, surround, gradient_y * to_moment, gradient_x * to_moment


@dataclass(frozen=True, eq=False)
class _Profiles:
    """Along one axis: pixels around each position, the share of the PSF on them, and its change with position."""

    pixel: Floats
    index: Ints
    is_inside: NDArray[np.bool_]
    psf: Floats
    gradient: Floats

    @classmethod
    def around(cls, position: Floats, size: int, sigma: float) -> _Profiles:
        reach = math.ceil(_FIT_SIGMAS * sigma)
        pixel: Floats = np.rint(position)[:, None] + np.arange(-reach, reach + 1, dtype=np.float64)
        is_inside = (pixel >= 0) & (pixel < size)
        from_centre = pixel - position[:, None]
        upper, lower = (from_centre + 0.5) / sigma, (from_centre - 0.5) / sigma
        scale = sigma * math.sqrt(2 * math.pi)
        gradient = (np.exp(-0.5 * lower**2) - np.exp(-0.5 * upper**2)) / scale
        return cls(
            pixel,
            np.clip(pixel, 0, size - 1).astype(np.int64),
            is_inside,
            _share(from_centre, sigma) * is_inside,
            gradient * is_inside,
        )

    def of_others(self, which: Ints, position: Floats, sigma: float) -> Floats:
        """Return the share of PSFs at other positions on the pixels around `which`."""
        return _share(self.pixel[which] - position[:, None], sigma) * self.is_inside[which]


def _share(from_centre: Floats, sigma: float) -> Floats:
    scale = sigma * math.sqrt(2.0)
    return 0.5 * (erf((from_centre + 0.5) / scale) - erf((from_centre - 0.5) / scale))


def _pairs(y: Floats, x: Floats, reach: float) -> Ints:
    """Return ordered pairs of positions within reach of each other, both ways round."""
    if y.size < 2:
        return np.empty((0, 2), np.int64)
    found = KDTree(np.column_stack((y, x))).query_pairs(reach, output_type="ndarray").astype(np.int64)
    return np.concatenate((found, found[:, ::-1]))


def _solve_together(
    projected: Floats, norm: Floats, a: Ints, b: Ints, overlap: Floats, max_inflation: float
) -> Floats:
    n = projected.size
    signal = projected / norm
    _, group = connected_components(coo_array((np.ones(a.size), (a, b)), shape=(n, n)), directed=False)
    order = np.argsort(group[a], kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[a][order])) + 1):
        members, place = np.unique(a[rows], return_inverse=True)
        matrix = np.diag(norm[members])
        matrix[place, np.searchsorted(members, b[rows])] = overlap[rows]
        matrix[np.diag_indices_from(matrix)] *= 1.0 + _NEAR_SINGULAR
        inverse = np.linalg.inv(matrix)
        solved = inverse @ projected[members]
        solved[np.diag(inverse) * norm[members] > max_inflation] = np.nan
        signal[members] = solved
    return signal


def _surround(image: Floats, y: Floats, x: Floats, settings: ReadSettings) -> Floats:
    """Return the mean of the middle half of each annulus: as a median, but not in steps of a photon."""
    inner, outer = settings.ring
    mine, others = _disc(outer, inner), _disc(min(settings.mask_sigmas * settings.psf_sigma_px, inner))
    is_near = np.zeros(image.shape, bool)
    at_y, at_x, is_inside = _at(image, y, x, others)
    is_near[at_y[is_inside], at_x[is_inside]] = True
    at_y, at_x, is_inside = _at(image, y, x, mine)
    is_free = is_inside & ~is_near[at_y, at_x]
    crowded = is_free.sum(1) < _FEWEST_RING_PIXELS
    is_free[crowded] = is_inside[crowded]
    values = np.sort(np.where(is_free, image[at_y, at_x], np.inf), axis=1)
    count = is_free.sum(1)
    low = count // 4
    high = np.maximum(count - low, low + 1)
    place = np.arange(values.shape[1])
    is_middle = (place >= low[:, None]) & (place < np.minimum(high, count)[:, None])
    total = np.where(is_middle, values, 0.0).sum(1)
    n_middle = is_middle.sum(1)
    return np.where(n_middle > 0, total / np.maximum(n_middle, 1), np.nan)


def _disc(outer: float, inner: float = 0.0) -> Ints:
    reach = math.ceil(outer)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    r2 = dy**2 + dx**2
    return np.argwhere((r2 <= outer**2) & (r2 >= inner**2)) - reach


def _at(image: Floats, y: Floats, x: Floats, offsets: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    at_y = np.rint(y).astype(np.int64)[:, None] + offsets[:, 0]
    at_x = np.rint(x).astype(np.int64)[:, None] + offsets[:, 1]
    height, width = image.shape
    is_inside = (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
    return np.clip(at_y, 0, height - 1), np.clip(at_x, 0, width - 1), is_inside
