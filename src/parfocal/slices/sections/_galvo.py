"""The galvo's way back, recorded in the middle of a tile: where it begins, and how sure that is.

A tile's fast axis is a ring of `n_lines`: the image, then `n_extra` lines of the mirror's way back. When the ring
was cut at the wrong place, the way back stands in the middle of the tile, as a band that differs from the image on
both sides, brighter or darker. Rolling the ring brings it to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd
from parfocal.slices.sections._galvo_linumpy import linumpy_galvo_for_slice, linumpy_galvo_shift

FloatArray = NDArray[np.float64]
Tile = NDArray[Any] | Callable[[], NDArray[Any]]
"""Mean projection `[line, b_scan]` or volume `[z, line, b_scan]` of a tile, or what loads it."""

_NARROWEST = 5  # lines; no band can be told in fewer
_FULL_CONTRAST = 0.15
_FULL_ANOMALY = 1.5
_FULL_STEP_Z = 6.0
_STEP_Z = (3.5, 5.5)  # below: chance; above: not
_FAINT_Z = 2.0
_MOST_Z = 12.0  # no tile weighs more in the vote
_COLUMN_GROUPS = 16
_COLUMN_SHARE = (0.5, 0.75)


@dataclass(frozen=True)
class GalvoReturn:
    """The band that looks most like a galvo's way back, in one tile or by the vote of several.

    Attributes
    ----------
    start_line : int
        First line of the band; it may run over the end of the tile and on from its beginning.
    shift_lines : int
        Roll of the lines that brings the band to the end: `(n_lines - n_extra - start_line) % n_lines`.
    confidence : float
        That the way back stands where it should not, 0 to 1; 0 for a band that is at the end already.
    contrast, sharpness, anomaly : float
        The three parts of the score, 0 to 1.
    step_z : float
        The smaller of the two steps at the band's ends, in standard deviations of all other steps.
    column_share : float
        Share of the B-scans, in groups, that show both steps.
    tile_share : float
        Share of the tiles that show both steps.
    n_tiles : int
        Tiles that were looked at; 0 where none was bright enough.
    bright : bool
        Whether the band is brighter than the image.
    """

    start_line: int = 0
    shift_lines: int = 0
    confidence: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    anomaly: float = 0.0
    step_z: float = 0.0
    column_share: float = 0.0
    tile_share: float = 0.0
    n_tiles: int = 0
    bright: bool = False


def find_galvo_return(
    tiles: Sequence[Tile],
    n_extra: int,
    *,
    n_samples: int = 5,
    min_intensity: float = 20.0,
) -> GalvoReturn:
    """Find the galvo's way back in the tiles of one section, by their common vote.

    Of up to three times `n_samples` tiles, taken evenly from all over the section, the first `n_samples` that are
    not background vote. In each tile, x(i) is the median over its B-scans of line i, D(i) = x(i) - x(i - 1) around
    the ring, and

        z(s) = min(abs D(s), abs D(s + n)) / sd(D) where the two have opposite signs, else below 0.

    The band begins where the sum of z over the tiles is largest. The confidence is

        (0.5 contrast + 0.3 sharpness + 0.2 anomaly) g(z) g(columns) sqrt(share of tiles)

    with contrast = abs(I_image - I_return) / I_image / 15 %, sharpness = z / 6 and
    anomaly = abs(I_image - I_return) / SD / 1.5, each at most 1, of the medians within the band and beside it.
    Where both steps together could be chance (z below 3.5), or fewer than half of the B-scans show them, g is 0;
    from 5.5 and three quarters on it is 1. A smooth texture has contrast and anomaly by chance, but no two sharp
    steps at this distance.

    Parameters
    ----------
    tiles : sequence of ndarray or callable
        Mean projections `[line, b_scan]`, volumes `[z, line, b_scan]`, or functions that load one.
    n_extra : int
        Lines of the way back, from the acquisition's metadata.
    n_samples : int
        Tiles that vote.
    min_intensity : float
        A tile with a lower mean is background and does not count.

    Raises
    ------
    BadInputError
        A tile of another shape, with values that are no numbers, or shorter than two ways back.
    """
    _check(n_extra, n_samples)
    chosen = _bright_tiles(tiles, n_samples, min_intensity)
    if not chosen or n_extra < _NARROWEST:
        return GalvoReturn(n_tiles=len(chosen))
    n_lines = chosen[0].shape[0]
    for tile in chosen:
        if tile.shape[0] != n_lines:
            raise BadInputError(
                f"tiles: {tile.shape[0]} lines in one and {n_lines} in another; expected one length"
            )
    if n_lines < 2 * n_extra:
        raise BadInputError(f"tiles: {n_lines} lines cannot hold an image and {n_extra} lines of way back")
    steps = [_paired_steps(np.median(tile, axis=1), n_extra) for tile in chosen]
    vote = np.sum([np.clip(z, 0, _MOST_Z) for z in steps], axis=0) / np.sqrt(len(steps))
    start = int(np.argmax(vote))
    seen = np.array([z[start] >= _FAINT_Z for z in steps])
    if not seen.any():
        return GalvoReturn(start, 0, n_tiles=len(chosen))
    return _judge([tile for tile, yes in zip(chosen, seen) if yes], start, n_extra, float(vote[start]), seen)


def detect_galvo_shift(
    aip: NDArray[Any], n_pixel_return: int = 40, *, compat: Literal["linumpy"] | None = None
) -> tuple[int, float]:
    """Return the roll that brings the galvo's way back to the end of one tile, and the confidence.

    Parameters
    ----------
    aip : ndarray, shape (n_lines, n_b_scans)
        Mean projection of the tile.
    n_pixel_return : int
        Lines of the way back.
    compat : "linumpy", optional
        The original's answer: dark bands only, one line off, none across the wrap.
    """
    if compat is not None:
        return linumpy_galvo_shift(_projection(aip), n_pixel_return)
    found = find_galvo_return([aip], n_pixel_return, n_samples=1, min_intensity=-np.inf)
    return found.shift_lines, found.confidence


def detect_galvo_for_slice(
    tiles: Sequence[Tile],
    n_extra: int,
    threshold: float = 0.6,
    n_samples: int = 5,
    axial_resolution: float | None = None,
    min_intensity: float = 20.0,
    *,
    compat: Literal["linumpy"] | None = None,
) -> tuple[int, float]:
    """Return the roll of one section's tiles and the confidence; the roll is 0 below `threshold`.

    `find_galvo_return` tells more. `axial_resolution` is taken for the original's sake and has no effect here:
    tiles come as arrays.
    """
    del axial_resolution
    if compat is not None:
        return linumpy_galvo_for_slice(
            lambda index: _projection(tiles[index]), len(tiles), n_extra, threshold, n_samples, min_intensity
        )
    found = find_galvo_return(tiles, n_extra, n_samples=n_samples, min_intensity=min_intensity)
    return (found.shift_lines if found.confidence >= threshold else 0), found.confidence


def _paired_steps(profile: FloatArray, n_extra: int) -> FloatArray:
    """Return z(s) of a band that begins at s, around the ring."""
    step = profile - np.roll(profile, 1)
    # Where the tile begins, one end of the sample meets the other: that step says nothing of the others.
    of_sample = step[1:]
    spread = robust_sd(of_sample)
    if spread <= 0.0:
        spread = float(of_sample.std()) or 1.0
    end = np.roll(step, -n_extra)
    return np.maximum(np.minimum(step, -end), np.minimum(-step, end)) / spread


def _judge(
    tiles: Sequence[FloatArray], start: int, n_extra: int, step_z: float, seen: NDArray[np.bool_]
) -> GalvoReturn:
    n_lines = tiles[0].shape[0]
    within = (start + np.arange(n_extra)) % n_lines
    reach = min(2 * max(10, n_extra // 2), (n_lines - n_extra) // 2)
    before = (start - 1 - np.arange(reach)) % n_lines
    after = (start + n_extra + np.arange(reach)) % n_lines
    contrasts, anomalies, columns, bright = [], [], [], []
    for tile in tiles:
        profile = np.median(tile, axis=1)
        image = (float(np.median(profile[before])) + float(np.median(profile[after]))) / 2
        # Medians: single bright lines, however bright, are no band.
        difference = float(np.median(profile[within])) - image
        rest = np.delete(profile, within)
        spread = robust_sd(rest)
        contrasts.append(abs(difference) / max(abs(image), 1e-12) / _FULL_CONTRAST)
        anomalies.append(abs(difference) / max(spread, 1e-12) / _FULL_ANOMALY)
        columns.append(_column_share(tile, start, n_extra, difference > 0))
        bright.append(difference > 0)
    contrast, anomaly = min(1.0, float(np.median(contrasts))), min(1.0, float(np.median(anomalies)))
    sharpness = min(1.0, max(0.0, step_z / _FULL_STEP_Z))
    column_share, tile_share = float(np.median(columns)), float(seen.mean())
    score = 0.5 * contrast + 0.3 * sharpness + 0.2 * anomaly
    confidence = score * _ramp(step_z, _STEP_Z) * _ramp(column_share, _COLUMN_SHARE) * float(np.sqrt(tile_share))
    shift = (n_lines - n_extra - start) % n_lines
    return GalvoReturn(
        start_line=start,
        shift_lines=shift,
        confidence=confidence if shift else 0.0,
        contrast=contrast,
        sharpness=sharpness,
        anomaly=anomaly,
        step_z=step_z,
        column_share=column_share,
        tile_share=tile_share,
        n_tiles=int(seen.size),
        bright=bool(np.mean(bright) > 0.5),
    )


def _column_share(tile: FloatArray, start: int, n_extra: int, bright: bool) -> float:
    """Return the share of the lit groups of B-scans that step up and down where they should."""
    n_lines = tile.shape[0]
    groups = [g for g in np.array_split(tile, min(_COLUMN_GROUPS, tile.shape[1]), axis=1) if g.size]
    light = np.array([g.mean() for g in groups])
    lit = light >= 0.25 * np.percentile(light, 90)
    sign = 1.0 if bright else -1.0
    both: list[bool] = []
    for group, is_lit in zip(groups, lit):
        if is_lit:
            line = np.median(group, axis=1)
            begin, end = start, (start + n_extra) % n_lines
            both.append(sign * (line[begin] - line[begin - 1]) > 0 and sign * (line[end] - line[end - 1]) < 0)
    return float(np.mean(both)) if both else 0.0


def _ramp(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _bright_tiles(tiles: Sequence[Tile], n_samples: int, min_intensity: float) -> list[FloatArray]:
    chosen: list[FloatArray] = []
    for index in _candidates(len(tiles), n_samples):
        tile = _projection(tiles[index])
        if float(tile.mean()) >= min_intensity:
            chosen.append(tile)
        if len(chosen) == n_samples:
            break
    return chosen


def _candidates(n_tiles: int, n_samples: int) -> list[int]:
    """Return up to three times `n_samples` tiles, spread evenly, those nearest to the middle first."""
    spread = np.unique(np.linspace(0, n_tiles - 1, min(3 * n_samples, n_tiles)).round().astype(int))
    return sorted((int(i) for i in spread), key=lambda i: (abs(i - (n_tiles - 1) / 2), i))


def _projection(tile: Tile) -> FloatArray:
    loaded = np.asarray(tile() if callable(tile) else tile)
    if loaded.ndim == 3:
        loaded = loaded.mean(axis=0)
    if loaded.ndim != 2 or 0 in loaded.shape:
        raise BadInputError(
            f"tile: shape {loaded.shape}; expected a projection [line, b_scan] or a volume [z, line, b_scan]"
        )
    projection = loaded.astype(np.float64)
    if not np.isfinite(projection).all():
        raise BadInputError("tile: holds values that are not finite numbers")
    return projection


def _check(n_extra: int, n_samples: int) -> None:
    if n_extra < 0:
        raise BadInputError(f"n_extra: expected the lines of the galvo's way back, 0 or more, got {n_extra}")
    if n_samples < 1:
        raise BadInputError(f"n_samples: expected 1 or more, got {n_samples}")
