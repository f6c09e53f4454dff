"""Addresses in the catalog of a folder that was moved. With a server: tests/integration/catalog/test_server.py."""

import sqlite3
from contextlib import closing

import pytest

from parfocal.catalog import DataFolder
from parfocal.catalog._moved import follow_move


def addresses(folder):
    with closing(sqlite3.connect(folder.catalog / "catalog.db")) as connection:
        return [uri for (uri,) in connection.execute("SELECT data_uri FROM assets ORDER BY id")]


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "disk 50").make()
    with closing(sqlite3.connect(folder.catalog / "catalog.db")) as connection, connection:
        connection.execute("CREATE TABLE assets (id INTEGER PRIMARY KEY, data_uri VARCHAR UNIQUE)")
        for uri in (
            "duckdb://localhost//old place/data/catalog/tables.duckdb",
            "file://localhost/old%20place/data/frames/a.zarr/0",
            "file://localhost/old place/data/catalog/arrays/b",
            "file://localhost/old%20place/data2/frames/not-of-this-folder",
            "file://localhost/mnt/elsewhere/c.tif",
        ):
            connection.execute("INSERT INTO assets (data_uri) VALUES (?)", (uri,))
    return folder


def test_what_lay_in_the_folder_is_looked_for_where_it_is_now_and_nothing_else_is_touched(folder):
    here, quoted = folder.root.as_posix(), folder.root.as_posix().replace(" ", "%20")
    assert follow_move(folder) == 3
    assert addresses(folder) == [
        f"duckdb://localhost/{here}/catalog/tables.duckdb",
        f"file://localhost{quoted}/frames/a.zarr/0",
        f"file://localhost{here}/catalog/arrays/b",
        "file://localhost/old%20place/data2/frames/not-of-this-folder",
        "file://localhost/mnt/elsewhere/c.tif",
    ]


def test_a_folder_that_stayed_and_one_without_a_catalog_are_left_alone(folder, tmp_path):
    follow_move(folder)
    before = addresses(folder)
    assert follow_move(folder) == 0
    assert addresses(folder) == before
    assert follow_move(DataFolder(tmp_path / "none")) == 0
