from __future__ import annotations

import os
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from parfocal.catalog._log import (
    HEADER,
    LogHeader,
    LogPosition,
    RunLog,
    decode_line,
    encode_line,
    is_being_written,
    log_path,
    read_log,
)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(2**53 + 1), 2**53 + 1),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (np.arange(200.0).reshape(2, 100), np.arange(200.0).reshape(2, 100).tolist()),
        (np.array(["a", "b"]), ["a", "b"]),
        (float("inf"), float("inf")),
        ((1, (2,)), [1, [2]]),
        ({3}, [3]),
        (Path("/a"), "/a"),
        (Colour.RED, "red"),
        ({1: {np.int64(2): None}}, {"1": {"2": None}}),
        ("µm\n", "µm\n"),
    ],
)
def test_what_json_cannot_say_becomes_the_nearest_that_it_can(given, kept):
    line = encode_line("start", {"value": given})
    assert line.count(b"\n") == 1
    assert decode_line(line) == ("start", {"value": kept})


def test_nan_survives():
    _, doc = decode_line(encode_line("event", {"value": np.float64("nan")}))
    assert np.isnan(doc["value"])


def test_a_document_that_holds_itself_is_still_logged():
    doc = {"a": 1}
    doc["self"] = doc
    assert decode_line(encode_line("start", doc))[1]["a"] == 1


def test_a_reader_goes_on_where_it_was(tmp_path):
    log = RunLog(tmp_path / "run.jsonl")
    log.append("start", {"uid": "a"})
    first = log.read(LogPosition())
    assert [entry.doc for entry in first] == [{"uid": "a"}]
    log.append("event", {"n": 1})
    log.append("event", {"n": 2})
    assert [entry.doc["n"] for entry in log.read(first[-1].end)] == [1, 2]
    log.release()


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "run.jsonl"
    whole = encode_line("start", {"uid": "a"}) + encode_line("event", {"n": 1})
    torn = encode_line("event", {"n": 2})
    for n_bytes in range(len(torn)):
        path.write_bytes(whole + torn[:n_bytes])
        assert [entry.name for entry in read_log(path)] == ["start", "event"]


def test_a_full_disk_keeps_the_lines_in_memory_and_no_torn_one_in_the_file(tmp_path, monkeypatch):
    log = RunLog(tmp_path / "run.jsonl")
    log.append("start", {"uid": "a"})
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[: len(line) // 2]))
    log.append("event", {"n": 1})
    monkeypatch.undo()
    log.append("event", {"n": 2})
    assert "no space left" in log.error
    assert [entry.name for entry in read_log(log.path)] == ["start"]
    entries = log.read(LogPosition())
    assert [entry.doc for entry in entries] == [{"uid": "a"}, {"n": 1}, {"n": 2}]
    assert [entry.doc["n"] for entry in log.read(entries[1].end)] == [2]
    log.release()


def test_a_log_that_cannot_be_made_still_hands_on_its_documents(tmp_path):
    (tmp_path / "file").write_text("")
    log = RunLog(tmp_path / "file" / "run.jsonl")
    log.append("start", {"uid": "a"})
    assert log.error
    assert [entry.name for entry in log.read(LogPosition())] == ["start"]


def test_a_log_is_being_written_until_released_or_its_process_is_gone(tmp_path):
    log = RunLog(tmp_path / "run.jsonl")
    log.append("start", {"uid": "a"})
    assert is_being_written(log.path)
    log.release()
    assert not is_being_written(log.path)
    reused = replace(LogHeader.of_this_process(), process_started_s=1.0)
    log.path.write_bytes(encode_line(HEADER, asdict(reused)))
    assert not is_being_written(log.path)
    elsewhere = replace(reused, host="another-machine")
    log.path.write_bytes(encode_line(HEADER, asdict(elsewhere)))
    assert is_being_written(log.path)


def test_no_uid_leads_out_of_the_folder(tmp_path):
    for uid in ("../../etc/passwd", "/abs/a", "a" * 500, "", ".."):
        assert log_path(tmp_path, uid).parent == tmp_path
        assert len(log_path(tmp_path, uid).name) < 100


def test_a_log_of_the_same_run_that_is_there_already_is_not_touched(tmp_path):
    first = RunLog(tmp_path / "run.jsonl")
    first.append("start", {"uid": "a"})
    second = RunLog(tmp_path / "run.jsonl")
    second.append("start", {"uid": "b"})
    assert second.error
    assert [entry.doc["uid"] for entry in second.read(LogPosition())] == ["b"]
    second.remove()
    assert [entry.doc["uid"] for entry in first.read(LogPosition())] == ["a"]
    first.remove()
    assert not first.path.exists()


def test_lines_kept_in_memory_are_written_when_there_is_room_again(tmp_path, monkeypatch):
    log = RunLog(tmp_path / "run.jsonl")
    log.append("start", {"uid": "a"})
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, line: 0)
        log.append("event", {"n": 1})
    log.append("stop", {"n": 2})
    log.release()
    assert [entry.name for entry in read_log(log.path)] == ["start", "event", "stop"]


def test_a_log_that_ended_is_closed_and_can_still_be_read_and_released(tmp_path):
    log = RunLog(tmp_path / "run.jsonl")
    log.append("stop", {"uid": "a"})
    log.sync(is_last=True)
    assert log._handle is None
    assert [entry.name for entry in log.read(LogPosition())] == ["stop"]
    assert is_being_written(log.path)
    log.release()
    assert not is_being_written(log.path)
