"""Blocks on the workers of a Dask cluster: a plan and a number travel, pixels and labels lie on a disk."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from parfocal.errors import BadInputError
from parfocal.learning import cluster_client
from parfocal.segmentation.networks import NucleiNet, TileMemory, open_net, save_net
from parfocal.segmentation.volumes._block import segment_block
from parfocal.segmentation.volumes._plan import TiledPlan
from parfocal.segmentation.volumes._source import Source, open_source

_WEIGHTS = "net.safetensors"


def blocks_on_workers(
    plan: TiledPlan, todo: list[int], source: Source, net: NucleiNet, folder: Path, scheduler: str | Any
) -> Iterator[int]:
    """Yield each block when a worker has put it on disk.

    Parameters
    ----------
    scheduler : str or dask.distributed.Client

    Raises
    ------
    BadInputError
        The volume has no path, no scheduler answers, there is no worker, one does not see the files, or a block
        keeps killing its workers.
    """
    if source.path is None:
        raise BadInputError("segmenting on a cluster: the volume is given by its path, which the workers can open")
    folder = folder.resolve()
    save_net(net, folder / _WEIGHTS)
    with contextlib.ExitStack() as own:
        client: Any = own.enter_context(cluster_client(scheduler)) if isinstance(scheduler, str) else scheduler
        _refuse_blind(client, source.path, folder)
        from distributed import KilledWorker, as_completed

        futures = {
            client.submit(block_in_worker, plan, index, source.path, str(folder), pure=False): index
            for index in todo
        }
        with client.as_current():
            finished = as_completed(list(futures))
        try:
            for future in finished:
                try:
                    yield int(future.result())
                except KilledWorker as error:
                    raise BadInputError(
                        f"block {futures[future]} of {plan.n_blocks}: its workers died of it, time and again; "
                        "is there memory for it? Smaller blocks need less"
                    ) from error
                future.release()
        finally:  # one failed, or nobody listens any more: what waits is not begun
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.cancel(list(futures))


def block_in_worker(plan: TiledPlan, index: int, path: str, folder: str) -> int:
    """Segment a block in a process of a cluster, which opens volume and network once."""
    source, net, memory = _in_worker(path, folder, plan.fingerprint())
    segment_block(plan, index, source, net, memory, Path(folder), 1)
    return index


@lru_cache(maxsize=2)
def _in_worker(path: str, folder: str, fingerprint: str) -> tuple[Source, NucleiNet, TileMemory]:
    del fingerprint  # another plan's tiles are not this one's
    return open_source(path), open_net(Path(folder) / _WEIGHTS), TileMemory()


def _refuse_blind(client: Any, path: str, folder: Path) -> None:
    """Refuse a cluster without workers, or with one that sees other files than this process."""
    missing: dict[str, str] = client.run(_unseen, path, str(folder / _WEIGHTS))
    if not missing:
        raise BadInputError("--scheduler: no worker is there; start one with `dask worker ADDRESS`")
    if said := next((text for text in missing.values() if text), None):
        raise BadInputError(f"{said}; mount it there under the same path")


def _unseen(*paths: str) -> str:
    return next((f"worker on {socket.gethostname()}: no {path}" for path in paths if not Path(path).exists()), "")
