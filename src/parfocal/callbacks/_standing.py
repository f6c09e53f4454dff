"""What the catalog holds of an analysis of raw runs: whether one is owed a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tiled.queries import In, Key

from parfocal.callbacks._analysis import Analysis
from parfocal.catalog import Catalog

MOST_FAILURES = 2
MOST_DEATHS = 3
IfDone = Literal["skip", "supersede"]


@dataclass(frozen=True)
class Standing:
    """What the catalog holds of one analysis of one raw run, of the same hash.

    Attributes
    ----------
    good, batch : str
        Uid of the newest derived run that came to a good end, and the batch of it; empty for none.
    latest : str
        Uid of the newest one, which a new one supersedes.
    n_failed, n_deaths : int
        How many ended as `fail`, and how many with the process that made them.
    """

    good: str = ""
    batch: str = ""
    latest: str = ""
    n_failed: int = 0
    n_deaths: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether there is a good result, or trying again would be in vain."""
        return bool(self.good) or self.n_failed >= MOST_FAILURES or self.n_deaths >= MOST_DEATHS


IsOwed = Callable[[Standing], bool]


def owed_unless_settled(standing: Standing) -> bool:
    """Say whether who follows owes a run a result."""
    return not standing.is_settled


def owed_unless_good(standing: Standing) -> bool:
    """Say whether a replay that skips what was done has something to do."""
    return not standing.good


def owed_always(standing: Standing) -> bool:
    """Say that it is to be done again."""
    del standing
    return True


def is_owed(if_done: IfDone) -> IsOwed:
    """Return what decides, by a word."""
    return owed_unless_good if if_done == "skip" else owed_always


def standings(catalog: Catalog, uids: Sequence[str], analysis: Analysis) -> dict[str, Standing]:
    """Return what the catalog holds of an analysis of each of some raw runs: one question for all of them."""
    asked: Any = (
        Key("start.parfocal.raw.uid") == uids[0] if len(uids) == 1 else In("start.parfocal.raw.uid", [*uids])
    )
    found: Any = catalog.analysis.search(asked).search(Key("start.parfocal.analysis") == analysis.name)
    held = {uid: Standing() for uid in uids}
    known_as: dict[tuple[str, str, str], str] = {}
    for run in found.values():  # the oldest first
        start, stop = run.metadata["start"], run.metadata.get("stop") or {}
        raw = start["parfocal"]["raw"]
        target = (raw["uid"], raw["stream"], raw["data_key"])
        if target not in known_as:
            known_as[target] = analysis.hash_for(*target)
        if start["parfocal"]["parameters_hash"] == known_as[target]:
            held[raw["uid"]] = _with(held[raw["uid"]], start, stop)
    return held


def _with(standing: Standing, start: dict[str, Any], stop: dict[str, Any]) -> Standing:
    status = stop.get("exit_status")
    standing = replace(
        standing,
        latest=start["uid"],
        n_failed=standing.n_failed + (status == "fail"),
        n_deaths=standing.n_deaths + ("recovered" in stop.get("parfocal", {})),
    )
    if status != "success":
        return standing
    return replace(standing, good=start["uid"], batch=str(start["parfocal"].get("batch", "")))
