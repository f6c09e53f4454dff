"""Tiled's client classes, kept apart from what others in this process do to them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from bluesky_tiled_plugins import BlueskyEventStream, BlueskyRun, CatalogOfBlueskyRuns
from numpy.typing import NDArray
from tiled.client.array import DaskArrayClient
from tiled.client.container import DEFAULT_STRUCTURE_CLIENT_DISPATCH
from tiled.client.utils import handle_error
from tiled.utils import OneShotCachedMap

from parfocal.catalog._display import runs_html, runs_text


class RunsByTime(CatalogOfBlueskyRuns):
    """A shelf of runs that shows, and offers to TAB, the newest ones: Tiled's own offers none beyond forty."""

    def _newest(self, n: int) -> list[dict[str, Any]]:
        runs: Any = self.sort(("start.time", -1))
        return [dict(run.metadata) for run in runs.values().head(n)]

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return [run["start"]["uid"][:8] for run in self._newest(40)]
        except Exception:  # TAB shows no traceback
            return []

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self) if cycle else runs_text(f"{len(self)} run(s)", self._newest(10), len(self)))

    def _repr_html_(self) -> str:
        return runs_html(f"{len(self)} run(s)", self._newest(10), len(self))


def bluesky_clients() -> Any:
    """Return a fresh table of client classes, with those of Bluesky.

    BTP 2.0.12's `catalog.v2` and `run.v2`, which `databroker.v1.Broker` calls, copy the table that they
    change, but the copy shares its content: from then on every client of that table, in the whole process,
    is of the old kind, with other columns.
    """
    default = DEFAULT_STRUCTURE_CLIENT_DISPATCH["numpy"]
    clients: OneShotCachedMap[str, Any] = OneShotCachedMap(
        {name: partial(default.__getitem__, name) for name in default}
    )
    for bluesky_class in (BlueskyEventStream, BlueskyRun):
        clients.set(bluesky_class.__name__, partial(_itself, bluesky_class))
    clients.set(CatalogOfBlueskyRuns.__name__, partial(_itself, RunsByTime))
    return clients


def read_array(client: Any, slice: Any = None) -> NDArray[Any]:
    """Return an array, or a part of it, by requests made in this process.

    `client.read()` leaves it to Dask where to make them. In a worker of a cluster that is the cluster itself,
    and when its workers all wait for such reads, none is left to make them: they wait for ever.
    """
    lazy: Any = DaskArrayClient.read(client, slice)
    return np.asarray(lazy.compute(scheduler="threads"))


def count_rows(client: Any, column: str = "seq_num") -> int:
    """Return how many rows a table has, by one request for one of its columns, made in this process."""
    reply = client.context.http_client.get(
        client.item["links"]["full"],
        headers={"Accept": "application/vnd.apache.arrow.file"},
        params={"column": [column]},
    )
    content: bytes = handle_error(reply).read()  # pyright: ignore[reportOptionalMemberAccess]
    return pa.ipc.open_file(content).read_all().num_rows


def _itself(value: Any) -> Any:
    return value
