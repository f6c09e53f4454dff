"""One stored run through one analysis: done once, whoever else does it at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from parfocal.callbacks._analysis import Analysis, RunOutcome
from parfocal.callbacks._claims import Claims
from parfocal.callbacks._run_view import image_key
from parfocal.callbacks._standing import IsOwed, standings
from parfocal.catalog import Catalog, CatalogWriter, recover_result, remote_frames
from parfocal.frames import FrameRing, Frames, FramesMirror

NamedDocument = tuple[str, dict[str, Any]]
MakeAnalysis = Callable[..., Analysis]


@dataclass(frozen=True)
class Replayed:
    """What became of one run.

    `status` is `done`, `skipped` (the same analysis with the same parameters exists), `no_images`, or
    `failed`, with the reason. `derived_uid` is the derived run's, empty where there is none.
    """

    uid: str
    status: Literal["done", "skipped", "no_images", "failed"]
    derived_uid: str = ""
    reason: str = ""
    verdict: str = ""


def replay_run(
    uid: str,
    documents: list[NamedDocument],
    make: MakeAnalysis,
    catalog: Catalog,
    writer: CatalogWriter,
    claims: Claims,
    is_owed: IsOwed,
    *,
    batch: str = "",
    begun: str = "",
    is_over: Callable[[], bool] = lambda: False,
) -> Replayed:
    """Send the documents of a stored run through an analysis, unless its result is there.

    Whoever wants a result from the catalog gets it here, `replay` and `follow` alike, and of those that want the
    same at once one makes it: the result is claimed, what a process that died has left of it is recovered, and
    then the catalog is asked.

    Parameters
    ----------
    documents
        In the live order.
    make
        Makes the analysis.
    is_owed
        Says by what the catalog holds whether to do it.
    batch
        Marks results: one of the same batch is this call's own, of a worker that died before it could say so, and
        is not superseded by it.
    begun
        Uid of what was begun of the result live and came to no good end, and may not be in the catalog yet: the
        result supersedes it.
    is_over
        Says whether to wait no longer for another process that makes the same result.

    Raises
    ------
    CatalogError
        It is over; or results do not reach the catalog.
    Exception
        Whatever the catalog raises when it is asked: nothing was written then.
    """
    if documents[-1][0] != "stop":
        return Replayed(uid, "failed", reason="the run goes on, or was cut off: parfocal recover ends it then")
    # Found on this machine's disk, or else in its mirror, or else asked of the server.
    mirror = FramesMirror.from_environment(catalog.folder.frames)
    frames = Frames(FrameRing(1), remote_frames(catalog, documents), mirror=mirror)
    known_as = ""

    def emit(name: str, doc: dict[str, Any]) -> None:
        writer(name, doc)
        if name == "start":
            claims.made(known_as, doc["uid"])

    analysis = make(
        emit=emit,
        emit_rows=writer.append_rows,
        frames=frames,
        mode="replay",
        overflow="wait",
    )
    analysis.frames_root = catalog.folder.frames
    analysis.batch = batch
    outcomes: list[RunOutcome] = []
    analysis.on_closed(outcomes.append)
    try:
        target = _target(documents, analysis)
        if target is None:
            return Replayed(uid, "no_images", reason=f"stream {analysis.stream!r} holds no images")
        known_as = analysis.hash_for(uid, *target)
        with claims.held(known_as, is_over):
            recovered = recover_result(catalog, known_as)
            left = [run.uid for run in recovered if run.exit_status != "success" and not run.table]
            standing = standings(catalog, [uid], analysis)[uid]
            if standing.good and batch and standing.batch == batch:
                return Replayed(uid, "done", standing.good)
            if not is_owed(standing):
                return Replayed(uid, "skipped", standing.good or standing.latest)
            analysis.supersedes = begun or standing.latest or (left[-1] if left else "")
            frames.expect(*_frames_asked_for(documents, *target))
            for name, doc in documents:
                analysis(name, doc)
            analysis.drain()
    finally:
        analysis.close()
    (outcome,) = outcomes
    if not outcome.derived_uid:
        return Replayed(uid, "no_images", reason="no frame was found")
    status = "done" if outcome.exit_status == "success" else "failed"
    return Replayed(uid, status, outcome.derived_uid, outcome.reason, outcome.verdict)


def in_a_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _frames_asked_for(documents: list[NamedDocument], stream: str, key: str) -> tuple[str, list[int]]:
    """Return address and indices of the frames that an analysis will look at, in that order."""
    ours = {doc["uid"]: doc for name, doc in documents if name == "descriptor" and doc["name"] == stream}
    resources = {
        doc["uid"]: doc for name, doc in documents if name == "stream_resource" and doc["data_key"] == key
    }
    address = next((doc["uri"] for doc in resources.values()), "")
    if any(f"{key}_frame" in doc["data_keys"] for doc in ours.values()):
        events = (doc for name, doc in documents if name == "event" and doc["descriptor"] in ours)
        return address, [int(doc["data"].get(f"{key}_frame", doc["seq_num"] - 1)) for doc in events]
    datums = [doc for name, doc in documents if name == "stream_datum" and doc["descriptor"] in ours]
    datums = [doc["indices"] for doc in datums if doc["stream_resource"] in resources]
    return address, [index for one in datums for index in range(one["start"], one["stop"])]


def _target(documents: list[NamedDocument], analysis: Analysis) -> tuple[str, str] | None:
    start = documents[0][1]
    for name, doc in documents:
        if name == "descriptor" and doc["name"] == analysis.stream and (key := image_key(doc, start)):
            return analysis.stream, key
    return None
