"""What the analysis `nuclei` found in a run, as layers: labels, objects with their doubts, tracks."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks import volumes_of
from parfocal.catalog import Catalog
from parfocal.errors import BadInputError
from parfocal.files import ZarrVolume, open_ome_zarr
from parfocal.gui._frame_layers import RunFrames
from parfocal.gui._grid import FrameGrid, PlaneArray
from parfocal.gui._layers import Layer
from parfocal.gui._track_layers import Rows, rows_of, spread, track_layers

_FEATURES = ("id", "volume_um3", "diameter_um", "elongation", "solidity", "doubt", "reasons", "track")


def nuclei_layers(catalog: Catalog, run: Any, main: RunFrames, max_points: int) -> tuple[list[Layer], list[str]]:
    """Return the layers of a derived run of `nuclei`, and what is to be said of them.

    Parameters
    ----------
    catalog : Catalog
    run : BlueskyRun
        The derived run.
    main : RunFrames
        The frames that it was made from.
    max_points : int
        Objects to show at most.
    """
    documents = list(catalog.documents(run))
    uid = str(run.metadata["start"]["uid"])
    stacks = _stacks(documents)
    paths = volumes_of(documents)
    rows = [row for row in stacks if str(row["labels"]) in paths]
    if not rows:
        return [], [f"nuclei {uid[:8]}: no stack was labelled"]
    grid = main.grid
    about = {**grid.placed(main.pixel_um), "metadata": {"run": uid}}
    layers: list[Layer] = []
    remarks: list[str] = []
    where = {_place(row): paths[str(row["labels"])] for row in rows}
    corrected = {
        place: path.with_name(f"{path.name.split('.')[0]}_corrected.ome.zarr") for place, path in where.items()
    }
    table = _objects(catalog, uid)
    for name, found in (("nuclei", where), ("nuclei corrected", corrected)):
        there = {place: path for place, path in found.items() if path.is_dir()}
        if not there:
            if name == "nuclei":
                remarks.append(f"nuclei {uid[:8]}: labels are not at {next(iter(found.values()))}")
            continue
        options = {**about, "name": f"{name} {uid[:8]}", "opacity": 0.6}
        if name == "nuclei" and len(rows) == 1 and table is not None:  # napari's features have a row a label
            options["features"] = {"index": table["id"], **{key: table[key] for key in _FEATURES if key in table}}
        read = partial(_plane, grid, there, cache(open_ome_zarr))
        layers.append(
            Layer("labels", PlaneArray((*grid.shape, *main.shape_px), np.dtype(np.int32), read), options)
        )
    if table is not None and len(table["id"]):
        kept = spread(len(table["id"]), max_points)
        if len(kept) < len(table["id"]):
            remarks.append(_thinned(f"nuclei {uid[:8]}", len(kept), len(table["id"]), "objects"))
        at = _coordinates(grid, main.pixel_um, table)
        layers.append(_points(f"objects {uid[:8]}", at[kept], {k: v[kept] for k, v in table.items()}, about))
        layers += track_layers(
            f"nuclei tracks {uid[:8]}", grid, main.pixel_um, _tracked(table, at), {}, metadata={"run": uid}
        )
    return layers, remarks


def _plane(
    grid: FrameGrid,
    paths: dict[tuple[int, int, int], Path],
    opened: Any,
    where: tuple[int, ...],
) -> NDArray[Any] | None:
    position, tile, time_point, plane = grid.place_at(where)
    path = paths.get((position, tile, time_point))
    if path is None:
        return None
    volume: ZarrVolume = opened(path)
    # Volumes hold the planes that were taken, in their order.
    taken = grid.planes_of(position, tile, time_point)
    z = taken.index(plane) if plane in taken else -1
    return volume.read(slice(z, z + 1))[0] if 0 <= z < volume.shape[0] else None


def _stacks(documents: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    streams = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    return [doc["data"] for name, doc in documents if name == "event" and streams[doc["descriptor"]] == "stacks"]


def _place(row: dict[str, Any]) -> tuple[int, int, int]:
    return int(row["position"]), int(row["tile"]), int(row["time_point"])


def _objects(catalog: Catalog, uid: str) -> Rows | None:
    try:
        return rows_of(catalog.read_table(uid, "objects"))
    except BadInputError:
        return None


def _coordinates(grid: FrameGrid, pixel_um: tuple[float, float], table: Rows) -> NDArray[np.float64]:
    """Return where the centroids are, in steps of the axes: z between planes too."""
    places = np.stack([table["position"], table["tile"], table["time_point"], np.zeros(len(table["id"]))], 1)
    at = np.array([grid.at([int(k) for k in place]) for place in places], np.float64).reshape(len(places), -1)
    for k, axis in enumerate(grid.axes):
        if axis.name == "plane":
            at[:, k] = (table["z_um"] - axis.first) / axis.step
    return np.column_stack([at, table["y_um"] / pixel_um[0], table["x_um"] / pixel_um[1]])


def _points(name: str, at: NDArray[np.float64], table: Rows, about: dict[str, Any]) -> Layer:
    features = {key: table[key] for key in _FEATURES if key in table}
    return Layer(
        "points",
        at,
        {
            **about,
            "name": name,
            "features": features,
            "size": 6,
            "face_color": "doubt" if "doubt" in features else "white",
            "face_colormap": "inferno",
            "border_color": "white",
            "out_of_slice_display": True,
            "visible": False,
        },
    )


def _tracked(table: Rows, at: NDArray[np.float64]) -> Rows:
    held = table["track"] > 0 if "track" in table else np.zeros(len(at), np.bool_)
    names = [f"at_{k}" for k in range(at.shape[1])]
    columns = {name: at[held, k] for k, name in enumerate(names)}
    told = {key: table[key][held] for key in ("track", "position", "tile", "volume_um3", "doubt") if key in table}
    return {**columns, **told}


def _thinned(what: str, n_shown: int, n: int, of: str) -> str:
    return f"{what}: {n_shown:,} of {n:,} {of} are shown, evenly chosen; --max-points shows more"
