"""`parfocal profile`: an instrument's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parfocal.cli._catalog import DataOption, folder_of
from parfocal.queue import list_profiles, new_profile


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    profile = typer.Typer(
        help="Describe an instrument: its devices, its plans, who may run them.", no_args_is_help=True
    )
    profile.command("new")(new_command)
    profile.command("list")(list_command)
    app.add_typer(profile, name="profile")


def new_command(
    name: Annotated[str, typer.Argument(help="Letters, digits, - and _.", show_default=False)],
    source: Annotated[
        str, typer.Option("--from", help="What it begins as: simulated or micromanager.")
    ] = "simulated",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to make it in. Default: profiles/ in the data folder.", show_default=False),
    ] = None,
    data: DataOption = None,
) -> None:
    """Make a profile of your own, to be edited; nothing that is there is touched."""
    path = new_profile(name, source, out, folder=folder_of(data))
    typer.echo(f"made {path}")
    typer.echo(
        f"next: edit {path / 'devices.yml'}; parfocal queue start --profile {name if out is None else path}"
    )


def list_command(data: DataOption = None) -> None:
    """List the profiles that can be named, with their folders."""
    for name, path in list_profiles(folder_of(data)):
        typer.echo(f"{name:<20} {path}")
