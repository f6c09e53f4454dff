from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from bluesky import RunEngine
from bluesky import plans as bp
from event_model import compose_run

from parfocal.catalog import (
    CatalogWriter,
    DataFolder,
    ensure_server,
    find_server,
    open_catalog,
    serve,
    stop_server,
)
from parfocal.devices import Camera
from parfocal.errors import CatalogError


def test_two_that_start_at_once_end_up_with_one_server(tmp_path):
    folder = DataFolder(tmp_path)
    try:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: ensure_server(folder), range(2))
        assert first == second
        assert find_server(folder) == first
        if sys.platform == "linux":  # in every thread, it gives way to acquisition
            threads = [thread.id for thread in psutil.Process(first.pid).threads()]
            assert {os.getpriority(os.PRIO_PROCESS, thread) - os.nice(0) for thread in threads} == {10}
        # The key must not be readable by others, wherever it lies.
        for path in (folder.server_file, folder.catalog / "secrets.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reply = httpx.get(f"{first.url}/api/v1/metadata/", trust_env=False)
        assert reply.status_code == httpx.codes.UNAUTHORIZED
        assert first.url.startswith("http://127.0.0.1:")
        with pytest.raises(CatalogError, match="already served") as caught:
            serve(folder)
        assert "\n" not in str(caught.value)
    finally:
        assert stop_server(folder)
    assert find_server(folder) is None
    assert not stop_server(folder)


def test_a_server_comes_back_at_its_address_and_what_is_left_of_others_is_replaced(tmp_path):
    folder = DataFolder(tmp_path)
    try:
        first = ensure_server(folder)
        psutil.Process(first.pid).kill()
        assert find_server(folder) is None
        # its pid has passed to a process that is no server of ours
        content = {"pid": os.getpid(), "url": first.url, "api_key": first.api_key}
        folder.server_file.write_text(json.dumps(content))
        assert find_server(folder) is None
        second = ensure_server(folder)
        assert second.pid != first.pid
        assert (second.url, second.api_key) == (first.url, first.api_key)
    finally:
        stop_server(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_damaged_server_file_counts_for_nothing(tmp_path, content):
    folder = DataFolder(tmp_path).make()
    folder.server_file.write_text(content)
    assert find_server(folder) is None


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CatalogError) as caught:
        open_catalog(tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_a_server_that_cannot_start_says_why(tmp_path):
    folder = DataFolder(tmp_path).make()
    (folder.catalog / "catalog.db").write_text("this is no database")
    with pytest.raises(CatalogError, match="ended with code") as caught:
        ensure_server(folder)
    assert "\n" not in str(caught.value)


def test_a_uri_of_the_environment_is_used_and_one_that_does_not_answer_is_named(catalog, monkeypatch, tmp_path):
    info = find_server(catalog.folder)
    monkeypatch.setenv("PARFOCAL_TILED_URI", info.url)
    monkeypatch.setenv("PARFOCAL_TILED_API_KEY", info.api_key)
    monkeypatch.setenv("PARFOCAL_DATA", str(tmp_path))
    with open_catalog() as opened:
        assert opened.root.uri == catalog.root.uri
        assert opened.folder.root == tmp_path
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(CatalogError, match=uri):
            open_catalog(uri=uri)
    with pytest.raises(CatalogError, match="not both"):
        open_catalog(uri=uri, profile="x")
    with pytest.raises(CatalogError, match="no-such-profile"):
        open_catalog(profile="no-such-profile")


def test_a_server_in_the_foreground_ends_when_interrupted(tmp_path):
    folder = DataFolder(tmp_path)
    code = f"from parfocal.catalog import serve; serve({str(tmp_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        waiting = threading.Event()
        for _ in range(600):
            if find_server(folder) or process.poll() is not None:
                break
            waiting.wait(0.05)
        assert find_server(folder).pid == process.pid
        process.send_signal(2)
        _, said = process.communicate(timeout=10)
        assert b"Traceback" not in said
        assert not folder.server_file.exists()
    finally:
        process.kill()
        process.communicate()


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@pytest.fixture
def postgres_uri(tmp_path_factory):
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    as_user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        if shutil.which("runuser") is None:
            pytest.skip("running as root, and there is no runuser to become another")
        as_user = ["runuser", "-u", "nobody", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # not below pytest's own folder, which only its owner may enter
    home = Path(f"/tmp/parfocal-postgres-{os.getpid()}")
    home.mkdir()
    if as_user:
        shutil.chown(home, "nobody")
    data = str(home / "data")
    initdb = [str(programs / "initdb"), "-D", data, "-U", "parfocal", "--auth=trust", "--no-sync"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=home)
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    pg_ctl = [*as_user, str(programs / "pg_ctl"), "-D", data, "-w"]
    start = [*pg_ctl, "-l", str(home / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"postgresql://parfocal@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=home)
        shutil.rmtree(home)


@pytest.mark.long
def test_writers_that_write_at_the_same_time_do_not_end_each_others_requests(tmp_path):
    folder = DataFolder(tmp_path)

    def write(n_runs):
        with open_catalog(folder) as catalog:
            writer = CatalogWriter(catalog)
            for _ in range(n_runs):
                bundle = compose_run()
                writer("start", bundle.start_doc)
                keys = {"x": {"source": "t", "dtype": "number", "shape": []}}
                descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
                writer("descriptor", descriptor.descriptor_doc)
                for n in range(20):
                    writer("event", descriptor.compose_event(data={"x": n}, timestamps={"x": 0.0}))
                writer("stop", bundle.compose_stop())
                assert writer.drain(30), writer.last_error
            assert writer.close(20), writer.last_error

    try:
        ensure_server(folder)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(write, 3) for _ in range(4)]:
                done.result()
        with open_catalog(folder) as catalog:
            assert catalog.runs()["n_events"].tolist() == [20] * 12
        assert "Traceback" not in folder.server_log.read_text()
    finally:
        stop_server(folder)


@pytest.mark.long
def test_a_folder_remembers_its_database_until_told_otherwise(tmp_path):
    folder = DataFolder(tmp_path / "data").make()
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    for told in (elsewhere, None):
        ensure_server(folder, database_uri=told)
        stop_server(folder)
        assert not (folder.catalog / "catalog.db").exists()
    ensure_server(folder, database_uri="sqlite")
    stop_server(folder)
    assert (folder.catalog / "catalog.db").exists()
    folder.database_file.write_text("{")
    with pytest.raises(CatalogError, match="does not say which database"):
        ensure_server(folder)


def test_a_catalog_on_postgresql_holds_runs_and_tables(tmp_path, postgres_uri):
    pa = pytest.importorskip("pyarrow")
    folder = DataFolder(tmp_path)
    ensure_server(folder, database_uri=postgres_uri)
    try:
        with open_catalog(folder) as catalog:
            writer = CatalogWriter(catalog)
            bundle = compose_run(metadata={"sample": {"name": "beads"}})
            writer("start", bundle.start_doc)
            keys = {
                "x": {"source": "t", "dtype": "number", "shape": []},
                "pair": {"source": "t", "dtype": "array", "shape": [2]},
            }
            descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
            writer("descriptor", descriptor.descriptor_doc)
            data = {"x": 1.5, "pair": [1.0, 2.0]}
            writer("event", descriptor.compose_event(data=data, timestamps=dict.fromkeys(data, 0.0)))
            writer("stop", bundle.compose_stop())
            assert writer.close(20), writer.last_error
            uid = bundle.start_doc["uid"]
            assert catalog.runs(sample="beads")["uid"].tolist() == [uid]
            assert catalog.raw[uid]["primary"]["x"].read().tolist() == [1.5]
            catalog.append_rows(uid, "spots", pa.table({"x_um": [1.0, 2.0]}))
            assert catalog.read_table(uid, "spots").num_rows == 2
            assert not (folder.catalog / "catalog.db").exists()
        assert folder.database_file.stat().st_mode & 0o777 == 0o600, "the address may hold a password"
        stop_server(folder)
        with open_catalog(folder) as again:  # starts a server, which nobody told where the database is
            assert again.runs(sample="beads")["uid"].tolist() == [uid]
    finally:
        stop_server(folder)


@pytest.mark.long
def test_a_folder_that_was_moved_still_has_its_runs_numbers_and_pixels(tmp_path, source):
    old, new = DataFolder(tmp_path / "disk one"), DataFolder(tmp_path / "two" / "here it is")
    camera = Camera(name="camera", source=source, frames_root=old.frames, timeout_s=1)
    try:
        with open_catalog(old) as catalog:
            writer = CatalogWriter(catalog)
            engine = RunEngine({}, call_returns_result=True)
            engine.subscribe(writer)
            (uid,) = engine(bp.count([camera], 3)).run_start_uids
            assert writer.close(40), writer.last_error
            before = {key: catalog.run(uid)["primary"][key].read() for key in ("camera", "camera_frame")}
        camera.destroy()
        assert stop_server(old)
        new.root.parent.mkdir()
        shutil.move(old.root, new.root)
        with open_catalog(new) as catalog:
            for key, values in before.items():
                np.testing.assert_array_equal(catalog.run(uid)["primary"][key].read(), values)
    finally:
        for folder in (old, new):
            if folder.root.exists():
                stop_server(folder)
