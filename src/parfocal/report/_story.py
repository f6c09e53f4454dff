"""What happened in a run, or in a night, read from the catalog alone: the data behind the page."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from parfocal.catalog import Catalog, timestamp_s
from parfocal.errors import BadInputError
from parfocal.report._calibration_report import CalibrationRun, read_calibration_run
from parfocal.report._characterization_report import CharacterizationRun, read_characterization_run
from parfocal.report._story_focus import FocusStory, read_best_planes, read_focus
from parfocal.report._story_nuclei import NucleiStory, read_nuclei
from parfocal.report._story_puncta import PunctaStory, read_puncta
from parfocal.report._story_reading import Reading, columns_of
from parfocal.report._story_slices import SlicesShown, read_slices

SUPERVISOR = "supervisor"
_NIGHT_S = 24 * 3600.0  # a supervisor began at most that long before what is asked for
_AFTER_S = 60.0  # an incident of one run may be told when the run is over
_DETAILED, _THUMBNAILS, _LEAST_THUMBNAILS, _MOST_THUMBNAILS = 40, 300, 8, 60


@dataclass(frozen=True)
class Failure:
    """A point of a run that failed, as stream `failures` tells it."""

    t_s: float
    where: str
    action: str
    reason: str


@dataclass(frozen=True)
class Incident:
    """What the supervisor of a queue met, and did about it.

    Attributes
    ----------
    t_s, lasted_s : float
        When it was seen, seconds since 1970; how long until its outcome, s.
    kind, what : str
        Such as `worker_died`; in one line.
    item, plan : str
        Uid and plan of the queue item that it befell; empty for none.
    action, outcome : str
        What was done, in order; what came of it.
    run_uids : tuple of str
        Runs that were cut off or failed.
    """

    t_s: float
    kind: str
    what: str
    item: str = ""
    plan: str = ""
    action: str = ""
    outcome: str = ""
    run_uids: tuple[str, ...] = ()
    lasted_s: float = 0.0


@dataclass(frozen=True)
class DerivedStory:
    """An analysis of a run.

    Attributes
    ----------
    start, stop : mapping
        Its documents; `stop` is empty while it goes on.
    superseded_by : str
        Uid of the derived run that replaces it; empty where it counts.
    holds : mapping
        How many rows each stream and table has of one that did not come to a good end; -1 for not known.
    """

    start: Mapping[str, Any]
    stop: Mapping[str, Any]
    superseded_by: str = ""
    holds: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def about(self) -> Mapping[str, Any]:
        """What the start document says of the analysis: name, version, parameters, their hash, mode."""
        return self.start.get("parfocal") or {}

    @property
    def verdict(self) -> str:
        """One word for the whole run; empty where it has none."""
        return str((self.stop.get("parfocal") or {}).get("verdict") or "")

    @property
    def counts(self) -> bool:
        """Whether it came to a good end and nothing replaces it."""
        return not self.superseded_by and self.stop.get("exit_status") == "success"


@dataclass(frozen=True, eq=False)
class RunStory:
    """One run: its documents, what was found in it, and what failed.

    Attributes
    ----------
    start, stop : mapping
        Its documents; `stop` is empty while it runs, or where it was cut off.
    camera : mapping
        Configuration of the camera of its frames, by fact: `exposure_s`, `pixel_size_um` ...
    derived : tuple of DerivedStory
        Oldest first.
    failures : tuple of Failure
    focus, calibration, characterization, slices : optional
        Where the run has a lock, is of `calibrate_focus`, of `characterize_...`, has frames.
    nuclei, puncta : tuple
        One a stack, one a place; not all of very many.
    counts : mapping
        Nuclei, tracks and calcium events of the whole run, where they were looked for.
    """

    start: Mapping[str, Any]
    stop: Mapping[str, Any]
    camera: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    derived: tuple[DerivedStory, ...] = ()
    failures: tuple[Failure, ...] = ()
    focus: FocusStory | None = None
    best_planes: tuple[tuple[float, float], ...] = ()
    calibration: CalibrationRun | None = None
    characterization: CharacterizationRun | None = None
    slices: SlicesShown | None = None
    nuclei: tuple[NucleiStory, ...] = ()
    puncta: tuple[PunctaStory, ...] = ()
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def uid(self) -> str:
        """Uid of the run."""
        return str(self.start["uid"])

    @property
    def plan(self) -> str:
        """Name of the plan."""
        return str(self.start.get("plan_name") or "?")

    @property
    def sample(self) -> str:
        """Name of the sample; empty where none is told."""
        told: Any = self.start.get("sample")
        return str(told.get("name") or "") if isinstance(told, Mapping) else str(told or "")

    @property
    def began_s(self) -> float:
        """When, seconds since 1970."""
        return float(self.start["time"])

    @property
    def duration_s(self) -> float | None:
        """How long; None where it was not closed."""
        return float(self.stop["time"]) - self.began_s if self.stop else None

    @property
    def exit_status(self) -> str:
        """`success`, `abort`, `fail`, or `not closed`."""
        return str(self.stop.get("exit_status") or "not closed")

    @property
    def n_frames(self) -> int:
        """Frames of the run, as many as its events of `primary`, `sweep`, or `frames` of a characterization."""
        counts: Mapping[str, int] = self.stop.get("num_events") or {}
        return int(next((counts[name] for name in ("primary", "sweep", "frames") if name in counts), 0))

    @property
    def simulated(self) -> tuple[str, ...]:
        """What was no hardware, in words."""
        told: Any = self.start.get("simulated")
        if isinstance(told, Mapping):
            return tuple(str(name) for name, is_simulated in told.items() if is_simulated)
        is_simulated = "simulate" in str(self.start.get("instrument", "")) or self.camera.get("simulated") is True
        return ("microscope",) if is_simulated else ()


@dataclass(frozen=True, eq=False)
class Story:
    """Everything that a page tells.

    Attributes
    ----------
    since_s, until_s : float
        The time that is told of, seconds since 1970.
    runs : tuple of RunStory
        Oldest first.
    incidents : tuple of Incident
        Of the supervisor, oldest first.
    remarks : tuple of str
        What could not be read, and what was left out.
    made_s : float
        When it was read.
    """

    since_s: float
    until_s: float
    runs: tuple[RunStory, ...]
    incidents: tuple[Incident, ...] = ()
    remarks: tuple[str, ...] = ()
    made_s: float = 0.0


def read_story(
    catalog: Catalog,
    uids: Iterable[str] | None = None,
    *,
    since: float | str | None = None,
    until: float | str | None = None,
) -> Story:
    """Read what happened in some runs, or in all of a stretch of time.

    Parameters
    ----------
    catalog : Catalog
    uids : iterable of str, optional
        Runs: uid, its beginning, scan id or `newest`; of an analysis, the run that it was made from.
    since, until : float or str, optional
        Instead: all runs that began in this time, as `Catalog.runs` takes it.

    Returns
    -------
    Story
        What cannot be read, such as frames that are gone, is left out, and `remarks` says so.

    Raises
    ------
    BadInputError
        There is no such run, or none in that time; or neither or both were asked for.
    """
    if (uids is None) == (since is None):
        raise BadInputError("read_story: runs, or the time since when, were expected, and not both")
    if uids is not None:
        found = [_raw(catalog, which) for which in dict.fromkeys(uids)]
        runs: dict[str, Any] = {str(run.metadata["start"]["uid"]): run for run in found}
    else:
        table = catalog.runs(since=since, until=until)
        runs = {str(uid): catalog.run(str(uid)) for uid in table["uid"]}
    told = sorted(
        (run for run in runs.values() if run.metadata["start"].get("plan_name") != SUPERVISOR),
        key=lambda run: run.metadata["start"]["time"],
    )
    remarks: list[str] = []
    n_thumbnails = min(_MOST_THUMBNAILS, max(_LEAST_THUMBNAILS, _THUMBNAILS // max(len(told), 1)))
    detailed = set(_most_telling(told, _DETAILED))
    if len(told) > len(detailed):
        remarks.append(
            f"{len(told)} runs: pictures and traces are shown of {len(detailed)}, first of those that failed, "
            "then of the newest; `parfocal report RUN` shows any"
        )
    stories = tuple(
        _run_story(Reading(catalog, run, remarks), n_thumbnails, is_detailed=k in detailed)
        for k, run in enumerate(told)
    )
    times_s = [t for run in runs.values() for t in _times(run)]
    if not times_s:
        raise BadInputError(
            f"no run since {since}{f' until {until}' if until else ''}: `parfocal runs` lists them"
        )
    until_s = max(times_s)
    # What went wrong before the first run began belongs to the night that was asked for.
    begin_s = min(times_s) if since is None else min(timestamp_s(since), *times_s)
    whole = {uid for uid, run in runs.items() if run.metadata["start"].get("plan_name") == SUPERVISOR}
    incidents = _incidents(catalog, begin_s, until_s, whole, remarks)
    since_s = min(*times_s, *(one.t_s for one in incidents), until_s)
    return Story(since_s, until_s, stories, incidents, tuple(remarks), time.time())


def _times(run: Any) -> tuple[float, ...]:
    start, stop = run.metadata["start"], run.metadata.get("stop") or {}
    if start.get("plan_name") == SUPERVISOR:  # it may have waited for hours
        return (float(start["time"]),)
    return float(start["time"]), float(stop.get("time", start["time"]))


def _raw(catalog: Catalog, which: str) -> Any:
    run: Any = catalog.run(which)
    about = run.metadata["start"].get("parfocal") or {}
    raw = about.get("raw")
    return catalog.run(str(raw["uid"])) if isinstance(raw, Mapping) and "uid" in raw else run


def _most_telling(runs: list[Any], most: int) -> list[int]:
    """Return which runs to tell in detail: those that failed, then the newest."""
    is_bad = [(run.metadata.get("stop") or {}).get("exit_status") != "success" for run in runs]
    return sorted(range(len(runs)), key=lambda k: (not is_bad[k], -k))[:most]


def _run_story(reading: Reading, n_thumbnails: int, *, is_detailed: bool) -> RunStory:
    start, stop = reading.start, reading.stop
    derived = _derived(reading)
    counting = [one for one, story in zip(reading.derived, derived) if story.counts]
    told: dict[str, Any] = {}
    is_calibration = start.get("plan_name") == "calibrate_focus"
    if is_calibration and counting:
        told["calibration"] = reading.attempt(
            "its calibration", lambda: read_calibration_run(reading.catalog, start["uid"])
        )
    if (start.get("parfocal") or {}).get("characterize") and "characterization" in reading.streams:
        told["characterization"] = reading.attempt(
            "its characterization", lambda: read_characterization_run(reading.catalog, start["uid"])
        )
    told["focus"] = reading.attempt("its focus lock", lambda: read_focus(reading))
    told["best_planes"] = reading.attempt("its best planes", lambda: read_best_planes(reading, counting)) or ()
    told["counts"] = reading.attempt("what was counted in it", lambda: _counts(counting)) or {}
    if not is_calibration:
        shown = n_thumbnails if is_detailed else 0
        told["slices"] = reading.attempt("its frames", lambda: read_slices(reading, counting, shown))
    if is_detailed:
        told["nuclei"] = reading.attempt("its nuclei", lambda: read_nuclei(reading, counting)) or ()
        told["puncta"] = reading.attempt("its puncta", lambda: read_puncta(reading, counting)) or ()
    failures = reading.attempt("its failures", lambda: _failures(reading)) or ()
    return RunStory(start, stop, reading.camera, derived, failures, **told)


def _derived(reading: Reading) -> tuple[DerivedStory, ...]:
    replaced = {
        str(run.metadata["start"]["parfocal"]["supersedes"]): str(run.metadata["start"]["uid"])
        for run in reading.derived
        if run.metadata["start"]["parfocal"].get("supersedes")
    }
    return tuple(
        DerivedStory(
            run.metadata["start"],
            run.metadata.get("stop") or {},
            replaced.get(str(run.metadata["start"]["uid"]), ""),
            reading.attempt("what its analyses hold", lambda run=run: _holds(reading.catalog, run)) or {},
        )
        for run in reading.derived
    )


def _holds(catalog: Catalog, run: Any) -> dict[str, int]:
    """Return what there is of an analysis that did not come to a good end."""
    stop: Mapping[str, Any] = run.metadata.get("stop") or {}
    if stop.get("exit_status") == "success":
        return {}
    counted: Mapping[str, int] = stop.get("num_events") or dict.fromkeys(map(str, run), -1)
    tables = catalog.list_tables(str(run.metadata["start"]["uid"]))
    rows: Mapping[str, int] = (stop.get("parfocal") or {}).get("tables") or {}
    return {
        **{str(stream): int(n) for stream, n in counted.items() if n},
        **{f"table {key}": int(rows.get(key, -1)) for key in tables},
    }


def _counts(derived: list[Any]) -> dict[str, int]:
    newest = {run.metadata["start"]["parfocal"]["analysis"]: run for run in derived}
    counts: dict[str, int] = {}
    if "nuclei" in newest and "stacks" in newest["nuclei"]:
        counts["nuclei"] = int(columns_of(newest["nuclei"], "stacks")["n_objects"].sum())
    if "puncta" in newest and "summary" in newest["puncta"]:
        said = columns_of(newest["puncta"], "summary")
        counts["tracks"] = int(said["n_tracks"].sum())
        counts["calcium_events"] = int(said["n_events"].sum() - said["n_waves"].sum())
    return counts


def _failures(reading: Reading) -> tuple[Failure, ...]:
    rows = reading.rows("failures")
    told: list[Failure] = []
    for row in rows:
        if "failure_step" in row:
            where = f"step {row['failure_step']}, z {float(row['failure_z_um']):+.3f} um"
            action = "passed over"
        else:
            name = str(row.get("failure_position_name") or "")
            where = f"position {row['failure_position']}{f' ({name})' if name else ''}, "
            where += f"time point {row['failure_time_point']}, attempt {row['failure_attempt']}"
            action = str(row["failure_action"])
        told.append(Failure(float(row["time"]), where, action, str(row["failure_reason"])))
    return tuple(told)


def _incidents(
    catalog: Catalog, since_s: float, until_s: float, whole: set[str], remarks: list[str]
) -> tuple[Incident, ...]:
    """Return the incidents of some supervisors, and those of any other that fall into the time."""
    table = catalog.runs(plan=SUPERVISOR, since=since_s - _NIGHT_S, until=until_s + _AFTER_S)
    told: list[Incident] = []
    for uid in table["uid"]:
        reading = Reading(catalog, catalog.run(str(uid)), remarks)
        for row in reading.attempt("its incidents", lambda reading=reading: reading.rows("incidents")) or ():
            one = _incident(row)
            if uid in whole or since_s <= one.t_s <= until_s + _AFTER_S:
                told.append(one)
    return tuple(sorted(told, key=lambda one: one.t_s))


def _incident(row: Mapping[str, Any]) -> Incident:
    told = {key: str(row[f"incident_{key}"] or "") for key in ("kind", "what", "plan", "action", "outcome")}
    runs = tuple(uid for uid in str(row["incident_run_uids"] or "").split(",") if uid)
    began_s, lasted_s = float(row["incident_began_s"]), float(row["incident_lasted_s"])
    return Incident(began_s, item=str(row["incident_item_uid"] or ""), run_uids=runs, lasted_s=lasted_s, **told)
