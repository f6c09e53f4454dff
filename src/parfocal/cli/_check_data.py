"""`parfocal check-data`: whether samples are fit to train on, in plain words."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from parfocal.puncta.simulation import SampleCheck, check_data


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("check-data")(check_data_command)


def check_data_command(
    folder: Annotated[Path, typer.Argument(help="A sample, or a folder of samples.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check samples of puncta: formats, positions, light where the table says, calcium labels at their puncta."""
    checks = check_data(folder)
    wrong = [check for check in checks if check.problems]
    if as_json:
        said = {"folder": str(folder), "is_good": not wrong, "samples": [_plain(check) for check in checks]}
        typer.echo(json.dumps(said))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for check in wrong:
            for problem in check.problems:
                console.print(f"{check.name}: {problem}", markup=False)
        _summarize(console, checks, len(wrong))
    if wrong:
        raise typer.Exit(2)


def _summarize(console: Console, checks: list[SampleCheck], n_wrong: int) -> None:
    visible, on = sum(c.n_visible for c in checks), sum(c.n_calcium_on for c in checks)
    console.print(
        f"{len(checks)} samples, {sum(c.n_puncta for c in checks)} puncta seen in {visible} rows, "
        f"calcium on in {on} ({on / max(visible, 1):.1%}), {sum(c.n_events for c in checks)} calcium events"
    )
    console.print("all is well" if not n_wrong else f"{n_wrong} of {len(checks)} samples have something to mend")


def _plain(check: SampleCheck) -> dict[str, object]:
    brightness = check.brightness if check.brightness == check.brightness else None
    return {**asdict(check), "brightness": brightness}
