"""`parfocal report`: what happened in a run, or in a night, as one page."""

from __future__ import annotations

import json
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from parfocal.catalog import Catalog, open_catalog
from parfocal.cli._catalog import DataOption, JsonOption
from parfocal.cli._focus_lock import show_lock
from parfocal.errors import BadInputError
from parfocal.report import (
    Story,
    lock_report,
    read_lock_run,
    read_story,
    story_data,
    write_calibration_report,
    write_lock_report,
    write_story,
    write_story_figures,
)


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("report")(report_command)


def report_command(
    run: Annotated[
        str | None,
        typer.Argument(help="Uid, its beginning, scan id, or newest. Default: newest.", show_default=False),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="All runs that began since: '2026-03-01 18:00', or 'today'.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="With --since: until; itself not included.")] = None,
    data: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A file NAME.html, or a folder. Default: reports/ in the data folder."),
    ] = None,
    figures: Annotated[
        str | None, typer.Option("--figures", help="Write the figures beside it for a paper: svg or pdf.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what happened in a run, or in all of a night, on one HTML page."""
    if (run is not None and since is not None) or (until is not None and since is None):
        raise BadInputError("report: a run, or --since with or without --until, was expected")
    if figures not in (None, "svg", "pdf"):
        raise BadInputError(f"report: --figures {figures}: svg or pdf was expected")
    console = Console(stderr=as_json)
    with open_catalog(data) as catalog:
        uids = [run or "newest"] if since is None else None
        with console.status("reading the catalog"):
            story = read_story(catalog, uids, since=since, until=until)
        path = _page_path(catalog, story, out)
        files = [write_story(story, path)]
        if figures is not None:
            files += write_story_figures(story, path.with_name(f"{path.stem}_figures"), figures)
        if len(story.runs) == 1 and since is None:
            files += _focus_files(catalog, story, out, console)
    if as_json:
        typer.echo(json.dumps({**story_data(story), "page": str(path), "files": [str(one) for one in files]}))
    else:
        for remark in story.remarks:
            console.print(f"note: {remark}", markup=False, soft_wrap=True)
        for one in files:
            console.print(str(one), soft_wrap=True, markup=False)
    if open_it and not webbrowser.open(path.absolute().as_uri()):
        raise BadInputError(f"no browser could be started here: open {path} in one")


def _page_path(catalog: Catalog, story: Story, out: Path | None) -> Path:
    if out is not None:
        return out if out.suffix == ".html" else out / "report.html"
    began = datetime.fromtimestamp(story.since_s, UTC).strftime("%Y-%m-%d_%H%M")
    name = story.runs[0].uid[:8] if len(story.runs) == 1 else f"{len(story.runs)}_runs"
    return catalog.folder.root / "reports" / f"{began}_{name}.html"


def _focus_files(catalog: Catalog, story: Story, out: Path | None, console: Console) -> list[Path]:
    """Write what a run that calibrated or locked focus has of its own: every number of it, and its page."""
    (told,) = story.runs
    folder = out if out is not None else catalog.folder.root / "focus" / told.uid[:8]
    folder = folder.parent if folder.suffix == ".html" else folder
    if told.calibration is not None:
        return list(write_calibration_report(told.calibration, folder))
    if told.focus is None:
        return []
    locked: Any = read_lock_run(catalog, told.uid)
    show_lock(console, lock_report(locked), folder)
    return list(write_lock_report(locked, folder))
