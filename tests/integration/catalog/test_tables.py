"""Result tables: rows wait on disk until the catalog has them, and are there once."""

import subprocess
import sys
import threading
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest

from parfocal.catalog import open_catalog, recover
from parfocal.errors import CatalogError

KILLED = """
import os, signal, sys
import pyarrow as pa
from pathlib import Path
from parfocal.catalog._table_spool import TableSpool
spool = TableSpool(Path(sys.argv[1]))
for k in range(3):
    spool.put(sys.argv[2], "objects", pa.table({"object": [3 * k, 3 * k + 1, 3 * k + 2]}))
os.kill(os.getpid(), signal.SIGKILL)
"""


def rows(first, n=3):
    return pa.table({"object": list(range(first, first + n)), "volume_um3": [0.5] * n})


def objects_of(catalog, uid):
    return catalog.read_table(uid, "objects").column("object").to_pylist()


def test_rows_given_to_the_writer_are_in_the_catalog_in_order(catalog, writer, request):
    uid = f"{request.node.name[:40]}-1"
    for first in (0, 3, 6):
        writer.append_rows(uid, "objects", rows(first))
    assert writer.drain(20)
    assert objects_of(catalog, uid) == list(range(9))
    assert not list(catalog.folder.spooled_tables.glob("*/*/*.arrow"))


def test_rows_wait_while_the_catalog_is_down(catalog, writer, monkeypatch):
    def down(timeout_s=2.0):
        raise CatalogError("it does not answer")

    with monkeypatch.context() as outage:
        outage.setattr(catalog, "ping", down)
        writer.append_rows("down-1", "objects", rows(0))
        assert not writer.drain(0.5)
        assert len(list(catalog.folder.spooled_tables.glob("*/down-1/*.arrow"))) == 1
        assert writer.last_error == "Result tables wait on disk: it does not answer"
    assert writer.drain(30)
    assert objects_of(catalog, "down-1") == [0, 1, 2]


@pytest.mark.parametrize("n_taken", [0, 1, 3], ids="the catalog had {} of 3 files".format)
def test_rows_of_a_killed_process_are_recovered_once(catalog, n_taken):
    uid = f"killed-{n_taken}"
    folder = catalog.folder.spooled_tables
    subprocess.run([sys.executable, "-c", KILLED, str(folder), uid], check=False)
    if n_taken:
        catalog.append_rows(uid, "objects", pa.table({"object": list(range(3 * n_taken))}))
    found = [run for run in recover(catalog=catalog) if run.uid == uid]
    assert [run.outcome for run in found] == ["present"] * n_taken + ["written"] * (3 - n_taken)
    assert objects_of(catalog, uid) == list(range(9))
    assert recover(catalog=catalog) == []
    assert not any(folder.glob("*"))


def test_rows_that_a_living_process_keeps_are_left_alone(catalog):
    from parfocal.catalog._table_spool import TableSpool

    spool = TableSpool(catalog.folder.spooled_tables)
    spool.put("alive-1", "objects", rows(0))
    assert recover(catalog=catalog) == []
    spool.close()
    assert [run.outcome for run in recover(catalog=catalog)] == ["written"]


def test_a_name_that_could_leave_the_folder_is_not_taken(catalog, writer):
    writer.append_rows("../../up", "objects", rows(0))
    assert "letters, digits" in writer.last_error
    assert writer.drain(5)


def test_tables_are_read_by_several_at_once(catalog, request):
    """Tiled's own pool hands one connection to all of its threads: one request closed what another was reading."""
    names = [f"{request.node.name}_{k}" for k in range(3)]
    table = pa.table({f"column_{i}": np.arange(20_000.0) + i for i in range(4)})
    uid = str(uuid4())
    for name in names:
        catalog.append_rows(uid, name, table)
    troubles = []

    def read(name):
        try:
            with open_catalog(catalog.folder) as mine:
                for _ in range(12):
                    assert mine.read_table(uid, name).num_rows == 20_000
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=read, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
