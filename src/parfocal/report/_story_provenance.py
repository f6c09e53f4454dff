"""Where numbers come from: what each run was told, by which versions, and which analyses count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any, cast

from parfocal.report._page import table
from parfocal.report._story import DerivedStory, RunStory, Story
from parfocal.report._story_data import parameters_of
from parfocal.report._story_plots import clock
from parfocal.sealed_json import plain

_LONGEST = 400  # characters of a value


def provenance(story: Story) -> str:
    """Return a block a run; what is in `details` comes onto paper where it was opened."""
    return "".join(_run(run) for run in story.runs)


def _run(run: RunStory) -> str:
    told = run.start.get("parfocal") or {}
    facts = {
        "uid": run.uid,
        "began": f"{clock(run.began_s)} UTC",
        **{name: run.start.get(name) for name in ("scan_id", "instrument", "operator", "purpose")},
        "calibration": (told.get("lock") or {}).get("calibration"),
        "versions": ", ".join(f"{name} {version}" for name, version in (run.start.get("versions") or {}).items()),
    }
    first = " · ".join(f"{name} {value}" for name, value in facts.items() if value not in (None, ""))
    rows = [
        ("events", ", ".join(f"{name} {n}" for name, n in (run.stop.get("num_events") or {}).items()) or "–"),
        *((name, _short(value)) for name, value in _flat(parameters_of(run))),
        *((f"camera: {name}", _short(value)) for name, value in sorted(run.camera.items())),
        *(
            (f"{one.about.get('analysis')} {str(one.start['uid'])[:8]}: {name}", _short(value))
            for one in run.derived
            for name, value in _flat(one.about.get("parameters") or {})
        ),
    ]
    title = (
        f"<code>{escape(run.uid[:8])}</code> {escape(run.plan)}{escape(f', {run.sample}' if run.sample else '')}"
    )
    # What replaces what has to be seen without a click, and on paper: it stands outside of what opens.
    return (
        f'<div class="run" id="run-{escape(run.uid[:8])}"><h3>{title}</h3><p class="facts">{escape(first)}</p>'
        f"{_derived(run.derived) if run.derived else '<p>No analysis.</p>'}"
        f"<details><summary>All parameters</summary>{table(rows)}</details></div>"
    )


def _derived(derived: tuple[DerivedStory, ...]) -> str:
    rows: list[tuple[str, ...]] = []
    for one in derived:
        about = one.about
        state = (
            f"superseded by {one.superseded_by[:8]}"
            if one.superseded_by
            else str(one.stop.get("exit_status") or "not closed")
        )
        rows.append(
            (
                f"{about.get('analysis')} {about.get('version')}",
                str(one.start["uid"])[:8],
                state,
                one.verdict or str(one.stop.get("reason") or ""),
                str(about.get("mode") or ""),
                str(about.get("parameters_hash") or "")[:12],
                str(about.get("calibration") or "–")[:12],
            )
        )
    return table(rows, ("analysis", "uid", "ended as", "verdict", "", "parameters_hash", "calibration"))


def _flat(told: Mapping[str, Any], name: str = "") -> list[tuple[str, Any]]:
    """Return nested values with their whole names."""
    rows: list[tuple[str, Any]] = []
    for key, value in told.items():
        whole = f"{name}{key}"
        if isinstance(value, Mapping) and value:
            rows += _flat(cast("Mapping[str, Any]", value), f"{whole}.")
        elif key not in ("uid", "time", "plan_type"):
            rows.append((whole, value))
    return rows


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(plain(value), default=str, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text)} characters)"
