"""One stored run through one analysis: done once, whoever else does it at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tiled.queries import Key

from parfocal.callbacks._analysis import Analysis
from parfocal.callbacks._run_view import image_key
from parfocal.catalog import Catalog, CatalogWriter, claim, recover_result, remote_frames
from parfocal.frames import FrameRing, Frames, FramesMirror

NamedDocument = tuple[str, dict[str, Any]]
IfDone = Literal["skip", "supersede"]
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


def replay_run(
    uid: str,
    read: Callable[[], list[NamedDocument]],
    make: MakeAnalysis,
    catalog: Catalog,
    writer: CatalogWriter,
    if_done: IfDone,
    claims: contextlib.ExitStack,
    batch: str = "",
) -> Replayed:
    """Replay one run, unless its result is there; the result stays claimed until `claims` is closed.

    `read` returns the run's documents in the live order. Close `claims` when `writer` has drained. `batch` marks
    results: one of the same batch is this call's own, of a worker that died before it could say so, and is not
    superseded by it.
    """
    try:
        documents = read()
    except Exception as error:  # one run that cannot be read must not keep the others
        return Replayed(uid, "failed", reason=in_a_line(error))
    derived: list[tuple[str, dict[str, Any]]] = []

    def emit(name: str, doc: dict[str, Any]) -> None:
        if name in ("start", "stop"):
            derived.append((name, doc))
        writer(name, doc)

    # Found on this machine's disk, or else in its mirror, or else asked of the server.
    mirror = FramesMirror.from_environment(catalog.folder.frames)
    frames = Frames(FrameRing(1), remote_frames(catalog, documents), mirror=mirror)
    analysis = make(emit=emit, emit_rows=writer.append_rows, frames=frames, mode="replay", overflow="wait")
    analysis.frames_root = catalog.folder.frames
    analysis.batch = batch
    try:
        target = _target(documents, analysis)
        if target is None:
            return Replayed(uid, "no_images", reason=f"stream {analysis.stream!r} holds no images")
        known_as = analysis.hash_for(uid, *target)
        claims.enter_context(claim(catalog.folder, known_as))
        left = [
            run.uid for run in recover_result(catalog, known_as) if run.exit_status != "success" and not run.table
        ]
        existing, its_batch = _existing(catalog, known_as)
        if existing and batch and its_batch == batch:
            return Replayed(uid, "done", existing)
        if existing and if_done == "skip":
            return Replayed(uid, "skipped", existing)
        analysis.supersedes = existing or (left[-1] if left else "")
        frames.expect(*_frames_asked_for(documents, *target))
        for name, doc in documents:
            analysis(name, doc)
        analysis.drain()
    finally:
        analysis.close()
    if not derived:
        return Replayed(uid, "no_images", reason="no frame was found")
    stop = derived[-1][1]
    failed = stop.get("exit_status") != "success"
    return Replayed(uid, "failed" if failed else "done", derived[0][1]["uid"], stop.get("reason", ""))


def in_a_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _existing(catalog: Catalog, parameters_hash: str) -> tuple[str, str]:
    """Return uid and batch of the newest good result of this hash; empty where there is none."""
    found = catalog.analysis.search(Key("start.parfocal.parameters_hash") == parameters_hash)
    good = found.search(Key("stop.exit_status") == "success")
    runs: list[Any] = list(good.sort(("start.time", -1)).values().head(1))
    if not runs:
        return "", ""
    start = runs[0].metadata["start"]
    return str(start["uid"]), str(start["parfocal"].get("batch", ""))


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
