"""`parfocal queue watch`: a night on the console, from any terminal, as often as one likes."""

from __future__ import annotations

import json
import math
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from parfocal.cli._catalog import DataOption, folder_of
from parfocal.cli._queue_watch_picture import as_json, picture
from parfocal.queue import NightWatch

_REDRAW_S = 1.0
_AT_MOST_EVERY_S = 0.2


def watch_command(
    data: DataOption = None,
    documents: Annotated[
        str,
        typer.Option(help="Listen to this 0MQ proxy, such as tcp://127.0.0.1:5578, and ask no queue."),
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Say how things are, and end.")] = False,
    lines: Annotated[bool, typer.Option("--json", help="Print a line of JSON at each change.")] = False,
) -> None:
    """Look on at a night: plan, progress, focus, verdicts, catalog and what went wrong. Ctrl-C ends it."""
    folder = folder_of(data)
    with NightWatch(folder, documents, with_queue=not documents) as watch:
        if once:
            view = watch.settle()
            if lines:
                typer.echo(json.dumps(as_json(view, time.time())))
            else:
                Console().print(picture(view, time.time(), str(folder.root)))
        elif lines:
            _print_lines(watch)
        else:
            _draw(watch, str(folder.root))


def _print_lines(watch: NightWatch) -> None:
    watch.settle()
    rest = _Rest(watch)
    while True:
        typer.echo(json.dumps(as_json(watch.view, time.time())))
        rest.until_changed()


def _draw(watch: NightWatch, where: str) -> None:
    rest = _Rest(watch)
    with Live(picture(watch.view, time.time(), where), auto_refresh=False) as live:
        while True:
            rest.until_changed(_REDRAW_S)
            live.update(picture(watch.view, time.time(), where), refresh=True)


class _Rest:
    """Waits for changes, but does not come back more than five times a second."""

    def __init__(self, watch: NightWatch) -> None:
        self._watch = watch
        self._last_s = 0.0

    def until_changed(self, at_most_s: float | None = None) -> None:
        early_s = self._last_s + _AT_MOST_EVERY_S - time.monotonic()
        if early_s > 0:
            self._watch.pause(early_s)
        # Waits are short: on Windows, Ctrl-C does not end one.
        until_s = math.inf if at_most_s is None else time.monotonic() + at_most_s
        while not self._watch.changed.wait(_AT_MOST_EVERY_S) and time.monotonic() < until_s:
            pass
        self._watch.changed.clear()
        self._last_s = time.monotonic()
