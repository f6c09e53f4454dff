"""Write what a killed process, a dead server or a full disk left in the write-ahead logs."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from tiled.client.container import Container

from parfocal.catalog._folder import DataFolder, as_folder
from parfocal.catalog._frames_on_disk import frames_on_disk, trim_frames
from parfocal.catalog._log import Document, LoggedDocument, is_being_written, read_header, read_log
from parfocal.catalog._open import Catalog, open_catalog
from parfocal.catalog._run_sink import RunSink
from parfocal.catalog._shelves import shelf_of
from parfocal.catalog._table_spool import SpooledRows, left_behind, remove_empty, send_left_behind
from parfocal.catalog._writer import delete_run, run_or_none
from parfocal.catalog._zarr_consolidator import ZARR_MIMETYPE
from parfocal.errors import CatalogError


@dataclass(frozen=True)
class RecoveredRun:
    """What became of one log.

    Attributes
    ----------
    outcome
        "written": the catalog now holds the run whole. "present": it did already. "failed": the log stays,
        `problem` says why. "running": a living process still writes it; left alone.
    exit_status
        Of the run: "abort" where its process ended before it did.
    n_events
        Events in the log, all of which are in the catalog unless it failed.
    n_frames_without_event
        Frames that are on disk though no document speaks of them: the last exposures before a kill. They
        stay on disk, at the end of their arrays.
    table
        Where it was rows of a result table that waited, rather than documents: its name.
    """

    uid: str
    outcome: Literal["written", "present", "failed", "running"]
    exit_status: str = ""
    n_events: int = 0
    n_frames_without_event: int = 0
    table: str = ""
    problem: str = ""


def recover(
    data: DataFolder | Path | str | None = None,
    catalog: Catalog | None = None,
    *,
    only: Callable[[Document], bool] = lambda start: True,
    opens: Callable[[DataFolder | Path | str | None], Catalog] = open_catalog,
) -> list[RecoveredRun]:
    """Bring every run that a write-ahead log still holds into the catalog, whole.

    An incomplete run in the catalog is deleted (never its frames) and written again from its log: a partial
    run cannot be appended to. A run without a stop document is closed as "abort". Arrays that were grown
    ahead are trimmed to the frames that are on disk. Calling it again does nothing.

    Parameters
    ----------
    data
        The data folder; None for the default one.
    catalog
        Where to write; None for `opens(data)`, opened only when there is something to write.
    only
        Takes a run's start document and says whether to recover it; others are left as they are.
    opens
        Opens the catalog: `open_catalog`, or `open_shared_catalog` for what a queue's worker has left.

    Returns
    -------
    list of RecoveredRun
        One a log, oldest first, then one a batch of rows.
    """
    folder = as_folder(data) if catalog is None or data is not None else catalog.folder
    results: list[RecoveredRun] = []
    with contextlib.ExitStack() as ours:
        for path in _oldest_first(folder.wal):
            try:
                if is_being_written(path):
                    results.append(RecoveredRun(path.stem, "running"))
                    continue
                logged = read_log(path)
            except FileNotFoundError:  # its run was written just now
                continue
            if not logged or logged[0].name != "start":  # killed before the first document was whole
                path.unlink(missing_ok=True)
                continue
            if not only(logged[0].doc):
                continue
            if catalog is None:
                catalog = ours.enter_context(opens(data))
            results.append(_recover_run(path, logged, catalog))
        waiting = left_behind(folder.spooled_tables)
        if waiting and catalog is None:
            catalog = ours.enter_context(opens(data))
        for spooled in waiting:
            results.append(_recover_rows(spooled, cast("Catalog", catalog)))
        remove_empty(folder.spooled_tables)
    return results


def _oldest_first(logs: Path) -> list[Path]:
    """Return the logs of a folder; what goes away meanwhile is no log any more."""
    found: list[tuple[float, Path]] = []
    for path in logs.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]


def recover_result(catalog: Catalog, parameters_hash: str) -> list[RecoveredRun]:
    """Bring what processes that died have left of one result of a replay into the catalog; see `recover`.

    Call it while the result is claimed: then nobody else writes one by replaying, and a log that another machine
    began, of which it cannot be known whether its process lives, is taken for left behind too.
    """
    results: list[RecoveredRun] = []
    for path in sorted(catalog.folder.wal.glob("*.jsonl")):
        try:
            if not _is_of_result(path, parameters_hash) or _is_written_here(path):
                continue
            logged = read_log(path)
        except FileNotFoundError:  # its writer is done with it
            continue
        results.append(_recover_run(path, logged, catalog))
    uids = {run.uid for run in results}
    for spooled in left_behind(catalog.folder.spooled_tables):
        if spooled.run_uid in uids or _hash_of(catalog, spooled.run_uid) == parameters_hash:
            results.append(_recover_rows(spooled, catalog))
    return results


def _is_written_here(path: Path) -> bool:
    header = read_header(path)
    return header is not None and header.host == socket.gethostname() and is_being_written(path)


def _hash_of(catalog: Catalog, run_uid: str) -> str:
    run = run_or_none(catalog.shelf("analysis"), run_uid)
    return "" if run is None else str(run.metadata["start"].get("parfocal", {}).get("parameters_hash", ""))


def _is_of_result(path: Path, parameters_hash: str) -> bool:
    if parameters_hash.encode() not in _beginning(path):  # reading is cheap, taking JSON apart is not
        return False
    first = next(iter(read_log(path)), None)
    ours = first.doc.get("parfocal", {}) if first is not None and first.name == "start" else {}
    return ours.get("parameters_hash") == parameters_hash and ours.get("mode") == "replay"


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline() + file.readline()


def _recover_rows(spooled: SpooledRows, catalog: Catalog) -> RecoveredRun:
    try:
        lacked = send_left_behind(spooled, catalog)
    except Exception as error:  # one bad file must not keep the others back
        return RecoveredRun(spooled.run_uid, "failed", table=spooled.key, problem=" ".join(str(error).split()))
    return RecoveredRun(spooled.run_uid, "written" if lacked else "present", table=spooled.key)


def _recover_run(path: Path, logged: list[LoggedDocument], catalog: Catalog) -> RecoveredRun:
    documents = [(entry.name, entry.doc) for entry in logged]
    uid: str = documents[0][1]["uid"]
    n_events = sum(_n_events(name, doc) for name, doc in documents)
    try:
        n_loose = _trim_arrays(documents)
        if documents[-1][0] != "stop":
            documents.append(("stop", _abort_document(documents, n_loose)))
        status = documents[-1][1]["exit_status"]
        shelf = catalog.shelf(shelf_of(documents[0][1]))
        if run_or_none(shelf, uid) is not None:
            if _holds_whole(shelf, documents):
                path.unlink(missing_ok=True)
                return RecoveredRun(uid, "present", status, n_events, n_loose)
            delete_run(shelf, uid)
        sink = RunSink(shelf)
        sink.write(documents)
        missing = sink.verify()
        if missing:
            raise CatalogError(f"it was written, but {missing}")
    except Exception as error:  # one bad log must not keep the others back
        return RecoveredRun(uid, "failed", n_events=n_events, problem=" ".join(str(error).split()))
    path.unlink(missing_ok=True)
    return RecoveredRun(uid, "written", status, n_events, n_loose)


def _holds_whole(shelf: Container, documents: list[tuple[str, Document]]) -> bool:
    expected = RunSink(shelf)
    expected.expect(documents)
    try:
        return not expected.verify()
    except KeyError:  # a stream is missing
        return False


def _n_events(name: str, doc: Document) -> int:
    return len(doc["seq_num"]) if name == "event_page" else int(name == "event")


def _trim_arrays(documents: Iterable[tuple[str, Document]]) -> int:
    """Trim each Zarr array to the frames on disk; return how many of those no document speaks of."""
    announced: dict[str, int] = defaultdict(int)
    arrays: dict[str, Document] = {}
    for name, doc in documents:
        if name == "stream_resource" and doc["mimetype"] == ZARR_MIMETYPE:
            arrays[doc["uid"]] = doc
        elif name == "stream_datum" and doc["stream_resource"] in arrays:
            uid = doc["stream_resource"]
            announced[uid] = max(announced[uid], doc["indices"]["stop"])
    n_loose = 0
    for uid, resource in arrays.items():
        n_on_disk = frames_on_disk(resource["uri"])
        if n_on_disk is None:
            continue
        trim_frames(resource["uri"], max(n_on_disk, announced[uid]))
        n_loose = max(n_loose, n_on_disk - announced[uid])
    return n_loose


def _abort_document(documents: list[tuple[str, Document]], n_loose: int) -> Document:
    start = documents[0][1]
    streams: dict[str, str] = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    n_events: dict[str, int] = dict.fromkeys(streams.values(), 0)
    for name, doc in documents:
        if name in ("event", "event_page"):
            n_events[streams[doc["descriptor"]]] += _n_events(name, doc)
    times: list[Any] = [doc["time"] for _, doc in documents if isinstance(doc.get("time"), int | float)]
    loose = f"; {n_loose} more frames are on disk without an event" if n_loose else ""
    return {
        # The same log gives the same uid, however often it is recovered.
        "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"parfocal/recovered/{start['uid']}")),
        "run_start": start["uid"],
        "time": max(times, default=time.time()),
        "exit_status": "abort",
        "reason": f"The process ended before the run did; recovered from its write-ahead log{loose}.",
        "num_events": n_events,
        "parfocal": {"recovered": {"n_frames_without_event": n_loose}},
    }
