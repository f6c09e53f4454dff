"""Many runs on a Dask cluster: a task a run, and a result as soon as one is done.

A worker that dies takes nothing with it: the scheduler gives its run to another, which recovers what was written
of the result and counts it where it is whole. Results are claimed, so that a worker that was only taken for dead
does not make one twice.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from parfocal.callbacks._claims import Claims
from parfocal.callbacks._replay_run import MakeAnalysis, Replayed, in_a_line, replay_run
from parfocal.callbacks._standing import IfDone, is_owed
from parfocal.catalog import Catalog, CatalogWriter, DataFolder, find_server, open_catalog
from parfocal.errors import BadInputError, CatalogError
from parfocal.imaging import limit_cores
from parfocal.learning import cluster_client

try:
    from distributed import WorkerPlugin, as_completed, get_worker
except ImportError as error:
    raise BadInputError("--scheduler needs Dask distributed: pip install 'parfocal[dask]'") from error


@dataclass(frozen=True)
class Place:
    """Where workers find data and catalog. No API key: a site's is in each worker's own environment."""

    data: str
    uri: str  # of a site's server; empty for the folder's own
    host: str  # the client's machine, the only one from which the folder's own server can be reached

    @classmethod
    def of(cls, catalog: Catalog) -> Place:
        """Return where an open catalog is."""
        own = find_server(catalog.folder)
        address = str(catalog.root.context.api_uri)
        is_own = own is not None and address.startswith(own.url)
        return cls(str(catalog.folder.root), "" if is_own else address, socket.gethostname())

    def open(self) -> Catalog:
        """Open the catalog in a worker; `CatalogError` where this machine does not see it."""
        folder, here = DataFolder(Path(self.data)), socket.gethostname()
        if not folder.wal.is_dir():
            raise CatalogError(f"worker on {here}: no data folder {self.data}; mount it there under the same path")
        if self.uri:
            return open_catalog(self.data, uri=self.uri)
        if here != self.host:
            raise CatalogError(
                f"worker on {here}: the server of {self.data} answers on {self.host} only; serve the catalog for "
                "a site, and set PARFOCAL_TILED_URI for client and workers"
            )
        return open_catalog(self.data)


class ReplayDesk(WorkerPlugin):
    """What a worker keeps open for all runs of one batch: the catalog and its writer.

    Kernels get a core each: the worker's own threads are what runs in parallel.
    """

    def __init__(self, batch: str, place: Place, make: MakeAnalysis, if_done: IfDone) -> None:
        self.name = _desk_name(batch)
        self.batch, self.place, self.make = batch, place, make
        self.if_done: IfDone = if_done
        self.catalog: Catalog | None = None
        self.writer: CatalogWriter | None = None
        self.claims: Claims | None = None

    def setup(self, worker: Any) -> None:
        """Open the catalog; raises what keeps this worker from it."""
        del worker
        self.catalog = self.place.open()
        self.writer = CatalogWriter(self.catalog)
        self.claims = Claims(self.catalog.folder, self.writer)
        limit_cores(1)

    def teardown(self, worker: Any) -> None:
        """Close what was opened."""
        del worker
        limit_cores(None)
        if self.claims is not None:
            self.claims.close()
        if self.writer is not None:
            self.writer.close()
        if self.catalog is not None:
            self.catalog.close()

    def replay(self, uid: str) -> Replayed:
        """Replay a run; when this returns, the catalog has the result."""
        assert self.catalog is not None  # noqa: S101  (set up)
        assert self.writer is not None  # noqa: S101
        assert self.claims is not None  # noqa: S101
        try:
            documents = list(self.catalog.documents(uid))
        except Exception as error:  # one run that cannot be read must not keep the others
            return Replayed(uid, "failed", reason=in_a_line(error))
        result = replay_run(
            uid,
            documents,
            self.make,
            self.catalog,
            self.writer,
            self.claims,
            is_owed(self.if_done),
            batch=self.batch,
        )
        with contextlib.suppress(CatalogError):  # it may be the result of another thread
            self.claims.settle()
        if result.derived_uid and self.writer.fate_of(result.derived_uid) != "written":
            reason = f"the result is not in the catalog ({self.writer.last_error}); parfocal recover mends it"
            return Replayed(uid, "failed", result.derived_uid, reason)
        return result


def replay_in_worker(uid: str, batch: str) -> Replayed:
    """Replay one run in a process of a cluster."""
    plugins: dict[str, Any] = get_worker().plugins
    return plugins[_desk_name(batch)].replay(uid)


def replay_on_cluster(
    uids: Sequence[str],
    make: MakeAnalysis,
    catalog: Catalog,
    if_done: IfDone,
    scheduler: str,
    told: Callable[[Replayed], None],
) -> list[Replayed]:
    """Replay runs on the workers of a scheduler; `told` of each as it is done.

    Raises
    ------
    BadInputError
        No scheduler answers at the address.
    CatalogError
        A worker does not see the data folder or its catalog.
    """
    batch = str(uuid4())
    done: dict[str, Replayed] = {}
    with cluster_client(scheduler) as client:
        desk = ReplayDesk(batch, Place.of(catalog), make, if_done)
        client.register_plugin(desk)
        try:
            futures = {
                client.submit(replay_in_worker, uid, batch, key=f"replay-{uid}-{batch}", pure=False): uid
                for uid in uids
            }
            with client.as_current():  # for this; by default it would compute what Tiled's own client reads too
                finished = as_completed(list(futures))
            for future in finished:
                uid = futures[future]
                done[uid] = _result(future, uid)
                told(done[uid])
                future.release()
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone, and its workers with it
                client.unregister_worker_plugin(desk.name)
    return [done[uid] for uid in uids]


def _result(future: Any, uid: str) -> Replayed:
    try:
        return future.result()
    except Exception as error:  # such as a run that its workers die of, time and again
        return Replayed(uid, "failed", reason=in_a_line(error))


def _desk_name(batch: str) -> str:
    return f"parfocal-replay-{batch}"
