"""What was written is read back, by few requests, and what is missing is named."""

import time
from uuid import uuid4

import httpx
import pytest
from bluesky import RunEngine
from bluesky import plans as bp
from ophyd.sim import SynAxis

from parfocal.catalog._run_sink import RunSink


def documents_of(n_events):
    start, descriptor = str(uuid4()), str(uuid4())
    key = {"source": "test", "dtype": "number", "dtype_numpy": "<f8", "shape": []}
    yield "start", {"uid": start, "time": time.time(), "plan_name": "test", "parfocal": {"raw": {"uid": "raw"}}}
    yield (
        "descriptor",
        {
            "uid": descriptor,
            "time": time.time(),
            "run_start": start,
            "name": "scores",
            "data_keys": {"score": key},
            "configuration": {},
            "hints": {},
            "object_keys": {"test": ["score"]},
        },
    )
    for seq_num in range(1, n_events + 1):
        yield (
            "event",
            {
                "uid": str(uuid4()),
                "time": time.time(),
                "descriptor": descriptor,
                "seq_num": seq_num,
                "data": {"score": 1.0},
                "timestamps": {"score": 0.0},
                "filled": {},
            },
        )
    end = {"uid": str(uuid4()), "time": time.time(), "run_start": start, "exit_status": "success"}
    yield "stop", {**end, "num_events": {"scores": n_events}}


@pytest.fixture
def sent(monkeypatch):
    """The requests that this process makes, from here on."""
    requests = []
    send = httpx.Client.send

    def noted(self, request, **kwargs):
        requests.append(f"{request.method} {request.url.path}")
        return send(self, request, **kwargs)

    monkeypatch.setattr(httpx.Client, "send", noted)
    return requests


def test_a_derived_run_is_written_by_five_requests_and_verified_by_two(catalog, sent):
    sink = RunSink(catalog.shelf("analysis"))
    sent.clear()
    sink.write(documents_of(3))
    assert len(sent) == 5, sent  # run, stream, table, its rows, stop
    sent.clear()
    assert sink.verify() == ""
    assert len(sent) == 2, sent
    assert all(one.startswith("GET") for one in sent)


def test_rows_that_did_not_arrive_are_missed(catalog, monkeypatch):
    sink = RunSink(catalog.shelf("analysis"))
    *all_but_last, stop = documents_of(3)
    sink.write(all_but_last)
    sink.flush()
    event = dict(all_but_last[-1][1], seq_num=4)
    sink.expect([("event", event)])
    sink.write([stop])
    assert sink.verify() == "stream scores has 3 rows of 4"


def test_frames_that_did_not_arrive_are_missed(catalog, camera):
    taken = []
    RunEngine({})(bp.scan([camera], SynAxis(name="z"), 0, 1, 3), lambda name, doc: taken.append((name, doc)))
    sink = RunSink(catalog.shelf("raw"))
    sink.write(taken)
    assert sink.verify() == ""
    sink.n_frames["primary", camera.name] += 1
    assert sink.verify() == f"primary/{camera.name} has 3 frames of 4"
