"""How runs and catalogs show themselves at a prompt and in a notebook, from their metadata alone."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

_RUNS_SHOWN = 10


def run_facts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run is, in words, from its start and stop documents."""
    start: Mapping[str, Any] = metadata["start"]
    stop: Mapping[str, Any] = metadata.get("stop") or {}
    ours: Mapping[str, Any] = start.get("parfocal") or {}
    sample = start.get("sample")
    facts = {
        "uid": str(start["uid"]),
        "taken": f"{datetime.fromtimestamp(start['time']).astimezone():%Y-%m-%d %H:%M:%S %Z}",
        "sample": str(sample.get("name", "") if isinstance(sample, Mapping) else sample or ""),
        "instrument": str(start.get("instrument") or ""),
        "status": _status(start, stop),
        "reason": str(stop.get("reason") or ""),
        "verdict": str((stop.get("parfocal") or {}).get("verdict") or ""),
        "of run": str((ours.get("raw") or {}).get("uid", "")) if isinstance(ours.get("raw"), Mapping) else "",
        "events": ", ".join(f"{name} {n}" for name, n in (stop.get("num_events") or {}).items()),
        "arguments": ", ".join(f"{key}={value!r}" for key, value in (start.get("plan_args") or {}).items()),
        "parameters": ", ".join(f"{key}={value!r}" for key, value in (ours.get("parameters") or {}).items()),
    }
    return {key: value for key, value in facts.items() if value}


def run_title(metadata: Mapping[str, Any]) -> str:
    """Return a run's number and plan, or of a derived run its analysis."""
    start: Mapping[str, Any] = metadata["start"]
    ours: Mapping[str, Any] = start.get("parfocal") or {}
    what = str(ours.get("analysis") or start.get("plan_name") or "run")
    return f"{start['scan_id']} {what}" if start.get("scan_id") is not None else what


def run_text(metadata: Mapping[str, Any]) -> str:
    """Return a run as lines for a terminal."""
    facts = run_facts(metadata)
    width = max(len(key) for key in facts)
    return "\n".join([run_title(metadata), *(f"  {key:<{width}}  {_short(v)}" for key, v in facts.items())])


def run_html(metadata: Mapping[str, Any]) -> str:
    """Return a run as a table for a notebook."""
    return f"<b>{html.escape(run_title(metadata))}</b>{table_html((), run_facts(metadata).items())}"


def runs_text(title: str, runs: Sequence[Mapping[str, Any]], n: int) -> str:
    """Return a line a run, the newest first, for a terminal."""
    lines = [title]
    for metadata in runs[:_RUNS_SHOWN]:
        facts = run_facts(metadata)
        said = f"  {facts['uid'][:8]}  {facts['taken'][:16]}  {run_title(metadata)}"
        lines.append(f"{said}  {' '.join(facts[key] for key in ('sample', 'verdict', 'status') if key in facts)}")
    if n > len(lines) - 1:
        lines.append(f"  and {n - len(lines) + 1:,} more: runs()")
    return "\n".join(lines)


def runs_html(title: str, runs: Sequence[Mapping[str, Any]], n: int) -> str:
    """Return a table of runs, the newest first, for a notebook."""
    rows: list[tuple[str, ...]] = []
    for metadata in runs[:_RUNS_SHOWN]:
        facts = run_facts(metadata)
        named = (facts.get(key, "") for key in ("sample", "status", "verdict", "events"))
        rows.append((facts["uid"][:8], facts["taken"][:16], run_title(metadata), *named))
    more = f"<p>and {n - len(rows):,} more: <code>runs()</code></p>" if n > len(rows) else ""
    head = ("uid", "taken", "run", "sample", "status", "verdict", "events")
    return f"<b>{html.escape(title)}</b>{table_html(head, rows)}{more}"


def table_html(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, its cells escaped."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(str(c))}</td>" for c in row) + "</tr>"
        for row in rows
    )
    return f"<table>{f'<tr>{top}</tr>' if top else ''}{body}</table>"


def _status(start: Mapping[str, Any], stop: Mapping[str, Any]) -> str:
    if not stop:
        return "running, or cut off"
    return f"{stop.get('exit_status', '')} after {stop['time'] - start['time']:.1f} s"


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
