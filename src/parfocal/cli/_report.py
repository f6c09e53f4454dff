"""`parfocal report`: the report of a stored lock or calibration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from parfocal.catalog import open_catalog
from parfocal.cli._catalog import DataOption, JsonOption
from parfocal.cli._focus_lock import show_lock
from parfocal.report import (
    calibration_report,
    lock_report,
    read_calibration_run,
    read_lock_run,
    write_calibration_report,
    write_lock_report,
)


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("report")(report_command)


def report_command(
    run: Annotated[str, typer.Argument(help="Uid, its beginning, scan id, or newest.")] = "newest",
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder. Default: focus/<run> in the data folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a run that locked or calibrated focus: JSON and one HTML page."""
    console = Console(stderr=as_json)
    with open_catalog(data) as catalog:
        stored: Any = catalog.run(run)
        found = stored.metadata["start"]
        folder = out if out is not None else catalog.folder.root / "focus" / found["uid"][:8]
        if found.get("plan_name") == "calibrate_focus":
            calibrated = read_calibration_run(catalog, found["uid"])
            report = calibration_report(calibrated)
            files = [str(path) for path in write_calibration_report(calibrated, folder)]
        else:
            locked = read_lock_run(catalog, found["uid"])
            report = lock_report(locked)
            files = [str(path) for path in write_lock_report(locked, folder)]
            show_lock(console, report, folder)
    if as_json:
        typer.echo(json.dumps({**report, "folder": str(folder), "files": files}))
    else:
        for path in files:
            console.print(path, soft_wrap=True, markup=False)
