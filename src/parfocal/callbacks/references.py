"""A calibration against references, as a run of the catalog: every number, and the thresholds that came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from parfocal.callbacks._derived_run import DerivedRun
from parfocal.catalog import Catalog
from parfocal.errors import BadInputError
from parfocal.slices.references import (
    ReferenceCalibration,
    ReferenceThresholds,
    ScoredStack,
    as_row,
    thresholds_from_json,
    thresholds_hash,
    thresholds_to_json,
)

NAME, VERSION = "reference_calibration", "1"

_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}


def emit_reference_calibration(
    emit: Callable[[str, dict[str, Any]], Any],
    calibration: ReferenceCalibration,
    *,
    gallery: str = "",
    warnings: Iterable[str] = (),
    md: Mapping[str, Any] | None = None,
) -> str:
    """Emit the documents of a calibration, and return the uid of its run.

    Streams: `references`, a row a stack with its metrics; `frames`, a row a frame with its scores; `metrics` and
    `rules`, a row for all that was ranked; `warnings`; `thresholds`, one row with everything that is kept as
    JSON. The run stands among the analyses; what it is derived from is files, by the SHA-256 of their pixels.

    Parameters
    ----------
    emit : callable
        `(name, doc)`, such as a `CatalogWriter`.
    calibration : ReferenceCalibration
        What came out.
    gallery : str
        Where the labels came from.
    warnings : iterable of str
        What was said on the way.
    md : mapping, optional
        `sample`, `operator`, `purpose`, `instrument`: put into the start document.
    """
    settings = dict(calibration.thresholds.settings)
    # a list, since names hold slashes and dots, which keys of a document must not
    references = [[name, *told] for name, told in calibration.thresholds.references.items()]
    content = {"analysis": NAME, "version": VERSION, "parameters": settings, "references": references}
    about = {
        "analysis": NAME,
        "version": VERSION,
        "parameters": settings,
        "parameters_hash": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32],
        "raw": {"gallery": gallery or "memory", "references": references},
        "calibration": "",
        "mode": "live",
    }
    columns = _columns(calibration)
    run = DerivedRun(emit, md or {}, about, columns)
    for stack in calibration.stacks:
        run.row("references", _reference_row(stack))
    for stack in calibration.stacks:
        for frame in range(stack.n_frames):
            run.row("frames", _frame_row(stack, frame))
    for stream, ranking in (("metrics", calibration.metrics), ("rules", calibration.rules)):
        for rank in ranking.metrics:
            run.row(stream, as_row(rank))
        for name, reason in ranking.left_out.items():
            run.row("warnings", {"message": f"{name}: {reason}"})
    for message in warnings:
        run.row("warnings", {"message": message})
    kept = calibration.thresholds
    run.row(
        "thresholds",
        {
            "sha256": thresholds_hash(kept),
            "winner": kept.winner,
            "chosen": kept.chosen,
            "why": kept.why,
            "json": thresholds_to_json(kept),
        },
    )
    run.close("success", "", "winner" if kept.winner else "no_winner")
    return run.uid


def read_thresholds(catalog: Catalog, which: str) -> ReferenceThresholds:
    """Return the thresholds of a stored calibration.

    Raises
    ------
    BadInputError
        There is no such run, or it is no calibration against references.
    """
    run: Any = catalog.run(which)
    start = run.metadata["start"]
    if start.get("parfocal", {}).get("analysis") != NAME or "thresholds" not in run:
        raise BadInputError(
            f"run {start['uid'][:8]} holds no thresholds; expected one of `parfocal slices calibrate`, "
            f"see `parfocal runs --analysis {NAME}`"
        )
    text = str(np.asarray(run["thresholds"].read()["json"])[-1])
    return thresholds_from_json(text, f"run {start['uid'][:8]}")


def _columns(calibration: ReferenceCalibration) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    first = calibration.stacks[0]
    ranked = _kinds_of(as_row(calibration.metrics.metrics[0]) if calibration.metrics.metrics else {})
    return {
        "references": {
            "reference": _TEXT,
            "category": _TEXT,
            "files": _TEXT,
            "n_frames": _INTEGER,
            "pixels_sha256": _TEXT,
            **dict.fromkeys(first.metrics, _NUMBER),
        },
        "frames": {
            "reference": _TEXT,
            "category": _TEXT,
            "plane": _INTEGER,
            "z_um": {**_NUMBER, "units": "um"},
            "next_ncc": _NUMBER,
            **dict.fromkeys(first.profiles, _NUMBER),
        },
        "metrics": ranked,
        "rules": ranked,
        "warnings": {"message": _TEXT},
        "thresholds": dict.fromkeys(("sha256", "winner", "chosen", "why", "json"), _TEXT),
    }


def _kinds_of(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    kinds: dict[type, dict[str, Any]] = {str: _TEXT, int: _INTEGER}
    return {name: kinds.get(type(value), _NUMBER) for name, value in row.items()}


def _reference_row(stack: ScoredStack) -> dict[str, Any]:
    return {
        "reference": stack.name,
        "category": stack.category,
        "files": stack.source,
        "n_frames": stack.n_frames,
        "pixels_sha256": stack.pixels_sha256,
        **{name: float(value) for name, value in stack.metrics.items()},
    }


def _frame_row(stack: ScoredStack, frame: int) -> dict[str, Any]:
    return {
        "reference": stack.name,
        "category": stack.category,
        "plane": frame,
        "z_um": float(stack.z_um[frame]),
        "next_ncc": float(stack.adjacent[frame]) if frame < stack.adjacent.size else float("nan"),
        **{name: float(values[frame]) for name, values in stack.profiles.items()},
    }
