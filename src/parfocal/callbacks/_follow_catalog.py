"""Which raw runs the catalog holds, and what a follower tells of each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bluesky_tiled_plugins import BlueskyRun
from tiled.client.container import Container
from tiled.queries import Comparison

from parfocal.callbacks._analysis import RunOutcome
from parfocal.callbacks._replay_run import NamedDocument, Replayed
from parfocal.catalog import Catalog


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


def documents_of(catalog: Catalog, uid: str) -> list[NamedDocument]:
    """Return the documents of a raw run in the live order."""
    run: BlueskyRun = Container.__getitem__(catalog.shelf("raw"), uid)  # pyright: ignore[reportAssignmentType]
    return list(catalog.documents(run))


def followed(
    done: RunOutcome | Replayed, analysis: str, start: Mapping[str, Any], stopped_s: float | None
) -> FollowedRun:
    """Return the line to tell of a run that came live, or was taken from the catalog."""
    if isinstance(done, RunOutcome):
        uid, mode = done.raw_uid, "live"
        status = "no_images" if not done.derived_uid else "done" if done.exit_status == "success" else "failed"
    else:
        uid, mode = done.uid, "replay"
        status = "done" if done.status == "skipped" else done.status
    return FollowedRun(
        uid,
        analysis,
        status,
        mode,
        done.derived_uid,
        done.verdict,
        done.reason,
        start.get("scan_id"),
        None if stopped_s is None else round(max(0.0, time.time() - stopped_s), 3),
    )
