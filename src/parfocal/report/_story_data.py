"""A story as plain values, for programs."""

from __future__ import annotations

from typing import Any

from parfocal.report._calibration_report import calibration_report
from parfocal.report._characterization_report import characterization_report
from parfocal.report._story import DerivedStory, RunStory, Story
from parfocal.report._story_slices import Look
from parfocal.sealed_json import plain

_NOT_TOLD = frozenset(
    ("uid", "time", "plan_name", "sample", "scan_id", "instrument", "operator", "versions", "hints")
)


def story_data(story: Story) -> dict[str, Any]:
    """Return a story as plain values; what is unknown is null.

    Returns
    -------
    dict
        `report`, `version`, `since`, `until`, `made` (s since 1970), `summary` (counts), `runs`, `incidents`,
        `remarks`. A run has its numbers and documents, `slices` (a verdict a frame that was judged), `lock` (as
        `lock_report`), `calibration` (as `calibration_report`), `nuclei`, `puncta`, `failures` and `derived`.
    """
    return plain(
        {
            "report": "parfocal story",
            "version": 1,
            "since": story.since_s,
            "until": story.until_s,
            "made": story.made_s,
            "summary": summary(story),
            "runs": [_run(run) for run in story.runs],
            "incidents": [vars(one) for one in story.incidents],
            "remarks": list(story.remarks),
        }
    )


def summary(story: Story) -> dict[str, Any]:
    """Return the counts that stand at the top of the page."""
    runs = story.runs
    reports = [run.focus.report["summary"] for run in runs if run.focus is not None and run.focus.report]
    counted = [(r["in_lock_fraction"], r["n_frames"] - r.get("n_held", 0)) for r in reports]
    n_locked = sum(n for _, n in counted)
    in_lock = sum(fraction * n for fraction, n in counted if fraction is not None)
    slices = [run.slices for run in runs if run.slices is not None]
    return {
        "n_runs": len(runs),
        "n_succeeded": sum(run.exit_status == "success" for run in runs),
        "n_frames": sum(run.n_frames for run in runs),
        "n_rejected": sum(one.n_rejected for one in slices),
        "n_retaken": sum(one.n_retaken for one in slices),
        "in_lock_fraction": in_lock / n_locked if n_locked else None,
        "n_held": sum(r.get("n_held", 0) for r in reports),
        **{
            f"n_{key}": sum(run.counts.get(key, 0) for run in runs)
            for key in ("nuclei", "tracks", "calcium_events")
        },
        "n_analyses": sum(one.counts for run in runs for one in run.derived),
        "n_analyses_failed": sum(is_failed(one) for run in runs for one in run.derived),
        "n_incidents": len(story.incidents),
    }


def is_failed(derived: DerivedStory) -> bool:
    """Say whether an analysis came to a bad end, or was cut off, and nothing replaced it."""
    return derived.stop.get("exit_status") != "success" and not derived.superseded_by


def parameters_of(run: RunStory) -> dict[str, Any]:
    """Return what a run was told: the plan's arguments and whatever else its start document says."""
    return {key: value for key, value in run.start.items() if key not in _NOT_TOLD}


def _run(run: RunStory) -> dict[str, Any]:
    return {
        "uid": run.uid,
        "scan_id": run.start.get("scan_id"),
        "plan": run.plan,
        "sample": run.sample,
        "operator": run.start.get("operator"),
        "instrument": run.start.get("instrument"),
        "time": run.began_s,
        "duration_s": run.duration_s,
        "exit_status": run.exit_status,
        "reason": run.stop.get("reason", ""),
        "simulated": list(run.simulated),
        "n_frames": run.n_frames,
        "num_events": dict(run.stop.get("num_events") or {}),
        "versions": dict(run.start.get("versions") or {}),
        "parameters": parameters_of(run),
        "camera": {
            key: value for key, value in run.camera.items() if not isinstance(value, list) or len(value) < 16
        },
        "failures": [vars(one) for one in run.failures],
        "lock": run.focus.report or None if run.focus is not None else None,
        "calibration": calibration_report(run.calibration) if run.calibration is not None else None,
        "characterization": (
            characterization_report(run.characterization) if run.characterization is not None else None
        ),
        "slices": [_look(look) for look in run.slices.verdicts] if run.slices is not None else [],
        "counts": dict(run.counts),
        "nuclei": [
            {**one.stack, "derived": one.derived_uid, "shown_plane": one.plane, "n_in_plane": len(one.outlines)}
            for one in run.nuclei
        ],
        "puncta": [{**one.numbers, "derived": one.derived_uid, "place": list(one.place)} for one in run.puncta],
        "derived": [_derived(one) for one in run.derived],
    }


def _look(look: Look) -> dict[str, Any]:
    return {key: value for key, value in vars(look).items() if key != "pixels"}


def _derived(one: DerivedStory) -> dict[str, Any]:
    about = one.about
    return {
        "uid": one.start["uid"],
        **{key: about.get(key) for key in ("analysis", "version", "parameters", "parameters_hash", "mode")},
        "calibration": about.get("calibration") or None,
        "time": one.start["time"],
        "exit_status": one.stop.get("exit_status", "not closed"),
        "reason": one.stop.get("reason", ""),
        "holds": dict(one.holds),
        "verdict": one.verdict,
        "supersedes": about.get("supersedes"),
        "superseded_by": one.superseded_by or None,
        "counts": one.counts,
    }
