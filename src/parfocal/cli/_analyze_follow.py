"""`parfocal analyze --follow`: analyses in a process of their own, of runs that come and that were missed."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from parfocal.cli._catalog import DataOption, folder_of, read_parameters
from parfocal.errors import BadInputError

if TYPE_CHECKING:
    from parfocal.callbacks import FollowedRun, FollowState, Source, WantedAnalysis
    from parfocal.catalog import Catalog, DataFolder

_ZMQ = ("tcp://", "ipc://", "inproc://")


def follow_command(
    context: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", help="Analyse runs as they come, in this process, until Ctrl-C.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Do what is owed, and end: for cron.")] = False,
    analysis: Annotated[
        list[str] | None, typer.Option("--analysis", help="Which; may be given more than once.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="name=value; of several analyses: nuclei.name=value."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WHERE",
            help="tcp://..., ipc://...: a 0MQ proxy. tiled: the catalog's stream. catalog: ask it. "
            "FILE.yml: Kafka. Default: the running queue's proxy, else tiled.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Begin with runs since then: 12h, 2d, today, 2026-03-01.")
    ] = None,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a derived run.")] = False,
) -> None:
    """Figures and numbers of what was found; with --follow, analyses in a process of their own."""
    if context.invoked_subcommand is not None:
        if follow or once or analysis or parameter or source or since or data or as_json:
            raise BadInputError(
                f"analyze: --follow and its options go without {context.invoked_subcommand}; "
                f"options of {context.invoked_subcommand} come after it"
            )
        return
    if not (follow or once):
        if analysis:
            raise BadInputError("analyze: say --follow, or --once; `parfocal replay` is for runs that you name")
        typer.echo(context.get_help())
        return
    _follow(_wanted(analysis, parameter), source, since, once, data, as_json)


def _follow(
    wanted: list[WantedAnalysis],
    source: str | None,
    since: str | None,
    once: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    from parfocal.callbacks import follow
    from parfocal.catalog import open_catalog

    since_s = _since_s(since)
    console = Console(stderr=True, highlight=False)
    told: list[FollowedRun] = []
    with open_catalog(data) as catalog, _until_interrupted(console) as until, console.status("") as status:

        def say(line: str) -> None:
            console.print(line, style="dim", markup=False, soft_wrap=True)

        def tell(run: FollowedRun) -> None:
            told.append(run)
            if as_json:
                typer.echo(json.dumps(asdict(run)))
            else:
                console.print(_line(run), style="red" if run.status == "failed" else "", markup=False)

        def show(state: FollowState) -> None:
            status.update(
                f"{state.n_live} live, {state.n_waiting} from the catalog, {state.n_done} done"
                + (f", {state.n_failed} failed" if state.n_failed else "")
            )

        name, made = (None, None) if once else _source(source, catalog, folder_of(data))
        say(f"{', '.join(map(str, wanted))}: {'once' if once else f'following {name}'}")
        state = follow(
            catalog, wanted, made, since_s=since_s, once=once, until=until, tell=tell, say=say, show=show
        )
    say(f"{state.n_done} done, {state.n_failed} failed")
    if once and state.n_failed:
        raise typer.Exit(2)


def _wanted(names: list[str] | None, given: list[str] | None) -> list[WantedAnalysis]:
    from parfocal.callbacks import ANALYSES, WantedAnalysis

    asked = list(dict.fromkeys(names or []))
    if not asked:
        raise BadInputError(f"analyze: name an analysis with --analysis, there are: {', '.join(sorted(ANALYSES))}")
    parameters: dict[str, dict[str, Any]] = {name: {} for name in asked}
    for key, value in read_parameters(given).items():
        name, dot, parameter = key.partition(".")
        if not dot and len(asked) == 1:
            name, parameter = asked[0], key
        if name not in parameters or not parameter:
            raise BadInputError(
                f"parameter {key!r}: of which analysis? {asked[0]}.{key.rpartition('.')[2]}=... was expected, "
                f"for one of {', '.join(asked)}"
            )
        parameters[name][parameter] = value
    return [WantedAnalysis(name, parameters[name]) for name in asked]


def _source(asked: str | None, catalog: Catalog, folder: DataFolder) -> tuple[str, Source | None]:
    from parfocal.callbacks import kafka_source, read_kafka_settings, tiled_source, zmq_source
    from parfocal.queue import find_queue

    if asked is None:
        running = find_queue(folder)
        asked = running.documents_out if running is not None and running.documents_out else "tiled"
    if asked == "catalog":
        return "the catalog", None
    if asked == "tiled":
        return "the catalog's stream", tiled_source(catalog)
    if asked.startswith(_ZMQ):
        return asked, zmq_source(asked)
    if asked.endswith((".yml", ".yaml")):
        settings = read_kafka_settings(Path(asked))
        return f"Kafka at {', '.join(settings.bootstrap_servers)}", kafka_source(settings)
    raise BadInputError(
        f"--from {asked}: expected tcp://..., ipc://..., tiled, catalog, or a .yml file that says where Kafka is"
    )


def _since_s(text: str | None) -> float | None:
    from parfocal.callbacks import ago_s
    from parfocal.catalog import timestamp_s

    if text is None:
        return None
    ago = ago_s(text)
    return timestamp_s(text) if ago is None else ago


def _line(run: FollowedRun) -> str:
    number = "" if run.scan_id is None else f" (scan {run.scan_id})"
    what = run.reason if run.status == "failed" else run.verdict or "done"
    return f"run {run.raw_uid[:8]}{number} {run.analysis} {run.derived_uid[:8]}: {what}, {run.mode}"


@contextmanager
def _until_interrupted(console: Console) -> Generator[threading.Event]:
    """Give an event that the first Ctrl-C (or SIGTERM) sets; a second ends the process as ever."""
    until = threading.Event()
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, _: object) -> None:
        until.set()
        for each, handler in kept.items():
            signal.signal(each, handler)
        console.print("finishing what is in hand; again to end at once", style="yellow")

    for number in kept:
        signal.signal(number, end)
    try:
        yield until
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
