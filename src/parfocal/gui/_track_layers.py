"""Rows of tables as points and tracks of napari, and what to do when there are too many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.gui._grid import FrameGrid
from parfocal.gui._layers import Layer

Rows = dict[str, NDArray[Any]]
Parents = Mapping[tuple[int, int], Mapping[int, list[int]]]
"""By position and tile: from a track to those that it came from."""

_PLACES = ("position", "tile")


def rows_of(table: Any) -> Rows:
    """Return an Arrow table as columns."""
    return {name: np.asarray(table[name].to_pandas()) for name in table.column_names}


def spread(n: int, most: int) -> NDArray[np.int64]:
    """Return at most so many of n rows, evenly chosen, in order."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, max(most, 1)).round().astype(np.int64)


def longest(track: NDArray[Any], most: int) -> NDArray[np.bool_]:
    """Return which rows belong to the longest tracks: as many tracks as fit into so many rows, at least one."""
    if len(track) <= most:
        return np.ones(len(track), np.bool_)
    ids, inverse, counts = np.unique(track, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    n_kept = max(1, int(np.searchsorted(np.cumsum(counts[order]), most, side="right")))
    is_kept = np.zeros(len(ids), np.bool_)
    is_kept[order[:n_kept]] = True
    return is_kept[inverse]


def track_layers(
    name: str,
    grid: FrameGrid,
    pixel_um: tuple[float, float],
    rows: Rows,
    parents: Parents,
    metadata: dict[str, Any],
) -> list[Layer]:
    """Return a layer of tracks for each place: those of napari have time, z, y and x, and no more.

    Parameters
    ----------
    name : str
    grid : FrameGrid
        Of the frames.
    pixel_um : (float, float)
    rows : mapping of str to array
        `track`, `position`, `tile`, a column `at_0`, `at_1` ... for each axis of the frames, and features.
    parents : mapping
        By position and tile, from a track to those that it came from.
    metadata : dict
    """
    n_axes = len(grid.axes)
    kept = [k for k, axis in enumerate(grid.axes) if axis.name not in _PLACES]
    if not kept or not len(rows["track"]):
        return []  # nothing to link over
    scale, translate = grid.scale(pixel_um), grid.translate
    columns = [*kept, n_axes, n_axes + 1]
    places = sorted({(int(p), int(t)) for p, t in zip(rows["position"], rows["tile"], strict=True)})
    layers: list[Layer] = []
    for place in places:
        here = np.flatnonzero((rows["position"] == place[0]) & (rows["tile"] == place[1]))
        order = here[np.lexsort((rows[f"at_{kept[0]}"][here], rows["track"][here]))]
        track = rows["track"][order].astype(np.int64)
        at = np.stack([rows[f"at_{k}"][order] for k in columns], 1).astype(np.float64)
        at[:, 0] = np.round(at[:, 0])
        ids = set(track.tolist())
        family = {
            after: [before for before in befores if before in ids]
            for after, befores in parents.get(place, {}).items()
            if after in ids and any(before in ids for before in befores)
        }
        several = f", position {place[0]}" + (f" tile {place[1]}" if place[1] else "") if len(places) > 1 else ""
        features = {
            key: value[order]
            for key, value in rows.items()
            if key not in ("track", *_PLACES) and not key.startswith("at_")
        }
        layers.append(
            Layer(
                "tracks",
                np.column_stack([track, at]),
                {
                    "name": name + several,
                    "features": features,
                    "graph": family,
                    "scale": tuple(scale[k] for k in columns),
                    "translate": tuple(translate[k] for k in columns),
                    "axis_labels": tuple(grid.axis_labels[k] for k in columns),
                    "units": tuple(grid.units[k] for k in columns),
                    "metadata": metadata,
                },
                place if len(places) > 1 else None,
            )
        )
    return layers
