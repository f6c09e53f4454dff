"""The report of a lock: how well it held, as plain values, in JSON and on a page."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.files import write_atomically
from parfocal.report._lock_events import EventReader
from parfocal.report._lock_page import lock_page
from parfocal.report._lock_run import LockRun
from parfocal.sealed_json import plain

_MOST_EVENTS = 500


def lock_report(run: LockRun) -> dict[str, Any]:
    """Return the report of a lock as plain values.

    Returns
    -------
    dict
        `run`, `calibration`, `law`, `measure`, `settings`, `summary` (the fields of
        `parfocal.focus.LockSummary`, with `rms_over_bound`, the focus over the bound), `latency_s` by part,
        `states` (share of frames), `safeguards` (frames each spoke in), `events`, `simulated`. What is unknown is
        null.
    """
    summary = run.summary
    columns = run.columns
    n = columns["t_s"].size
    found = Counter(columns["state"].tolist())
    spoke = Counter(code for flags in columns["flags"].tolist() for code in str(flags).split())
    bound_um = summary.bound_um
    arguments = run.start.get("plan_args", {})
    events = list(EventReader().read(columns))
    return plain(
        {
            "report": "parfocal focus lock",
            "version": 1,
            "run": {
                "uid": run.uid,
                "plan": run.start.get("plan_name", ""),
                "scan_id": run.start.get("scan_id"),
                "time": run.start.get("time"),
                "instrument": run.start.get("instrument", ""),
                "sample": run.start.get("sample", ""),
                "exit_status": run.stop.get("exit_status", "not closed"),
                "reason": run.stop.get("reason", ""),
            },
            "simulated": run.simulated(),
            "calibration": {
                "sha256": run.lock.get("calibration", ""),
                "run_uid": run.lock.get("calibration_run", ""),
            },
            "law": run.settings.law,
            "measure": arguments.get("measure"),
            "exposure_s": run.start.get("exposure_s"),
            "roi_px": list(run.lock.get("roi_px", [])),
            "settings": asdict(run.settings),
            "summary": asdict(summary)
            | {
                "rms_over_bound": summary.rms_focus_um / bound_um if bound_um > 0 else None,
                "median_photons": _median(columns["photons"]),
                "median_beads": _median(columns["n_beads"]) if "n_beads" in columns else 1.0,
            },
            "latency_s": {
                "exposure_to_frame": _percentiles(columns["arrival_s"]),
                "fit": _percentiles(columns["fit_s"] - columns["arrival_s"]),
                "command": _percentiles(columns["answer_s"] - columns["fit_s"]),
                "whole": _percentiles(columns["answer_s"]),
            },
            "states": {state: count / n for state, count in sorted(found.items())},
            "safeguards": dict(spoke.most_common()),
            "n_events": len(events),
            "events": [asdict(event) for event in events[:_MOST_EVENTS]],
        }
    )


def write_lock_report(run: LockRun, folder: Path, name: str = "autofocus_run_report") -> tuple[Path, Path]:
    """Write `autofocus_run_report.json` and `.html` into a folder; return both paths.

    The page needs nothing beside it and no network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = lock_report(run)
    told, shown = folder / f"{name}.json", folder / f"{name}.html"
    with write_atomically(told) as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with write_atomically(shown) as temporary:
        temporary.write_text(lock_page(run, report), encoding="utf-8")
    return told, shown


def _median(values: NDArray[Any]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None


def _percentiles(values: NDArray[Any]) -> list[float | None]:
    finite = values[np.isfinite(values)]
    return np.percentile(finite, (50, 95, 99)).tolist() if finite.size else [None, None, None]
