"""Calibrations on disk: our JSON, and the CSV and meta data of Focus Feedback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, cast

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.fitting import (
    Calibration,
    CalibrationKind,
    EllipticityConvention,
    ExpectedSlope,
    calibrate_steps,
    calibration_from_json,
    calibration_to_json,
    facts_from_meta,
    meta_from_json,
    sweep_from_csv,
    sweep_meta,
    sweep_to_csv,
)


def save_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write a calibration as JSON with the hash of its content; the file is whole or as it was."""
    with write_atomically(path) as temporary:
        temporary.write_text(calibration_to_json(calibration), encoding="utf-8")


def load_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read what `save_calibration` wrote.

    Raises
    ------
    BadInputError
        It cannot be read, is no calibration, or was changed.
    """
    return calibration_from_json(_text(Path(path)), os.fspath(path))


def save_sweep(
    path: str | os.PathLike[str],
    calibration: Calibration,
    *,
    created_at_unix_s: float,
    convention: Literal["ratio", "sqrt_ratio"] = "ratio",
) -> Path:
    """Write `calibration_sweep.csv` and, beside it, `calibration_sweep.meta.json`; return the latter's path.

    `sqrt_ratio` is for Focus Feedback itself, which takes the square root of the ratio for the ratio.
    """
    table = Path(path)
    with write_atomically(table) as temporary:
        temporary.write_text(sweep_to_csv(calibration.steps, calibration.is_used, convention), encoding="utf-8")
    meta = sweep_meta(calibration, created_at_unix_s) | {"ellipticity_convention": convention}
    beside = _meta_path(table)
    with write_atomically(beside) as temporary:
        temporary.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    return beside


def load_sweep(
    path: str | os.PathLike[str],
    *,
    kind: CalibrationKind = "zhuang",
    expected_slope: ExpectedSlope = "auto",
    pixel_size_um: float | None = None,
    convention: EllipticityConvention = "auto",
) -> Calibration:
    """Calibrate from a `calibration_sweep.csv`, ours or that of Focus Feedback.

    The widths are fitted again. A CSV holds no pictures, so no correction is learnt: the JSON of
    `save_calibration` keeps it.

    Parameters
    ----------
    path : path
        The CSV; its meta data lie beside it, where there are any.
    kind, expected_slope
        As in `calibrate`.
    pixel_size_um : float, optional
        Camera pixel at the sample, um: Focus Feedback does not keep it.
    convention : {"auto", "ratio", "sqrt_ratio"}
        What the column `ellipticity` holds.

    Returns
    -------
    Calibration

    Raises
    ------
    BadInputError
        The file cannot be read, or the pixel size is in neither place.
    """
    table = Path(path)
    beside = _meta_path(table)
    meta = meta_from_json(_text(beside), str(beside)) if beside.is_file() else {}
    steps, _ = sweep_from_csv(_text(table), meta, convention=convention, name=os.fspath(path))
    return calibrate_steps(
        steps,
        facts_from_meta(meta, pixel_size_um),
        kind=kind,
        expected_slope=expected_slope,
        theta_rad=float(meta.get("theta_rad") or 0.0),
        n_failed_moves=int(meta.get("n_failed_moves") or 0),
    )


def read_calibration(
    path: str | os.PathLike[str],
    *,
    kind: CalibrationKind = "zhuang",
    expected_slope: ExpectedSlope = "auto",
    pixel_size_um: float | None = None,
) -> Calibration:
    """Read a `calibration_sweep.csv`, ours or that of Focus Feedback, or a calibration's JSON.

    Parameters
    ----------
    path : path
        A name that ends in `.json` is a calibration's JSON, which holds model and slope.
    kind, expected_slope
        Of a CSV, as in `load_sweep`.
    pixel_size_um : float, optional
        For a CSV whose meta data tell none. Where they do, theirs counts, so that a sweep of another light path
        is known as one.

    Raises
    ------
    BadInputError
        It is not there, cannot be read, or its pixel size is told nowhere.
    """
    table = Path(path)
    if not table.is_file():
        raise BadInputError(
            f"calibration CSV not found: {table}; `parfocal calibrate` makes one, and "
            "`--allow-missing-calibration` sweeps first"
        )
    if table.suffix.lower() == ".json":
        return load_calibration(table)
    told = None if _tells_pixel_size(table) else pixel_size_um
    return load_sweep(table, kind=kind, expected_slope=expected_slope, pixel_size_um=told)


def named_file(calibration: str, calibration_csv: Path | None) -> Path | None:
    """Return the file that `--calibration` or `--calibration-csv` name; None for one of the data folder.

    A name of `.json` without a folder is of the data folder, where calibrations are kept.
    """
    if calibration_csv is not None:
        return calibration_csv
    path = Path(calibration)
    is_file = path.suffix == ".csv" or (path.suffix == ".json" and path.parent != Path())
    return path if is_file else None


def _tells_pixel_size(table: Path) -> bool:
    try:
        told = json.loads(_meta_path(table).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and isinstance(cast("dict[str, Any]", told).get("pixel_size_um"), int | float)


def _meta_path(table: Path) -> Path:
    return table.with_suffix(".meta.json")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInputError(f"{path}: cannot be read ({why}); expected a calibration") from error
