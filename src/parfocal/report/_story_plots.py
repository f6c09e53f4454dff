"""Which figures a story has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from parfocal.report._calibration_report import CalibrationRun
from parfocal.report._plot import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW, Band, Line, Picture, Plot, thin
from parfocal.report._story import RunStory, Story
from parfocal.report._story_focus import FocusStory
from parfocal.report._story_nuclei import NucleiStory
from parfocal.report._story_puncta import PunctaStory, Trace

STATE_COLOURS = {
    "LOCKED": GREEN,
    "LOCKING": SKY,
    "DEGRADED": YELLOW,
    "RECOVERY": PINK,
    "LOST": ORANGE,
    "FAULT": ORANGE,
}
STATUS_COLOURS = {"success": GREEN, "abort": YELLOW, "fail": ORANGE}
_MOST_POINTS = 6000  # in the figure of a whole night
_MOST_FOCUS_PLOTS = 12
_NM = 1e3


def story_plots(story: Story) -> dict[str, list[Plot]]:
    """Return all figures of a story by the section that they belong to."""
    return {
        "timeline": _timeline(story),
        "focus": _focus(story),
        "nuclei": [_nuclei(run, one, k) for run in story.runs for k, one in enumerate(run.nuclei)],
        "puncta": [plot for run in story.runs for one in run.puncta for plot in _puncta(run, one)],
        "calibration": [_calibration(run, run.calibration) for run in story.runs if run.calibration is not None],
    }


def clock(t_s: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time as people read it, in UTC as all documents are."""
    return datetime.fromtimestamp(t_s, UTC).strftime(form)


def _axis(story: Story) -> tuple[str, float]:
    """Return the label of the time axis and how many seconds its unit has."""
    span_s = story.until_s - story.since_s
    unit, seconds = next(
        (u, s)
        for u, s, most in (("s", 1.0, 300.0), ("min", 60.0, 3 * 3600.0), ("h", 3600.0, np.inf))
        if span_s <= most
    )
    return f"time since {clock(story.since_s)} UTC ({unit})", seconds


def _timeline(story: Story) -> list[Plot]:
    if len(story.runs) < 2:
        return []
    label, unit_s = _axis(story)
    names = list(dict.fromkeys(run.plan for run in story.runs))
    lines: list[Line] = []
    for status in dict.fromkeys(run.exit_status for run in story.runs):
        runs = [run for run in story.runs if run.exit_status == status]
        t = [(run.began_s - story.since_s + d, run) for run in runs for d in (0.0, run.duration_s or 0.0, np.nan)]
        x, y = np.array([at / unit_s for at, _ in t]), np.array([float(names.index(run.plan)) for _, run in t])
        lines.append(Line(x, y, STATUS_COLOURS.get(status, GREY), status, width_px=10))
    if story.incidents:
        at = np.array([(one.t_s - story.since_s) / unit_s for one in story.incidents])
        lines.append(Line(at, np.full(at.size, float(len(names))), PINK, "incident", is_points=True, width_px=9))
        names.append("supervisor")
    return [Plot("timeline", "Runs over time", label, "", tuple(lines), y_names=tuple(names))]


def _focus(story: Story) -> list[Plot]:
    label, unit_s = _axis(story)
    locked = [(run, run.focus) for run in story.runs if run.focus is not None and run.focus.t_s.size]
    plots: list[Plot] = []
    if len(locked) > 1:
        parts = [_focus_parts(focus, story.since_s, unit_s) for _, focus in locked]
        x = np.concatenate([np.append(line.x, np.nan) for line, _ in parts])
        y = np.concatenate([np.append(line.y, np.nan) for line, _ in parts])
        drawn = thin(x, y, _MOST_POINTS)
        bands = tuple(band for _, bands in parts for band in bands)
        total = sum(focus.n_samples for _, focus in locked)
        n_drawn = int(np.isfinite(drawn[1]).sum())
        note = f"{n_drawn} of {total} samples are drawn, every extreme among them" if n_drawn < total else ""
        lines = (Line(*drawn, BLUE, "error"),)
        plots.append(Plot("focus", "Focus error of all locked runs", label, "error (nm)", lines, bands, note=note))
    for run, focus in locked[-_MOST_FOCUS_PLOTS:]:
        line, bands = _focus_parts(focus, float(focus.t_s[0]), 1.0)
        plots.append(
            Plot(
                f"focus_{run.uid[:8]}",
                f"Focus error: {run.plan} {run.uid[:8]}",
                f"time since {clock(float(focus.t_s[0]))} UTC (s)",
                "error (nm)",
                (line,),
                bands,
                note=focus.note,
            )
        )
    best = [point for run in story.runs for point in run.best_planes]
    if len(best) > 1:
        t, z = np.array(best).T
        line = Line(
            (t - story.since_s) / unit_s, z, GREEN, "sharpest plane of a stack", is_points=True, width_px=6
        )
        plots.append(Plot("best_planes", "Where each stack was sharpest", label, "stage z (um)", (line,)))
    return plots


def _focus_parts(focus: FocusStory, since_s: float, unit_s: float) -> tuple[Line, tuple[Band, ...]]:
    line = Line((focus.t_s - since_s) / unit_s, _NM * focus.error_um, BLUE, "error")
    bands = tuple(
        Band(
            (one.t0_s - since_s) / unit_s,
            (one.t1_s - since_s) / unit_s,
            STATE_COLOURS.get(one.state, GREY),
            one.state.lower(),
        )
        for one in focus.stretches
    )
    return line, bands


def _picture(pixels: Any, size_um: tuple[float, float]) -> Picture:
    (height, width), (y_um, x_um) = pixels.shape, size_um
    # The first pixel's centre is 0; its edge is half a pixel before.
    return Picture(pixels, (-0.5 * x_um, (width - 0.5) * x_um, -0.5 * y_um, (height - 0.5) * y_um))


def _nuclei(run: RunStory, one: NucleiStory, k: int) -> Plot:
    lines: list[Line] = []
    for name, colour, is_chosen in (("nucleus", SKY, False), ("to look at first", YELLOW, True)):
        chosen = [one.outlines[i] for i in sorted(one.outlines) if (i in one.uncertain) == is_chosen]
        if chosen:
            x, y = (np.concatenate([c[axis] for c in chosen]) for axis in (0, 1))
            lines.append(Line(x, y, colour, name, width_px=1.6))
    place = ", ".join(f"{key.replace('_', ' ')} {one.stack[key]}" for key in ("position", "time_point"))
    return Plot(
        f"nuclei_{run.uid[:8]}_{k}",
        f"Nuclei: {run.plan} {run.uid[:8]}, {place}, plane {one.plane} at z {one.z_um:+.2f} um",
        "x (um)",
        "y (um)",
        tuple(lines),
        picture=_picture(one.pixels, one.pixel_size_um),
        note=f"{len(one.outlines)} of {one.stack['n_objects']} nuclei cross this plane",
    )


def _puncta(run: RunStory, one: PunctaStory) -> list[Plot]:
    colours = {"not judged": GREY, "immobile": SKY, "mobile": ORANGE}
    lines = [Line(x, y, colours[name], name, width_px=1.4) for name, (x, y) in one.tracks.items()]
    for name, (x, y) in one.tracks.items():  # one that stays where it is would not be seen as a line
        is_first = np.isfinite(x) & np.isnan(np.concatenate([[np.nan], x[:-1]]))
        lines.append(Line(x[is_first], y[is_first], colours[name], is_points=True, width_px=4.5))
    where = f"{run.plan} {run.uid[:8]}" + (f", position {one.place[0]}" if one.place != (0, 0) else "")
    ending = f"{run.uid[:8]}_{one.place[0]}_{one.place[1]}"
    note = "; ".join((f"mean of {one.n_averaged} frames", *one.notes))
    plots = [
        Plot(
            f"tracks_{ending}",
            f"Puncta and their tracks: {where}",
            "x (um)",
            "y (um)",
            tuple(lines),
            picture=_picture(one.pixels, one.pixel_size_um),
            note=note,
        )
    ]
    if one.traces:
        plots.append(_calcium(one.traces, f"calcium_{ending}", f"Calcium: {where}"))
    return plots


def _calcium(traces: tuple[Trace, ...], name: str, title: str) -> Plot:
    """Return traces one above the other, the first on top, with a dot at each event's peak."""
    spans = [float(np.nanmax(t.dff) - np.nanmin(t.dff)) for t in traces]
    step = max(1.1 * float(np.median(spans)), 1e-6)
    x, y, peaks_x, peaks_y = [], [], [], []
    for k, trace in enumerate(traces):
        up = (len(traces) - 1 - k) * step
        x.append(np.append(trace.t_s, np.nan))
        y.append(np.append(trace.dff + up, np.nan))
        peaks_x.append(trace.peak_s)
        peaks_y.append(trace.peak_dff + up)
    lines = (
        Line(np.concatenate(x), np.concatenate(y), GREEN, "dF/F"),
        Line(np.concatenate(peaks_x), np.concatenate(peaks_y), ORANGE, "event", is_points=True, width_px=6),
    )
    order = ", ".join(str(t.track) for t in traces)
    note = f"from the top: tracks {order}; {step:.2g} of dF/F lie between two"
    return Plot(name, title, "time (s)", "dF/F, stacked", lines, height_px=60 + 34 * len(traces), note=note)


def _calibration(run: RunStory, calibrated: CalibrationRun) -> Plot:
    c = calibrated.calibration
    origin_um = c.focus_um if np.isfinite(c.focus_um) else float(np.mean(c.steps.z_um))
    z_um = c.steps.z_um - origin_um
    fine_um = np.linspace(z_um.min(), z_um.max(), 300)
    lines: list[Line] = []
    for k, (name, colour) in enumerate((("sigma x", BLUE), ("sigma y", ORANGE))):
        lines.append(Line(z_um, c.steps.sigma_px[:, k], colour, name, is_points=True, width_px=6))
        if c.model is not None:
            lines.append(Line(fine_um, c.model.widths_px(fine_um)[k], colour))
    bands = () if c.usable_um is None else (Band(*c.usable_um, GREEN, "usable range"),)
    title = f"Focus calibration: {run.uid[:8]}"
    return Plot(f"calibration_{run.uid[:8]}", title, "z from focus (um)", "width (px)", tuple(lines), bands)
