"""`parfocal doctor`: is this machine fit to run a microscope."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parfocal.cli._catalog import DataOption, folder_of
from parfocal.doctor import Check, examine
from parfocal.errors import BadInputError

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor")(doctor_command)


def doctor_command(
    data: DataOption = None,
    profile: Annotated[
        Path | None, typer.Option("--profile", help="A profile's folder: its files, and the drivers it needs.")
    ] = None,
    devices: Annotated[
        bool, typer.Option("--devices", help="With --profile: open its devices too. Nothing is moved.")
    ] = False,
    frame: Annotated[
        str, typer.Option("--frame", help="Frames to time the disk with, as 2048x2048. Default: the profile's.")
    ] = "",
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Frames per second that the disk has to take.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Check the machine, drivers, folders, catalog, queue, clock and disk, and say what to do."""
    if devices and profile is None:
        raise BadInputError("--devices needs --profile: which devices?")
    found: list[Check] = []
    console = Console(highlight=False)
    for check in examine(
        folder_of(data), profile=profile, open_devices=devices, frame_px=_shape(frame), wanted_hz=rate
    ):
        found.append(check)
        if not as_json:
            console.print(_line(check), soft_wrap=True)
    n_failed, n_warned = (sum(check.state == state for check in found) for state in ("fail", "warn"))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found]))
    else:
        console.print(f"{len(found)} checks: {n_failed} failed, {n_warned} to look at")
    if n_failed:
        raise typer.Exit(2)


def _line(check: Check) -> Text:
    line = Text.assemble((f"{check.state:<4}", _COLOURS[check.state]), f"  {check.name}: {check.found}")
    if check.advice:
        line.append(f"\n      -> {check.advice}", style="bold")
    return line


def _shape(told: str) -> tuple[int, int] | None:
    if not told:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", told)
    if match is None or not int(match[1]) or not int(match[2]):
        raise BadInputError(f"--frame is {told!r}, expected height and width in pixels, as 2048x2048")
    return int(match[1]), int(match[2])
