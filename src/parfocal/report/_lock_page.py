"""The report of a lock as one HTML page."""

from __future__ import annotations

from typing import Any

from parfocal.report._lock_events import explain
from parfocal.report._lock_figures import draw_lock
from parfocal.report._lock_run import LockRun
from parfocal.report._numbers import ms, nm, percent
from parfocal.report._page import page, table


def lock_page(run: LockRun, report: dict[str, Any]) -> str:
    """Return the page; `report` is what `lock_report` says of the run."""
    about, simulated = report["run"], report["simulated"]
    notes = [f"Simulated: {', '.join(simulated)}. No hardware was held."] if simulated else []
    if about["exit_status"] != "success":
        notes.append(f"The run ended as {about['exit_status']}: {about['reason'] or 'no reason was given'}")
    sections = [
        ("How well it held", _summary(report["summary"])),
        *draw_lock(run),
        ("Latency", _latency(report["latency_s"])),
        ("What spoke", _safeguards(report["safeguards"])),
        ("Events", _events(report)),
        ("Run", _run(report)),
        ("Options", table([(name, str(value)) for name, value in report["settings"].items()])),
    ]
    return page(f"Focus lock {about['uid'][:8]}", about["time"], notes, sections)


def _summary(s: dict[str, Any]) -> str:
    ratio, out_s, rate_hz = s["rms_over_bound"], s["longest_out_s"], s["frame_rate_hz"]
    photons = s["median_photons"]
    return table(
        [
            (
                "In lock",
                percent(s["in_lock_fraction"]),
                "of the frames since it first locked in which no plan held it",
            ),
            ("Held by a plan", str(s.get("n_held", 0)), "frames, in which z was beyond what is calibrated"),
            (
                "RMS of the focus",
                nm(s["rms_focus_um"]),
                "about its setpoint, a frame's noise taken off; locked frames",
            ),
            ("Kalman bound", nm(s["bound_um"]), "what the best linear lock reaches with this walk and noise"),
            ("RMS over bound", "–" if ratio is None else f"{ratio:.2f}", "1 is as good as can be"),
            ("SD of measured z", nm(s["rms_z_um"]), "one frame's noise is in it"),
            ("Noise of z", nm(s["noise_um"]), "one frame, as it was"),
            ("Standard error of z", nm(s["median_z_se_um"]), "the same as stated: median"),
            (
                "RMS of the lock's estimate",
                nm(s["rms_error_um"]),
                "less than the focus is off: it moves until this is 0",
            ),
            ("Walk of the focus", nm(s["walk_um"]), "a frame; 0 where noise hides it, and then there is no bound"),
            ("Photons", "–" if photons is None else f"{photons:.0f}", "median"),
            ("Losses, faults, recoveries", f"{s['n_losses']}, {s['n_faults']}, {s['n_recoveries']}", ""),
            ("Longest between locked frames", "–" if out_s is None else f"{out_s:.3f} s", ""),
            ("Frames", str(s["n_frames"]), f"{s['n_dropped']} more were lost or passed over"),
            ("Rate", "–" if rate_hz is None else f"{rate_hz:.1f} Hz", ""),
        ]
    )


def _latency(latency_s: dict[str, Any]) -> str:
    return table(
        [(part.replace("_", " "), *(ms(value) for value in values)) for part, values in latency_s.items()],
        header=("from the middle of the exposure", "median", "95 %", "99 %"),
    )


def _safeguards(spoke: dict[str, int]) -> str:
    if not spoke:
        return "<p>No safeguard spoke.</p>"
    rows = [(code, str(count), explain(code)) for code, count in spoke.items()]
    return table(rows, header=("code", "frames", ""))


def _events(report: dict[str, Any]) -> str:
    began_s = report["run"]["time"] or 0.0
    rows = [
        (f"{e['t_s'] - began_s:.2f} s", str(e["frame"]), e["code"], nm(e["error_um"]), e["words"])
        for e in report["events"]
    ]
    more = report["n_events"] - len(rows)
    return table(rows, header=("since the start", "frame", "", "error", "")) + (
        f"<p>{more} more.</p>" if more else ""
    )


def _run(report: dict[str, Any]) -> str:
    about, calibration = report["run"], report["calibration"]
    return table(
        [
            ("Run", about["uid"], about["plan"]),
            ("Instrument", about["instrument"], ""),
            ("Ended as", about["exit_status"], about["reason"]),
            ("Calibration", calibration["sha256"] or "–", "SHA-256"),
            ("Calibrated in run", calibration["run_uid"] or "–", ""),
            ("Law, measure", f"{report['law']}, {report['measure'] or 'not told'}", ""),
            ("Exposure", ms(report["exposure_s"]), ""),
            ("Region", ", ".join(map(str, report["roi_px"])) or "–", "y, x, height, width, px"),
        ]
    )
