"""A story as one HTML page that needs nothing beside it: no network, and no scripts to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from parfocal.report._characterization_report import characterization_html, characterization_title
from parfocal.report._lock_events import explain
from parfocal.report._numbers import nm, percent
from parfocal.report._page import anchor, page, table
from parfocal.report._page_script import SCRIPT
from parfocal.report._plot import Plot
from parfocal.report._plot_svg import plot_html
from parfocal.report._story import DerivedStory, RunStory, Story
from parfocal.report._story_data import is_failed, summary
from parfocal.report._story_page_style import STYLE
from parfocal.report._story_plots import clock, story_plots
from parfocal.report._story_provenance import provenance
from parfocal.report._story_thumbnails import thumbnails


def story_page(story: Story) -> str:
    """Return the page."""
    plots = story_plots(story)
    sections = [
        ("What was done", _drawn(plots["timeline"]) + _runs(story)),
        ("What failed", _failed(story)),
        ("Focus", _focus(story, plots["focus"])),
        ("Slices", "".join(thumbnails(run) for run in sorted(story.runs, key=_all_accepted))),
        ("Nuclei", _nuclei(story, plots["nuclei"])),
        ("Puncta and calcium", _puncta(story, plots["puncta"])),
        ("Focus calibration", _calibrations(story, plots["calibration"])),
        ("Characterization", _characterizations(story)),
        ("Parameters and provenance", provenance(story)),
    ]
    told = [(heading, content) for heading, content in sections if content]
    links = "".join(f'<a href="#{anchor(heading)}">{escape(heading)}</a>' for heading, _ in told)
    simulated = sorted({name for run in story.runs for name in run.simulated})
    notes = [f"Simulated: {', '.join(simulated)}."] if simulated else []
    lead = f'<div class="tiles">{_tiles(story)}</div><nav>{links}</nav>{_remarks(story)}'
    return page(title_of(story), None, notes, told, lead=lead, style=STYLE, script=SCRIPT)


def _all_accepted(run: RunStory) -> bool:
    return run.slices is None or not run.slices.n_rejected


def title_of(story: Story) -> str:
    """Return what the page is called."""
    if len(story.runs) == 1:
        run = story.runs[0]
        sample = f" of {run.sample}" if run.sample else ""
        return f"{run.plan}{sample}, run {run.uid[:8]}, {clock(run.began_s)} UTC"
    same_day = clock(story.since_s, "%Y-%m-%d") == clock(story.until_s, "%Y-%m-%d")
    until = clock(story.until_s, "%H:%M" if same_day else "%Y-%m-%d %H:%M")
    return f"{len(story.runs)} runs, {clock(story.since_s, '%Y-%m-%d %H:%M')} to {until} UTC"


def duration(seconds: float | None) -> str:
    """Return a time as people say it."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _drawn(plots: list[Plot]) -> str:
    return "".join(plot_html(plot) for plot in plots)


def _tiles(story: Story) -> str:
    s = summary(story)
    n_bad = s["n_runs"] - s["n_succeeded"] + s["n_analyses_failed"]
    tiles: list[tuple[str, str, str, bool]] = [
        ("n_runs", str(s["n_runs"]), "run" if s["n_runs"] == 1 else "runs", False),
        ("n_bad", str(n_bad), "failed" if n_bad else "failed: none", n_bad > 0),
        ("n_incidents", str(s["n_incidents"]), "incidents", s["n_incidents"] > 0),
        ("n_frames", f"{s['n_frames']:,}", "frames", False),
        ("n_rejected", str(s["n_rejected"]), f"rejected, {s['n_retaken']} taken again", s["n_rejected"] > 0),
    ]
    if s["in_lock_fraction"] is not None:
        words = "in lock" + (", while no plan held it" if s["n_held"] else "")
        tiles.append(("in_lock_fraction", percent(s["in_lock_fraction"]), words, s["in_lock_fraction"] < 0.9))
    tiles += [
        (key, f"{s[key]:,}", words, False)
        for key, words in (("n_nuclei", "nuclei"), ("n_tracks", "tracks"), ("n_calcium_events", "calcium events"))
        if s[key]
    ]
    return "".join(
        f'<div class="tile{" bad" if is_bad else ""}"><b data-value="{key}">{escape(value)}</b>'
        f"{escape(words)}</div>"
        for key, value, words, is_bad in tiles
    )


def _remarks(story: Story) -> str:
    if not story.remarks:
        return ""
    return "<ul class='note'>" + "".join(f"<li>{escape(remark)}</li>" for remark in story.remarks) + "</ul>"


def link(run: RunStory) -> str:
    """Return a link to what is told of a run at the end of the page."""
    return f'<a href="#run-{escape(run.uid[:8])}"><code>{escape(run.uid[:8])}</code></a>'


def _runs(story: Story) -> str:
    head = "<tr>" + "".join(
        f"<th>{name}</th>"
        for name in ("began (UTC)", "run", "plan", "sample", "took", "frames", "ended as", "what came of it")
    )
    rows: list[str] = []
    for run in story.runs:
        verdicts = "; ".join(
            f"{one.about.get('analysis')}: {one.verdict or 'done'}" for one in run.derived if one.counts
        )
        cells = (
            escape(clock(run.began_s)),
            link(run),
            escape(run.plan),
            escape(run.sample),
            escape(duration(run.duration_s)),
            str(run.n_frames),
            f'<span class="status {_kind(run)}">{escape(run.exit_status)}</span>',
            escape(verdicts),
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f'<table class="runs">{head}</tr>{"".join(rows)}</table>'


def _kind(run: RunStory) -> str:
    return {"success": "good", "abort": "doubtful"}.get(run.exit_status, "bad")


def _failed(story: Story) -> str:
    rows: list[tuple[float, str, str, str, str]] = []
    for run in story.runs:
        name = f"{run.plan} {run.uid[:8]}"
        if run.exit_status != "success":
            ended_s = run.began_s + (run.duration_s or 0.0)
            reason = str(run.stop.get("reason") or "no reason was given") if run.stop else "it was never closed"
            rows.append((ended_s, name, f"ended as {run.exit_status}", reason, ""))
        rows += [(one.t_s, name, one.where, one.reason, one.action) for one in run.failures]
        for one in run.derived:
            if is_failed(one):
                what = f"analysis {one.about.get('analysis')} {str(one.start['uid'])[:8]}"
                reason = str(one.stop.get("reason") or "no reason was given")
                if not one.stop:
                    reason = "it is not closed: it goes on, or was cut off"
                ended_s = float(one.stop.get("time", one.start["time"]))
                rows.append((ended_s, name, what, reason, _kept_of(one)))
    for one in story.incidents:
        befell = [f"plan {one.plan}" if one.plan else "", *(f"run {uid[:8]}" for uid in one.run_uids)]
        took = f"{one.outcome} ({duration(one.lasted_s)})" if one.outcome else ""
        done = " → ".join(filter(None, (one.action, took)))
        rows.append((one.t_s, f"supervisor: {one.kind}", ", ".join(filter(None, befell)), one.what, done))
    if not rows:
        return "<p>Nothing: every run and every analysis came to a good end.</p>"
    shown = [(clock(t_s), *rest) for t_s, *rest in sorted(rows)]
    return '<div class="dated">' + table(shown, ("when (UTC)", "what", "where", "why", "what was done")) + "</div>"


def _kept_of(one: DerivedStory) -> str:
    """Say what there is of an analysis that did not come to its end, and that none of it is on the page."""
    if not one.holds:
        return "nothing of it was written"
    there = (name if n < 0 else f"{name} ({n})" for name, n in one.holds.items())
    return f"not shown, but in the catalog: {', '.join(there)}"


def _focus(story: Story, plots: list[Plot]) -> str:
    locked = [(run, run.focus) for run in story.runs if run.focus is not None]
    if not locked and not plots:
        return ""
    rows: list[tuple[str, ...]] = []
    for run, focus in locked:
        if not focus.report:
            rows.append((f"{run.plan} {run.uid[:8]}", "no sample", *("",) * 6))
            continue
        s: Mapping[str, Any] = focus.report["summary"]
        ratio = s["rms_over_bound"]
        spoke = ", ".join(f"{explain(code)} ({n})" for code, n in list(focus.report["safeguards"].items())[:4])
        rows.append(
            (
                f"{run.plan} {run.uid[:8]}",
                percent(s["in_lock_fraction"]),
                nm(s["rms_focus_um"]),
                nm(s["bound_um"]) + ("" if ratio is None else f" (×{ratio:.2f})"),
                f"{s['n_losses']}, {s['n_faults']}",
                str(s["n_frames"]),
                spoke or "none",
                str(focus.report["calibration"]["sha256"])[:12],
            )
        )
    header = (
        "run",
        "in lock",
        "RMS of the focus",
        "Kalman bound",
        "losses, faults",
        "samples",
        "safeguards",
        "calibration",
    )
    return _drawn(plots) + (table(rows, header) if rows else "")


def _nuclei(story: Story, plots: list[Plot]) -> str:
    told = [(run, one) for run in story.runs for one in run.nuclei]
    rows = [
        (
            f"{run.plan} {run.uid[:8]}",
            *(str(one.stack[key]) for key in ("position", "time_point", "n_planes", "n_objects")),
            f"{float(one.stack['mean_doubt']):.2f}",
            ", ".join(str(i) for i in sorted(one.uncertain)[:8]) or "none",
            str(one.stack["backend"]),
        )
        for run, one in told
    ]
    if not rows:
        return ""
    header = ("run", "position", "time point", "planes", "nuclei", "mean doubt", "look first at", "found by")
    more = sorted(
        {
            f"{run.uid[:8]}: {len(run.nuclei)} of {one.n_stacks} stacks"
            for run, one in told
            if one.n_stacks > len(run.nuclei)
        }
    )
    left_out = f'<p class="thinned">Shown of run {escape("; ".join(more))}</p>' if more else ""
    return table(rows, header) + left_out + f'<div class="pictures">{_drawn(plots)}</div>'


_PUNCTA = (
    ("n_puncta", "puncta", "{:,}"),
    ("n_tracks", "tracks", "{:,}"),
    ("n_mobile", "mobile", "{:,}"),
    ("precision_median_nm", "precision (nm, median)", "{:.1f}"),
    ("photons_median", "photons (median)", "{:.0f}"),
    ("n_own", "calcium events", "{:,}"),
    ("n_waves", "waves", "{:,}"),
    ("odds_ratio", "bright while calcium is up (odds ratio)", "{:.2f}"),
)


def _puncta(story: Story, plots: list[Plot]) -> str:
    rows = [
        (
            f"{run.plan} {run.uid[:8]}" + (f", position {one.place[0]}" if one.place != (0, 0) else ""),
            *(_number(one.numbers.get(key), form) for key, _, form in _PUNCTA),
        )
        for run in story.runs
        for one in run.puncta
    ]
    if not rows:
        return ""
    pictures = "".join(plot_html(plot) for plot in plots if plot.picture is not None)
    traces = "".join(plot_html(plot) for plot in plots if plot.picture is None)
    return (
        table(rows, ("run", *(words for _, words, _ in _PUNCTA)))
        + f'<div class="pictures">{pictures}</div>{traces}'
    )


def _number(value: Any, form: str) -> str:
    return "–" if value is None else form.format(value)


def _calibrations(story: Story, plots: list[Plot]) -> str:
    rows: list[tuple[str, ...]] = []
    for run in story.runs:
        if run.calibration is None:
            continue
        c = run.calibration.calibration
        usable = "–" if c.usable_um is None else f"{c.usable_um[0]:+.3f} to {c.usable_um[1]:+.3f} um"
        issues = "; ".join(issue.message for issue in c.issues) or "none"
        verdict = "fit to lock with" if c.is_armable else f"not fit to lock with: {c.why_not()}"
        rows.append((run.uid[:8], verdict, f"{c.focus_um:+.3f} um", usable, str(len(c.steps)), issues))
    if not rows:
        return ""
    return table(rows, ("run", "", "focus", "usable range", "steps", "issues")) + _drawn(plots)


def _characterizations(story: Story) -> str:
    parts: list[str] = []
    for run in story.runs:
        if run.characterization is None:
            continue
        found = run.characterization.found
        heading = f"{escape(characterization_title(found))}, run {link(run)}"
        parts.append(f"<h3>{heading}</h3>")
        said = [message for severity, message in found.issues if severity != "tells"]
        if said:
            verdict = "" if found.is_usable else "not fit for use: "
            parts.append(f'<p class="note">{escape(verdict + "; ".join(said))}</p>')
        parts.append(characterization_html(found))
    return "".join(parts)
