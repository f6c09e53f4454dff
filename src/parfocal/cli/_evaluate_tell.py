"""What `parfocal evaluate puncta` says and writes of what it judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from parfocal import __version__
from parfocal.cli._evaluate_source import Found, Judged
from parfocal.files import write_atomically
from parfocal.puncta.evaluation import PunctaEvaluation, Verdict


@dataclass(frozen=True, eq=False)
class Judgement:
    """A recording, what was found in it, and how good that is."""

    judged: Judged
    found: Found
    evaluation: PunctaEvaluation


def document_of(
    truth: str,
    found: str,
    evaluation: PunctaEvaluation,
    verdicts: Sequence[Verdict],
    table: str,
    samples: Sequence[tuple[str, PunctaEvaluation]] | None,
) -> dict[str, Any]:
    """Return all that is told, as JSON can hold it; `samples` by name, where there were several to pool."""
    document: dict[str, Any] = {
        "parfocal": __version__,
        "truth": truth,
        "found": found,
        "tolerance_nm": round(evaluation.matching.tolerance_nm, 6),
        "figures": evaluation.figures(),
        "gate_table": table,
        "gates": [
            {
                "figure": v.gate.figure,
                "group": v.gate.group,
                "unit": v.gate.unit,
                "value": v.value,
                "level": v.level,
                "met": v.is_met,
                "target": v.gate.target,
                "good": v.gate.good,
                "excellent": v.gate.excellent,
                "says": v.sentence,
            }
            for v in verdicts
        ],
    }
    if samples is not None:
        document["samples"] = [{"name": name, "figures": one.figures()} for name, one in samples]
    return document


def write_evaluation(folder: Path, document: dict[str, Any], drawn: Sequence[Judgement]) -> list[Path]:
    """Write evaluation.json and a picture, or of samples one for each of `drawn`; return their paths."""
    from parfocal.cli._evaluate_picture import draw_evaluation

    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "evaluation.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    written = [folder / "evaluation.json"]
    for one in drawn:
        name = f"evaluation_{one.judged.name}.png" if "samples" in document else "evaluation.png"
        title = f"{one.found.name} beside {one.judged.name}"
        spots, matching = one.found.localizations, one.evaluation.matching
        written.append(draw_evaluation(folder / name, one.judged.truth, spots, matching, one.judged.movie, title))
    return written


def say(document: dict[str, Any], verdicts: Sequence[Verdict], written: Sequence[Path]) -> None:
    """Print figures and verdicts in plain words, and where files were written."""
    console = Console(highlight=False)
    figures = document["figures"]
    samples: list[dict[str, Any]] = document.get("samples", [])
    of = f", {len(samples)} samples together" if samples else ""
    console.print(
        f"{document['found']} beside {document['truth']}{of}: {figures['n_matched']} matched, "
        f"{figures['n_missed']} missed, {figures['n_false']} false",
        markup=False,
    )
    if samples:
        console.print(_rows(samples))
    table = Table(box=None, show_header=False)
    for verdict in verdicts:
        if verdict.value is not None:
            table.add_row("[green]yes[/]" if verdict.is_met else "[red]no [/]", verdict.sentence)
    console.print(table)
    if figures.get("network_calcium_f1") is not None:
        console.print(
            "calcium by the network itself, of punctum-frames: "
            + ", ".join(
                f"{name} {_percent(figures[f'network_calcium_{key}'])}"
                for name, key in (("F1", "f1"), ("sensitivity", "sensitivity"), ("specificity", "specificity"))
            ),
            markup=False,
        )
    silent = [verdict.gate.name for verdict in verdicts if verdict.value is None]
    if silent:
        console.print(f"not measured: {', '.join(silent)}", style="dim", markup=False)
    for path in written:
        console.print(str(path), markup=False, soft_wrap=True)


def _rows(samples: Sequence[dict[str, Any]]) -> Table:
    """Return a table with a row a sample, and of columns those that any of them has."""
    # narrow enough for all of them on a terminal of 80 columns
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    columns = {
        "n_matched": "matched",
        "n_missed": "missed",
        "n_false": "false",
        "precision": "precision\n%",
        "recall": "recall\n%",
        "rmse_nm": "RMSE\nnm",
        "calcium_f1": "calcium\nF1, %",
        "network_calcium_f1": "network\nF1, %",
        "frames_per_s": "frames\n/s",
    }
    told = {key: name for key, name in columns.items() if any(s["figures"].get(key) is not None for s in samples)}
    table.add_column("sample", overflow="fold")
    for name in told.values():
        table.add_column(name, justify="right", no_wrap=True)
    for one in samples:
        table.add_row(one["name"], *(_cell(key, one["figures"].get(key)) for key in told))
    return table


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key.startswith("n_"):
        return str(value)
    return f"{value if key in ('rmse_nm', 'frames_per_s') else 100 * value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"
