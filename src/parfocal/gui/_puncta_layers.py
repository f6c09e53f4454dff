"""What the analysis `puncta` found in a run, as layers: spots with their uncertainty, tracks, calcium events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.catalog import Catalog
from parfocal.gui._frame_layers import RunFrames
from parfocal.gui._grid import FrameGrid
from parfocal.gui._layers import Layer
from parfocal.gui._track_layers import Parents, Rows, longest, rows_of, spread, track_layers

_SPOTS = ("position", "tile", "frame", "raw_frame", "y_px", "x_px")
_SPOT_FEATURES = (
    "photons", "background", "sigma_y_px", "sigma_x_px", "y_se_px", "x_se_px", "z_um", "z_se_um", "probability",
)  # fmt: skip
_POINTS = ("position", "tile", "track", "frame", "localization", "dff", "is_mobile")
_EVENT_FEATURES = ("track", "onset_s", "onset_se_s", "peak_dff", "peak_snr", "is_wave")
_CIRCLE = 2 * 1.96  # diameter, in standard errors, that holds 95 % of an axis
_SMALLEST_PX = 0.2
_PARALLEL = ("position", "tile")


def puncta_layers(catalog: Catalog, run: Any, main: RunFrames, max_points: int) -> tuple[list[Layer], list[str]]:
    """Return the layers of a derived run of `puncta`, and what is to be said of them.

    Spots and tracks stand where they were seen in the frames: drift is in them.

    Parameters
    ----------
    catalog : Catalog
    run : BlueskyRun
        The derived run.
    main : RunFrames
        The frames that it was made from.
    max_points : int
        Rows to show at most, of spots and of tracks each.
    """
    uid = str(run.metadata["start"]["uid"])
    there = catalog.list_tables(uid)
    if "localizations" not in there:
        return [], [f"puncta {uid[:8]}: no puncta were found"]
    spots = _columns(catalog, uid, "localizations", (*_SPOTS, *_SPOT_FEATURES))
    grid = main.grid
    at = _where(grid, main, spots)
    about = {**grid.placed(main.pixel_um), "metadata": {"run": uid}}
    remarks: list[str] = []
    n = len(spots["frame"])
    kept = spread(n, max_points)
    if len(kept) < n:
        remarks.append(
            f"puncta {uid[:8]}: {len(kept):,} of {n:,} spots are shown, evenly chosen; --max-points shows more"
        )
    layers = [_spots(f"puncta {uid[:8]}", at[kept], {key: one[kept] for key, one in spots.items()}, about)]
    if "track_points" not in there or "tracks" not in there:
        return layers, remarks
    points = _columns(catalog, uid, "track_points", _POINTS)
    row = _spot_of(spots, points)
    shown = longest(_ids(points), max_points)
    if not shown.all():
        remarks.append(
            f"puncta {uid[:8]}: {int(shown.sum()):,} of {len(shown):,} points of tracks are shown, those of the "
            "longest tracks; --max-points shows more"
        )
    rows: Rows = {key: points[key][shown] for key in ("track", "position", "tile", "dff", "is_mobile")}
    rows["photons"] = spots["photons"][row][shown]
    rows |= {f"at_{k}": at[row][shown, k] for k in range(at.shape[1])}
    tracks = _columns(catalog, uid, "tracks", ("position", "tile", "track", "came_from"))
    layers += track_layers(
        f"tracks {uid[:8]}", grid, main.pixel_um, _finite(rows), _parents(tracks), metadata={"run": uid}
    )
    if "events" in there:
        events = _columns(catalog, uid, "events", ("position", "tile", "peak_frame", *_EVENT_FEATURES))
        layers += _events(f"calcium {uid[:8]}", events, points, at[row], about)
    return layers, remarks


def _columns(catalog: Catalog, uid: str, key: str, names: tuple[str, ...]) -> Rows:
    return rows_of(catalog.read_table(uid, key, list(dict.fromkeys(names))))


def _where(grid: FrameGrid, main: RunFrames, spots: Rows) -> NDArray[np.float64]:
    """Return where spots are, in steps of the axes."""
    last = max([*main.frames, int(spots["raw_frame"].max(initial=0))])
    known = np.full((last + 1, len(grid.axes)), np.nan)
    for index, frame in main.frames.items():
        known[index] = grid.at(frame.place)
    return np.column_stack([known[spots["raw_frame"].astype(np.int64)], spots["y_px"], spots["x_px"]])


def _spots(name: str, at: NDArray[np.float64], spots: Rows, about: dict[str, Any]) -> Layer:
    se_px = np.sqrt((spots["y_se_px"] ** 2 + spots["x_se_px"] ** 2) / 2)
    size = np.clip(np.nan_to_num(_CIRCLE * se_px, nan=1.0), _SMALLEST_PX, None)
    there = np.isfinite(at).all(axis=1)
    features = {key: spots[key][there] for key in ("frame", *_SPOT_FEATURES)}
    pixel_um = about["scale"][-2:]
    features["precision_nm"] = (
        1e3 * np.hypot(spots["y_se_px"][there] * pixel_um[0], spots["x_se_px"][there] * pixel_um[1]) / np.sqrt(2)
    )
    return Layer(
        "points",
        at[there],
        {
            **about,
            "name": name,
            "features": features,
            "size": size[there],
            "symbol": "ring",
            "face_color": "transparent",
            "border_color": "photons",
            "border_colormap": "viridis",
            "canvas_size_limits": (6, 10_000),  # a few nanometers would not be seen
        },
    )


def _ids(points: Rows) -> NDArray[np.int64]:
    """Return a number for each track of each place."""
    keys = np.stack([points[name].astype(np.int64) for name in (*_PARALLEL, "track")], 1)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def _spot_of(spots: Rows, points: Rows) -> NDArray[np.int64]:
    """Return the row of `localizations` of each point: the table counts them at each place from 0."""
    rows = np.zeros(len(points["track"]), np.int64)
    for position, tile in {(int(p), int(t)) for p, t in zip(spots["position"], spots["tile"], strict=True)}:
        of_spots = np.flatnonzero((spots["position"] == position) & (spots["tile"] == tile))
        of_points = (points["position"] == position) & (points["tile"] == tile)
        rows[of_points] = of_spots[points["localization"][of_points].astype(np.int64)]
    return rows


def _finite(rows: Rows) -> Rows:
    there = np.isfinite(np.stack([rows[key] for key in rows if key.startswith("at_")], 1)).all(axis=1)
    return {key: column[there] for key, column in rows.items()}


def _parents(tracks: Rows) -> Parents:
    found: dict[tuple[int, int], dict[int, list[int]]] = {}
    for position, tile, track, others in zip(
        *(tracks[key] for key in (*_PARALLEL, "track", "came_from")), strict=True
    ):
        if str(others).strip():
            found.setdefault((int(position), int(tile)), {})[int(track)] = [
                int(one) for one in str(others).split()
            ]
    return found


def _events(name: str, events: Rows, points: Rows, at: NDArray[np.float64], about: dict[str, Any]) -> list[Layer]:
    """Return a layer of calcium events: where the punctum was at the peak, or nearest to it in time."""
    keys = [
        np.stack([rows[name].astype(np.int64) for name in (*_PARALLEL, "track")], 1) for rows in (points, events)
    ]
    ids = np.unique(np.concatenate(keys), axis=0, return_inverse=True)[1].reshape(-1)
    of_points, of_events = ids[: len(at)], ids[len(at) :]
    order = np.argsort(of_points, kind="stable")
    bounds = np.searchsorted(of_points[order], of_events), np.searchsorted(of_points[order], of_events, "right")
    places: list[NDArray[np.float64]] = []
    kept: list[int] = []
    for k, (first, last, peak) in enumerate(zip(*bounds, events["peak_frame"], strict=True)):
        own = order[first:last]
        if own.size:
            nearest = own[np.argmin(np.abs(points["frame"][own] - peak))]
            if np.isfinite(at[nearest]).all():
                places.append(at[nearest])
                kept.append(k)
    if not kept:
        return []
    features = {key: events[key][kept] for key in _EVENT_FEATURES}
    is_wave = features["is_wave"].astype(np.bool_)
    options = {
        **about,
        "name": name,
        "features": features,
        "size": 5,
        "symbol": "star",
        "face_color": np.where(is_wave[:, None], (0.5, 0.5, 0.5, 0.8), (1.0, 0.85, 0.1, 0.9)),
        "border_color": "transparent",
        "canvas_size_limits": (10, 10_000),
    }
    return [Layer("points", np.array(places), options)]
