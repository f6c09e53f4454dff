"""A data folder that was moved or copied: its catalog still names the old place."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from urllib.parse import quote, unquote

from parfocal.catalog._folder import DataFolder
from parfocal.errors import CatalogError

_TABLES = "/catalog/tables.duckdb"
_HOSTS = ("duckdb://localhost/", "file://localhost")  # Tiled writes one more slash after the first


def follow_move(folder: DataFolder) -> int:
    """Let a folder's own catalog name the files where they are now; return how many addresses changed.

    Tiled keeps an absolute address of every file. Where the tables lie tells where the folder was when they were
    made; what lay under that folder is looked for under this one. What never lay there is left as it is.

    Raises
    ------
    CatalogError
        When the catalog's file cannot be changed.
    """
    database = folder.catalog / "catalog.db"
    if not database.is_file():
        return 0
    here = folder.root.as_posix()
    try:
        with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'assets'").fetchone():
                return 0
            found = connection.execute(
                "SELECT data_uri FROM assets WHERE data_uri LIKE 'duckdb://localhost/%' || ?", (_TABLES,)
            ).fetchall()
            olds = {unquote(uri.removeprefix(_HOSTS[0]).removesuffix(_TABLES)) for (uri,) in found} - {here}
            forms = {(spelt(old), spelt(here)) for old in olds for spelt in (str, quote)}
            return sum(_readdress(connection, host, *form) for form in forms for host in _HOSTS)
    except sqlite3.OperationalError as error:
        raise CatalogError(
            f"{database} names files at another place, and cannot be changed ({error}): "
            "is the folder writable, and no other server running on it?"
        ) from error
    except sqlite3.DatabaseError:  # no database at all: the server says so
        return 0


def _readdress(connection: sqlite3.Connection, host: str, old: str, new: str) -> int:
    before = f"{host}{old}/"
    return connection.execute(
        "UPDATE OR IGNORE assets SET data_uri = ? || substr(data_uri, ?) WHERE substr(data_uri, 1, ?) = ?",
        (f"{host}{new}/", len(before) + 1, len(before), before),
    ).rowcount
