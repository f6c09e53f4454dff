"""Which runs of the catalog an analysis still owes a result, and how it takes one from there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bluesky_tiled_plugins import BlueskyRun
from tiled.client.container import Container
from tiled.queries import Comparison, Key

from parfocal.callbacks._analysis import Analysis, RunOutcome
from parfocal.callbacks._follow_place import WantedAnalysis
from parfocal.callbacks._replay import analysis_named
from parfocal.callbacks._run_view import image_key
from parfocal.catalog import Catalog, CatalogWriter, remote_frames
from parfocal.frames import FrameRing, Frames

MOST_FAILURES = 2
MOST_DEATHS = 3


@dataclass(frozen=True)
class FollowedRun:
    """What became of one raw run and one analysis.

    `status` is `done`, `failed` (with the reason) or `no_images`; `mode` says whether its documents came as it
    went on, or from the catalog. `behind_s` is how long after the end of the raw run the result was there.
    """

    raw_uid: str
    analysis: str
    status: Literal["done", "failed", "no_images"]
    mode: Literal["live", "replay"]
    derived_uid: str = ""
    verdict: str = ""
    reason: str = ""
    scan_id: int | None = None
    behind_s: float | None = None


@dataclass(frozen=True)
class Standing:
    """What the catalog holds of one analysis of one raw run, of the same hash.

    Attributes
    ----------
    good : str
        Uid of the derived run that came to a good end; empty for none.
    latest : str
        Uid of the newest one, which a new one supersedes.
    n_failed, n_deaths : int
        How many ended as `fail`, and how many with the process that made them.
    """

    good: str = ""
    latest: str = ""
    n_failed: int = 0
    n_deaths: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether there is a good result, or trying again would be in vain."""
        return bool(self.good) or self.n_failed >= MOST_FAILURES or self.n_deaths >= MOST_DEATHS


def uids_since(catalog: Catalog, since_s: float) -> list[str]:
    """Return the raw runs that began since then, oldest first: their keys only, which is quick."""
    found: Any = catalog.raw.search(Comparison("ge", "start.time", since_s))
    return [str(uid) for uid in found.keys()]


def metadata_of(catalog: Catalog, uid: str) -> Mapping[str, Any] | None:
    """Return start and stop documents of a raw run, None where the catalog does not hold it."""
    try:
        run: Any = Container.__getitem__(catalog.shelf("raw"), uid)  # the shelf's own would look for beginnings
    except KeyError:
        return None
    return run.metadata


def standing(catalog: Catalog, uid: str, analysis: Analysis) -> Standing:
    """Return what the catalog holds of an analysis of a raw run."""
    found: Any = catalog.analysis.search(Key("start.parfocal.raw.uid") == uid)
    good, latest, n_failed, n_deaths = "", "", 0, 0
    for run in found.search(Key("start.parfocal.analysis") == analysis.name).values():
        start, stop = run.metadata["start"], run.metadata.get("stop") or {}
        raw = start["parfocal"]["raw"]
        if start["parfocal"]["parameters_hash"] != analysis.hash_for(uid, raw["stream"], raw["data_key"]):
            continue
        latest = start["uid"]
        good = latest if stop.get("exit_status") == "success" else good
        n_failed += stop.get("exit_status") == "fail"
        n_deaths += "recovered" in stop.get("parfocal", {})
    return Standing(good, latest, n_failed, n_deaths)


def take(
    catalog: Catalog,
    uid: str,
    wanted: WantedAnalysis,
    writer: CatalogWriter,
    supersedes: str,
) -> RunOutcome:
    """Send a run that has ended from the catalog through an analysis.

    Raises
    ------
    Exception
        Whatever the catalog raises while the run is read: nothing was written then.
    """
    run: BlueskyRun = Container.__getitem__(catalog.shelf("raw"), uid)  # pyright: ignore[reportAssignmentType]
    documents = list(catalog.documents(run))
    start = documents[0][1]
    analysis = analysis_named(
        wanted.name,
        wanted.parameters,
        emit=writer,
        frames=Frames(FrameRing(1), remote_frames(catalog, documents)),
        frames_root=catalog.folder.frames,
        mode="replay",
        overflow="wait",
        queue_size=100,
        supersedes=supersedes,
    )
    outcomes: list[RunOutcome] = []
    analysis.on_closed(outcomes.append)
    try:
        if not any(
            name == "descriptor" and doc["name"] == analysis.stream and image_key(doc, start)
            for name, doc in documents
        ):
            return RunOutcome(uid)
        for name, doc in documents:
            analysis(name, doc)
        analysis.drain()
    finally:
        analysis.close()
    (outcome,) = outcomes
    return outcome


def followed(
    outcome: RunOutcome,
    analysis: str,
    mode: Literal["live", "replay"],
    start: Mapping[str, Any],
    stopped_s: float | None,
) -> FollowedRun:
    """Return the line to tell of an outcome."""
    status = "no_images" if not outcome.derived_uid else "done" if outcome.exit_status == "success" else "failed"
    return FollowedRun(
        outcome.raw_uid,
        analysis,
        status,
        mode,
        outcome.derived_uid,
        outcome.verdict,
        outcome.reason,
        start.get("scan_id"),
        None if stopped_s is None else round(max(0.0, time.time() - stopped_s), 3),
    )
