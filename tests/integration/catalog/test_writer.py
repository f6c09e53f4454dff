from __future__ import annotations

import asyncio
import re
import threading
import time

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky.run_engine import RunEngineInterrupted
from event_model import compose_run
from httpx import HTTPStatusError
from ophyd import Signal
from ophyd.sim import det, motor

from parfocal.catalog import Catalog, CatalogHealth, CatalogWriter, open_catalog, stop_server
from parfocal.catalog._run_sink import RunSink


def test_a_run_is_in_the_catalog_with_every_event_and_frame(catalog, writer, engine, camera):
    uid = engine(bp.scan([det, camera], motor, -1, 1, 20)).run_start_uids[0]
    assert writer.drain(40), writer.last_error
    stream = catalog.raw[uid]["primary"].read()
    assert stream["camera"].dims == ("time", "y", "x")
    np.testing.assert_array_equal(stream["camera"].values[:, 0, 0], np.arange(1, 21))
    np.testing.assert_array_equal(stream["camera_frame"], np.arange(20))
    np.testing.assert_allclose(stream["motor"], np.linspace(-1, 1, 20))
    assert not list(catalog.folder.wal.glob(f"{uid}*"))


def test_events_can_be_read_while_the_run_goes_on(catalog, writer, engine, camera):
    seen = []

    def plan():
        uid = yield from bps.open_run()
        for number in range(1, 4):
            yield from bps.trigger_and_read([camera, det])
            saved_s = time.monotonic()
            stream = None
            # A read whose array grows between its two requests is asked again by Tiled's client for 25 s.
            while time.monotonic() - saved_s < 60:
                yield from bps.sleep(0.05)
                try:
                    stream = catalog.raw[uid]["primary"].read()
                except (KeyError, ValueError, HTTPStatusError):  # not there yet, or between its columns
                    continue
                if stream.sizes.get("time") == number:
                    break
            seen.append(stream["camera"].values[:, 0, 0].tolist())
        yield from bps.close_run()

    engine(bpp.stage_wrapper(plan(), [camera]))
    assert seen == [[1], [1, 2], [1, 2, 3]]


def test_the_plan_is_not_held_up(writer):
    bundle = compose_run()
    writer("start", bundle.start_doc)
    signal = {"x": {"source": "test", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="primary", data_keys=signal)
    writer("descriptor", descriptor.descriptor_doc)
    costs_s = []
    for value in range(1000):
        event = descriptor.compose_event(data={"x": float(value)}, timestamps={"x": time.time()})
        begun_s = time.perf_counter()
        writer("event", event)
        costs_s.append(time.perf_counter() - begun_s)
    writer("stop", bundle.compose_stop())
    assert np.median(costs_s) < 1e-3
    assert writer.drain(20)


def test_numpy_values_nan_and_large_arrays_arrive_as_they_were(catalog, writer):
    bundle = compose_run(metadata={"shape": np.array([3, 4]), "gain": np.float32(0.5), "on": np.bool_(True)})
    large = np.linspace(0, 1, 100)
    keys = {
        "count": {"source": "t", "dtype": "integer", "shape": []},
        "value": {"source": "t", "dtype": "number", "shape": []},
        "pair": {"source": "t", "dtype": "array", "shape": [2]},
        "trace": {"source": "t", "dtype": "array", "shape": [100]},
    }
    writer("start", bundle.start_doc)
    descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
    writer("descriptor", descriptor.descriptor_doc)
    for number in range(3):
        data = {
            "count": np.int64(number),
            "value": np.float64(np.nan) if number == 1 else np.float32(number),
            "pair": np.array([number, number + 0.5]),
            "trace": large * number,
        }
        writer("event", descriptor.compose_event(data=data, timestamps=dict.fromkeys(data, time.time())))
    writer("stop", bundle.compose_stop())
    assert writer.drain(40), writer.last_error
    run = catalog.raw[bundle.start_doc["uid"]]
    assert run.start["shape"] == [3, 4]
    assert run.start["gain"] == 0.5
    stream = run["primary"].read()
    np.testing.assert_array_equal(stream["count"], [0, 1, 2])
    np.testing.assert_array_equal(stream["value"], [0, np.nan, 2])
    np.testing.assert_allclose(stream["trace"], [large * number for number in range(3)])


def test_nested_runs_and_derived_runs_each_find_their_place(catalog, writer, engine):
    @bpp.set_run_key_decorator("inner")
    @bpp.run_decorator(md={"purpose": "inner"})
    def inner():
        yield from bps.trigger_and_read([det])

    @bpp.set_run_key_decorator("outer")
    @bpp.run_decorator(md={"purpose": "outer"})
    def outer():
        yield from bps.trigger_and_read([motor])
        yield from inner()
        yield from bps.trigger_and_read([motor])

    outer_uid, inner_uid = engine(outer()).run_start_uids
    derived = compose_run(metadata={"parfocal": {"analysis": "test", "raw": {"uid": outer_uid}}})
    writer("start", derived.start_doc)
    writer("stop", derived.compose_stop())
    assert writer.drain(40), writer.last_error
    assert len(catalog.raw[outer_uid]["primary"]["motor"].read()) == 2
    assert len(catalog.raw[inner_uid]["primary"]["det"].read()) == 1
    assert derived.start_doc["uid"] in catalog.analysis
    assert derived.start_doc["uid"] not in catalog.raw


def test_an_event_page_becomes_rows(catalog, writer):
    bundle = compose_run()
    writer("start", bundle.start_doc)
    keys = {"x": {"source": "t", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="lock", data_keys=keys)
    writer("descriptor", descriptor.descriptor_doc)
    page = descriptor.compose_event_page(
        data={"x": [1.0, 2.0, 3.0]},
        timestamps={"x": [0.0, 0.1, 0.2]},
        seq_num=[1, 2, 3],
        time=[0.0, 0.1, 0.2],
    )
    writer("event_page", page)
    writer("stop", bundle.compose_stop())
    assert writer.drain(40), writer.last_error
    stream = catalog.raw[bundle.start_doc["uid"]]["lock"]
    np.testing.assert_array_equal(stream["x"].read(), [1, 2, 3])


@pytest.mark.parametrize("moment", ["between trigger and read", "between save and checkpoint"])
def test_after_a_pause_events_frames_and_rows_agree(catalog, writer, engine, camera, moment):
    paused = threading.Event()

    def pause_once():
        if not paused.is_set():
            paused.set()
            yield from bps.pause()

    def one_point(number):
        yield from bps.checkpoint()
        yield from bps.mv(motor, number)
        yield from bps.trigger(camera, group="shot")
        yield from bps.wait("shot")
        if number == 2 and moment == "between trigger and read":
            yield from pause_once()
        yield from bps.create("primary")
        yield from bps.read(motor)
        yield from bps.read(camera)
        yield from bps.save()
        if number == 2 and moment == "between save and checkpoint":
            yield from pause_once()

    @bpp.stage_decorator([camera])
    @bpp.run_decorator()
    def plan():
        for number in range(4):
            yield from one_point(number)

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    uid = engine.resume().run_start_uids[0]
    assert writer.drain(40), writer.last_error
    stream = catalog.raw[uid]["primary"].read()
    n_rows = 5 if moment == "between save and checkpoint" else 4
    assert stream.sizes["time"] == n_rows
    np.testing.assert_array_equal(stream["camera_frame"], np.arange(n_rows))
    np.testing.assert_array_equal(stream["camera"].values[:, 0, 0], np.arange(1, n_rows + 1))
    replayed = [doc for name, doc in catalog.documents(uid) if name == "event"]
    assert [event["seq_num"] for event in replayed] == [1, 2, 3, 4]
    frames = [doc["indices"]["start"] for name, doc in catalog.documents(uid) if name == "stream_datum"]
    assert frames == [event["data"]["camera_frame"] for event in replayed]


@pytest.mark.long
def test_nothing_is_missing_after_the_server_was_down_during_a_run(tmp_path, make_camera):
    catalog = open_catalog(tmp_path / "data")
    writer = CatalogWriter(catalog, behind_s=0.5)
    from bluesky import RunEngine

    engine = RunEngine({}, call_returns_result=True)
    engine.subscribe(writer)
    camera = make_camera(catalog.folder.frames)
    pace_s = []

    @bpp.stage_decorator([camera])
    @bpp.run_decorator()
    def plan():
        for number in range(60):
            begun_s = time.perf_counter()
            yield from bps.trigger_and_read([camera, det])
            pace_s.append(time.perf_counter() - begun_s)
            if number == 20:
                yield from bps.sleep(0.5)  # so that a part of the run is in the catalog
                stop_server(catalog.folder)
            if number == 40:
                while writer.health.get() != CatalogHealth.DOWN:
                    yield from bps.sleep(0.05)
        assert writer.backlog > 0

    try:
        uid = engine(plan()).run_start_uids[0]
        assert not writer.drain(0.2)
        assert re.search("does not answer|not running", writer.last_error)
        open_catalog(catalog.folder).close()
        assert writer.drain(20), writer.last_error
        time.sleep(0.6)
        assert writer.health.get() == CatalogHealth.OK
        stream = catalog.raw[uid]["primary"].read()
        np.testing.assert_array_equal(stream["camera"].values[:, 0, 0], np.arange(1, 61))
        assert not list(catalog.folder.wal.glob("*.jsonl"))
        assert np.median(pace_s) < 0.05
    finally:
        writer.close(1)
        catalog.close()
        stop_server(catalog.folder)


def test_a_server_that_died_is_started_again(tmp_path):
    import psutil

    from parfocal.catalog import find_server

    catalog = open_catalog(tmp_path / "data")
    writer = CatalogWriter(catalog)
    try:
        psutil.Process(find_server(catalog.folder).pid).kill()
        bundle = compose_run()
        writer("start", bundle.start_doc)
        writer("stop", bundle.compose_stop())
        assert writer.drain(20), writer.last_error
        assert bundle.start_doc["uid"] in catalog.raw
    finally:
        writer.close(1)
        catalog.close()
        stop_server(catalog.folder)


def test_a_run_that_failed_half_way_is_written_again_whole(catalog, writer, monkeypatch):
    failures = iter([RuntimeError("half a flush")])
    flush = RunSink.flush

    def fail_once(sink):
        flush(sink)
        if sink.n_rows["primary"] >= 2:
            for error in failures:
                raise error

    monkeypatch.setattr(RunSink, "flush", fail_once)
    bundle = compose_run()
    writer("start", bundle.start_doc)
    keys = {"x": {"source": "t", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
    writer("descriptor", descriptor.descriptor_doc)
    for number in range(2):
        writer("event", descriptor.compose_event(data={"x": float(number)}, timestamps={"x": 0.0}))
    assert not writer.drain(0.3) or writer.last_error
    writer("event", descriptor.compose_event(data={"x": 2.0}, timestamps={"x": 0.0}))
    writer("stop", bundle.compose_stop())
    assert writer.drain(40)
    assert "half a flush" in writer.last_error
    np.testing.assert_array_equal(catalog.raw[bundle.start_doc["uid"]]["primary"]["x"].read(), [0.0, 1.0, 2.0])


def test_a_run_that_is_in_the_catalog_already_is_left_alone(catalog, writer):
    bundle = compose_run(metadata={"sample": "first"})
    writer("start", bundle.start_doc)
    writer("stop", bundle.compose_stop())
    assert writer.drain(40)
    writer("start", {**bundle.start_doc, "sample": "second"})
    assert not writer.drain(40)
    assert "already" in writer.last_error
    assert catalog.raw[bundle.start_doc["uid"]].start["sample"] == "first"
    log = catalog.folder.wal / f"{bundle.start_doc['uid']}.jsonl"
    assert log.exists()
    writer.close(1)
    log.unlink()


def test_a_document_without_a_run_does_not_hurt_the_plan(writer):
    writer("event", {"descriptor": "unknown", "seq_num": 1})
    assert "unknown" in writer.last_error


def test_a_full_log_disk_does_not_lose_the_run(catalog, writer, monkeypatch):
    from parfocal.catalog._log import RunLog

    bundle = compose_run()
    writer("start", bundle.start_doc)
    write = RunLog._write
    monkeypatch.setattr(RunLog, "_write", lambda log, line: (_ for _ in ()).throw(OSError(28, "No space left")))
    keys = {"x": {"source": "t", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
    writer("descriptor", descriptor.descriptor_doc)
    writer("event", descriptor.compose_event(data={"x": 1.0}, timestamps={"x": 0.0}))
    monkeypatch.setattr(RunLog, "_write", write)
    writer("event", descriptor.compose_event(data={"x": 2.0}, timestamps={"x": 0.0}))
    time.sleep(0.6)
    assert writer.health.get() == CatalogHealth.DOWN
    assert "No space left" in writer.last_error
    writer("stop", bundle.compose_stop())
    assert writer.drain(40), writer.last_error
    np.testing.assert_array_equal(catalog.raw[bundle.start_doc["uid"]]["primary"]["x"].read(), [1.0, 2.0])


def test_a_suspender_can_watch_the_health(writer, engine):
    from bluesky.suspenders import SuspendCeil

    signal: Signal = writer.health
    assert signal.kind.name == "hinted"
    engine.install_suspender(SuspendCeil(signal, int(CatalogHealth.BEHIND)))
    loop: asyncio.AbstractEventLoop = engine.loop
    released = threading.Timer(0.4, lambda: loop.call_soon_threadsafe(signal.put, int(CatalogHealth.OK)))
    signal.put(int(CatalogHealth.DOWN))
    released.start()
    begun_s = time.monotonic()
    engine(bp.count([det]))
    assert time.monotonic() - begun_s < 10


def test_a_catalog_shows_where_it_is(catalog: Catalog):
    assert str(catalog.folder.root) in repr(catalog)
