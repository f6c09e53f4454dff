"""What goes wrong is said in one line, with exit code 2, and leaves the microscope safe and the run explained."""

import contextlib
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from bluesky.utils import FailedStatus

import parfocal.cli._demo as demo
from parfocal.callbacks import FocusScores
from parfocal.catalog import DataFolder, open_catalog, stop_server
from parfocal.devices import Backend, Microscope, simulated_microscope
from parfocal.plans import time_lapse, z_burst, z_stack
from parfocal.session import start_session
from support import CountingSource, Documents, InstantStage, Lamp

# -- faults of devices, as the person who runs a command meets them ---------------------------------

FAULTS = {
    "timeout": "simulated camera: no frame came within 1.02 s; check exposure and trigger",
    "drop": "simulated camera: the frame was lost on its way from the camera, take it again",
    "stall": "check the stage, then run again",
}


def spoiled_microscope(fault):
    """Return a factory of simulated microscopes that do well for six frames, and then no longer."""

    def make(*args, **kwargs):
        microscope = simulated_microscope(*args, **kwargs)
        camera, stage = microscope.backend.camera, microscope.backend.stage
        microscope.camera.timeout_s = microscope.xyz.z.timeout_s = 1.0
        frames = {"n": 0}

        def snap(timeout_s):
            frames["n"] += 1
            if frames["n"] == 6:
                stage.fail_next("stall") if fault == "stall" else camera.fail_next(fault)
            return type(camera).snap(camera, timeout_s)

        camera.snap = snap
        return microscope

    return make


@pytest.mark.parametrize("fault", ["timeout", "drop", "stall"])
def test_a_device_that_fails_ends_the_command_with_its_reason(parfocal, monkeypatch, data, catalog, fault):
    monkeypatch.setattr(demo, "simulated_microscope", spoiled_microscope(fault))
    said = parfocal("demo", "--data", data, "--seed", 3, "--no-picture", "--no-puncta")
    assert said.code == 2
    assert FAULTS[fault] in said.complaint
    stop = catalog.raw[-1].metadata["stop"]
    assert stop["exit_status"] == "fail"
    assert stop["reason"] == said.complaint
    shown = parfocal("show", str(catalog.runs(limit=1)["uid"].iloc[0]), "--data", data)
    assert FAULTS[fault] in shown.out


def test_debug_shows_where(parfocal, monkeypatch, data):
    monkeypatch.setattr(demo, "simulated_microscope", spoiled_microscope("drop"))
    with pytest.raises(FailedStatus):
        parfocal("--debug", "demo", "--data", data, "--no-picture", "--no-puncta")


# -- files and folders ------------------------------------------------------------------------------


def corrupt_tiff(folder):
    path = folder / "torn.tif"
    tifffile.imwrite(path, np.zeros((20, 64, 64), np.uint16), metadata={"axes": "ZYX"}, compression="zlib")
    path.write_bytes(path.read_bytes()[:400])
    return path


def text_called_tiff(folder):
    path = folder / "notes.tif"
    path.write_text("these are my notes of Tuesday")
    return path


def text(folder):
    path = folder / "notes.txt"
    path.write_text("these are my notes of Tuesday")
    return path


def empty_file(folder):
    path = folder / "empty.tif"
    path.touch()
    return path


def empty_folder(folder):
    path = folder / "planes"
    path.mkdir()
    return path


def missing(folder):
    return folder / "missing.tif"


@pytest.mark.parametrize("make", [corrupt_tiff, text_called_tiff, text, empty_file, empty_folder, missing])
def test_a_file_that_cannot_be_shown_is_named_with_the_reason(parfocal, data, tmp_path, make):
    path = make(tmp_path)
    said = parfocal("demo", "--data", data, "--stack", path, "--no-picture")
    assert said.code == 2
    assert str(path) in said.complaint


def test_a_file_that_tears_in_the_middle_of_the_run_ends_it_with_the_reason(parfocal, data, catalog, tmp_path):
    """Its header promises 20 planes; the last of them are not there."""
    path = tmp_path / "torn.tif"
    with tifffile.TiffWriter(path) as writer:
        for z in range(20):
            writer.write(np.full((64, 64), z, np.uint16), contiguous=False, metadata={"axes": "YX"})
    whole = path.read_bytes()
    path.write_bytes(whole)
    with path.open("r+b") as file:
        file.truncate(len(whole) * 3 // 4)
    said = parfocal("demo", "--data", data, "--stack", path, "--axes", "ZYX", "--no-picture")
    assert said.code == 2
    assert str(path) in said.complaint


@pytest.mark.parametrize("where", ["a file in its place", "below a file", "/proc"])
@pytest.mark.parametrize("command", [["demo"], ["runs"], ["replay", "newest"], ["serve"]])
def test_a_data_folder_that_cannot_be_written_is_named_with_what_to_do(parfocal, tmp_path, where, command):
    """CI runs as root, for whom no permission bit is in the way."""
    file = tmp_path / "file"
    file.touch()
    if where == "/proc" and not os.path.isdir("/proc/self"):
        pytest.skip("there is no /proc here")
    folder = {"a file in its place": file, "below a file": file / "data", "/proc": "/proc/parfocal"}[where]
    said = parfocal(*command, "--data", folder)
    assert said.code == 2
    assert str(folder) in said.complaint
    assert "--data" in said.complaint


@pytest.mark.parametrize("sign", ["%20", "#1", "?"])
def test_a_data_folder_that_tiled_could_not_address_is_refused_before_anything_is_written(
    parfocal, tmp_path, sign
):
    folder = tmp_path / f"my data{sign}"
    said = parfocal("runs", "--data", folder)
    assert said.code == 2
    assert "choose another" in said.complaint
    assert not folder.exists()


# -- the disk is full -------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder with 3 MB of space: a file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and sys.platform == "linux"
    if mounted:
        command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


def test_a_full_disk_fails_that_very_frame_and_the_run_says_so(small_disk, data, catalog):
    """Frames on a small disk of their own, the catalog elsewhere."""
    session = start_session(data)
    source, stage, lamp = CountingSource((256, 256)), InstantStage(), Lamp()
    microscope = Microscope(
        name="microscope", backend=Backend("bench", source, stage, lamp), frames_root=small_disk
    )
    documents = Documents()
    session.RE.subscribe(documents)
    with pytest.raises(FailedStatus):
        session.RE(z_stack(microscope, 30, 1))
    assert session.drain(30), session.writer.last_error
    (stop,) = documents.of("stop")
    assert "the disk is full; free some space and run again" in stop["reason"]
    assert str(small_disk) in stop["reason"]
    n_events = stop["num_events"]["primary"]
    assert 15 < n_events < 24, "3 MB hold 23 frames of 131 kB"
    assert stage.at["z"] == 0
    assert not lamp.is_on

    # what was saved before is whole, and with space the same camera goes on
    # (the server reads its own data folder only, so the frames are read from the disk)
    names = [d["indices"]["start"] for d in documents.of("stream_datum")]
    assert names == list(range(n_events))
    microscope.camera.frames_root = session.catalog.folder.frames
    session.RE(z_stack(microscope, 1, 1))
    assert session.drain(30), session.writer.last_error
    assert catalog.raw[-1]["primary"].read()["camera"].shape == (3, 256, 256)
    session.close()
    microscope.destroy()


def test_a_limit_on_the_size_of_files_is_said_as_such(command, tmp_path):
    pytest.importorskip("resource", reason="limits of a process are POSIX")
    code = """
import resource, sys
from bluesky import RunEngine
from bluesky.utils import FailedStatus
from parfocal.devices import Backend, Microscope
from parfocal.plans import z_stack
from support import CountingSource, InstantStage, Lamp
microscope = Microscope(
    name="m", backend=Backend("b", CountingSource((256, 256)), InstantStage(), Lamp()), frames_root=sys.argv[1]
)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    RunEngine({})(z_stack(microscope, 1, 1))
except FailedStatus as error:
    print(error.__cause__)
"""
    said = command(tmp_path, code=code)
    assert "is larger than this process may write (ulimit -f)" in said.out
    assert said.out.count("\n") == 1


@pytest.mark.long
def test_a_disk_that_is_full_for_the_catalog_too_ends_the_command_in_one_line(small_disk, command, tmp_path):
    """Everything on the small disk: frames, logs and the catalog's database. Afterwards `recover` mends it."""
    folder = DataFolder(small_disk / "data")
    try:
        said = command("demo", "--data", folder.root, "--no-picture", "--no-puncta")
        assert said.code == 2
        assert "the disk is full" in said.complaint
        for frame in sorted(folder.frames.rglob("c.*"))[-8:]:
            frame.unlink()  # somebody makes space
        said = command("recover", "--data", folder.root)
        assert said.code == 0, said.out + said.err
    finally:
        with contextlib.suppress(Exception):
            stop_server(folder)


# -- the same for somebody at a prompt --------------------------------------------------------------


def stack(microscope):
    return z_stack(microscope, 3, 1)


def lapse(microscope):
    return time_lapse(microscope, 3, 0, 1, 1, positions_um=[[0, 0], [50, 0]])


def burst(microscope):
    return z_burst(microscope, n_frames=20)


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (stack, "timeout"),
        (stack, "shape"),
        (stack, "dtype"),
        (stack, "drop"),
        (lapse, "timeout"),
        (burst, "timeout"),
        (burst, "drop"),
    ],
)
def test_a_failed_run_is_closed_with_its_reason_and_the_microscope_is_safe(data, plan, fault):
    session = start_session(data, analyses=[FocusScores])
    source, stage, lamp = CountingSource(), InstantStage(), Lamp()
    microscope = session.use(Microscope(name="microscope", backend=Backend("bench", source, stage, lamp)))
    stage.at.update(x=7.0, z=5.0)
    source.at_frame[2] = lambda: setattr(source, "fault", fault)  # for the frame after it, the fourth
    documents = Documents()
    session.RE.subscribe(documents)
    with pytest.raises(FailedStatus):
        session.RE(plan(microscope))
    (stop,) = documents.of("stop")
    assert stop["exit_status"] == "fail"
    words = {"timeout": "no frame within", "drop": "lost 1 frame", "shape": "(8, 7)", "dtype": "float32"}[fault]
    assert words in stop["reason"]
    assert "\n" not in stop["reason"]
    assert stage.at["z"] == 5.0
    assert not lamp.is_on

    assert session.drain(30), session.writer.last_error
    run = session.catalog.run(documents.of("start")[0]["uid"])
    assert run.metadata["stop"]["reason"] == stop["reason"]
    if plan is not burst:
        rows = run["primary"].read()
        assert rows["camera"].shape[0] == len(rows["camera_frame"]) == 3
    session.RE(z_stack(microscope, 1, 1))  # the camera is usable
    assert documents.of("stop")[-1]["exit_status"] == "success"
    session.close()
    microscope.destroy()


def test_a_stage_that_stalls_fails_the_run_and_says_where_it_stands(data, catalog):
    session = start_session(data)
    microscope = session.use(simulated_microscope("microscope", height_px=32, width_px=32))
    microscope.xyz.z.timeout_s = 0.2
    events = []
    session.RE.subscribe(lambda name, doc: events.append(doc), "event")
    session.RE.subscribe(
        lambda name, doc: doc["seq_num"] == 3 and microscope.backend.stage.fail_next("stall"), "event"
    )
    with pytest.raises(FailedStatus):
        session.RE(z_stack(microscope, 3, 1))
    assert session.drain(30), session.writer.last_error
    stop = catalog.raw[-1].metadata["stop"]
    assert re.search(r"stage_z stalled at -0\.(6|59)", stop["reason"])
    way = re.search(r"on its way to (\S+) um", stop["reason"])
    assert float(way[1]) == pytest.approx(0, abs=0.02)
    assert not microscope.backend.light.is_on
    assert microscope.xyz.z.position == pytest.approx(0, abs=0.02), "z was put back"
    session.close()
    microscope.destroy()


def test_a_catalog_that_refuses_to_open_is_said_before_anything_moves(parfocal, tmp_path):
    folder = DataFolder(tmp_path / "data").make()
    (folder.catalog / "catalog.db").write_text("this is no database")
    said = parfocal("demo", "--data", folder.root, "--no-puncta")
    assert said.code == 2
    assert str(folder.root) in said.complaint
    assert not any(folder.frames.iterdir())


def test_a_run_that_is_not_there_is_said_with_where_to_look(parfocal, data):
    with open_catalog(data):
        said = parfocal("show", "aaaaaaaa", "--data", data)
    assert said.code == 2
    assert "parfocal runs" in said.complaint
    said = parfocal("replay", "aaaaaaaa", "--data", data)
    assert "'aaaaaaaa'" in said.complaint
    assert said.code == 2
    said = parfocal("replay", "newest", "--data", data, "--analysis", "no_such")
    assert said.code == 2
    assert "focus_scores" in said.complaint
