"""`parfocal slices`: the stages of a serial-section reconstruction, and its audit trail."""

from __future__ import annotations

import typer

from parfocal.cli import _slices_select

slices = typer.Typer(help="Score, audit, mend and align serial sections.", no_args_is_help=True)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group, each from the module of its stages."""
    for module in (_slices_select,):  # the modules of the stages
        module.add_commands(slices)
    app.add_typer(slices, name="slices")
