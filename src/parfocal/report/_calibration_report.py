"""The report of a calibration: a plot a person can judge it by, and the numbers as JSON and HTML."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.catalog import Catalog
from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.fitting import Calibration, calibration_from_json, calibration_hash
from parfocal.report._page import page, table
from parfocal.sealed_json import plain

_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#999999"  # Okabe and Ito


@dataclass(frozen=True, eq=False)
class CalibrationRun:
    """A calibration, and the documents of the run it was made in.

    Attributes
    ----------
    start, stop : mapping
        Documents of the run; empty where the calibration came from a file.
    calibration : Calibration
        What came out.
    """

    start: Mapping[str, Any]
    stop: Mapping[str, Any]
    calibration: Calibration


def read_calibration_run(catalog: Catalog, which: str) -> CalibrationRun:
    """Read a run of `calibrate_focus`, with what the analysis `focus_calibration` made of it.

    Raises
    ------
    BadInputError
        It is no such run, or was not analysed.
    """
    run: Any = catalog.run(which)
    start = run.metadata["start"]
    analyses: list[Any] = catalog.analyses_of(run)
    for derived in reversed(analyses):
        if derived.metadata["start"].get("parfocal", {}).get("analysis") == "focus_calibration":
            if "calibration" not in derived:
                continue
            text = str(np.asarray(derived["calibration"].read()["json"])[-1])
            return CalibrationRun(start, run.metadata.get("stop") or {}, calibration_from_json(text, start["uid"]))
    raise BadInputError(
        f"run {start['uid'][:8]} has no calibration: is it of calibrate_focus? "
        f"`parfocal replay {start['uid'][:8]} --analysis focus_calibration` fits it again"
    )


def calibration_report(run: CalibrationRun) -> dict[str, Any]:
    """Return the report of a calibration as plain values; what is unknown is null."""
    c = run.calibration
    return plain(
        {
            "report": "parfocal focus calibration",
            "version": 1,
            "run": {
                "uid": run.start.get("uid", ""),
                "time": run.start.get("time"),
                "instrument": run.start.get("instrument", ""),
                "exit_status": run.stop.get("exit_status", ""),
            },
            "simulated": _simulated(run),
            "sha256": calibration_hash(c),
            "kind": c.kind,
            "is_armable": c.is_armable,
            "why_not": c.why_not(),
            "focus_um": c.focus_um,
            "usable_um": c.usable_um,
            "swept_um": c.swept_um,
            "r2": c.r2,
            "orders": c.orders,
            "theta_rad": c.model.theta_rad if c.model is not None else None,
            "hysteresis": asdict(c.hysteresis) if c.hysteresis is not None else None,
            "n_steps": len(c.steps),
            "n_fitted": int(c.steps.is_parametric.sum()),
            "n_used": int(c.is_used.sum()),
            "n_failed_moves": c.n_failed_moves,
            "facts": asdict(c.facts),
            "issues": [asdict(issue) for issue in c.issues],
        }
    )


def write_calibration_report(run: CalibrationRun, folder: Path) -> tuple[Path, Path, Path]:
    """Write `calibration_report.json`, `.html` and `calibration.png` into a folder; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    report = calibration_report(run)
    told, shown = folder / "calibration_report.json", folder / "calibration_report.html"
    picture = draw_calibration(run.calibration, folder / "calibration.png")
    with write_atomically(told) as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with write_atomically(shown) as temporary:
        temporary.write_text(_page(report, picture.read_bytes()), encoding="utf-8")
    return told, shown, picture


def draw_calibration(calibration: Calibration, path: Path) -> Path:
    """Draw widths over z, their ratio, and what the model leaves, as a PNG; return where it was written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    c, steps = calibration, calibration.steps
    figure = Figure(figsize=(9.0, 6.4), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid: Any = figure.subplots(2, 2)
    origin_um = c.focus_um if np.isfinite(c.focus_um) else float(np.mean(steps.z_um))
    z_um = steps.z_um - origin_um
    (widths, ratio), (signal, light) = grid
    fine_um = np.linspace(z_um.min(), z_um.max(), 300)
    for k, (name, colour) in enumerate((("sigma x", _BLUE), ("sigma y", _ORANGE))):
        _points(widths, z_um, steps.sigma_px[:, k], c, colour, name)
        if c.model is not None:
            widths.plot(fine_um, c.model.widths_px(fine_um)[k], color=colour, lw=1)
    widths.set_ylabel("width (px)")
    widths.legend(fontsize=8, frameon=False, loc="upper center")
    q = np.log(steps.sigma_px[:, 0] / steps.sigma_px[:, 1])
    _points(ratio, z_um, q, c, _GREEN, "")
    if c.model is not None:
        ratio.plot(fine_um, c.model.q(fine_um), color=_GREEN, lw=1)
    ratio.set_ylabel("ln(sigma x / sigma y)")
    _points(signal, z_um, steps.signal, c, _BLUE, "")
    if c.signal_model is not None:
        low, high = c.signal_model.signal_range
        told = np.linspace(low, high, 200)
        signal.plot(c.signal_model.z_um(told), told, color=_BLUE, lw=1, label=c.signal_model.kind)
        signal.legend(fontsize=8, frameon=False, loc="upper left")
    signal.set_ylabel("signal of the moments")
    _points(light, z_um, steps.photons, c, _GREY, "")
    light.set_ylabel("photons")
    light.set_ylim(bottom=0)
    for axis in grid.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel("z from focus (um)")
        if c.usable_um is not None:
            axis.axvspan(*c.usable_um, color=_GREEN, alpha=0.08, lw=0)
    verdict = "fit to lock with" if c.is_armable else f"not fit to lock with: {c.why_not()}"
    figure.suptitle(f"Calibration {calibration_hash(c)[:12]} ({c.kind}): {verdict}", fontsize=10, wrap=True)
    canvas.draw()
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _points(axis: Any, z_um: Any, values: Any, c: Calibration, colour: str, name: str) -> None:
    """Draw what the model was fitted to as triangles, up or down as the sweep went; what it was not as crosses."""
    used, up = c.is_used, c.steps.direction > 0
    for chosen, marker, label in ((used & up, "^", name), (used & ~up, "v", ""), (~used, "x", "")):
        axis.plot(z_um[chosen], values[chosen], marker, ms=4, color=colour, label=label or None, alpha=0.8)


def _simulated(run: CalibrationRun) -> list[str]:
    told = run.start.get("simulated")
    if isinstance(told, Mapping):
        return [str(name) for name, is_simulated in told.items() if is_simulated]
    return ["microscope"] if "simulate" in str(run.start.get("instrument", "")) else []


def _page(report: dict[str, Any], picture: bytes) -> str:
    usable = report["usable_um"]
    notes = [f"Simulated: {', '.join(report['simulated'])}."] if report["simulated"] else []
    if not report["is_armable"]:
        notes.append(f"Not fit to lock with: {report['why_not']}")
    image = base64.b64encode(picture).decode("ascii")
    sections = [
        (
            "Sweep",
            f'<figure><img alt="widths over z" style="width:100%" src="data:image/png;base64,{image}"></figure>',
        ),
        (
            "Numbers",
            table(
                [
                    ("Model", report["kind"], ", ".join(o for o in report["orders"] if o)),
                    ("Focus", _um(report["focus_um"]), "the stage's z during the sweep"),
                    (
                        "Usable range",
                        "–" if usable is None else f"{_um(usable[0])} to {_um(usable[1])}",
                        "from focus",
                    ),
                    (
                        "Steps",
                        f"{report['n_used']} used, {report['n_fitted']} fitted, {report['n_steps']} in all",
                        "",
                    ),
                    ("SHA-256", report["sha256"], ""),
                    ("Run", report["run"]["uid"] or "–", ""),
                ]
            ),
        ),
        (
            "Issues",
            table(
                [(issue["code"], issue["severity"], issue["message"]) for issue in report["issues"]],
                header=("code", "", ""),
            )
            if report["issues"]
            else "<p>None.</p>",
        ),
        (
            "Light path",
            table([(name, str(value)) for name, value in report["facts"].items() if value not in (None, "")]),
        ),
    ]
    return page(f"Focus calibration {report['sha256'][:12]}", report["run"]["time"], notes, sections)


def _um(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f} um"
