"""Drift as CSV: frame, y_um, x_um."""

from __future__ import annotations

import os

import numpy as np

from parfocal.errors import BadInputError
from parfocal.files import read_csv, write_atomically
from parfocal.puncta.drift._drift import Drift

_HEADER = ["frame", "y_um", "x_um"]


def write_drift(path: str | os.PathLike[str], drift: Drift) -> None:
    """Write a drift as CSV, a row a frame, frames from 0."""
    rows = [f"{k},{y:.6f},{x:.6f}" for k, (y, x) in enumerate(zip(drift.y_um, drift.x_um, strict=True))]
    with write_atomically(path) as temporary:
        temporary.write_text("\n".join([",".join(_HEADER), *rows, ""]))


def read_drift(path: str | os.PathLike[str]) -> Drift:
    """Read a drift that was written by `write_drift`, or that has the same columns.

    Raises
    ------
    BadInputError
        A column is missing, a value is no number, or frames do not count up from 0.
    """
    table = read_csv(path)
    missing = [name for name in _HEADER if name not in table.header]
    if missing:
        raise BadInputError(f"{os.fspath(path)}: no column {missing[0]}, {', '.join(_HEADER)} were expected")
    cells = table.columns()
    try:
        columns = [np.array(cells[name], dtype=np.float64) for name in _HEADER]
    except ValueError as error:
        raise BadInputError(f"{os.fspath(path)}: {error}, numbers were expected") from error
    if not columns[0].size or not np.array_equal(columns[0], np.arange(columns[0].size)):
        raise BadInputError(f"{os.fspath(path)}: column frame must count 0, 1, 2 ...")
    return Drift(columns[1], columns[2], method="file")
