"""`parfocal replay`: stored runs through an analysis."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parfocal.callbacks import ANALYSES, replay
from parfocal.catalog import open_catalog
from parfocal.cli._catalog import DataOption, JsonOption, read_parameters
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
    supersede: Annotated[bool, typer.Option(help="Do it again where it was done, and say so.")] = False,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://...")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send stored runs through an analysis; results are derived runs. Done before: skipped."""
    wanted: list[Any] = list(runs or [])
    if not wanted and not (plan or sample or since):
        raise BadInputError("replay: name runs, or say which with --plan, --sample or --since")
    with open_catalog(data) as catalog:
        done = replay(
            wanted or list(catalog.runs(plan=plan, sample=sample, since=since)["uid"]),
            analysis,
            read_parameters(parameter),
            catalog=catalog,
            if_done="supersede" if supersede else "skip",
            scheduler=scheduler,
            progress=not as_json,
        )
    if as_json:
        typer.echo(json.dumps([vars(one) for one in done]))
    else:
        table = Table(box=None, header_style="bold")
        for column in ("run", "status", "derived run", "reason"):
            table.add_column(column)
        for one in done:
            table.add_row(one.uid[:8], one.status, one.derived_uid[:8], one.reason)
        Console().print(table)
    if any(one.status == "failed" for one in done):
        raise typer.Exit(2)
