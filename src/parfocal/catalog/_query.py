"""What people ask a catalog: which runs, of which sample, by which plan, with which verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, cast

import pandas as pd
from bluesky_tiled_plugins import BlueskyRun
from tiled.queries import Comparison, Key, Like

from parfocal.catalog._live_order import NamedDocument, live_order
from parfocal.catalog._shelves import Shelf, Shelves
from parfocal.catalog._where import When, Where, queries, timestamp_s
from parfocal.errors import BadInputError

_COLUMNS = ["uid", "scan_id", "time", "plan", "sample", "instrument", "exit_status", "duration_s", "n_events"]
_ANALYSIS_COLUMNS = ["analysis", "version", "verdict", "raw_uid"]


def runs(
    catalog: Shelves,
    *,
    sample: str | None = None,
    plan: str | None = None,
    since: When | None = None,
    until: When | None = None,
    scan_id: int | None = None,
    uid: str | None = None,
    instrument: str | None = None,
    analysis: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    verdict: str | None = None,
    where: Where | None = None,
    shelf: Shelf | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Return the runs that fit all that is asked, newest first. The server does the searching.

    Parameters
    ----------
    sample
        `start["sample"]`, or its `name` where the sample is a mapping.
    plan
        `start["plan_name"]`.
    since, until
        Start time: seconds since the epoch, a datetime, or text such as "2026-03-01 14:30" or "today"; local
        time where no zone is given. `since` is included, `until` is not.
    scan_id
        `start["scan_id"]`.
    uid
        The uid or how it begins.
    instrument
        `start["instrument"]`.
    analysis
        Name of an analysis, `start["parfocal"]["analysis"]`.
    parameters
        Values of parameters of an analysis, by name; a dot in a name goes one level down.
    verdict
        Of an analysis, `stop["parfocal"]["verdict"]`.
    where
        Conditions on any key of the start document, or of the stop document after `stop.`: texts such as
        `"sample.age_h>=36"`, with one of `=`, `!=`, `<`, `<=`, `>`, `>=`, `~` (text with `*` and `?`); or a
        mapping of keys to values. A dot goes one level down. A run without the key fits no condition on it.
    shelf
        "raw" or "analysis". None: analysis when `analysis`, `parameters` or `verdict` is asked for, else raw.
    limit
        At most so many, the newest; None for all.

    Returns
    -------
    pandas.DataFrame
        One row a run: uid, scan_id, time (with the local zone), plan, sample, instrument, exit_status
        (None while it runs), duration_s (NaN while it runs), n_events (all streams). For analyses also
        analysis, version, verdict, raw_uid.

    Raises
    ------
    BadInputError
        When a time or a condition cannot be read.
    """
    derived = analysis is not None or bool(parameters) or verdict is not None
    place: Shelf = shelf or ("analysis" if derived else "raw")
    # Any: Tiled's search returns what it was called on, which its types do not say.
    results: Any = catalog.shelf(place).sort(("start.time", -1))
    for key, value in (
        ("start.plan_name", plan),
        ("start.scan_id", scan_id),
        ("start.instrument", instrument),
        ("start.parfocal.analysis", analysis),
        ("stop.parfocal.verdict", verdict),
        *((f"start.parfocal.parameters.{name}", value) for name, value in (parameters or {}).items()),
    ):
        if value is not None:
            results = results.search(Key(key) == value)
    if uid is not None:
        results = results.search(Like("start.uid", f"{uid}%"))
    if since is not None:
        results = results.search(Comparison("ge", "start.time", timestamp_s(since)))
    if until is not None:
        results = results.search(Comparison("lt", "start.time", timestamp_s(until)))
    for query in queries(where or ()):
        results = results.search(query)
    if sample is None:
        found = _metadata(results, limit)
    else:  # Tiled joins questions by "and" only: two, at the same time
        either = [results.search(Key(key) == sample) for key in ("start.sample", "start.sample.name")]
        with ThreadPoolExecutor(len(either)) as both:
            plain, named = both.map(partial(_metadata, limit=limit), either)
        found = sorted([*plain, *named], key=lambda run: run["start"]["time"], reverse=True)[:limit]
    columns = _COLUMNS + (_ANALYSIS_COLUMNS if place == "analysis" else [])
    table = pd.DataFrame([_row(run) for run in found], columns=columns)
    zone = datetime.now().astimezone().tzinfo
    table["time"] = pd.to_datetime(table["time"], unit="s", utc=True).dt.tz_convert(zone)
    return table


def run(catalog: Shelves, which: str | int | BlueskyRun) -> BlueskyRun:
    """Return one run: by uid or its first characters (at least 5), by scan_id, or -1 or "newest" for the newest.

    Raw runs are looked through first, then analyses; whole numbers mean raw runs.

    Raises
    ------
    BadInputError
        When there is none, or more than one.
    """
    if not isinstance(which, str | int):
        return which
    asked = which
    if isinstance(which, str) and (which == "newest" or re.fullmatch(r"-?\d{1,4}", which)):
        which = -1 if which == "newest" else int(which)
    problem = "there is none"
    shelves = (catalog.raw,) if isinstance(which, int) else (catalog.raw, catalog.analysis)
    for shelf in shelves:
        try:
            return cast("BlueskyRun", shelf[which])
        except (KeyError, IndexError):
            continue
        except ValueError as error:  # too short, or fits several
            problem = str(error)
    raise BadInputError(f"Run {asked!r}: {problem}. `parfocal runs` lists what is there.")


def analyses_of(catalog: Shelves, which: str | int | BlueskyRun) -> list[BlueskyRun]:
    """Return the runs derived from a raw run, oldest first."""
    uid = run(catalog, which).start["uid"]
    return list(catalog.analysis.search(Key("start.parfocal.raw.uid") == uid).values())


def raw_of(catalog: Shelves, which: str | int | BlueskyRun) -> BlueskyRun:
    """Return the raw run that an analysis was derived from.

    Raises
    ------
    BadInputError
        When the run names none, or the one it names is not there.
    """
    derived = which if not isinstance(which, str | int) else _analysis(catalog, which)
    ours = derived.start.get("parfocal") or {}
    uid = (cast("dict[str, Any]", ours).get("raw") or {}).get("uid")
    if uid is None:
        raise BadInputError(f"Run {derived.start['uid']} names no raw run: it is not an analysis.")
    return run(catalog, uid)


def documents(catalog: Shelves, which: str | int | BlueskyRun) -> Iterable[NamedDocument]:
    """Yield a stored run's documents in the order of a live run; see `live_order`."""
    return live_order(run(catalog, which).documents())


def _analysis(catalog: Shelves, which: str | int) -> BlueskyRun:
    return cast("BlueskyRun", catalog.analysis[which]) if isinstance(which, int) else run(catalog, which)


def _metadata(results: Any, limit: int | None) -> list[Mapping[str, Any]]:
    clients = results.values() if limit is None else results.values().head(limit)
    return [client.metadata for client in clients]


def _row(metadata: Mapping[str, Any]) -> dict[str, Any]:
    start: Mapping[str, Any] = metadata["start"]
    stop: Mapping[str, Any] = metadata.get("stop") or {}
    sample = start.get("sample")
    ours = start.get("parfocal") or {}
    raw = ours.get("raw") or {}
    return {
        "uid": start["uid"],
        "scan_id": start.get("scan_id"),
        "time": start["time"],
        "plan": start.get("plan_name"),
        "sample": sample.get("name") if isinstance(sample, Mapping) else sample,
        "instrument": start.get("instrument"),
        "exit_status": stop.get("exit_status"),
        "duration_s": stop["time"] - start["time"] if stop else float("nan"),
        "n_events": sum((stop.get("num_events") or {}).values()),
        "analysis": ours.get("analysis"),
        "version": ours.get("version"),
        "verdict": (stop.get("parfocal") or {}).get("verdict"),
        "raw_uid": raw.get("uid") if isinstance(raw, Mapping) else raw,
    }
