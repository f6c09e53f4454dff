"""Open the catalog: the data folder's own server, a site's server, or a Tiled profile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns
from tiled.client import from_profile, from_uri
from tiled.client.container import Container
from tiled.structures.core import Spec

from parfocal.catalog import _query, _tables
from parfocal.catalog._clients import bluesky_clients
from parfocal.catalog._display import runs_html, runs_text
from parfocal.catalog._folder import DataFolder, as_folder
from parfocal.catalog._serve import ensure_server, find_server, read_server_file
from parfocal.catalog._server_process import RUN_CATALOG_SPEC
from parfocal.catalog._shelves import Shelf
from parfocal.errors import CatalogError


class Catalog:
    """One Tiled tree with two shelves, `raw` and `analysis`, and result tables beside them.

    Get one from `open_catalog`. `raw` and `analysis` are Bluesky's own clients in order of start time, so
    `catalog.raw[-1]`, `catalog.raw[scan_id]`, `catalog.raw["ab12cd"]` and `databroker.v1.Broker(catalog.raw)`
    work; `runs` and its neighbours are for what people type every day.

    Parameters
    ----------
    connect
        Returns the tree's root client; called again when the connection is lost.
    folder
        The data folder: frames and write-ahead logs lie there, wherever the catalog is.
    """

    def __init__(self, connect: Callable[[], Container], folder: DataFolder) -> None:
        self.folder = folder
        self._connect = connect
        self._root = connect().new_variation(structure_clients=bluesky_clients())
        self.table_clients: dict[tuple[str, str], Any] = {}  # open result tables, by run uid and key
        self._shelves: dict[str, Container] = {}

    @property
    def root(self) -> Container:
        """The Tiled client of the whole tree."""
        return self._root

    @property
    def raw(self) -> CatalogOfBlueskyRuns:
        """Runs as they were acquired, oldest first."""
        return self._by_time("raw")

    @property
    def analysis(self) -> CatalogOfBlueskyRuns:
        """Runs derived from others, oldest first."""
        return self._by_time("analysis")

    def shelf(self, name: str) -> Container:
        """Return the container to write a shelf's runs or tables into; made where it is missing."""
        known = self._shelves.get(name)
        if known is not None:  # it is there for good: asking again would be two requests a run
            return known
        if name not in self._root:
            specs = [Spec(RUN_CATALOG_SPEC[0], version=RUN_CATALOG_SPEC[1])] if name != "tables" else []
            try:
                self._root.create_container(name, specs=specs)
            except httpx.HTTPStatusError:  # another client was first
                if name not in self._root:
                    raise
        self._shelves[name] = self._root[name]
        return self._shelves[name]

    runs = _query.runs
    run = _query.run
    analyses_of = _query.analyses_of
    raw_of = _query.raw_of
    documents = _query.documents
    append_rows = _tables.append_rows
    read_table = _tables.read_table
    list_tables = _tables.list_tables

    def ping(self, timeout_s: float = 2.0) -> None:
        """Raise a `CatalogError` when the server does not answer; Tiled's own calls would try for 45 s."""
        context = self._root.context
        # What a load balancer asks: the answer at `api_uri` costs the server several times as much.
        healthy = str(context.api_uri).removesuffix("/").removesuffix("/api/v1") + "/healthz"
        try:
            response = context.http_client.get(healthy, timeout=timeout_s)
            if response.status_code == httpx.codes.NOT_FOUND:  # behind a proxy that lets only the API through
                response = context.http_client.get(context.api_uri, timeout=timeout_s)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise CatalogError(f"The catalog at {context.api_uri} does not answer ({error}).") from error
        except RuntimeError as error:  # what httpx raises of a connection that was closed here
            raise CatalogError(f"The catalog at {context.api_uri} does not answer: it was closed here.") from error

    def reconnect(self) -> None:
        """Connect anew where the server is another now; one that came back at its old address goes on."""
        fresh = self._connect()
        if (fresh.context.api_uri, fresh.context.api_key) == (
            self._root.context.api_uri,
            self._root.context.api_key,
        ):
            fresh.context.close()
            return
        self._root.context.close()
        self._root = fresh.new_variation(structure_clients=bluesky_clients())
        self.table_clients.clear()
        self._shelves.clear()

    def recent(self, n: int = 40, shelf: str = "raw") -> list[dict[str, Any]]:
        """Return the metadata (`start`, `stop`) of the newest runs, the newest first.

        Raises
        ------
        CatalogError
            The server does not answer.
        """
        self.ping(1.0)
        runs: Any = self.shelf(shelf).sort(("start.time", -1))
        return [dict(run.metadata) for run in runs.values().head(n)]

    def recent_uids(self, n: int = 40, shelves: tuple[str, ...] = ("raw", "analysis")) -> list[str]:
        """Return how the uids of the newest runs begin, shelf by shelf.

        Raises
        ------
        CatalogError
            The server does not answer.
        """
        return [str(run["start"]["uid"])[:8] for shelf in shelves for run in self.recent(n, shelf)]

    def close(self) -> None:
        """Let go of the connection."""
        self._root.context.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _by_time(self, name: Shelf) -> CatalogOfBlueskyRuns:
        # A recovered run is written later than it was taken: Tiled's own order would call it the newest.
        runs = self.shelf(name).sort(("start.time", 1)).new_variation(structure_clients=bluesky_clients())
        return cast("CatalogOfBlueskyRuns", runs)

    def __getitem__(self, which: str | int) -> BlueskyRun:
        """Return one run; see `run`."""
        return self.run(which)

    def _ipython_key_completions_(self) -> list[str]:
        """Return how the uids of the newest runs begin: what TAB offers."""
        try:
            return self.recent_uids()
        except CatalogError:
            return []

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(runs_text(*self._shown()) if not cycle else repr(self))

    def _repr_html_(self) -> str:
        return runs_html(*self._shown())

    def _shown(self) -> tuple[str, list[dict[str, Any]], int]:
        try:
            newest = self.recent(10)
            return f"Catalog of {self.folder.root}", newest, len(self.shelf("raw"))
        except CatalogError as error:
            return f"Catalog of {self.folder.root}: {error}", [], 0

    def __repr__(self) -> str:
        return f"Catalog({self._root.uri!r}, folder={str(self.folder.root)!r})"


def open_catalog(
    data: DataFolder | Path | str | None = None,
    *,
    uri: str | None = None,
    api_key: str | None = None,
    profile: str | None = None,
) -> Catalog:
    """Open the catalog, starting the data folder's own server where nothing else is said.

    Parameters
    ----------
    data
        The data folder; None for `$PARFOCAL_DATA`, else the user's own. With `uri` or `profile` it still is
        where frames and write-ahead logs lie.
    uri
        A Tiled server of the site. None for `$PARFOCAL_TILED_URI`, which counts only when `data` is None too.
    api_key
        For `uri`; None for `$PARFOCAL_TILED_API_KEY`, then `$TILED_API_KEY`.
    profile
        A Tiled profile. None for `$PARFOCAL_TILED_PROFILE`, which counts only when `data` is None too.

    Raises
    ------
    CatalogError
        When the server cannot be started or reached.
    """
    folder = as_folder(data)
    if data is None and uri is None and profile is None:
        uri, profile = named_site()
    if uri is not None and profile is not None:
        raise CatalogError("open_catalog takes a uri or a profile, not both.")
    if uri is not None:
        key = api_key or os.environ.get("PARFOCAL_TILED_API_KEY")
        return Catalog(lambda: _reach(uri, key), folder.make())
    if profile is not None:
        return Catalog(lambda: _from_profile(profile), folder.make())
    ensure_server(folder)
    return Catalog(lambda: _own_server(folder), folder)


def open_shared_catalog(data: DataFolder | Path | str | None) -> Catalog:
    """Return the catalog of sessions that were named no data folder, as a queue's worker is not.

    It is the site's, where `$PARFOCAL_TILED_URI` or `$PARFOCAL_TILED_PROFILE` says so, with frames and logs in the
    folder all the same; else the folder's own. Raises what `open_catalog` does.
    """
    uri, profile = named_site()
    return open_catalog(data, uri=uri, profile=profile)


def named_site() -> tuple[str | None, str | None]:
    """Return the address or the profile of a site's server, as the environment says."""
    uri = os.environ.get("PARFOCAL_TILED_URI") or None
    return uri, None if uri else os.environ.get("PARFOCAL_TILED_PROFILE") or None


def _own_server(folder: DataFolder) -> Container:
    info = find_server(folder)
    if info is None and read_server_file(folder) is not None:
        info = ensure_server(folder)  # it died; one that was stopped on purpose has taken its file with it
    if info is None:
        raise CatalogError(f"The catalog server of {folder.root} is not running: start it with parfocal serve.")
    return from_uri(info.url, api_key=info.api_key, trust_env=False, show_progress=False)


def _reach(uri: str, api_key: str | None) -> Container:
    try:
        # Tiled's client would try for 45 s.
        httpx.get(uri, timeout=5.0, follow_redirects=True)
        return from_uri(uri, api_key=api_key, show_progress=False)
    except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise CatalogError(f"Tiled server {uri} cannot be used ({error}): check address and API key.") from error


def _from_profile(profile: str) -> Container:
    try:
        return from_profile(profile)
    except Exception as error:  # Tiled raises whatever the profile's author caused
        raise CatalogError(f"Tiled profile {profile!r} cannot be used: {error}") from error
