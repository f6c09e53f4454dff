"""Commands about the catalog: serve, stop, runs, show, recover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from parfocal.catalog import DataFolder, RecoveredRun, open_catalog, recover, serve, stop_server
from parfocal.errors import BadInputError

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="The data folder. Default: $PARFOCAL_DATA, else your own.", show_default=False),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(help="KEY=VALUE of the start document; also != < <= > >= ~. May be repeated: all must hold."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("serve")(serve_command)
    app.command("stop")(stop_command)
    app.command("runs")(runs_command)
    app.command("show")(show_command)
    app.command("recover")(recover_command)


def folder_of(data: Path | None) -> DataFolder:
    """Return the data folder a command was told, or the default one."""
    return DataFolder(data) if data is not None else DataFolder()


def serve_command(
    data: DataOption = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    database: Annotated[str, typer.Option(help="postgresql://..., kept for later; sqlite: the folder's.")] = "",
) -> None:
    """Serve the catalog of a data folder on 127.0.0.1 until Ctrl-C."""
    serve(folder_of(data), port=port, database_uri=database or None)


def stop_command(data: DataOption = None) -> None:
    """Stop the catalog server of a data folder."""
    stopped = stop_server(folder_of(data))
    typer.echo("stopped" if stopped else "no server was running")


def runs_command(
    data: DataOption = None,
    sample: Annotated[str | None, typer.Option(help="Name of the sample.")] = None,
    plan: Annotated[str | None, typer.Option(help="Such as z_stack.")] = None,
    since: Annotated[str | None, typer.Option(help="Such as 2026-03-01, or 'today'.")] = None,
    until: Annotated[str | None, typer.Option(help="As --since; itself not included.")] = None,
    scan_id: Annotated[int | None, typer.Option(help="Number of the run.")] = None,
    uid: Annotated[str | None, typer.Option(help="Uid, or how it begins.")] = None,
    instrument: Annotated[str | None, typer.Option(help="Name of the instrument.")] = None,
    analysis: Annotated[str | None, typer.Option(help="Derived runs of this analysis.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Derived runs with this verdict.")] = None,
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="name=value")] = None,
    where: WhereOption = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    with open_catalog(data) as catalog:
        table = catalog.runs(
            sample=sample,
            plan=plan,
            since=since,
            until=until,
            scan_id=scan_id,
            uid=uid,
            instrument=instrument,
            analysis=analysis,
            verdict=verdict,
            parameters=read_parameters(parameter) or None,
            where=where,
            limit=limit,
        )
    if as_json:
        typer.echo(table.to_json(orient="records", date_format="iso"))
    elif table.empty:
        typer.echo("no runs fit")
    else:
        Console().print(runs_table(table))


def show_command(run: str, data: DataOption = None, stream: str = "primary", as_json: JsonOption = False) -> None:
    """Show one run: what it was, its streams, and the analyses of it."""
    derived: list[dict[str, Any]] = []
    with open_catalog(data) as catalog:
        found = catalog.run(run)
        start, stop = _documents_of(found)
        for analysis in catalog.analyses_of(found):
            begun, ended = _documents_of(analysis)
            derived.append(
                {
                    "uid": begun["uid"],
                    "analysis": begun["parfocal"]["analysis"],
                    "exit_status": ended.get("exit_status"),
                    "verdict": ended.get("parfocal", {}).get("verdict", ""),
                }
            )
        streams = list(found)
    about: dict[str, Any] = {"start": start, "stop": stop, "streams": streams, "analyses": derived}
    if as_json:
        typer.echo(json.dumps(about, default=str))
        return
    console = Console()
    console.print(f"[bold]{start['plan_name']}[/bold] {start['uid']}  {stop.get('exit_status', 'not closed')}")
    if stop.get("reason"):
        console.print(f"  reason: {stop['reason']}", markup=False, soft_wrap=True)
    for name in streams:
        console.print(f"  stream {name}: {(stop.get('num_events') or {}).get(name, '?')} events")
    for one in derived:
        console.print(f"  analysis {one['analysis']} {one['uid'][:8]} {one['exit_status']} {one['verdict']}")


def _documents_of(run: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return run.metadata["start"], run.metadata.get("stop") or {}


def recover_command(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Bring runs that a crash cut off into the catalog, from their write-ahead logs."""
    found = recover(data)
    if as_json:
        typer.echo(json.dumps([vars(run) for run in found], default=str))
    elif not found:
        typer.echo("nothing to recover")
    for run in found if not as_json else []:
        typer.echo(f"{run.uid[:8]}  {_RECOVERED[run.outcome]}{run.problem or _what_came(run)}")
    if any(run.outcome == "failed" for run in found):
        raise typer.Exit(2)


_RECOVERED = {
    "written": "recovered: ",
    "present": "was in the catalog already: ",
    "running": "is still being written, and was left alone",
    "failed": "could not be recovered, its log stays: ",
}


def _what_came(run: RecoveredRun) -> str:
    if run.outcome == "running":
        return ""
    if run.table:
        return f"rows of table {run.table}"
    loose = f", {run.n_frames_without_event} more frames without one" if run.n_frames_without_event else ""
    return f"{run.n_events} events{loose}, closed as {run.exit_status}"


def runs_table(runs: pd.DataFrame) -> Table:
    """Return runs as a table for the terminal."""
    table = Table(box=None, header_style="bold")
    columns = [c for c in runs.columns if any(_cell(str(c), v) not in ("", "nan", "None") for v in runs[c])]
    for column in columns:
        # What is typed into the next command must not be cut off in a narrow window.
        table.add_column(column, no_wrap=True, min_width=8 if column in ("uid", "raw_uid", "scan_id") else None)
    for row in runs[columns].itertuples(index=False):
        table.add_row(*(_cell(name, value) for name, value in zip(columns, row)))
    return table


def _cell(column: str, value: Any) -> str:
    if column in ("uid", "raw_uid"):
        return str(value)[:8]
    if column == "time":
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def read_parameters(given: list[str] | None) -> dict[str, Any]:
    """Read `name=value` options; a value that reads as a number or true/false is one."""
    result: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInputError(f"parameter {text!r}: name=value was expected")
        try:
            result[name] = json.loads(value)
        except json.JSONDecodeError:
            result[name] = value
    return result
