from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import bluesky.plans as bp
import numpy as np
import pytest
import tensorstore
from event_model import compose_run
from ophyd.sim import motor

from parfocal.catalog import CatalogWriter, DataFolder, find_server, open_shared_catalog, recover
from parfocal.catalog._log import HEADER, LogHeader, encode_line, log_path

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import bluesky.plans as bp
from bluesky import RunEngine
from conftest import ZarrCamera
from ophyd.sim import motor
from parfocal.catalog import CatalogWriter, open_catalog

catalog = open_catalog({root!r})
camera = ZarrCamera(catalog.folder.frames)
engine = RunEngine({{}})
engine.subscribe(CatalogWriter(catalog))

def kill(index):
    if index == 120:
        print(engine.md["uid"], camera.group, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

camera.after_write = kill
engine.subscribe(lambda name, doc: engine.md.update(uid=doc["uid"]), "start")
engine(bp.scan([camera], motor, 0, 1, 200))
"""


def test_a_run_whose_process_was_killed_is_whole_but_for_the_frame_without_an_event(catalog, request):
    code = KILLED.format(tests=str(request.path.parent), root=str(catalog.folder.root))
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    uid, group = killed.stdout.split()
    assert json.loads(Path(group, "0", "zarr.json").read_text())["shape"][0] == 128

    (result,) = recovered(catalog, uid)

    assert (result.uid, result.outcome, result.exit_status) == (uid, "written", "abort")
    assert (result.n_events, result.n_frames_without_event) == (120, 1)
    run = catalog.raw[uid]
    assert run.stop["exit_status"] == "abort"
    assert run.stop["num_events"] == {"primary": 120}
    assert "1 more frame" in run.stop["reason"]
    stream = run["primary"].read()
    np.testing.assert_array_equal(stream["camera"].values[:, 0, 0], np.arange(1, 121))
    np.testing.assert_array_equal(stream["camera_frame"], np.arange(120))
    # The 121st stays on disk, and nothing that was only reserved.
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{group}/0"}}
    on_disk = tensorstore.open(spec).result().read().result()
    np.testing.assert_array_equal(on_disk[:, 0, 0], np.arange(1, 122))
    assert recovered(catalog, uid) == []


def test_a_run_that_is_still_being_written_is_left_alone(catalog, writer):
    bundle = compose_run()
    writer("start", bundle.start_doc)
    assert writer.drain(40)
    (result,) = recovered(catalog, bundle.start_doc["uid"])
    assert (result.uid, result.outcome) == (bundle.start_doc["uid"], "running")
    writer("stop", bundle.compose_stop())
    assert writer.drain(40), writer.last_error
    assert recovered(catalog, bundle.start_doc["uid"]) == []


def recovered(catalog, uid):
    """What becomes of one run; other tests' runs may be open in the same folder."""
    return [result for result in recover(catalog.folder, catalog) if result.uid == uid]


def leave_log(catalog, bundle, documents):
    """What a process that is gone left behind."""
    gone = replace(LogHeader.of_this_process(), process_started_s=1.0)
    path = log_path(catalog.folder.wal, bundle.start_doc["uid"])
    lines = [encode_line(HEADER, asdict(gone)), *(encode_line(name, doc) for name, doc in documents)]
    path.write_bytes(b"".join(lines))
    return path


def test_a_torn_last_line_costs_that_document_only(catalog):
    bundle = compose_run()
    keys = {"x": {"source": "t", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
    events = [descriptor.compose_event(data={"x": float(n)}, timestamps={"x": 0.0}) for n in range(3)]
    documents = [("start", bundle.start_doc), ("descriptor", descriptor.descriptor_doc)]
    path = leave_log(catalog, bundle, [*documents, *(("event", event) for event in events[:2])])
    with path.open("ab") as file:
        file.write(encode_line("event", events[2])[:-9])
    (result,) = recovered(catalog, bundle.start_doc["uid"])
    assert (result.outcome, result.n_events, result.n_frames_without_event) == ("written", 2, 0)
    np.testing.assert_array_equal(catalog.raw[result.uid]["primary"]["x"].read(), [0.0, 1.0])


def test_a_run_that_ended_before_the_catalog_had_it_keeps_its_own_ending(catalog):
    bundle = compose_run()
    stop = bundle.compose_stop(exit_status="fail", reason="lamp")
    leave_log(catalog, bundle, [("start", bundle.start_doc), ("stop", stop)])
    (result,) = recovered(catalog, bundle.start_doc["uid"])
    assert (result.outcome, result.exit_status) == ("written", "fail")
    assert catalog.raw[result.uid].stop["reason"] == "lamp"


def test_a_run_that_the_catalog_holds_already_is_not_touched(catalog, writer):
    bundle = compose_run()
    documents = [("start", bundle.start_doc), ("stop", bundle.compose_stop())]
    for name, doc in documents:
        writer(name, doc)
    assert writer.drain(40), writer.last_error
    leave_log(catalog, bundle, documents)
    (result,) = recovered(catalog, bundle.start_doc["uid"])
    assert result.outcome == "present"
    assert recovered(catalog, bundle.start_doc["uid"]) == []


def test_one_bad_log_does_not_keep_the_others_back(catalog):
    bad, good = compose_run(), compose_run()
    event = {"descriptor": "unknown", "seq_num": 1, "time": 0.0, "uid": "e", "data": {}, "timestamps": {}}
    path = leave_log(catalog, bad, [("start", bad.start_doc), ("event", event)])
    leave_log(catalog, good, [("start", good.start_doc)])
    results = {result.uid: result for result in recover(catalog.folder, catalog)}
    assert results[good.start_doc["uid"]].outcome == "written"
    failed = results[bad.start_doc["uid"]]
    assert failed.outcome == "failed"
    assert "unknown" in failed.problem
    assert path.exists()
    path.unlink()


@pytest.mark.parametrize("who", ["person", "supervisor"])
def test_what_a_crash_left_beside_a_sites_server_goes_there(catalog, tmp_path, monkeypatch, who):
    ours = DataFolder(tmp_path).make()
    site = find_server(catalog.folder)
    monkeypatch.setenv("PARFOCAL_DATA", str(ours.root))
    monkeypatch.setenv("PARFOCAL_TILED_URI", site.url)
    monkeypatch.setenv("PARFOCAL_TILED_API_KEY", site.api_key)
    bundle = compose_run()
    leave_log(SimpleNamespace(folder=ours), bundle, [("start", bundle.start_doc)])
    results = recover() if who == "person" else recover(ours, opens=open_shared_catalog)
    assert [(one.uid, one.outcome) for one in results] == [(bundle.start_doc["uid"], "written")]
    assert catalog.raw[bundle.start_doc["uid"]].stop["exit_status"] == "abort"
    assert find_server(ours) is None, "no server of the folder's own was started for it"


def test_a_log_without_a_whole_document_goes(catalog):
    path = log_path(catalog.folder.wal, "nothing")
    path.write_bytes(b'{"name":"sta')
    assert recovered(catalog, "nothing") == []
    assert not path.exists()


def test_a_log_that_its_writer_takes_away_meanwhile_is_passed_over(tmp_path, monkeypatch):
    from parfocal.catalog import DataFolder, _recover

    folder = DataFolder(tmp_path).make()
    for name in ("a", "b"):
        (folder.wal / f"{name}.jsonl").write_bytes(b"")

    def taken_away(path):
        path.unlink(missing_ok=True)
        raise FileNotFoundError(path)

    monkeypatch.setattr(_recover, "is_being_written", taken_away)
    assert recover(folder) == []


def test_an_incomplete_run_in_the_catalog_is_replaced_and_its_frames_stay(catalog, engine, writer, camera):
    uid = engine(bp.scan([camera], motor, 0, 1, 5)).run_start_uids[0]
    assert writer.drain(40), writer.last_error
    start = {**catalog.raw[uid].start, "uid": f"{uid[:-4]}0000"}
    documents = []
    for name, doc in catalog.documents(uid):
        doc = {**doc, **({"run_start": start["uid"]} if "run_start" in doc else {})}
        documents.append((name, start if name == "start" else doc))
    half = CatalogWriter(catalog)
    for name, doc in documents[: len(documents) // 2]:
        half(name, doc)
    assert half.close(40), half.last_error  # in the catalog without an end, as after a crash
    assert not catalog.raw[start["uid"]].metadata.get("stop")
    (result,) = recovered(catalog, start["uid"])
    assert (result.outcome, result.exit_status) == ("written", "abort")
    values = catalog.raw[uid]["primary"]["camera"].read()[:, 0, 0]
    np.testing.assert_array_equal(values, np.arange(1, 6))


def test_a_burst_is_read_right_while_it_grows_and_after(catalog, writer, make_array):
    n_frames = 40
    bundle = compose_run()
    group = catalog.folder.frames / f"{bundle.start_doc['uid']}.ome.zarr"
    arrays = {
        "camera": (make_array(group / "0", (64, 4, 5), (1, 4, 5), "uint16"), [4, 5], "<u2", [1, 4, 5]),
        "z_um": (make_array(group / "z_um", (64,), (64,), "float64"), [], "<f8", [64]),
        "t_s": (make_array(group / "t_s", (64,), (64,), "float64"), [], "<f8", [64]),
    }
    writer("start", bundle.start_doc)
    keys = {
        key: {
            "source": "t",
            "dtype": "array" if shape else "number",
            "shape": shape,
            "dtype_numpy": dtype,
            "external": "STREAM:",
            **({"dims": ["y", "x"]} if shape else {}),
        }
        for key, (_, shape, dtype, _) in arrays.items()
    }
    descriptor = bundle.compose_descriptor(name="burst", data_keys=keys)
    writer("descriptor", descriptor.descriptor_doc)
    resources = {}
    for key, (store, _, _, chunk) in arrays.items():
        uri = f"file://localhost{store.kvstore.path.rstrip('/')}"
        resources[key] = bundle.compose_stream_resource(
            mimetype="application/x-zarr", uri=uri, data_key=key, parameters={"chunk_shape": chunk}
        )
        writer("stream_resource", resources[key].stream_resource_doc)
    for first in range(0, n_frames, 10):
        last = first + 10
        values = np.arange(first, last)
        arrays["camera"][0][first:last].write(
            np.broadcast_to(values[:, None, None] + 1, (10, 4, 5)).astype(np.uint16)
        ).result()
        arrays["z_um"][0][first:last].write(values * 0.1).result()
        arrays["t_s"][0][first:last].write(values * 0.01).result()
        for key in arrays:
            indices, seq_nums = {"start": first, "stop": last}, {"start": first + 1, "stop": last + 1}
            datum = resources[key].compose_stream_datum(indices, seq_nums, descriptor.descriptor_doc)
            writer("stream_datum", datum)
        if last == 20:
            # The arrays are 64 long on disk; 20 frames have been announced.
            begun_s = time.monotonic()
            node = catalog.raw[bundle.start_doc["uid"]] if writer.drain(40) else None
            assert time.monotonic() - begun_s < 3
            np.testing.assert_array_equal(node["burst"]["camera"].read()[:, 0, 0], np.arange(1, 21))
            np.testing.assert_allclose(node["burst"]["z_um"].read(), np.arange(20) * 0.1)
    writer("stop", bundle.compose_stop())
    assert writer.drain(40), writer.last_error
    run = catalog.raw[bundle.start_doc["uid"]]
    stream = run["burst"].read()
    np.testing.assert_array_equal(stream["camera"].values[:, 3, 4], np.arange(1, n_frames + 1))
    np.testing.assert_allclose(stream["t_s"], np.arange(n_frames) * 0.01)
    np.testing.assert_array_equal(run["burst"]["camera"][7:9, 1, 2], [8, 9])
    names = [name for name, _ in catalog.documents(bundle.start_doc["uid"])]
    assert names.count("stream_datum") == 3
    assert names[0] == "start"
    assert names[-1] == "stop"
