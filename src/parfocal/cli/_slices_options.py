"""Options and arguments that several commands of `parfocal slices` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from parfocal.errors import BadInputError

LedgerArgument = Annotated[Path, typer.Argument(help="A slice_config.csv, ours or linumpy's.", show_default=False)]
OutArgument = Annotated[Path, typer.Argument(help="The new slice_config.csv.", show_default=False)]
LenientOption = Annotated[
    bool, typer.Option("--lenient", help="Read what can be guessed (y, n, blank use, a byte-order mark); say so.")
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace an output that is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Compat(StrEnum):
    """Whose numbers and rules are reproduced."""

    linumpy = "linumpy"


def leading_slices(text: str) -> int | Literal["auto"]:
    """Return how many leading slices `--exclude-first` means."""
    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdecimal()) or len(text) > 6:
        raise BadInputError(f"--exclude-first {text!r}: a number of slices was expected, or auto")
    return int(text)


def tile_fov(text: str) -> float | tuple[float, float] | Literal["auto"] | None:
    """Return what `--tile-fov-mm` means; None where it is empty."""
    if not text:
        return None
    if text == "auto":
        return "auto"
    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 2):
        raise BadInputError(f"--tile-fov-mm {text!r}: a length in mm was expected, two (x,y), or auto")
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])
