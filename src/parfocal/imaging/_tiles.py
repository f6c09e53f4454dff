"""Scores of a stack tile by tile: motion and blur that only a part of the picture shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.imaging._arrays import as_float32, checked_frames, checked_mask
from parfocal.imaging._band import band_limited
from parfocal.imaging._bands import for_each_band
from parfocal.imaging._correlation import EVERYWHERE
from parfocal.imaging._entropy import entropy_bits, grey_levels
from parfocal.robust import longest_run

BAD_NCC = 0.90


@dataclass(frozen=True)
class TileSummary:
    """What the tile correlations of a stack come to.

    Attributes
    ----------
    min_ncc, p05_ncc, median_ncc : float
        Over all tiles of all pairs that have a correlation; NaN where none has.
    bad_pair_share : float
        Share of the pairs of neighbours whose mean over the tiles is below `bad_ncc`, or that have none.
    bad_tile_share : float
        Share of the tiles of all pairs below `bad_ncc`, or without a correlation.
    spatial_sd : float
        Standard deviation over the tiles of one pair, the largest of all pairs: high where only a part moved.
    longest_bad_run : int
        Most bad pairs in a row.
    n_tiles : int
        Tiles that counted.
    bad_ncc : float
        What counted as bad.
    """

    min_ncc: float
    p05_ncc: float
    median_ncc: float
    bad_pair_share: float
    bad_tile_share: float
    spatial_sd: float
    longest_bad_run: int
    n_tiles: int
    bad_ncc: float = BAD_NCC


@dataclass(frozen=True)
class TileGrids:
    """Scores of a stack by tiles, to be judged later without its pixels.

    Attributes
    ----------
    ncc : ndarray of float64, shape (n - 1, ny, nx)
        Correlation of a tile with itself one frame on; NaN where it is flat in one of the two.
    entropy : ndarray of float64, shape (n, ny, nx)
        Entropy of the tile's grey levels (256 over the whole stack), bits; NaN where it is flat.
    laplacian : ndarray of float64, shape (n, ny, nx)
        Variance of the tile's 4-neighbour Laplacian, ADU², noise included; NaN where it is flat.
    y_edges_px, x_edges_px : ndarray of int64, shape (ny + 1,) and (nx + 1,)
        Where tiles begin and end.
    """

    ncc: NDArray[np.float64]
    entropy: NDArray[np.float64]
    laplacian: NDArray[np.float64]
    y_edges_px: NDArray[np.int64]
    x_edges_px: NDArray[np.int64]

    def cover(self, mask: ArrayLike) -> NDArray[np.float64]:
        """Return the share of each tile that lies inside a mask, shape (ny, nx).

        Raises
        ------
        BadInputError
            The mask has not the frames' shape.
        """
        shape = (int(self.y_edges_px[-1]), int(self.x_edges_px[-1]))
        sums = np.add.reduceat(
            checked_mask(mask, shape, "tile grids").astype(np.float64), self.y_edges_px[:-1], axis=0
        )
        sums = np.add.reduceat(sums, self.x_edges_px[:-1], axis=1)
        return sums / np.outer(np.diff(self.y_edges_px), np.diff(self.x_edges_px))

    def within(self, mask: ArrayLike, min_cover: float = 0.1) -> TileGrids:
        """Return the grids with NaN in every tile that a mask covers less than `min_cover` of."""
        outside = self.cover(mask) < min_cover
        return replace(
            self,
            ncc=np.where(outside, np.nan, self.ncc),
            entropy=np.where(outside, np.nan, self.entropy),
            laplacian=np.where(outside, np.nan, self.laplacian),
        )

    def summary(
        self, mask: ArrayLike | None = None, min_cover: float = 0.1, bad_ncc: float = BAD_NCC
    ) -> TileSummary:
        """Return what the correlations come to, over all tiles or those of one object.

        Parameters
        ----------
        mask : array_like of shape (height, width), optional
            An object, drawn whenever: tiles covered to less than `min_cover` do not count.
        min_cover : float
            Share of a tile that the mask must cover.
        bad_ncc : float
            Below it a tile, or the mean of a pair, is bad. A tile without a correlation is bad too.

        Raises
        ------
        BadInputError
            The mask has not the frames' shape, or covers no tile that much.
        """
        counts = np.ones(self.ncc.shape[1:], np.bool_) if mask is None else self.cover(mask) >= min_cover
        if not counts.any():
            raise BadInputError(
                f"tile grids: the mask covers no tile to {min_cover:g} or more, expected a larger object or a "
                "smaller min_cover"
            )
        tiles = self.ncc[:, counts]
        known = tiles[np.isfinite(tiles)]
        has_any = np.isfinite(tiles).any(axis=1)
        means = np.full(len(tiles), np.nan)
        spreads = np.full(len(tiles), np.nan)
        means[has_any] = np.nanmean(tiles[has_any], axis=1)
        spreads[has_any] = np.nanstd(tiles[has_any], axis=1)
        bad_pairs = ~(means >= bad_ncc)
        none = known.size == 0
        return TileSummary(
            min_ncc=math.nan if none else float(known.min()),
            p05_ncc=math.nan if none else float(np.percentile(known, 5)),
            median_ncc=math.nan if none else float(np.median(known)),
            bad_pair_share=float(bad_pairs.mean()) if bad_pairs.size else math.nan,
            bad_tile_share=float((~(tiles >= bad_ncc)).mean()) if tiles.size else math.nan,
            spatial_sd=float(np.nanmax(spreads)) if has_any.any() else math.nan,
            longest_bad_run=longest_run(bad_pairs),
            n_tiles=int(counts.sum()),
            bad_ncc=bad_ncc,
        )


def tile_grids(
    frames: Iterable[ArrayLike],
    tile_px: int = 128,
    sigma_px: float = 2.0,
    background_sigma_px: float | None = None,
) -> TileGrids:
    """Score a stack tile by tile.

    Objects of one picture move on their own, and so do blur and haze: one number a frame hides that. A mask may be
    laid over the grids later, when there is one (`TileGrids.summary`).

    Parameters
    ----------
    frames : array_like of shape (n, height, width)
        The stack as it was taken.
    tile_px : int
        Side of a tile. As many tiles as fit best, of equal sides to a pixel, so that no border is left out: 512 px
        make four of 128 px, 600 px five of 120 px.
    sigma_px, background_sigma_px
        Correlations are those of `band_limited` frames; `sigma_px=0, background_sigma_px=math.inf` compares pixels
        as they are.

    Returns
    -------
    TileGrids

    Raises
    ------
    BadInputError
        No frames, frames of several shapes, or tiles under 8 px.
    """
    from parfocal.imaging._correlation_kernel import pair_ncc  # numba is slow to import

    stack = checked_frames(frames, "tile grids")
    if tile_px < 8 or min(stack[0].shape) < 8:
        raise BadInputError(
            f"tile grids: tile_px is {tile_px} and frames are {stack[0].shape}, expected at least 8 px a side"
        )
    y_edges, x_edges = (tile_edges_px(n, tile_px) for n in stack[0].shape)
    ny, nx = y_edges.size - 1, x_edges.size - 1
    n = len(stack)
    levels = grey_levels(np.stack(stack))
    filtered = [band_limited(frame, sigma_px, background_sigma_px) for frame in stack]
    correlation = np.full((max(0, n - 1), ny, nx), np.nan)
    entropy = np.full((n, ny, nx), np.nan)
    laplacian = np.full((n, ny, nx), np.nan)

    def one_frame(i: int) -> None:
        bent = _laplacian(stack[i])
        for ty, tx in np.ndindex(ny, nx):
            y0, y1, x0, x1 = y_edges[ty], y_edges[ty + 1], x_edges[tx], x_edges[tx + 1]
            tile = stack[i][y0:y1, x0:x1]
            varies = bool(np.isfinite(tile).all()) and bool((tile != tile[0, 0]).any())
            if varies and levels is not None:
                entropy[i, ty, tx] = entropy_bits(levels[i, y0:y1, x0:x1])
                # counted by a pixel's centre, as far as the frame's own border allows
                laplacian[i, ty, tx] = bent[max(y0, 1) - 1 : y1 - 1, max(x0, 1) - 1 : x1 - 1].var(dtype=np.float64)

    def one_pair(i: int) -> None:
        for ty, tx in np.ndindex(ny, nx):
            if np.isfinite(entropy[i, ty, tx]) and np.isfinite(entropy[i + 1, ty, tx]):
                y0, x0 = int(y_edges[ty]), int(x_edges[tx])
                height, width = int(y_edges[ty + 1]) - y0, int(x_edges[tx + 1]) - x0
                correlation[i, ty, tx] = pair_ncc(
                    filtered[i], filtered[i + 1], y0, x0, y0, x0, height, width, EVERYWHERE
                )

    for_each_band(one_frame, n)
    for_each_band(one_pair, max(0, n - 1))
    return TileGrids(correlation, entropy, laplacian, y_edges, x_edges)


def tile_edges_px(length: int, tile_px: int) -> NDArray[np.int64]:
    """Return where tiles of about `tile_px` begin, and the end."""
    return np.linspace(0, length, max(1, round(length / tile_px)) + 1).round().astype(np.int64)


def _laplacian(frame: NDArray[np.generic]) -> NDArray[np.float32]:
    values = as_float32(frame)
    inner = values[1:-1, 1:-1]
    return values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - np.float32(4) * inner
