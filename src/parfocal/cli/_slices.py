"""`parfocal slices`: selection, the stages of a serial-section reconstruction, and its audit trail."""

from __future__ import annotations

import typer

from parfocal.cli import (
    _slices_detect,
    _slices_from_run,
    _slices_ledger,
    _slices_references,
    _slices_register,
    _slices_run,
    _slices_select,
    _slices_volume,
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group, each from the module of its stages."""
    slices = typer.Typer(help="Select frames; score, audit, mend and align serial sections.", no_args_is_help=True)
    for module in (
        _slices_detect,
        _slices_from_run,
        _slices_ledger,
        _slices_references,
        _slices_register,
        _slices_run,
        _slices_select,
        _slices_volume,
    ):
        module.add_commands(slices)
    app.add_typer(slices, name="slices")
