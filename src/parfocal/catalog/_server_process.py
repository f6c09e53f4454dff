"""The Tiled server's own process. Run as a script, so that it starts without the rest of this package.

It imports nothing of `parfocal.catalog` (that would bring ophyd and the document writers, 2.7 s on the
machine where Tiled alone takes 1.8 s) and collects no garbage while importing (2.4 s with). Settings come as
JSON on stdin: a database password must not show in the process list.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

ALREADY_SERVED = 3  # exit code: another process holds this folder's lock

RUN_CATALOG_SPEC = ("CatalogOfBlueskyRuns", "3.0")
CONTAINERS = ("raw", "analysis", "tables")
# Tiled's own 300 MB end at 4 million rows of 9 columns, and a table that is appended to has no pages.
_RESPONSE_LIMIT_BYTES = 4_000_000_000


@dataclass(frozen=True)
class ServerSettings:
    """What one server serves. Paths are strings: the settings travel as JSON."""

    database_uri: str
    tables_uri: str
    arrays_dir: str
    secrets_file: str
    lock_file: str
    info_file: str
    readable: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 0  # 0: the one used last, where it is free

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ServerSettings:
        """Return the settings that `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["readable"] = tuple(fields["readable"])
        return cls(**fields)


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(content, file)
    os.replace(draft, path)


class AlreadyServedError(RuntimeError):
    """Another process serves this folder."""


@contextlib.contextmanager
def only_server(lock_file: Path) -> Generator[None]:
    """Hold the folder's lock. The system lets go of it when the process ends, however it ends."""
    with lock_file.open("a+b") as handle:
        try:
            _lock(handle)
        except OSError:
            raise AlreadyServedError(f"{lock_file} is held by another process") from None
        yield


def _lock(handle: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _listen(host: str, ports: tuple[int, ...]) -> socket.socket:
    """Bind the first port that is free; 0 always is."""
    for port in ports:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sends at once (TCP_NODELAY) only where the protocol was named. Otherwise an answer's body waits,
        # 40 ms at times, until the other side has acknowledged its head.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            listener.close()
            continue
        return listener
    raise OSError(f"no free port on {host}")


async def _prepare_database(uri: str) -> bool:
    """Make the tables where there are none; return whether they were made."""
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.alembic_utils import UninitializedDatabase, check_database
    from tiled.catalog.core import ALL_REVISIONS, REQUIRED_REVISION, initialize_database

    engine = create_async_engine(uri)
    try:
        await check_database(engine, REQUIRED_REVISION, ALL_REVISIONS)
    except UninitializedDatabase:
        await initialize_database(engine)
        return True
    finally:
        await engine.dispose()
    return False


async def _export_documents(
    mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any
) -> AsyncIterator[str]:
    # Imported when first asked for: 1.5 s that the start-up can do without.
    from bluesky_tiled_plugins.exporters import json_seq_exporter

    async for record in json_seq_exporter(mimetype, adapter, metadata, filter_for_access):
        yield record


def make_app(settings: ServerSettings, api_key: str) -> tuple[Any, Callable[[], Awaitable[None]]]:
    """Build the web application, and what makes its containers once it has started."""
    import copy

    from tiled.alembic_utils import stamp_head
    from tiled.catalog import from_uri
    from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
    from tiled.config import Authentication
    from tiled.media_type_registration import default_serialization_registry
    from tiled.server.app import build_app
    from tiled.structures.core import Spec, StructureFamily
    from tiled.utils import ensure_specified_sql_driver

    _ask_for_no_access_tags()
    uri = ensure_specified_sql_driver(settings.database_uri)
    if asyncio.run(_prepare_database(uri)):
        stamp_head(Path(ALEMBIC_INI_TEMPLATE_PATH), Path(ALEMBIC_DIR), uri)
    tree = from_uri(
        uri,
        writable_storage=[settings.arrays_dir, settings.tables_uri],
        readable_storage=list(settings.readable),
    )
    registry = copy.deepcopy(default_serialization_registry)
    # Without it `run.documents()` answers 406.
    registry.register("BlueskyRun", "application/json-seq", _export_documents)

    async def make_containers() -> None:
        name, version = RUN_CATALOG_SPEC
        present = set(await tree.keys_range(offset=0, limit=None))
        for key in CONTAINERS:
            if key not in present:
                await tree.create_node(
                    structure_family=StructureFamily.container,
                    metadata={},
                    key=key,
                    specs=[] if key == "tables" else [Spec(name, version=version)],
                )

    app = build_app(
        tree,
        Authentication(single_user_api_key=api_key),
        server_settings={"response_bytesize_limit": _RESPONSE_LIMIT_BYTES},
        serialization_registry=registry,
    )
    _remember_signatures()
    _remember_paths()
    app.state.kept = _answers()
    _ask_tables_in_turn()
    return app, make_containers


def _ask_tables_in_turn() -> None:
    """Let one request at a time have the connection to DuckDB.

    Tiled 0.2.20 shares one among all of its threads, and rolls it back whenever a request is done with it. That
    ends what another one is reading: HTTP 500, which Tiled's client tries again, and rows that it appends twice.
    """
    from tiled.storage import SQLStorage

    turn = threading.RLock()
    connect: Callable[[Any], Any] = SQLStorage.connect

    class InTurn:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def close(self) -> None:
            try:
                self._connection.close()
            finally:
                turn.release()

    def in_turn(storage: Any) -> Any:
        if storage.dialect != "duckdb":
            return connect(storage)
        turn.acquire()
        try:
            return InTurn(connect(storage))
        except BaseException:
            turn.release()
            raise

    SQLStorage.connect = in_turn  # pyright: ignore[reportAttributeAccessIssue]  (Tiled has no way to be told)


def _ask_for_no_access_tags() -> None:
    """Leave out the query for the access tags of each node that is looked up: there are none.

    Whoever has the one key of this server may do everything, and nobody else anything. Tiled 0.2.20 asks all the
    same, and SQLAlchemy builds that query anew each time: a sixth of this process's time. To be called before the
    first query, when SQLAlchemy settles how each relationship is loaded.
    """
    from tiled.catalog.orm import Node

    tags: Any = Node.access_tags.prop  # `property` would settle it
    tags.lazy = "noload"
    tags.strategy_key = (("lazy", "noload"),)


def _answers() -> list[Any]:
    """Return the classes of Tiled's answers, to be kept: pydantic makes one anew when nobody holds it any more.

    Tiled 0.2.20 names them at each request and lets go of them, which costs a tenth of this process's time.
    """
    from tiled.server import schemas

    links = [*schemas.resource_links_type_by_structure_family.values(), schemas.SelfLinkOnly]
    answers: list[Any] = [schemas.Resource[schemas.NodeAttributes, one, schemas.EmptyDict] for one in links]
    return [*answers, schemas.Resource[schemas.NodeAttributes, schemas.ContainerLinks, schemas.ContainerMeta]]


def _remember_paths() -> None:
    """Build the query for a path once, not at every request for it: the same few come again and again."""
    from tiled.catalog import adapter

    build: Callable[..., Any] = adapter.node_from_segments

    @lru_cache(256)
    def built(segments: tuple[str, ...], root_id: int) -> Any:
        return build(list(segments), root_id)

    def remembered(segments: Sequence[str], root_id: int = 0) -> Any:
        return built(tuple(segments), root_id)

    adapter.node_from_segments = remembered


def _remember_signatures() -> None:
    """Take the signature of what Tiled's routes depend on apart once, not at every request.

    Where an application overrides dependencies, as Tiled does, FastAPI inspects all of them anew for each request:
    a quarter of this process's time.
    """
    from fastapi.dependencies import utils

    take_apart: Callable[..., Any] = utils.get_dependant
    known: dict[tuple[Any, ...], Any] = {}

    def remembered(**asked: Any) -> Any:
        key = tuple((name, tuple(one) if isinstance(one, list) else one) for name, one in asked.items())
        if key not in known:
            known[key] = take_apart(**asked)
        return known[key]

    utils.get_dependant = remembered


def give_way(niceness: int = 10) -> None:
    """Lower this process's priority: acquisition goes first, the catalog takes what it leaves of the cores.

    Linux schedules each thread by its own niceness; threads to come have that of the one that starts them. On
    Windows nothing is done.
    """
    if sys.platform == "linux":
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, int(thread), niceness)
    elif sys.platform != "win32":
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


def read_secrets(path: Path) -> dict[str, Any]:
    """Return the folder's API key (made once, kept) and the port used last, 0 for none yet."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {"api_key": secrets.token_hex(32), "port": 0}


def run(settings: ServerSettings) -> None:
    """Serve until told to stop. The server's file appears when it answers and goes when it ends.

    Raises
    ------
    AlreadyServedError
        When another process serves the folder.
    """
    with only_server(Path(settings.lock_file)):
        _run_locked(settings)


def _run_locked(settings: ServerSettings) -> None:
    import uvicorn

    kept = read_secrets(Path(settings.secrets_file))
    info_file = Path(settings.info_file)
    app, make_containers = make_app(settings, kept["api_key"])
    # The same address and key again after a restart: clients that are open go on.
    listener = _listen(settings.host, (settings.port or kept["port"], 0))
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    write_private(Path(settings.secrets_file), {"api_key": kept["api_key"], "port": port})

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.should_exit:  # the catalog could not be opened; uvicorn has said why
                return
            await make_containers()
            gc.enable()
            gc.freeze()
            give_way()
            content = {"pid": os.getpid(), "url": f"http://{host}:{port}", "api_key": kept["api_key"]}
            write_private(info_file, content)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            info_file.unlink(missing_ok=True)
            await super().shutdown(sockets)

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    with contextlib.closing(listener), contextlib.suppress(KeyboardInterrupt):
        server = Server(config)
        server.run(sockets=[listener])
        if not server.started:
            raise RuntimeError("the catalog could not be opened")


def main() -> int:
    """Serve with the settings given on stdin."""
    settings = ServerSettings.from_json(sys.stdin.read())
    try:
        run(settings)
    except AlreadyServedError:
        return ALREADY_SERVED
    return 0


if __name__ == "__main__":
    sys.exit(main())
