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

from parfocal.catalog import DataFolder
from parfocal.cli._catalog import DataOption, folder_of
from parfocal.doctor import Check, examine
from parfocal.errors import BadInputError
from parfocal.queue import find_profile

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor")(doctor_command)


def doctor_command(
    data: DataOption = None,
    profile: Annotated[
        str, typer.Option("--profile", help="A profile, by name or folder: its files, and the drivers it needs.")
    ] = "",
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
    if devices and not profile:
        raise BadInputError("--devices needs --profile: which devices?")
    found: list[Check] = []
    console = Console(highlight=False)
    folder = folder_of(data)
    for check in examine(
        folder,
        profile=_folder_of_profile(profile, folder),
        open_devices=devices,
        frame_px=_shape(frame),
        wanted_hz=rate,
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


def _folder_of_profile(profile: str, data: DataFolder) -> Path | None:
    """Return the folder of a profile that was told by name or by path; of one that is not whole, too."""
    if not profile:
        return None
    try:
        return find_profile(profile, data)
    except BadInputError:  # what is wrong with it is said as a check
        return Path(profile).expanduser()


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
