"""The report of a characterization: the numbers as JSON, and the curves and maps as one picture and page."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.catalog import Catalog
from parfocal.devices import CharacterizationShelf
from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.focus import Characterization
from parfocal.report._page import page, table
from parfocal.sealed_json import plain

_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#999999"  # Okabe and Ito
_TITLES = {
    "camera": "Camera: photon transfer",
    "stage": "Stage: steps, play and sign",
    "latency": "Latency",
    "pixel_size": "Pixel size",
}


@dataclass(frozen=True, eq=False)
class CharacterizationRun:
    """A characterization, with its maps, and the documents of the run it was made in."""

    start: Mapping[str, Any]
    stop: Mapping[str, Any]
    found: Characterization


def read_characterization_run(catalog: Catalog, which: str) -> CharacterizationRun:
    """Read a run of `characterize_...`; its maps from the data folder.

    Raises
    ------
    BadInputError
        It is no such run, did not come to its end, or its file is gone from the data folder.
    """
    run: Any = catalog.run(which)
    start = run.metadata["start"]
    if "characterization" not in run:
        raise BadInputError(
            f"run {start['uid'][:8]} has no characterization: is it one of characterize_..., and did it end?"
        )
    sha256 = str(np.asarray(run["characterization"].read()["characterization_sha256"])[-1])
    kept = CharacterizationShelf(catalog.folder.characterizations).find(sha256)
    return CharacterizationRun(start, run.metadata.get("stop") or {}, kept.found)


def characterization_report(run: CharacterizationRun) -> dict[str, Any]:
    """Return the report as plain values; what is unknown is null."""
    found = run.found
    return plain(
        {
            "report": "parfocal characterization",
            "version": 1,
            "run": {
                "uid": run.start.get("uid", ""),
                "time": run.start.get("time"),
                "plan": run.start.get("plan_name", ""),
                "instrument": run.start.get("instrument", ""),
                "exit_status": run.stop.get("exit_status", ""),
            },
            "simulated": [name for name, is_so in dict(run.start.get("simulated") or {}).items() if is_so],
            "kind": found.kind,
            "sha256": found.sha256,
            "is_usable": found.is_usable,
            "why_not": found.why_not(),
            "about": dict(found.about),
            "numbers": dict(found.numbers),
            "issues": [{"severity": severity, "message": message} for severity, message in found.issues],
        }
    )


def characterization_table(found: Characterization) -> list[tuple[str, str]]:
    """Return the numbers as a person reads them: with their standard errors, in units of their size."""
    n = found.numbers

    def of(name: str, unit: str, scale: float = 1.0, digits: int = 3) -> str:
        value = n.get(name)
        if not isinstance(value, int | float) or not np.isfinite(value):
            return "–"
        stem, _, suffix = name.rpartition("_")
        # `<stem>_se_<unit>`; of a unit in two words, the name before both
        se = next((n[k] for k in (f"{stem}_se_{suffix}", _se_name(name)) if k in n), None)
        shown = f"{scale * value:.{digits}g}"
        if isinstance(se, int | float) and np.isfinite(se):
            places = max(0, 1 - int(np.floor(np.log10(abs(scale * se))))) if se > 0 else digits
            shown = f"{scale * value:.{places}f} ± {scale * se:.{places}f}"
        return f"{shown} {unit}".strip()

    if found.kind == "camera":
        return [
            ("offset", f"{of('offset_adu', 'ADU', digits=4)}, {of('offset_sd_adu', 'ADU')} from pixel to pixel"),
            ("gain", f"{of('gain_adu_per_e', 'ADU/e-')}, {100 * n['gain_scatter']:.2g} % from pixel to pixel"),
            ("read noise", f"{of('read_noise_e', 'e-')} (median), {of('read_noise_rms_e', 'e-')} (rms)"),
            ("noisy pixels", f"{n['n_hot']} of {n['height_px']} x {n['width_px']}"),
            ("dark current", of("dark_current_e_per_s", "e-/s")),
            ("largest value", f"{n['saturation_adu']:g} ADU, {'seen' if n['is_saturation_seen'] else 'as told'}"),
            ("straight to", of("nonlinearity", "%", 100)),
        ]
    if found.kind == "stage":
        sign = {1: "larger z looks deeper", -1: "larger z comes nearer", 0: "not known"}[int(n["z_sign"])]
        return [
            ("delay", of("delay_s", "ms", 1e3)),
            ("rise (10 to 90 %)", of("rise_s", "ms", 1e3)),
            ("settling", of("settling_s", "ms", 1e3)),
            ("overshoot", of("overshoot_um", "nm", 1e3)),
            ("readback noise", of("noise_um", "nm", 1e3)),
            ("backlash", of("backlash_um", "nm", 1e3)),
            ("signal over z", of("signal_slope_per_um", "per um") + f" ({n['expected_slope']})"),
            ("z", sign),
        ]
    if found.kind == "latency":
        return [
            ("command to motion", of("command_to_motion_s", "ms", 1e3)),
            ("trigger to exposure", of("trigger_to_exposure_s", "ms", 1e3)),
            ("exposure to frame", of("exposure_to_read_s", "ms", 1e3)),
            ("the slowest frame", of("exposure_to_read_max_s", "ms", 1e3)),
        ]
    if not n:
        return []
    return [
        ("pixel size", of("pixel_size_um", "um")),
        ("along y, x", f"{n['pixel_size_y_um']:.5g}, {n['pixel_size_x_um']:.5g} um"),
        (
            "stage to camera",
            f"turned by {n['rotation_deg']:.2f}°, {'mirrored' if n['is_mirrored'] else 'not mirrored'}",
        ),
        ("sheared by", of("shear_rad", "mrad", 1e3)),
        ("left over", of("residual_px", "px")),
    ]


def write_characterization_report(run: CharacterizationRun, folder: Path) -> tuple[Path, ...]:
    """Write `<kind>.json`, `.html`, `.png` and `.svg` into a folder; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = run.found.kind
    report = characterization_report(run)
    told, shown = folder / f"{kind}.json", folder / f"{kind}.html"
    picture = draw_characterization(run.found, folder / f"{kind}.png")
    drawn = draw_characterization(run.found, folder / f"{kind}.svg")
    with write_atomically(told) as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with write_atomically(shown) as temporary:
        temporary.write_text(_page(run, report, picture.read_bytes()), encoding="utf-8")
    return told, shown, picture, drawn


def draw_characterization(found: Characterization, path: Path) -> Path:
    """Draw what a characterization comes from, as PNG or SVG by the file's name; return where it was written."""
    with write_atomically(path) as temporary:
        temporary.write_bytes(_drawn(found, path.suffix[1:]))
    return path


def characterization_html(found: Characterization) -> str:
    """Return a characterization as part of a page: its numbers, and the picture of what they come from."""
    image = base64.b64encode(_drawn(found, "png")).decode("ascii")
    picture = f'<img alt="{found.kind}" style="width:100%;height:auto" src="data:image/png;base64,{image}">'
    return f"{table(characterization_table(found))}<figure>{picture}</figure>"


def characterization_title(found: Characterization) -> str:
    """Return what a characterization is called: its kind, and what it is about."""
    about = (str(found.about.get(key) or "") for key in ("camera", "serial", "axis"))
    return f"{_TITLES[found.kind]} ({', '.join(filter(None, about))})"


def _drawn(found: Characterization, form: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    {"camera": _camera, "stage": _stage, "latency": _latency, "pixel_size": _pixel_size}[found.kind](figure, found)
    verdict = "" if found.is_usable else f": not for use: {found.why_not()}"
    figure.suptitle(f"{_TITLES[found.kind]} {found.sha256[:12]}{verdict}", fontsize=10, wrap=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=form)
    return drawn.getvalue()


def _round_ticks(values: NDArray[np.float64]) -> list[float]:
    """Return 1, 2 and 5 times powers of ten within values above 0; of many, the powers of ten."""
    low, high = float(values.min()), float(values.max())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]
    return [t for t in ticks if math.log10(t).is_integer()] if len(ticks) > 5 else ticks


def _camera(figure: Any, found: Characterization) -> None:
    from matplotlib.ticker import NullFormatter

    grid: Any = figure.subplots(2, 3)
    (curve, line, spread), maps = grid
    flat = [row for row in found.rows if row["part"] == "flat"]
    signal, variance, expected, dose = (
        np.array([row[key] for row in flat])
        if key != "dose"
        else np.array([r["exposure_s"] * r["light"] for r in flat])
        for key in ("signal_adu", "variance_adu2", "expected_adu2", "dose")
    )
    lit = signal > 0 if len(flat) else np.zeros(0, np.bool_)
    if lit.any():
        signal, variance, expected, dose = (values[lit] for values in (signal, variance, expected, dose))
        curve.loglog(signal, variance, "o", ms=4, color=_BLUE)
        curve.loglog(signal, expected, lw=1, color=_ORANGE)
        curve.xaxis.set_minor_formatter(NullFormatter())  # over less than a decade they lie on each other
        curve.set_xticks(_round_ticks(signal), [f"{tick:g}" for tick in _round_ticks(signal)])
        curve.tick_params(axis="x", labelsize=8)
        line.plot(dose, signal, "o", ms=4, color=_BLUE)
        line.plot(dose, dose * float(np.median(signal / dose)), lw=1, color=_ORANGE)
    curve.set_xlabel("signal (ADU)")
    curve.set_ylabel("variance (ADU²)")
    line.set_xlabel("exposure x light (s)")
    line.set_ylabel("signal (ADU)")
    read = found.maps.get("read_noise_e")
    if read is not None:
        spread.hist(np.asarray(read).ravel(), bins=80, log=True, color=_GREY)
    spread.set_xlabel("read noise (e-)")
    spread.set_ylabel("pixels")
    names = (
        ("offset_adu", "offset (ADU)"),
        ("gain_adu_per_e", "gain (ADU/e-)"),
        ("read_noise_e", "read noise (e-)"),
    )
    for axis, (name, label) in zip(maps, names):
        values = found.maps.get(name)
        if values is None:
            axis.set_axis_off()
            continue
        step = max(1, values.shape[0] // 512)
        low, high = np.percentile(values, (1, 99))
        shown = axis.imshow(values[::step, ::step], vmin=low, vmax=max(high, low + 1e-6), cmap="viridis")
        figure.colorbar(shown, ax=axis, shrink=0.8)
        axis.set_title(label, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    _plain(curve, line, spread)


def _stage(figure: Any, found: Characterization) -> None:
    grid: Any = figure.subplots(1, 2)
    steps, sides = grid
    for row in found.rows:
        if row["part"] == "step":
            position = np.asarray(row["position_um"])
            done = (position - (position[-1] - row["step_um"])) / row["step_um"]
            steps.plot(1e3 * np.asarray(row["t_s"]), done, lw=0.8, color=_BLUE, alpha=0.5)
    steps.axvline(1e3 * found.numbers["settling_s"], lw=1, color=_ORANGE, label="settled")
    lasts_s = max((float(row["t_s"][-1]) for row in found.rows if row["part"] == "step"), default=0.0)
    settled_s = float(found.numbers["settling_s"])
    if np.isfinite(settled_s) and 0 < 4 * settled_s < lasts_s:  # what comes after is all rest
        steps.set_xlim(-0.1e3 * settled_s, 4e3 * settled_s)
    steps.set_xlabel("time from the command (ms)")
    steps.set_ylabel("share of the step")
    steps.legend(fontsize=8, frameon=False, loc="lower right")
    rows = [row for row in found.rows if row["part"] == "side"]
    for side, colour, name in ((-1, _BLUE, "from below"), (1, _ORANGE, "from above")):
        chosen = [row for row in rows if row["side"] == side]
        at = [row["t_s"] - rows[0]["t_s"] for row in chosen]
        sides.plot(at, [1e3 * row["moved_um"] for row in chosen], "o", ms=4, color=colour, label=name)
    sides.set_xlabel("time (s)")
    sides.set_ylabel("where the picture says it stands (nm)")
    sides.legend(fontsize=8, frameon=False, loc="center right")
    _plain(steps, sides)


def _latency(figure: Any, found: Characterization) -> None:
    axis: Any = figure.subplots()
    after = np.array([row["after_s"] for row in found.rows])
    moved = np.array([row["at_um"] * row["up"] for row in found.rows])
    axis.plot(1e3 * after, 1e3 * moved, "o", ms=4, color=_BLUE)
    axis.axvline(1e3 * found.numbers["command_to_motion_s"], lw=1, color=_ORANGE, label="as if sudden")
    low, high = np.percentile(after, (10, 90)) if after.size else (0.0, 1.0)
    margin = 0.5 * (high - low)
    outside = int(((after < low - margin) | (after > high + margin)).sum())
    axis.set_xlim(1e3 * (low - margin), 1e3 * (high + margin))
    if outside:  # the computer was busy just then
        axis.set_title(f"{outside} of {after.size} frames lie outside", fontsize=8)
    axis.set_xlabel("middle of the exposure after the command (ms)")
    axis.set_ylabel("moved along the step (nm)")
    axis.legend(fontsize=8, frameon=False, loc="upper left")
    _plain(axis)


def _pixel_size(figure: Any, found: Characterization) -> None:
    axis: Any = figure.subplots()
    moved = np.array([(row["moved_x_px"], row["moved_y_px"]) for row in found.rows]).reshape(-1, 2)
    axis.plot(moved[:, 0], moved[:, 1], "o", ms=4, color=_BLUE, label="seen")
    n = found.numbers
    if n:
        at = np.array([(row["y_um"], row["x_um"]) for row in found.rows])
        at = at - at[0]
        told_y = n["px_y_per_um_y"] * at[:, 0] + n["px_y_per_um_x"] * at[:, 1]
        told_x = n["px_x_per_um_y"] * at[:, 0] + n["px_x_per_um_x"] * at[:, 1]
        axis.plot(told_x, told_y, "+", ms=8, color=_ORANGE, label="by the stage")
    axis.set_xlabel("x (px)")
    axis.set_ylabel("y (px)")
    axis.set_aspect("equal")
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
    _plain(axis)


def _plain(*axes: Any) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)


def _se_name(name: str) -> str:
    """Return where the standard error of `gain_adu_per_e` stands: `gain_se_adu_per_e`."""
    first, _, rest = name.partition("_")
    if name.startswith(("dark_current_", "pixel_size_", "signal_slope_")):
        first, rest = name.rsplit("_e_per_s", 1)[0] if "e_per_s" in name else name.rsplit("_", 1)[0], ""
        if name == "dark_current_e_per_s":
            return "dark_current_se_e_per_s"
        if name == "signal_slope_per_um":
            return "signal_slope_se_per_um"
        return f"{first}_se_um"
    return f"{first}_se_{rest}"


def _page(run: CharacterizationRun, report: dict[str, Any], picture: bytes) -> str:
    found = run.found
    notes = [f"Simulated: {', '.join(report['simulated'])}."] if report["simulated"] else []
    notes += [message for severity, message in found.issues if severity != "tells"]
    image = base64.b64encode(picture).decode("ascii")
    told = [(key, "–" if value is None else str(value)) for key, value in report["numbers"].items()]
    sections = [
        ("What was found", table(characterization_table(found))),
        (
            "Where it comes from",
            f'<figure><img alt="{found.kind}" style="width:100%" src="data:image/png;base64,{image}"></figure>',
        ),
        ("Holds for", table([(key, str(value)) for key, value in found.about.items()])),
        ("All numbers", table([*told, ("SHA-256", found.sha256), ("run", report["run"]["uid"])])),
    ]
    return page(f"{_TITLES[found.kind]} {found.sha256[:12]}", report["run"]["time"], notes, sections)
