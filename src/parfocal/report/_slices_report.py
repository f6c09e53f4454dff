"""The report of a serial-section reconstruction: what happened to each slice, as JSON and one HTML page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from parfocal.files import ZarrVolume, open_ome_zarr, write_atomically
from parfocal.report._page import page, table
from parfocal.sealed_json import plain
from parfocal.slices import CANONICAL_COLUMNS, CellValue, LedgerEvent, Metric, SliceLedger

_THUMBNAIL_PX = 96
_MAX_THUMBNAILS = 400
_SHOWN = (
    ("z_correlation", "register", "{:.2f}"),
    ("confidence", "register", "{:.2f}"),
    ("rotation_deg", "register", "{:+.2f}°"),
    ("post_reg_ncc", "interpolate", "{:.2f}"),
    ("expected_ssim", "interpolate", "{:.2f}"),
)
_STYLE = (
    "<style>.gap td{opacity:.6}.thumb{width:96px;image-rendering:auto;border-radius:3px}"
    ".state-gap{color:#d55e00}.state-interpolated{color:#0072b2}body{max-width:84rem}</style>"
)


@dataclass(frozen=True)
class SlicesStory:
    """All that is known of a reconstruction.

    Attributes
    ----------
    ledger : SliceLedger
        The final one.
    metrics : mapping of slice id to stage to name to number
        Raw numbers, as `read_metrics` returns them.
    messages : sequence of (stage, message)
        What the stages said.
    volume : Path, optional
        The aligned or stacked OME-Zarr volume.
    time_s : float, optional
        When, seconds since 1970.
    """

    ledger: SliceLedger
    metrics: Mapping[str, Mapping[str, Mapping[str, Metric]]] = field(default_factory=lambda: MappingProxyType({}))
    messages: Sequence[tuple[str, str]] = ()
    volume: Path | None = None
    time_s: float | None = None


def slices_report(story: SlicesStory) -> dict[str, Any]:
    """Return the report as plain values: one entry a slice with its row, place, reasons, history and numbers."""
    places = _places(None if story.volume is None else open_ome_zarr(story.volume))
    history: dict[str, list[LedgerEvent]] = {}
    for event in story.ledger.events:
        history.setdefault(event.slice_id, []).append(event)
    ids = list(dict.fromkeys([*story.ledger.rows, *places]))
    slices = [
        {
            "slice_id": i,
            "row": dict(story.ledger.rows.get(i, {})),
            "place": places.get(i),
            "reasons": reasons_of(story.ledger.rows.get(i, {})),
            "history": [event._asdict() for event in history.get(i, [])],
            "metrics": {stage: dict(numbers) for stage, numbers in story.metrics.get(i, {}).items()},
        }
        for i in ids
    ]
    rows = story.ledger.rows
    return plain(
        {
            "report": "parfocal serial sections",
            "version": 1,
            "volume": None if story.volume is None else story.volume.name,
            "summary": {
                "slices": len(ids),
                "used": sum(row["use"] is True for row in rows.values()),
                "left_out": [i for i, row in rows.items() if row["use"] is not True],
                "auto_excluded": [i for i, row in rows.items() if row["auto_excluded"] is True],
                "rehomed": [i for i, row in rows.items() if row["rehomed"] is True],
                "interpolated": [i for i, row in rows.items() if row["interpolated"] is True],
                "interpolation_failed": [i for i, row in rows.items() if row["interpolation_failed"] is True],
                "gaps": [i for i, place in places.items() if place["state"] == "gap"],
            },
            "messages": [list(one) for one in story.messages],
            "slices": slices,
        }
    )


def reasons_of(row: Mapping[str, CellValue]) -> list[str]:
    """Return what a row says of its slice, in plain words, what matters most first."""
    said: list[str] = []
    if row.get("interpolated") is True:
        said.append(f"interpolated by {row.get('interpolation_method_used') or 'an unknown method'}")
    if row.get("interpolation_failed") is True:
        said.append(f"interpolation refused: {row.get('interpolation_fallback_reason') or 'no reason given'}")
    if row.get("auto_excluded") is True:
        said.append(f"its transform is ignored: {row.get('auto_exclude_reason') or 'noisy'}")
    if row.get("rehomed") is True:
        said.append("its step was corrected")
    if row.get("rehoming_reliable") is False:
        said.append("its step is doubtful")
    if row.get("galvo_fix") is True:
        said.append("galvo return to be moved to the edge")
    if row.get("notes"):
        said.append(str(row["notes"]))
    if row and row.get("use") is not True and not said:
        said.append("left out")
    return said


def write_slices_report(story: SlicesStory, folder: Path) -> tuple[Path, Path]:
    """Write `slices_report.json` and `slices_report.html` into a folder; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    report = slices_report(story)
    told, shown = folder / "slices_report.json", folder / "slices_report.html"
    with write_atomically(told) as temporary:
        text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    with write_atomically(shown) as temporary:
        temporary.write_text(_page(report, story), encoding="utf-8")
    return told, shown


def _page(report: Mapping[str, Any], story: SlicesStory) -> str:
    summary = report["summary"]
    thumbnails = _thumbnails(story.volume, report["slices"])
    notes = [f"A gap, nothing was made up: {', '.join(summary['gaps'])}"] if summary["gaps"] else []
    if summary["interpolated"]:
        notes.append(f"Made from their neighbours, not measured: {', '.join(summary['interpolated'])}")
    sections = [
        ("Summary", _STYLE + table(_summary_rows(summary))),
        ("Slices", _slices_table(report["slices"], thumbnails)),
        ("What the stages said", table([(stage, said) for stage, said in report["messages"]])),
        ("History", _history(report["slices"])),
    ]
    return page("Serial sections", story.time_s, notes, sections)


def _summary_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), ", ".join(value) or "none" if isinstance(value, list) else str(value))
        for name, value in summary.items()
    ]


def _slices_table(slices: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, str]) -> str:
    head = (
        "slice",
        "",
        "state",
        "z",
        "used",
        "quality",
        *(name.replace("_", " ") for name, _, _ in _SHOWN),
        "why",
    )
    lines = ["<table><tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"]
    for one in slices:
        place: Mapping[str, Any] = one["place"] or {}
        state = str(place.get("state", "not placed"))
        row = one["row"]
        picture = thumbnails.get(one["slice_id"], "")
        shown = [_number(one["metrics"].get(stage, {}).get(name), form) for name, stage, form in _SHOWN]
        cells = [
            escape(one["slice_id"]),
            f'<img class="thumb" alt="slice {escape(one["slice_id"])}" src="{picture}">' if picture else "",
            f'<span class="state-{escape(state)}">{escape(state)}</span>',
            str(place.get("z", "–")),
            "yes" if row.get("use") is True else "no",
            _number(row.get("quality_score"), "{:.2f}"),
            *shown,
            escape("; ".join(one["reasons"])),
        ]
        kind = ' class="gap"' if state == "gap" else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join(lines) + "</table>"


def _history(slices: Sequence[Mapping[str, Any]]) -> str:
    parts: list[str] = []
    for one in slices:
        rows = [
            (event["stage"], column, _said(old), _said(new))
            for event in one["history"]
            for column, (old, new) in event["changes"].items()
            if column in CANONICAL_COLUMNS[1:]
        ]
        if rows:
            body = table(rows, header=("stage", "column", "was", "is"))
            parts.append(f"<details><summary>{escape(one['slice_id'])}</summary>{body}</details>")
    return "\n".join(parts) or "<p>None.</p>"


def _said(value: Any) -> str:
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) and not isinstance(value, bool) else "–"


def _places(volume: ZarrVolume | None) -> dict[str, dict[str, Any]]:
    """Return state, first plane and depth of each slice, as the volume itself says."""
    if volume is None:
        return {}
    told = json.loads((volume.path / "zarr.json").read_text(encoding="utf-8"))
    slices = told.get("attributes", {}).get("parfocal", {}).get("slices", [])
    return {str(one["id"]): {k: one[k] for k in ("state", "z", "planes")} for one in slices}


def _thumbnails(path: Path | None, slices: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return small pictures of the middle plane of each slice as data URIs, all on one scale."""
    if path is None:
        return {}
    volume = open_ome_zarr(path)
    small: dict[str, NDArray[np.float32]] = {}
    for one in slices[:_MAX_THUMBNAILS]:
        place = one["place"]
        if place is None or place["state"] == "gap":
            continue
        z = int(place["z"]) + int(place["planes"]) // 2
        small[one["slice_id"]] = _shrunk(volume.read(slice(z, z + 1))[0])
    if not small:
        return {}
    values = np.concatenate([v[v > 0] for v in small.values()])
    low, high = np.percentile(values, [1, 99.5]) if values.size else (0.0, 1.0)
    span = max(float(high - low), 1e-9)
    pictures: dict[str, str] = {}
    for i, v in small.items():
        grey = (255 * np.clip((v - low) / span, 0, 1)).astype(np.uint8)
        pictures[i] = "data:image/png;base64," + base64.b64encode(imagecodecs.png_encode(grey)).decode("ascii")
    return pictures


def _shrunk(plane: NDArray[Any]) -> NDArray[np.float32]:
    factor = max(1, -(-max(plane.shape) // _THUMBNAIL_PX))
    height, width = (max(1, n // factor) for n in plane.shape)
    cut = plane[: height * factor, : width * factor].astype(np.float32)
    return cut.reshape(height, cut.shape[0] // height, width, cut.shape[1] // width).mean(axis=(1, 3))
