"""`parfocal slices generate`, `exclude` and `show`: begin the audit trail, leave out noisy clusters, read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from parfocal.cli._slices_options import (
    ClusterOption,
    Compat,
    ConsecutiveOption,
    DetectGalvoOption,
    ExcludeFirstOption,
    ExcludeOption,
    ExtraLinesOption,
    GalvoThresholdOption,
    JsonOption,
    LedgerArgument,
    LenientOption,
    ManyValues,
    MetricsOption,
    OutArgument,
    ReadCompatOption,
    ReplaceOption,
    TilesOption,
    leading_slices,
)
from parfocal.errors import BadInputError
from parfocal.slices import CellValue, LedgerEvent, SliceLedger, exclude_noisy_clusters, read_shifts
from parfocal.slices.ledger import (
    CANONICAL_COLUMNS,
    as_slice_id,
    events_path,
    write_metrics,
)
from parfocal.slices.sections import (
    MOSAICS,
    TILES,
    GalvoReturn,
    galvo_in_tiles,
    generate,
    read_pair_scores,
    slice_ids_in,
)


class Endpoints(StrEnum):
    """Which slices of a noisy run are left out."""

    moving = "moving"
    both = "both"
    inner = "inner"


def add_commands(slices: typer.Typer) -> None:
    """Add the commands of this module."""
    slices.command("generate", cls=ManyValues)(generate_command)
    slices.command("exclude")(exclude_command)
    slices.command("show")(show_command)


def generate_command(
    source: Annotated[Path, typer.Argument(help="Mosaics, raw tiles, or a shifts_xy.csv.", show_default=False)],
    out: OutArgument,
    from_tiles: Annotated[bool, typer.Option("--from-tiles", "--from_tiles", help="SOURCE is raw tiles.")] = False,
    from_shifts: Annotated[
        bool, typer.Option("--from-shifts", "--from_shifts", help="SOURCE is a shifts_xy.csv.")
    ] = False,
    pattern: Annotated[
        str, typer.Option(help="Regular expression of the names; its group is the slice's number.")
    ] = "",
    exclude: ExcludeOption = None,
    exclude_first: ExcludeFirstOption = "auto",
    detect_galvo: DetectGalvoOption = False,
    tiles_dir: TilesOption = None,
    galvo_threshold: GalvoThresholdOption = 0.6,
    n_extra: ExtraLinesOption = None,
    metrics: MetricsOption = None,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Begin a slice_config.csv: which slices there are, and which are left out."""
    if from_tiles and from_shifts:
        raise BadInputError("generate: --from-tiles or --from-shifts, not both")
    if from_shifts:
        ids: tuple[str, ...] = read_shifts(source).slice_ids
        depths: dict[str, int] = {}
    else:
        found = slice_ids_in(source, pattern or (TILES if from_tiles else MOSAICS), many=from_tiles)
        ids = tuple(found)
        depths = {} if from_tiles else _depths({sid: paths[0] for sid, paths in found.items()})
    galvo: dict[str, GalvoReturn] | None = None
    if detect_galvo:
        where = source if from_tiles else tiles_dir
        if where is None:
            raise BadInputError("generate: --detect-galvo looks at raw tiles; name their folder with --tiles-dir")
        galvo = galvo_in_tiles(where, ids, n_extra, (pattern if from_tiles else "") or TILES)
    result = generate(
        ids,
        exclude=[as_slice_id(one) for given in exclude or () for one in given.split(",") if one.strip()],
        exclude_first=leading_slices(exclude_first),
        depth_planes=depths or None,
        galvo=galvo,
        galvo_threshold=galvo_threshold,
    )
    ledger = SliceLedger().apply(result)
    ledger.save(out, replace=replace)
    if metrics is not None:
        write_metrics(metrics, result)
    _tell(ledger, out, result.messages, as_json)


def exclude_command(
    metrics: Annotated[
        Path,
        typer.Argument(help="What `register` wrote: a folder of JSON files, or a CSV.", show_default=False),
    ],
    ledger: LedgerArgument,
    out: OutArgument,
    enter: ClusterOption = "0.4",
    leave: Annotated[float, typer.Option("--leave", help="A run ends at it; never below where it begins.")] = 0.5,
    min_run: ConsecutiveOption = 3,
    endpoints: Annotated[Endpoints, typer.Option(help="Which slices of a run.")] = Endpoints.moving,
    compat: Annotated[Compat | None, typer.Option(help="Reproduce linumpy's marks, read its files.")] = None,
    lenient: LenientOption = False,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Mark the slices of noisy clusters: runs of neighbours that do not fit. Run again, it clears old marks."""
    original = None if compat is None else "linumpy"
    begins = _correlation(enter)
    before = SliceLedger.read(ledger, lenient=lenient, compat=original)
    result = exclude_noisy_clusters(
        read_pair_scores(metrics),
        before.rows,
        enter=begins,
        leave=leave if begins == "auto" else max(begins, leave),
        min_run=min_run,
        endpoints=endpoints.value,
        compat=original,
    )
    after = before.apply(result)
    after.filter_slices_to_use()
    after.save(out, replace=replace)
    _tell(after, out, (*before.remarks, *result.messages), as_json)


def _correlation(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise BadInputError(f"--enter {text!r}: expected a correlation, such as 0.4, or auto") from error


def show_command(
    ledger: LedgerArgument,
    slice_id: Annotated[str | None, typer.Option("--slice", help="What happened to this slice.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only what this stage did.")] = None,
    compat: ReadCompatOption = None,
    lenient: LenientOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the audit trail: all slices, or the whole story of one."""
    found = SliceLedger.read(ledger, lenient=lenient, compat=None if compat is None else "linumpy")
    events = found.events if slice_id is None else found.history(slice_id)
    if stage is not None:
        stages = sorted({event.stage for event in found.events})
        if stage not in stages:
            raise BadInputError(f"{ledger}: no stage {stage!r}; there are: {', '.join(stages)}")
        events = tuple(event for event in events if event.stage == stage)
    if as_json:
        row = {} if slice_id is None else {"row": found.rows.get(as_slice_id(slice_id))}
        rows = {"slices": list(found.rows.values())} if slice_id is None else row
        document = rows | {"events": [_event_json(event) for event in events], "remarks": found.remarks}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    console = Console()
    for remark in found.remarks:
        console.print(f"note: {remark}", markup=False, soft_wrap=True)
    if slice_id is None and stage is None:
        console.print(_rows_table(found))
        used = [sid for sid, row in found.rows.items() if row["use"] is True]
        skipped = found.force_skip_slices()
        console.print(
            f"{len(used)} of {len(found.rows)} slices to use; {len(skipped)} placed by the motor alone"
            f"{': ' if skipped else ''}{', '.join(skipped)}",
            soft_wrap=True,
        )
        return
    if slice_id is not None and (row := found.rows.get(as_slice_id(slice_id))) is not None:
        console.print(_row_table(row))
    console.print(_events_table(events, with_slice=slice_id is None))


def _depths(mosaics: Mapping[str, Path]) -> dict[str, int]:
    """Return the number of planes of each mosaic that says so in its metadata; the pixels are not read."""
    depths: dict[str, int] = {}
    for sid, path in mosaics.items():
        shape = _shape(path)
        if shape is not None and len(shape) >= 3:
            depths[sid] = shape[-3]
    return depths


def _shape(group: Path) -> list[int] | None:
    """Return the shape of an OME-Zarr's full-size array, Zarr v3 or v2; None where its metadata does not say."""
    try:
        if (group / "zarr.json").is_file():
            ome = json.loads((group / "zarr.json").read_text())["attributes"]["ome"]
            array = group / ome["multiscales"][0]["datasets"][0]["path"] / "zarr.json"
        else:
            scales = json.loads((group / ".zattrs").read_text())["multiscales"]
            array = group / scales[0]["datasets"][0]["path"] / ".zarray"
        return [int(n) for n in json.loads(array.read_text())["shape"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _tell(ledger: SliceLedger, out: Path, messages: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        used = [sid for sid, row in ledger.rows.items() if row["use"] is True]
        document = {
            "slice_config": str(out),
            "events": str(events_path(out)),
            "included": used,
            "excluded": [sid for sid in ledger.rows if sid not in used],
            "auto_excluded": [sid for sid, row in ledger.rows.items() if row["auto_excluded"] is True],
            "messages": messages,
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    for message in messages:
        typer.echo(message)
    typer.echo(f"written: {out}")


def _event_json(event: LedgerEvent) -> dict[str, Any]:
    return event._asdict()


def _said(value: CellValue) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _rows_table(ledger: SliceLedger) -> Table:
    """Return all slices, in the columns in which anything stands."""
    rows = ledger.rows.values()
    names = [*CANONICAL_COLUMNS, *(dict.fromkeys(n for row in rows for n in row if n not in CANONICAL_COLUMNS))]
    shown = [name for name in names if any(row.get(name) is not None for row in rows)]
    table = Table(box=None, header_style="bold")
    for name in shown:
        table.add_column(name, no_wrap=name == "slice_id", overflow="fold")
    for row in rows:
        cells = ["" if row.get(name) is None else _said(row.get(name)) for name in shown]
        table.add_row(*(_plain(cell) for cell in cells), style=None if row["use"] is True else "dim")
    return table


def _row_table(row: Mapping[str, CellValue]) -> Table:
    table = Table(box=None, show_header=False)
    for name, value in row.items():
        if value is not None:
            table.add_row(name, _plain(_said(value)))
    return table


def _events_table(events: tuple[LedgerEvent, ...], *, with_slice: bool) -> Table:
    table = Table(box=None, header_style="bold")
    with_run = any(event.run_uid for event in events)
    for name in ("time", "stage", *["run"] * with_run, *["slice"] * with_slice, "column"):
        table.add_column(name, no_wrap=True)
    table.add_column("old", overflow="fold")
    table.add_column("new", overflow="fold")
    for event in events:
        when = f"{datetime.fromtimestamp(event.time_s):%Y-%m-%d %H:%M:%S}"
        head = [when, _plain(event.stage), *[_plain(event.run_uid[:8])] * with_run, *[event.slice_id] * with_slice]
        for name, (old, new) in event.changes.items():
            table.add_row(*head, _plain(name), _plain(_said(old)), _plain(_said(new)))
            head = [""] * len(head)
    return table


def _plain(text: str) -> str:
    """Return text that rich shows as it is."""
    return text.replace("[", r"\[")
