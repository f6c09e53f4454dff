"""`parfocal analyze` and `parfocal prepare`: analyses beside the microscope, figures, labels to learn from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from parfocal.cli._analyze_follow import follow_command
from parfocal.cli._catalog import DataOption
from parfocal.cli._prepare_calcium import prepare_command
from parfocal.cli._segment import is_run
from parfocal.errors import BadInputError
from parfocal.files import write_atomically

if TYPE_CHECKING:
    from parfocal.puncta.tables import PunctaResults


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    analyze = typer.Typer(invoke_without_command=True)
    analyze.callback()(follow_command)
    analyze.command("puncta")(puncta_command)
    app.add_typer(analyze, name="analyze")
    prepare = typer.Typer(no_args_is_help=True, help="Data of others, made ready to learn from.")
    prepare.callback()(_nothing)
    prepare.command("calcium")(prepare_command)
    app.add_typer(prepare, name="prepare")


def _nothing() -> None:
    """Keep a group with one command a group."""


def puncta_command(
    results: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER|RUN",
            help="With puncta.csv, trajectories.csv and calcium_events.csv; or a run, or `newest`.",
        ),
    ] = None,
    detections: Annotated[Path | None, typer.Option("--detections", help="puncta.csv, instead of FOLDER.")] = None,
    tracks: Annotated[Path | None, typer.Option("--tracks", help="trajectories.csv.")] = None,
    calcium: Annotated[Path | None, typer.Option("--calcium", help="calcium_events.csv.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the figures.")] = Path("figures"),
    place: Annotated[
        str | None, typer.Option("--place", help="Of a run with several: position,tile, as 0,0.")
    ] = None,
    save_tables: Annotated[
        bool, typer.Option("--save-tables", help="Of a run: write the three CSV tables beside the figures.")
    ] = False,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw trajectories, precision, calcium correlation and co-occurrence: SVG, PDF and puncta_report.json."""
    from parfocal.puncta.tables import read_results, write_results

    if results is not None and is_run(str(results)):
        if detections or tracks or calcium:
            raise BadInputError(f"analyze puncta {results}: --detections, --tracks, --calcium are for files")
        about, found = _of_run(str(results), _place(place), data)
        output.mkdir(parents=True, exist_ok=True)
        tables = write_results(output, found) if save_tables else []
        _tell(output, about, found, tables, as_json)
        return
    if save_tables or place is not None:
        raise BadInputError("analyze puncta: --save-tables and --place are for a run; tables are there already")
    if results is not None:
        if not results.is_dir():
            raise BadInputError(
                f"{results}: no such folder; expected one with puncta.csv, or --detections puncta.csv"
            )
        if detections is None and not (results / "puncta.csv").is_file():
            within = sorted(path.parent.name for path in results.glob("*/puncta.csv"))
            hint = (
                f"name one of its recordings: {', '.join(within)}" if within else "as `parfocal infer` makes one"
            )
            raise BadInputError(f"{results}: has no puncta.csv; {hint}")
        detections = detections or results / "puncta.csv"
        tracks = tracks or _if_there(results / "trajectories.csv")
        calcium = calcium or _if_there(results / "calcium_events.csv")
    if detections is None:
        raise BadInputError("analyze puncta: nothing given; expected a folder with puncta.csv, or --detections")
    if calcium is not None and tracks is None:
        raise BadInputError(f"{calcium}: events are of tracks; give those with --tracks")
    found = read_results(detections, tracks, calcium)
    output.mkdir(parents=True, exist_ok=True)
    _tell(output, {}, found, [], as_json)


def _tell(output: Path, about: dict[str, Any], found: PunctaResults, files: list[Path], as_json: bool) -> None:
    """Draw, count, and say so."""
    from parfocal.report import draw_puncta, puncta_report

    report: dict[str, Any] = {**about, **puncta_report(found)}
    files = [*files, *draw_puncta(output, found)]
    with write_atomically(output / "puncta_report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    files.append(output / "puncta_report.json")
    if as_json:
        typer.echo(json.dumps({**report, "files": [str(path) for path in files]}))
        return
    console = Console(highlight=False)
    for name, value in report.items():
        console.print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}", markup=False)
    for path in files:
        console.print(str(path), soft_wrap=True, markup=False)


def _of_run(run: str, place: tuple[int, int] | None, data: Path | None) -> tuple[dict[str, Any], PunctaResults]:
    from parfocal.catalog import open_catalog
    from parfocal.report import read_puncta_run

    with open_catalog(data) as catalog:
        read = read_puncta_run(catalog, run, place)
    about: dict[str, Any] = {"run": read.raw_uid, "analysis": read.uid, "place": list(read.place)}
    return about | {"detector": read.detector, "model_hash": read.model_hash or None}, read.results


def _place(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+),(\d+)", text.strip())
    if match is None:
        raise BadInputError(f"--place {text}: expected position,tile, such as 0,0")
    return int(match[1]), int(match[2])


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None
