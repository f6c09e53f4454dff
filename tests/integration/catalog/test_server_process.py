"""What the server asks its database for, in this process so that its queries can be seen."""

import asyncio
import socket

import httpx
import pytest
from sqlalchemy import Engine, event

from parfocal.catalog import DataFolder
from parfocal.catalog._serve import server_settings
from parfocal.catalog._server_process import _listen, make_app


@pytest.fixture
def asked():
    """Return the queries of this process, as they come."""
    statements = []

    def note(conn, cursor, statement, *rest):
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield statements
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.filterwarnings(
    "ignore:No path_separator found in configuration:DeprecationWarning"
)  # Tiled's alembic.ini
def test_what_is_looked_up_is_asked_for_without_access_tags_and_found_at_its_own_path(tmp_path, asked):
    folder = DataFolder(tmp_path).make()
    (folder.catalog / "arrays").mkdir()
    app, _ = make_app(server_settings(folder), "secret")

    async def use() -> None:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://server/api/v1/metadata",
            headers={"Authorization": "Apikey secret"},
        )
        async with app.router.lifespan_context(app), client:
            for path, name in (("", "one"), ("", "two"), ("one", "inner"), ("two", "inner")):
                about = {"metadata": {"where": f"{path}/{name}"}, "specs": [], "id": name}
                node = {"structure_family": "container", "data_sources": [], **about}
                (await client.post(f"/{path}", json=node)).raise_for_status()
            asked.clear()
            for path in ("one/inner", "two/inner", "one/inner"):
                reply = (await client.get(f"/{path}")).raise_for_status().json()
                assert reply["data"]["attributes"]["metadata"] == {"where": path}
            assert (await client.get("/two/other")).status_code == 404

    asyncio.run(use())
    assert asked
    assert not [statement for statement in asked if "access_tags" in statement]


def test_no_part_of_an_answer_waits_until_the_part_before_it_was_acknowledged():
    async def sends_at_once() -> bool:
        connections = asyncio.Queue()
        listener = _listen("127.0.0.1", (0,))
        server = await asyncio.start_server(lambda _, writer: connections.put(writer), sock=listener)
        async with server:
            _, client = await asyncio.open_connection(*server.sockets[0].getsockname())
            served = await connections.get()
            no_delay = served.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for writer in (client, served):
                writer.close()
                await writer.wait_closed()
        return bool(no_delay)

    assert asyncio.run(sends_at_once())
