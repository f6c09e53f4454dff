"""Which logs one who looks on takes for runs that go on."""

import threading
import time
from dataclasses import asdict, replace

import pytest

from parfocal.catalog import DataFolder, encode_line
from parfocal.catalog._log import HEADER, LogHeader
from parfocal.queue import _night_watch
from parfocal.queue._night_watch import NightWatch, logged

START = ("start", {"uid": "ab", "time": 1.0, "plan_name": "z_stack"})
STOP = ("stop", {"uid": "cd", "run_start": "ab", "time": 2.0, "exit_status": "success"})


@pytest.mark.parametrize("documents", [[START], [START, STOP]])
def test_a_log_counts_while_the_process_that_writes_it_lives(tmp_path, documents):
    folder, alive = DataFolder(tmp_path), LogHeader.of_this_process()
    folder.wal.mkdir(parents=True)
    for header, expected in ((alive, documents), (replace(alive, process_started_s=1.0), [])):
        lines = [(HEADER, asdict(header)), *documents]
        (folder.wal / "ab.jsonl").write_bytes(b"".join(encode_line(*line) for line in lines))
        assert list(logged(folder)) == expected


def _write(folder, *documents):
    folder.wal.mkdir(parents=True, exist_ok=True)
    lines = [(HEADER, asdict(LogHeader.of_this_process())), *documents]
    (folder.wal / "ab.jsonl").write_bytes(b"".join(encode_line(*line) for line in lines))


def test_known_runs_and_where_so_told_closed_ones_are_left_out(tmp_path):
    folder = DataFolder(tmp_path)
    _write(folder, START)
    assert list(logged(folder, {"ab"})) == []
    assert list(logged(folder, {"cd"}, only_open=True)) == [START]
    _write(folder, START, STOP)
    assert list(logged(folder, only_open=True)) == []


def test_a_run_whose_beginning_nobody_heard_is_read_in_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(_night_watch, "_LOOK_EVERY_S", 0.05)
    folder, pause = DataFolder(tmp_path), threading.Event()
    described = {"uid": "d", "run_start": "ab", "name": "primary", "data_keys": {}}
    event = {"uid": "e", "descriptor": "d", "seq_num": 3, "time": 1.5, "data": {}, "timestamps": {}}
    with NightWatch(folder, f"ipc://{tmp_path}/nobody-sends", with_queue=False) as watch:
        assert watch.view.run is None
        _write(folder, START, ("descriptor", described), ("event", event))
        until_s = time.monotonic() + 20
        while watch.view.run is None and time.monotonic() < until_s:
            pause.wait(0.02)
        pause.wait(0.3)  # heard again, it counts once
        view = watch.view
    assert view.run is not None
    assert (view.run.plan_name, view.run.is_running, view.n_frames) == ("z_stack", True, 3)
