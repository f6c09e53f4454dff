"""The form of the rows, the line to a peer, and the command; nothing here asserts a time."""

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from parfocal.bench import BENCHES, Peer, Row, app, as_document, interleaved, peers_python
from parfocal.bench import _peers as peers_module
from parfocal.errors import BadInputError

ECHO = """
from _serve import median_seconds, serve
import os
def add(a, b):
    print("noise from a library")
    return {"sum": a + b}
def fail():
    raise ValueError("no\\nway")
def leave():
    import sys; print("going", file=sys.stderr); os._exit(3)
def time():
    return {"seconds": median_seconds(lambda: None, 3)}
serve({"echo": "1.0"}, add=add, fail=fail, leave=leave, time=time)
"""


@pytest.fixture
def echo(tmp_path, monkeypatch):
    real = Path(peers_module.__file__).parent / "peers"
    (tmp_path / "_serve.py").write_text((real / "_serve.py").read_text())
    (tmp_path / "echo.py").write_text(ECHO)
    monkeypatch.setattr(peers_module, "_SCRIPTS", tmp_path)
    with Peer("echo", python=Path(sys.executable)) as peer:
        yield peer


def test_a_peer_answers_whatever_its_libraries_print(echo):
    assert echo.name == "echo 1.0"
    assert echo.call("add", a=2, b=3) == {"sum": 5}
    assert echo.call("add", a=1, b=1) == {"sum": 2}
    assert echo.call("time")["seconds"] >= 0


def test_a_peer_that_fails_says_why_and_goes_on(echo):
    with pytest.raises(BadInputError, match="ValueError: no way"):
        echo.call("fail")
    assert echo.call("add", a=1, b=1) == {"sum": 2}


def test_a_peer_that_ends_is_reported_with_its_last_words(echo):
    with pytest.raises(BadInputError, match="has ended: going"):
        echo.call("leave")


def test_without_peers_the_way_to_get_them_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARFOCAL_PEERS_PYTHON", raising=False)
    with pytest.raises(BadInputError, match="make peers"):
        peers_python()
    monkeypatch.setenv("PARFOCAL_PEERS_PYTHON", sys.executable)
    assert peers_python() == Path(sys.executable)


def test_turns_are_taken_and_the_first_round_does_not_count():
    order = []

    def measure(name, values):
        remaining = iter(values)

        def once():
            order.append(name)
            return next(remaining)

        return once

    ours, theirs = interleaved(measure("a", [99, 1, 2, 3]), measure("b", [99, 4, 6, 5]), rounds=3)
    assert (ours, theirs) == (2, 5)
    assert order == ["a", "b"] * 4


def test_a_ratio_above_one_means_that_ours_is_better():
    faster = Row.compared("x/t", 2.0, 6.0, peer_name="p", unit="ms")
    assert (faster.ratio, faster.met) == (3.0, True)
    rate = Row.compared("x/r", 100.0, 50.0, peer_name="p", unit="rows/s", goal=3, higher_is_better=True)
    assert (rate.ratio, rate.met) == (2.0, False)
    limit = Row.limited("x/l", 0.5, 1.0, unit="ms")
    assert (limit.ratio, limit.met, limit.peer) == (2.0, True, None)


def test_the_json_form_is_the_same_for_every_bench():
    document = as_document("x", [Row.compared("x/t", 2.0, 6.0, peer_name="p", unit="ms", recorded=True)])
    assert list(document) == ["bench", "machine", "versions", "rows"]
    row = {
        "id": "x/t", "ours": 2.0, "peer": 6.0, "peer_name": "p", "unit": "ms",
        "ratio": 3.0, "goal": 1.0, "met": True, "recorded": True,
    }  # fmt: skip
    assert json.loads(json.dumps(document))["rows"] == [row]
    assert document["versions"]["parfocal"]


@pytest.fixture
def command():
    program = typer.Typer()
    program.command("bench")(app)
    return lambda *arguments: CliRunner().invoke(program, list(arguments))


def test_the_command_lists_what_there_is(command):
    listed = command("--list")
    assert listed.exit_code == 0
    for name in BENCHES:
        assert name in listed.output


def test_an_unknown_bench_is_refused_with_the_names_there_are(command):
    assert "scores" in str(command("scroes").exception)
    assert isinstance(command("scroes").exception, BadInputError)
    assert isinstance(command().exception, BadInputError)


def test_json_holds_the_measured_rows(command, monkeypatch):
    rows = [Row.compared("x/t", 2.0, 6.0, peer_name="p", unit="ms")]
    module = type(sys)("bench_of_a_test")
    module.measure = lambda: rows
    monkeypatch.setitem(sys.modules, "bench_of_a_test", module)
    monkeypatch.setitem(BENCHES, "x", "bench_of_a_test:measure")
    assert json.loads(command("x", "--json").output)["rows"][0]["ratio"] == 3.0
    assert "x/t" in command("x").output
