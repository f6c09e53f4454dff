"""Tracks as CSV tables: a row for each localization, and a row for each track."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import read_csv, write_atomically
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import PunctaTracks
from parfocal.puncta.tracking._by_track import by_track
from parfocal.puncta.tracking._mobility import Mobility

TRACK_COLUMNS = (
    "track",
    "frame",
    "t_s",
    "x_px",
    "y_px",
    "x_um",
    "y_um",
    "photons",
    "background",
    "sigma_x_px",
    "sigma_y_px",
    "x_se_px",
    "y_se_px",
    "probability",
    "is_mobile",
)
"""Columns of trajectories.csv. `is_mobile` is empty where it was not judged."""


def write_tracks_csv(
    path: str | os.PathLike[str],
    localizations: Localizations,
    tracks: PunctaTracks,
    frame_interval_s: float | None = None,
    mobility: Mobility | None = None,
) -> None:
    """Write trajectories.csv: localizations that have a track, by track and frame.

    Parameters
    ----------
    path : str or path
    localizations, tracks
    frame_interval_s : float, optional
        For `t_s`, which is the middle of frame 0 at 0; without it the column is empty.
    mobility : Mobility, optional
        For `is_mobile`, of each point in its stretch.
    """
    rows = by_track(localizations, tracks).row
    columns: dict[str, NDArray[Any]] = {
        "track": tracks.track[rows],
        "frame": localizations.frame[rows],
        "t_s": np.full(rows.size, math.nan)
        if frame_interval_s is None
        else np.round(localizations.frame[rows] * frame_interval_s, 9),
        "is_mobile": np.full(rows.size, -1) if mobility is None else mobility.point_is_mobile[rows],
    }
    for name in TRACK_COLUMNS:
        if name not in columns:
            columns[name] = np.asarray(getattr(localizations, name))[rows]
    columns["is_mobile"] = np.where(columns["is_mobile"] < 0, math.nan, columns["is_mobile"])
    _write(Path(path), {name: columns[name] for name in TRACK_COLUMNS})


def write_mobility_csv(path: str | os.PathLike[str], mobility: Mobility) -> None:
    """Write mobility.csv: a row for each track with all that `Mobility` says of it."""
    _write(Path(path), {"track": np.arange(len(mobility)), **mobility.columns()})


def read_tracks_csv(
    path: str | os.PathLike[str], pixel_size_um: tuple[float, float] | None = None
) -> tuple[Localizations, PunctaTracks]:
    """Read trajectories.csv, or another table with columns track, frame, x_px and y_px.

    Parameters
    ----------
    path : str or path
    pixel_size_um : (float, float), optional
        (y, x). By default it follows from `x_um` over `x_px`, and y alike.

    Returns
    -------
    localizations : Localizations
    tracks : PunctaTracks
        Numbered anew from 0 in the order of their numbers; splits and merges are not in the table.

    Raises
    ------
    BadInputError
        A column is missing, a value is no number, or the pixel size is not to be had.
    """
    source = Path(path)
    table = read_csv(source, lenient=True)
    cells = table.columns()
    for name in ("track", "frame", "x_px", "y_px"):
        if name not in cells:
            raise BadInputError(f"{source}: no column {name!r}, expected track, frame, x_px and y_px")
    known = {n: _numbers(source, n, cells[n], table.row_numbers) for n in TRACK_COLUMNS if n in cells}
    for name in ("track", "frame", "x_px", "y_px"):
        if not np.isfinite(known[name]).all():
            raise BadInputError(f"{source}: an empty cell in column {name!r}")
    for name in ("track", "frame"):
        if np.any(known[name] != np.round(known[name])) or np.any(known[name] < (-1 if name == "track" else 0)):
            raise BadInputError(f"{source}: column {name!r} has values that are no counts")
    size = (_scale(known, "y"), _scale(known, "x")) if pixel_size_um is None else pixel_size_um
    if not all(math.isfinite(one) and one > 0 for one in size):
        raise BadInputError(f"{source}: says no pixel size (x_um and x_px); give one")
    order = np.argsort(known["frame"], kind="stable")
    n = order.size
    names = [k for k in known if k not in ("track", "frame", "t_s", "x_um", "y_um", "is_mobile")]
    columns: dict[str, Any] = {name: known[name][order] for name in names}
    columns.setdefault("photons", np.full(n, math.nan))
    found = Localizations(size, known["frame"][order].astype(np.int64), **columns)
    told = known["track"][order].astype(np.int64)
    named, track = np.unique(told, return_inverse=True)
    track = track.reshape(-1) - int(named.size > 0 and named[0] == -1)
    return found, PunctaTracks(track.astype(np.int64), np.empty((0, 2), np.int64), int(track.max(initial=-1)) + 1)


def _scale(known: dict[str, NDArray[np.float64]], axis: str) -> float:
    if f"{axis}_um" not in known:
        return math.nan
    px, um = known[f"{axis}_px"], known[f"{axis}_um"]
    told = np.isfinite(um) & (np.abs(px) > 0)
    # micrometres are rounded: the farthest from the origin says it best
    return float((um[told] / px[told])[np.abs(px[told]).argmax()]) if told.any() else math.nan


def _numbers(source: Path, name: str, cells: tuple[str, ...], row_numbers: Any) -> NDArray[np.float64]:
    out = np.full(len(cells), math.nan)
    for i, cell in enumerate(cells):
        if cell.strip():
            try:
                out[i] = float(cell)
            except ValueError:
                where = f"{source}, row {row_numbers[i]}"
                raise BadInputError(f"{where}: {name} is {cell!r}, expected a number") from None
    return out


def _write(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    texts = [[_cell(value) for value in column.tolist()] for column in columns.values()]
    lines = [",".join(columns), *(",".join(row) for row in zip(*texts))]
    with write_atomically(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: float | bool) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.9g}"
