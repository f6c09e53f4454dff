"""`parfocal replay`: stored runs through an analysis."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Annotated, Any

import typer

from parfocal.callbacks import ANALYSES, Replayed, replay
from parfocal.catalog import open_catalog
from parfocal.cli._catalog import DataOption, JsonOption, WhereOption, read_parameters
from parfocal.errors import BadInputError


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("replay")(replay_command)


def replay_command(
    runs: Annotated[list[str] | None, typer.Argument(help="Uids or their beginnings; or `newest`.")] = None,
    data: DataOption = None,
    analysis: Annotated[str, typer.Option(help=f"One of: {', '.join(ANALYSES)}.")] = "focus_scores",
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="name=value")] = None,
    plan: Annotated[str | None, typer.Option(help="All runs of this plan.")] = None,
    sample: Annotated[str | None, typer.Option(help="All runs of this sample.")] = None,
    since: Annotated[str | None, typer.Option(help="All runs since then.")] = None,
    where: WhereOption = None,
    supersede: Annotated[bool, typer.Option(help="Do it again where it was done, and say so.")] = False,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://...")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send stored runs through an analysis; results are derived runs. Done before: skipped."""
    wanted: list[Any] = list(runs or [])
    asked: dict[str, Any] = {"plan": plan, "sample": sample, "since": since, "where": where}
    is_asked = any(value is not None for value in asked.values())
    if bool(wanted) == is_asked:
        raise BadInputError("replay: either name runs, or say which with --plan, --sample, --since or --where")
    say = (lambda one: None) if as_json else _Lines()
    with open_catalog(data) as catalog:
        done = replay(
            wanted or list(catalog.runs(**asked)["uid"]),
            analysis,
            read_parameters(parameter),
            catalog=catalog,
            if_done="supersede" if supersede else "skip",
            scheduler=scheduler,
            progress=sys.stderr.isatty(),
            on_result=say,
        )
    if as_json:
        typer.echo(json.dumps([vars(one) for one in done]))
    else:
        counted = Counter(one.status for one in done)
        typer.echo(", ".join(f"{n} {status}" for status, n in counted.items()) or "no runs fit")
    if any(one.status == "failed" for one in done):
        raise typer.Exit(2)


class _Lines:
    """Prints a line for each run as it is done."""

    _FORM = "{:<9} {:<10} {:<12} {}"

    def __init__(self) -> None:
        self._n = 0

    def __call__(self, one: Replayed) -> None:
        if not self._n:
            typer.echo(self._FORM.format("run", "status", "derived run", "reason").rstrip())
        self._n += 1
        typer.echo(self._FORM.format(one.uid[:8], one.status, one.derived_uid[:8], one.reason).rstrip())
