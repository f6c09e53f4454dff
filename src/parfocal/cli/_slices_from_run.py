"""`parfocal slices ledger`: what the catalog says about slices, as a slice_config.csv."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from parfocal.callbacks import ledger_of, metrics_of, volumes_of
from parfocal.catalog import open_catalog
from parfocal.cli._catalog import DataOption, JsonOption
from parfocal.errors import BadInputError
from parfocal.slices import StageResult
from parfocal.slices.ledger import events_path, write_metrics


def add_commands(slices: typer.Typer) -> None:
    """Add the command of this module."""
    slices.command("ledger")(ledger_command)


def ledger_command(
    run: Annotated[str, typer.Argument(help="A run with verdicts: uid or its beginning, or `newest`.")],
    out: Annotated[Path, typer.Argument(help="The new slice_config.csv.", show_default=False)],
    analysis: Annotated[
        str, typer.Option(help="Take the newest result of this analysis of RUN: section_stages or slice_audit.")
    ] = "",
    metrics: Annotated[
        Path | None, typer.Option(help="Folder for the raw numbers of section_stages, one JSON a slice.")
    ] = None,
    data: DataOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an output that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the slice_config.csv that a run of the catalog comes to, its events beside it."""
    with open_catalog(data) as catalog:
        found: Any = catalog.run(run)
        if analysis:
            done = [one for one in catalog.analyses_of(found) if _analysis(one) == analysis and _is_good(one)]
            if not done:
                command = f"parfocal replay {run} --analysis {analysis}"
                raise BadInputError(f"run {run}: no good result of {analysis!r}; `{command}` makes one")
            found = done[-1]
        uid = str(found.metadata["start"]["uid"])
        ledger = ledger_of(found)
        numbers = metrics_of(found) if metrics is not None else {}
        derived = "raw" in found.metadata["start"].get("parfocal", {})
        volumes = volumes_of(found) if derived else {}
        ledger.save(out, replace=replace)
    if metrics is not None:
        by_stage: dict[str, dict[str, Any]] = {}
        for slice_id, stages in numbers.items():
            for stage, values in stages.items():
                by_stage.setdefault(stage, {})[slice_id] = values
        for stage, values in by_stage.items():
            write_metrics(metrics, StageResult(stage, metrics=values))
    used = [sid for sid, row in ledger.rows.items() if row["use"] is True and row["auto_excluded"] is not True]
    if as_json:
        document = {"run": uid, "slice_config": str(out), "events": str(events_path(out)), "included": used}
        document |= {"excluded": [sid for sid in ledger.rows if sid not in used]}
        document |= {"volumes": {stream: str(path) for stream, path in volumes.items()}}
        typer.echo(json.dumps(document))
        return
    typer.echo(f"run {uid[:8]}: {len(used)} of {len(ledger.rows)} slices to use")
    for stream, path in volumes.items():
        typer.echo(f"volume {stream}: {path}")
    typer.echo(f"written: {out}")


def _analysis(run: Any) -> str:
    return str(run.metadata["start"]["parfocal"]["analysis"])


def _is_good(run: Any) -> bool:
    return bool((run.metadata.get("stop") or {}).get("exit_status") == "success")
