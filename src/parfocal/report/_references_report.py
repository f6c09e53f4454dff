"""The report of a calibration against references: what was looked at, what ranks how, and what it would keep."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.files import write_atomically
from parfocal.report._page import page, table
from parfocal.sealed_json import plain
from parfocal.slices.references import (
    CATEGORIES,
    MetricRank,
    Ranking,
    ReferenceCalibration,
    ScoredStack,
    as_row,
    thresholds_hash,
)

_COLOURS = {"bad": "#d55e00", "okay": "#999999", "great": "#0072b2"}  # Okabe and Ito
_SHOWN_METRICS = 12
_SHOWN_STACKS = 36
_SHOWN_CURVES = 6


def references_report(
    calibration: ReferenceCalibration, warnings: Iterable[str] = (), run_uid: str = ""
) -> dict[str, Any]:
    """Return a calibration against references as plain values; what is unknown is null."""
    kept = calibration.thresholds
    return plain(
        {
            "report": "parfocal reference calibration",
            "version": 1,
            "run": run_uid,
            "sha256": thresholds_hash(kept),
            "winner": kept.winner,
            "chosen": kept.chosen,
            "why": kept.why,
            "why_rule": calibration.rules.why,
            "settings": dict(kept.settings),
            "references": [
                {
                    "name": stack.name,
                    "category": stack.category,
                    "source": stack.source,
                    "n_frames": stack.n_frames,
                    "pixels_sha256": stack.pixels_sha256,
                    "metrics": dict(stack.metrics),
                    "kept_by": [
                        rank.name
                        for rank in calibration.metrics.metrics
                        if bool(rank.keeps(stack.metrics[rank.name]))
                    ],
                }
                for stack in calibration.stacks
            ],
            "metrics": [as_row(rank) for rank in calibration.metrics.metrics],
            "rules": [as_row(rank) for rank in calibration.rules.metrics],
            "calibrated_rules": [asdict(rule) for rule in kept.rules],
            "left_out": {**calibration.metrics.left_out, **calibration.rules.left_out},
            "warnings": list(warnings),
        }
    )


def write_references_report(
    calibration: ReferenceCalibration, path: Path, *, warnings: Iterable[str] = (), run_uid: str = ""
) -> Path:
    """Write the report as one HTML page that holds everything; return its path."""
    noted = tuple(warnings)
    with write_atomically(path) as temporary:
        temporary.write_text(_page(calibration, noted, run_uid), encoding="utf-8")
    return path


def draw_reference_metrics(calibration: ReferenceCalibration) -> Any:
    """Draw the best metrics' values by category, with threshold and interval; return a matplotlib figure."""
    ranks = calibration.metrics.metrics[:_SHOWN_METRICS]
    columns = min(4, max(1, len(ranks)))
    rows = max(1, -(-len(ranks) // columns))
    figure, grid = _figure(2.6 * columns, 2.1 * rows, rows, columns)
    for axis in grid.flat[len(ranks) :]:
        axis.set_visible(False)
    for axis, rank in zip(grid.flat, ranks, strict=False):
        for k, category in enumerate(CATEGORIES):
            values = [s.metrics[rank.name] for s in calibration.stacks if s.category == category]
            spread = np.zeros(1) if len(values) == 1 else np.linspace(-0.2, 0.2, len(values))
            axis.plot(k + spread, values, "o", ms=4, color=_COLOURS[category], alpha=0.8)
        axis.axhspan(*rank.threshold_interval, color="#009e73", alpha=0.12, lw=0)
        axis.axhline(rank.threshold, color="#009e73", lw=1)
        axis.set_xticks(range(len(CATEGORIES)), CATEGORIES, fontsize=7)
        axis.set_title(f"{rank.name}\nAUC {_interval(rank.auc, rank.auc_interval)}", fontsize=7)
        axis.tick_params(axis="y", labelsize=6)
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
        axis.yaxis.get_offset_text().set_fontsize(6)
    return figure


def draw_reference_stack(stack: ScoredStack, ranking: Ranking) -> Any:
    """Draw a stack's best-ranked curves, correlation matrix, worst, median and best frame; return it."""
    figure, grid = _figure(11.0, 2.3, 1, 5, [2.2, 1.2, 1, 1, 1])
    curves, matrix, *pictures = grid.flat
    ranked = [rank for rank in ranking.metrics if rank.name in stack.profiles][:_SHOWN_CURVES]
    for rank in ranked:
        values = stack.profiles[rank.name]
        if values.size > 1 and np.isfinite(values).any() and np.nanmax(values) > 0:
            curves.plot(stack.z_um, values / np.nanmax(values), lw=1, label=rank.name)
    if stack.adjacent.size:
        between = (stack.z_um[1:] + stack.z_um[:-1]) / 2
        curves.plot(between, stack.adjacent, "k.--", ms=3, lw=0.7, label="adjacent NCC")
        curves.set_ylim(-0.05, 1.08)
        curves.legend(fontsize=5, frameon=False, loc="lower center", ncols=2)
    else:
        curves.text(0.5, 0.5, "one frame", ha="center", va="center", transform=curves.transAxes, fontsize=8)
    curves.set_xlabel("z (um)" if stack.n_frames > 1 else "", fontsize=7)
    curves.tick_params(labelsize=6)
    matrix.imshow(stack.matrix, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    matrix.set_title("correlation, 0 to 1", fontsize=7)
    matrix.tick_params(labelsize=6)
    for axis in pictures:
        axis.set_visible(False)
    for axis, shown in zip(pictures, stack.shown, strict=False):
        axis.set_visible(True)
        axis.imshow(shown.pixels, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{shown.role}: frame {shown.index}", fontsize=7)
        axis.set_axis_off()
    return figure


def _figure(width: float, height: float, rows: int, columns: int, ratios: Sequence[float] = ()) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # margins in inches: a layout engine takes seconds for two dozen panels
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    across, down = width / columns, height / rows
    figure.subplots_adjust(
        left=0.4 / width,
        right=1 - 0.1 / width,
        bottom=0.4 / height,
        top=1 - 0.4 / height,
        wspace=0.45 / (across - 0.45),
        hspace=0.65 / (down - 0.65),
    )
    return figure, figure.subplots(rows, columns, squeeze=False, width_ratios=list(ratios) or None)


def _image(figure: Any, told: str) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png")
    text = base64.b64encode(data.getvalue()).decode("ascii")
    return f'<figure><img alt="{escape(told)}" style="width:100%" src="data:image/png;base64,{text}"></figure>'


def _page(calibration: ReferenceCalibration, warnings: Sequence[str], run_uid: str) -> str:
    kept = calibration.thresholds
    counts = ", ".join(f"{sum(s.category == c for s in calibration.stacks)} {c}" for c in CATEGORIES)
    verdict = f"Winner: {kept.winner}. {kept.why}" if kept.winner else f"{kept.why[:1].upper()}{kept.why[1:]}."
    notes = [verdict, *warnings]
    if kept.chosen and kept.chosen != kept.winner:
        notes.insert(1, f"{kept.chosen} was chosen by a person.")
    facts = [
        ("References", counts),
        ("Chosen metric", kept.chosen or "none: say which with --metric"),
        ("Intervals", f"{kept.settings.get('confidence', 0.95):.0%}, bootstrap within each category"),
        ("Thresholds, SHA-256", thresholds_hash(kept)),
        ("Run", run_uid or "not kept in a catalog"),
    ]
    sections = [
        ("Calibration", table(facts)),
        (
            "Metrics",
            _image(draw_reference_metrics(calibration), "metrics by category")
            + _ranked(calibration.metrics.metrics, "at or beyond the threshold"),
        ),
        ("What each threshold would keep", _judged(calibration)),
        (
            "Selection rules",
            f"<p>{escape(calibration.rules.why)}. A rule is ranked by the share of frames that it keeps.</p>"
            + _ranked(calibration.rules.metrics, "stacks of which at least that share is kept"),
        ),
    ]
    left_out = {**calibration.metrics.left_out, **calibration.rules.left_out}
    if left_out:
        sections.append(("Not ranked", table(list(left_out.items()))))
    sections += [
        (f"{stack.category}: {stack.name}", _of_stack(stack, calibration.metrics)) for stack in _some(calibration)
    ]
    return page("Calibration against references", time.time(), notes, sections)


def _some(calibration: ReferenceCalibration) -> Iterable[ScoredStack]:
    """Yield the stacks to draw: all, or as many of each category."""
    each = _SHOWN_STACKS if len(calibration.stacks) <= _SHOWN_STACKS else _SHOWN_STACKS // len(CATEGORIES)
    for category in CATEGORIES:
        yield from [stack for stack in calibration.stacks if stack.category == category][:each]


def _of_stack(stack: ScoredStack, ranking: Ranking) -> str:
    numbers = [(name, f"{value:.4g}") for name, value in stack.metrics.items()]
    return (
        f"<p>{escape(stack.source)}</p>"
        + _image(draw_reference_stack(stack, ranking), f"{stack.name}: curves, correlations, frames")
        + f"<details><summary>Numbers</summary>{table(numbers)}</details>"
    )


def _ranked(ranks: Sequence[MetricRank], what: str) -> str:
    header = ("", "AUC", "Kendall tau-b", "p", "threshold", "leave-one-out", *(f"{c} kept" for c in CATEGORIES))
    rows = [
        (
            rank.name,
            _interval(rank.auc, rank.auc_interval),
            _interval(rank.kendall_tau, rank.kendall_interval),
            f"{rank.p_value:.3g}",
            ("≥ " if rank.higher_is_better else "≤ ") + _interval(rank.threshold, rank.threshold_interval),
            f"{rank.loo_correct} of {rank.loo_n}",
            *(f"{kept} of {n}" for kept, n in zip(rank.kept, rank.n, strict=True)),
        )
        for rank in ranks
    ]
    return (
        table(rows, header) + f"<p>Kept: {what}. p: chance of such an AUC if labels meant nothing, one metric.</p>"
    )


def _judged(calibration: ReferenceCalibration) -> str:
    """Say of each reference and metric whether the reference is kept, and how many of its frames would be."""
    ranks = calibration.metrics.metrics
    rows: list[Sequence[str]] = []
    for stack in calibration.stacks:
        cells = [_kept(rank, stack.metrics, stack) for rank in ranks]
        rows.append((stack.name, stack.category, *cells))
    header = ("", "", *(rank.name.replace("_", " ") for rank in ranks))
    return (
        f'<div style="overflow-x:auto;font-size:80%">{table(rows, header)}</div>'
        "<p>✓ kept, ✗ left out; then, for scores of frames, how many frames lie on the good side.</p>"
    )


def _kept(rank: MetricRank, metrics: Mapping[str, float], stack: ScoredStack) -> str:
    if not np.isfinite(metrics[rank.name]):
        return "–"
    mark = "✓" if bool(rank.keeps(metrics[rank.name])) else "✗"
    profile = stack.profiles.get(rank.name)
    if profile is None or profile.size < 2:
        return mark
    return f"{mark} {int(rank.keeps(profile).sum())}/{profile.size}"


def _interval(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    if not math.isfinite(value):
        return "–"
    # Adding zero makes -0 one.
    return f"{value + 0.0:.3g} ({low + 0.0:.3g} to {high + 0.0:.3g})"
