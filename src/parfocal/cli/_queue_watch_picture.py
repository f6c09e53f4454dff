"""What `parfocal queue watch` shows: a view of a night as rich draws it, and as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from parfocal.queue import AnalysisView, FaultView, LockView, NightView, QueueView, RunView, VerdictView

_BARS = "▁▂▃▄▅▆▇█"
_FULL_NM = 100.0
_N_FAULTS = 6
_LOCK_STYLE = {"LOCKED": "green", "DEGRADED": "yellow", "RECOVERY": "yellow", "LOST": "red", "FAULT": "bold red"}
_CATALOG_STYLE = {"ok": "green", "behind": "yellow", "away": "red", "unknown": "dim"}
_KEPT_BACK = ("streams", "runs", "derived", "ended", "lost", "seen")


def picture(view: NightView, now_s: float, where: str) -> RenderableType:
    """Return the whole console of a view.

    Parameters
    ----------
    view : NightView
        What is known.
    now_s : float
        Seconds since the Unix epoch.
    where : str
        The data folder, for the title.
    """
    rows = Table.grid(padding=(0, 2), expand=True)
    rows.add_column(style="bold", no_wrap=True, width=9)
    rows.add_column(ratio=1)
    if view.queue is not None:
        rows.add_row("queue", _queue(view.queue))
    rows.add_row("run", _run(view.run))
    if view.run is not None:
        if place := _place(view.run):
            rows.add_row("", Text(place))
        rows.add_row("", _progress(view.run, now_s))
        if view.run.reason:
            rows.add_row("", Text(view.run.reason, style="red"))
    rows.add_row("lock", _lock(view.lock))
    rows.add_row("verdicts", _verdicts(view.verdicts, view.night_verdicts))
    for k, (name, one) in enumerate(sorted(view.analyses.items())):
        rows.add_row("analyses" if k == 0 else "", _analysis(name, one))
    rows.add_row("catalog", _catalog(view))
    rows.add_row("in all", _in_all(view, now_s))
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now_s))
    parts: list[RenderableType] = [rows]
    if view.faults:
        parts.append(_faults(view.faults[-_N_FAULTS:]))
    return Panel(
        Group(*parts), title=f"parfocal queue watch   {where}", subtitle=clock, title_align="left", padding=(0, 1)
    )


def as_json(view: NightView, now_s: float) -> dict[str, Any]:
    """Return a view as plain values, NaN as None; `time` is when."""
    plain: dict[str, Any] = {k: v for k, v in asdict(view).items() if k not in _KEPT_BACK}
    if view.run is not None:
        plain["run"] |= {
            "is_running": view.run.is_running,
            "rate_per_s": view.run.rate_per_s,
            "elapsed_s": view.run.elapsed_s(now_s),
            "eta_s": view.run.eta_s(now_s),
        }
        del plain["run"]["recent"]
    if view.lock is not None:
        plain["lock"] |= {"in_lock": view.lock.in_lock}
        del plain["lock"]["errors_um"]
    return _without_nan({"time": now_s} | plain)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _queue(queue: QueueView) -> Text:
    if queue.away:
        return Text(queue.away, style="red")
    text = Text.assemble((queue.manager.replace("_", " "), "green" if queue.running else ""))
    text.append("  worker open" if queue.has_worker else "  no worker", style="" if queue.has_worker else "yellow")
    if queue.engine and queue.engine not in ("idle", "running"):
        text.append(f"  engine {queue.engine}", style="yellow")
    text.append(f"  {queue.n_done} done, {queue.n_waiting} waiting")
    if queue.waiting:
        more = ", ..." if queue.n_waiting > len(queue.waiting) else ""
        text.append(f": {', '.join(queue.waiting)}{more}", style="dim")
    return text


def _run(run: RunView | None) -> Text:
    if run is None:
        return Text("none seen yet", style="dim")
    text = Text.assemble((run.plan_name, "bold cyan"))
    text.append(f"  #{run.scan_id}  {run.uid[:8]}", style="dim")
    if run.sample:
        text.append(f"  sample {run.sample}")
    if run.exit_status:
        text.append(f"  {run.exit_status}", style="green" if run.exit_status == "success" else "red")
    return text


def _place(run: RunView) -> str:
    parts: list[str] = []
    if run.position >= 0:
        of = f" of {run.n_positions}" if run.n_positions else ""
        named = f" {run.position_name}" if run.position_name not in ("", f"p{run.position}") else ""
        parts.append(f"position {run.position + 1}{of}{named}")
    if run.slice_id:
        parts.append(f"slice {run.slice_id}")
    if run.time_point >= 0:
        parts.append(f"time point {run.time_point}")
    if run.plane >= 0:
        parts.append(f"plane {run.plane}")
    if math.isfinite(run.z_um):
        parts.append(f"z {run.z_um:+.2f} µm")
    if run.channel:
        parts.append(run.channel)
    if run.attempt > 1:
        parts.append(f"attempt {run.attempt}")
    return "  ".join(parts)


def _progress(run: RunView, now_s: float) -> RenderableType:
    of = f" of {run.n_expected}" if run.n_expected else ""
    said = [f"{run.n_done}{of} {run.unit}"]
    if run.is_running and math.isfinite(run.rate_per_s):
        said.append(f"{run.rate_per_s:.2g}/s")
    said.append(f"after {_time(run.elapsed_s(now_s))}")
    eta_s = run.eta_s(now_s)
    if math.isfinite(eta_s):
        said.append(f"{_time(eta_s)} left")
    row = Table.grid(padding=(0, 2))
    if run.n_expected:
        row.add_row(ProgressBar(total=run.n_expected, completed=run.n_done, width=28), "  ".join(said))
    else:
        row.add_row("  ".join(said))
    return row


def _lock(lock: LockView | None) -> Text:
    if lock is None:
        return Text("off", style="dim")
    text = Text.assemble((lock.state, _LOCK_STYLE.get(lock.state, "")))
    error = f"{1e3 * lock.error_um:+.0f} nm" if math.isfinite(lock.error_um) else "–"
    text.append(f"  focus error {error}")
    if math.isfinite(lock.in_lock):
        text.append(f"  in lock {100 * lock.in_lock:.1f} %")
    if lock.flags:
        text.append(f"  {lock.flags}", style="yellow")
    text.append(f"  {sparkline(lock.errors_um)}", style="dim")
    return text


def sparkline(errors_um: tuple[float, ...], width: int = 40) -> str:
    """Return the size of errors as bars, the latest last; full at 100 nm, a gap where there is none."""
    shown = errors_um[-width:]
    return "".join(
        _BARS[min(len(_BARS) - 1, int(1e3 * abs(error) / _FULL_NM * len(_BARS)))] if math.isfinite(error) else " "
        for error in shown
    )


def _verdicts(run: VerdictView, night: VerdictView) -> Text:
    if not night.n_accepted + night.n_rejected:
        return Text("none", style="dim")
    text = Text(_verdict(run))
    if night != run:
        text.append(f"   in all {_verdict(night)}", style="dim")
    return text


def _verdict(one: VerdictView) -> str:
    reasons = f" ({_counts(one.reasons)})" if one.reasons else ""
    late = f", {one.n_timed_out} by policy" if one.n_timed_out else ""
    again = f", {one.n_retaken} taken again" if one.n_retaken else ""
    return f"{one.n_accepted} accepted, {one.n_rejected} rejected{reasons}{late}{again}"


def _analysis(name: str, one: AnalysisView) -> Text:
    text = Text(name)
    if one.n_running:
        rows = f": {', '.join(f'{n} {stream}' for stream, n in sorted(one.rows.items()))}" if one.rows else ""
        text.append(f"  at work{rows}")
    if one.n_ended:
        text.append(f"  {one.n_ended} done" + (f": {_counts(one.verdicts)}" if one.verdicts else ""))
    if one.n_failed:
        text.append(f"  {one.n_failed} failed", style="red")
    return text


def _catalog(view: NightView) -> Text:
    state = view.catalog.state
    text = Text.assemble((state, _CATALOG_STYLE[state]))
    if view.catalog.n_waiting:
        n = view.catalog.n_waiting
        text.append(f"  {n} run{'s wait in their logs' if n > 1 else ' waits in its log'}")
    if state == "away":
        text.append("  documents are kept in logs meanwhile", style="dim")
    return text


def _in_all(view: NightView, now_s: float) -> Text:
    failed = f", {view.n_failed} failed" if view.n_failed else ""
    runs, frames = (
        f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((view.n_runs, "run"), (view.n_frames, "frame"))
    )
    return Text(f"{runs}{failed}, {frames} in {_time(now_s - view.began_s)}")


def _faults(faults: tuple[FaultView, ...]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), expand=True, title_justify="left")
    for name in ("when", "what went wrong", "plan"):
        table.add_column(name, no_wrap=name != "what went wrong", ratio=1 if name == "what went wrong" else None)
    for fault in faults:
        clock = time.strftime("%H:%M:%S", time.localtime(fault.at_s)) if fault.at_s else "–"
        style = "dim" if fault.kind == "injected" else "yellow" if fault.kind == "incident" else "red"
        words = f"{fault.kind.replace('_', ' ')}: {fault.what}" + (f" → {fault.outcome}" if fault.outcome else "")
        table.add_row(clock, Text(words, style=style), fault.plan)
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _time(seconds: float) -> str:
    """Return a time in words: `42 s`, `4 min 10 s`, `3 h 12 min`."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"
