"""One image registered to another by an affine transform, and images seen through one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging._affine_layout import N_SUMS, N_UNKNOWNS
from parfocal.imaging._bands import for_each_band

AffineModel = Literal["translation", "rigid", "affine"]

_ROWS_PER_BAND = 64
_LEAST_SIDE_PX = 24
_LEAST_OVERLAP = 0.1
_PATIENCE = 3


@dataclass(frozen=True, eq=False)
class AffineFit:
    """What `register_affine` found.

    Attributes
    ----------
    matrix : ndarray of float64, shape (3, 3)
        From (y, x, 1) in the fixed image to (y, x, 1) in the moving one, px: what lies at p in the fixed image
        lies at `matrix @ p` in the moving one.
    ncc : float
        Pearson correlation of the smoothed images over their overlap.
    overlap : float
        Share of the fixed image that the moving one covers.
    n_iterations : int
        Over all levels.
    is_converged : bool
        Whether the last level ended by its tolerance.
    """

    matrix: NDArray[np.float64]
    ncc: float
    overlap: float
    n_iterations: int
    is_converged: bool


def register_affine(
    fixed: NDArray[Any],
    moving: NDArray[Any],
    *,
    model: AffineModel = "affine",
    start: NDArray[np.float64] | None = None,
    n_levels: int = 3,
    smoothing_px: float = 1.0,
    tolerance_px: float = 0.005,
    max_iterations: int = 50,
    n_threads: int | None = None,
) -> AffineFit:
    """Register `moving` to `fixed` by Gauss-Newton steps on a pyramid, blind to gain and offset.

    Minimises `sum (fixed(W(x; dp)) - gain moving(T(x)) - offset)^2` over the overlap, the inverse-compositional
    form of Baker and Matthews (2004), with gain and offset solved in each step; `T` becomes `T W(dp)^-1`. Of all
    steps the one with the best correlation is kept. Exact to about a hundredth of a pixel on textured images;
    it finds what lies within about two pixels of the coarsest level, so start it near
    (`start`) where images lie further apart.

    Parameters
    ----------
    fixed, moving : ndarray, shape (height, width)
        Real numbers of any dtype; shapes may differ.
    model : {"affine", "rigid", "translation"}
        What `T` may be.
    start : ndarray, shape (3, 3), optional
        Where to begin; the identity by default. Its linear part is kept where the model cannot change it.
    n_levels : int
        Of the pyramid, each half the size of the one before; fewer where images are small.
    smoothing_px : float
        SD of the Gaussian at each level.
    tolerance_px : float
        A level ends when no corner moves further.
    max_iterations : int
        At each level.

    Raises
    ------
    BadInputError
        Not two images of numbers, or smaller than 24 px.
    """
    images = [_image(name, image) for name, image in (("fixed", fixed), ("moving", moving))]
    matrix = np.eye(3) if start is None else np.array(start, dtype=np.float64)
    basis = _BASES[model]
    least = min(min(image.shape) for image in images)
    levels = max(1, min(n_levels, 1 + int(math.log2(least / _LEAST_SIDE_PX))))
    pyramid = [(images[0], images[1])]
    for _ in range(levels - 1):
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))
    total, found = 0, (math.nan, 0.0, False)
    for level in reversed(range(levels)):
        to_full = _scaling(2**level)
        here = np.linalg.inv(to_full) @ matrix @ to_full
        here, found, steps = _one_level(
            *pyramid[level], here, basis, model, smoothing_px, tolerance_px, max_iterations, n_threads
        )
        matrix = to_full @ here @ np.linalg.inv(to_full)
        total += steps
    return AffineFit(matrix, found[0], found[1], total, found[2])


def warp(
    image: NDArray[Any],
    matrix: NDArray[np.float64],
    shape: tuple[int, int] | None = None,
    fill: float = 0.0,
    n_threads: int | None = None,
) -> NDArray[np.float32]:
    """Return the image at `matrix @ (y, x, 1)` for every pixel (y, x) of `shape`, bilinear, `fill` outside."""
    from parfocal.imaging import _affine_kernel as kernel  # numba is slow to import

    source = _image("image", image)
    out = np.empty(source.shape if shape is None else shape, np.float32)
    told = np.ascontiguousarray(matrix, dtype=np.float64)
    _in_bands(lambda a, b: kernel.warp_rows(source, told, fill, a, b, out), out.shape[0], n_threads)
    return out


def morph(
    before: NDArray[Any],
    after: NDArray[Any],
    to_before: NDArray[np.float64],
    to_after: NDArray[np.float64],
    alpha: float,
    shape: tuple[int, int],
    n_threads: int | None = None,
) -> NDArray[np.float32]:
    """Return `1 - alpha` of one image and `alpha` of another, each seen through its matrix.

    Where both are there, each weighs as much more as its sample lies deeper within its image, so that no edge
    shows; where only one is there, it keeps its weight of `1 - alpha` or `alpha`.

    Parameters
    ----------
    before, after : ndarray, shape (height, width)
        Shapes may differ.
    to_before, to_after : ndarray, shape (3, 3)
        From (y, x, 1) of the result to (y, x, 1) of each, px.
    alpha : float
        0 is `before` alone, 1 is `after` alone.
    shape : tuple of int
        Of the result.
    """
    from parfocal.imaging import _affine_kernel as kernel  # numba is slow to import

    first, second = _image("before", before), _image("after", after)
    out = np.empty(shape, np.float32)
    b = np.ascontiguousarray(to_before, dtype=np.float64)
    a = np.ascontiguousarray(to_after, dtype=np.float64)
    _in_bands(lambda i, j: kernel.morph_rows(first, second, b, a, alpha, i, j, out), shape[0], n_threads)
    return out


def correlation_through(
    fixed: NDArray[Any], moving: NDArray[Any], matrix: NDArray[np.float64], central: float = 1.0
) -> tuple[float, float]:
    """Return Pearson's r of two images where they overlap, and that overlap as a share of the window.

    Parameters
    ----------
    matrix : ndarray, shape (3, 3)
        From (y, x, 1) of the fixed image to the moving one.
    central : float
        Share of each side of the fixed image to look at, around its middle.
    """
    from parfocal.imaging import _affine_kernel as kernel  # numba is slow to import

    one, other = _image("fixed", fixed), _image("moving", moving)
    margins = [round(0.5 * (1.0 - central) * n) for n in one.shape]
    y0, x0 = margins
    y1, x1 = max(y0 + 1, one.shape[0] - y0), max(x0 + 1, one.shape[1] - x0)
    told = np.ascontiguousarray(matrix, dtype=np.float64)
    r, n = kernel.masked_correlation(one, other, told, y0, y1, x0, x1)
    return float(r), n / ((y1 - y0) * (x1 - x0))


def _one_level(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    matrix: NDArray[np.float64],
    basis: NDArray[np.float64],
    model: AffineModel,
    smoothing_px: float,
    tolerance_px: float,
    max_iterations: int,
    n_threads: int | None,
) -> tuple[NDArray[np.float64], tuple[float, float, bool], int]:
    f, m = (np.asarray(ndimage.gaussian_filter(i, smoothing_px), np.float32) for i in (fixed, moving))
    slope_y, slope_x = (np.ascontiguousarray(g, dtype=np.float32) for g in np.gradient(f))
    best, best_ncc, best_overlap, worse, converged = matrix, -math.inf, 0.0, 0, False
    steps = 0
    while steps < max_iterations:
        steps += 1
        normal, right, ff, n = _sums(f, slope_y, slope_x, m, matrix, n_threads)
        overlap = n / f.size
        if overlap < _LEAST_OVERLAP:
            break
        ncc = _pearson(normal, right, ff, n)
        if ncc > best_ncc:
            best, best_ncc, best_overlap, worse = matrix, ncc, overlap, 0
        else:
            worse += 1
        if converged or worse >= _PATIENCE:
            break
        reduced = basis.T @ normal @ basis
        reduced[np.diag_indices_from(reduced)] *= 1.0 + 1e-9
        try:
            solved = basis @ np.linalg.solve(reduced, basis.T @ right)
        except np.linalg.LinAlgError:
            break  # nothing to see in one direction: a flat image
        update = _update(solved, f.shape, model)
        matrix = matrix @ np.linalg.inv(update)
        converged = _largest_move(update, f.shape) < tolerance_px
    return best, (best_ncc if math.isfinite(best_ncc) else math.nan, best_overlap, converged), steps


def _sums(
    f: NDArray[np.float32],
    slope_y: NDArray[np.float32],
    slope_x: NDArray[np.float32],
    m: NDArray[np.float32],
    matrix: NDArray[np.float64],
    n_threads: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    from parfocal.imaging import _affine_kernel as kernel  # numba is slow to import

    n_bands = -(-f.shape[0] // _ROWS_PER_BAND)
    bands = np.zeros((n_bands, N_SUMS))
    told = np.ascontiguousarray(matrix)

    def work(band: int) -> None:
        last = min((band + 1) * _ROWS_PER_BAND, f.shape[0])
        kernel.normal_sums(f, slope_y, slope_x, m, told, band * _ROWS_PER_BAND, last, bands[band])

    for_each_band(work, n_bands, n_threads)
    sums = bands.sum(axis=0)  # in the order of the bands, whoever took them
    k = N_UNKNOWNS
    normal = np.zeros((k, k))
    normal[np.triu_indices(k)] = sums[: k * (k + 1) // 2]
    normal = np.triu(normal) + np.triu(normal, 1).T
    return normal, sums[-k - 2 : -2], float(sums[-2]), float(sums[-1])


def _pearson(normal: NDArray[np.float64], right: NDArray[np.float64], ff: float, n: float) -> float:
    """Return Pearson's r of both images from the sums of the normal equations."""
    mm, m, fm, f = normal[6, 6], normal[6, 7], right[6], right[7]
    variances = (mm - m * m / n) * (ff - f * f / n)
    return float(fm - m * f / n) / math.sqrt(variances) if variances > 0 else math.nan


def _update(solved: NDArray[np.float64], shape: tuple[int, ...], model: AffineModel) -> NDArray[np.float64]:
    """Return the step as a matrix in pixels, about the middle of the image."""
    half = 0.5 * max(shape)
    dy, yy, yx, dx, xy, xx = solved[:6]
    middle = np.eye(3)
    middle[:2, 2] = 0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1)
    step = np.eye(3)
    if model == "rigid":
        turn = xy / half
        step[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    else:
        step[:2, :2] += np.array([[yy, yx], [xy, xx]]) / half
    step[:2, 2] = dy, dx
    return middle @ step @ np.linalg.inv(middle)


def _largest_move(update: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    height, width = shape
    corners = np.array([[0, 0, height, height], [0, width, 0, width], [1, 1, 1, 1]], dtype=np.float64)
    return float(np.abs((update @ corners - corners)[:2]).max())


def _basis(*columns: dict[int, float]) -> NDArray[np.float64]:
    basis = np.zeros((N_UNKNOWNS, len(columns) + 2))
    for k, column in enumerate(columns):
        for index, value in column.items():
            basis[index, k] = value
    basis[6, -2] = basis[7, -1] = 1.0
    return basis


_BASES: dict[AffineModel, NDArray[np.float64]] = {
    "translation": _basis({0: 1.0}, {3: 1.0}),
    "rigid": _basis({0: 1.0}, {3: 1.0}, {2: -1.0, 4: 1.0}),
    "affine": _basis(*({k: 1.0} for k in range(6))),
}


def _scaling(factor: int) -> NDArray[np.float64]:
    """Return the matrix from pixels of a level to those of the full image; centres are whole numbers."""
    offset = 0.5 * (factor - 1)
    return np.array([[factor, 0, offset], [0, factor, offset], [0, 0, 1]], dtype=np.float64)


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    cut = image[:height, :width]
    return 0.25 * (cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2])


def _image(name: str, image: NDArray[Any]) -> NDArray[np.float32]:
    if image.ndim != 2 or image.dtype.kind not in "buif" or min(image.shape) < 2:
        raise BadInputError(f"{name}: {image.dtype} of shape {image.shape}, expected an image (y, x) of numbers")
    return np.ascontiguousarray(image, dtype=np.float32)


def _in_bands(work: Any, n_rows: int, n_threads: int | None) -> None:
    n_bands = -(-n_rows // _ROWS_PER_BAND)

    def one(band: int) -> None:
        work(band * _ROWS_PER_BAND, min((band + 1) * _ROWS_PER_BAND, n_rows))

    for_each_band(one, n_bands, n_threads)
