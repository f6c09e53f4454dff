"""The truth of a sample as CSV: nm from the corner of the image, frames from 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import csv_text, read_csv, write_atomically
from parfocal.puncta._truth import PunctaTruth

TRUTH_COLUMNS = (
    "frame",
    "punctum",
    "x_nm",
    "y_nm",
    "z_nm",
    "photons",
    "background",
    "sigma_nm",
    "is_visible",
    "motion",
    "is_calcium_on",
    "calcium_dff",
)
EVENT_COLUMNS = ("punctum", "onset_s", "peak_dff", "x_nm", "y_nm")

Columns = dict[str, NDArray[Any]]


def truth_columns(truth: PunctaTruth) -> Columns:
    """Return what `ground_truth.csv` holds: x and y in nm with the origin in the image's upper left corner."""
    pixel_y, pixel_x = (1e3 * p for p in truth.pixel_size_um)
    return {
        "frame": truth.frame,
        "punctum": truth.punctum,
        "x_nm": (truth.x_px + 0.5) * pixel_x,
        "y_nm": (truth.y_px + 0.5) * pixel_y,
        "z_nm": truth.z_um * 1e3,
        "photons": truth.photons,
        "background": truth.background,
        "sigma_nm": truth.sigma_px * pixel_x,
        "is_visible": truth.is_visible,
        "motion": truth.motion,
        "is_calcium_on": truth.is_calcium_on,
        "calcium_dff": truth.calcium,
    }


def event_columns(truth: PunctaTruth) -> Columns:
    """Return what `calcium_events.csv` holds; an event of no punctum has punctum -1."""
    pixel_y, pixel_x = (1e3 * p for p in truth.pixel_size_um)
    return {
        "punctum": truth.event_punctum,
        "onset_s": truth.event_onset_s,
        "peak_dff": truth.event_peak_dff,
        "x_nm": (truth.event_x_px + 0.5) * pixel_x,
        "y_nm": (truth.event_y_px + 0.5) * pixel_y,
    }


def write_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write a table; numbers to a ten-thousandth, true and false as 1 and 0."""
    with write_atomically(path) as temporary:
        cells = [_cells(column) for column in columns.values()]
        temporary.write_text(csv_text(tuple(columns), cells), encoding="utf-8", newline="\n")


def read_columns(path: Path, names: tuple[str, ...]) -> Columns:
    """Read a table that such a writer wrote; columns in any order, others beside them left out.

    Raises
    ------
    BadInputError
        A column is missing, or a cell is not what the column holds.
    """
    table = read_csv(path)
    if missing := [name for name in names if name not in table.header]:
        raise BadInputError(f"{path}: there is no column {missing[0]}; expected {', '.join(names)}")
    cells = table.columns()
    return {name: _numbers(path, name, cells[name]) for name in names}


def truth_of(
    table: Columns,
    events: Columns,
    pixel_size_um: tuple[float, float],
    frame_interval_s: float,
    parents: NDArray[np.int64],
    wave_onset_s: NDArray[np.float64],
    drift_y_x_px: NDArray[np.float64],
) -> PunctaTruth:
    """Return the truth that the columns tell."""
    pixel_y, pixel_x = (1e3 * p for p in pixel_size_um)
    return PunctaTruth(
        pixel_size_um=pixel_size_um,
        frame_interval_s=frame_interval_s,
        frame=table["frame"],
        punctum=table["punctum"],
        x_px=table["x_nm"] / pixel_x - 0.5,
        y_px=table["y_nm"] / pixel_y - 0.5,
        z_um=table["z_nm"] / 1e3,
        photons=table["photons"],
        background=table["background"],
        sigma_px=table["sigma_nm"] / pixel_x,
        is_visible=table["is_visible"],
        motion=table["motion"],
        is_calcium_on=table["is_calcium_on"],
        calcium=table["calcium_dff"],
        event_punctum=events["punctum"],
        event_onset_s=events["onset_s"],
        event_peak_dff=events["peak_dff"],
        event_x_px=events["x_nm"] / pixel_x - 0.5,
        event_y_px=events["y_nm"] / pixel_y - 0.5,
        parents=parents,
        wave_onset_s=wave_onset_s,
        drift_y_px=drift_y_x_px[0],
        drift_x_px=drift_y_x_px[1],
    )


def _cells(column: NDArray[Any]) -> list[str]:
    if column.dtype.kind == "b":
        return np.where(column, "1", "0").tolist()
    if column.dtype.kind == "f":
        return [f"{value:.4f}" for value in column.tolist()]
    return [str(value) for value in column.tolist()]


def _numbers(path: Path, name: str, cells: tuple[str, ...]) -> NDArray[Any]:
    if name == "motion":
        return np.array(cells, dtype=np.str_)
    is_whole, is_label = name in ("frame", "punctum"), name.startswith("is_")
    kind: Callable[[str], Any] = int if is_whole or is_label else float
    values: list[Any] = []
    for row, cell in enumerate(cells, 2):
        try:
            values.append(kind(cell))
        except ValueError:
            expected = "a whole number" if is_whole else "0 or 1" if is_label else "a number"
            raise BadInputError(f"{path}, row {row}: {name} is {cell[:40]!r}, expected {expected}") from None
        if is_label and values[-1] not in (0, 1):
            raise BadInputError(f"{path}, row {row}: {name} is {cell[:40]!r}, expected 0 or 1")
    return np.array(values, np.int64 if is_whole else bool if is_label else np.float64)
