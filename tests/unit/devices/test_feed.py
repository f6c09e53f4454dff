"""A camera that runs for a lock or a view still serves plans, and tells every reader what it lost."""

import threading

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
import zarr

from parfocal.devices import BurstSettings, Camera
from parfocal.devices.simulated import simulated_core
from parfocal.errors import HardwareError
from parfocal.frames import CameraSettings, FrameRing, path_of


def of_simulated(tmp_path, exposure_s=0.004):
    core = simulated_core("beads", shape=(16, 16))
    core.camera.apply(CameraSettings(exposure_s=exposure_s))
    core.camera.snap(30)  # the first one computes the point images
    return core, Camera(name="camera", source=core.camera, frames_root=tmp_path, timeout_s=1, ring=FrameRing())


def read_for_ever(frames):
    while True:
        frames.newest(1)


def test_next_brings_every_frame_in_order(camera):
    with camera.feed.open(keep=10_000) as frames:
        got = [frames.next(1) for _ in range(100)]
    assert [fed.number for fed in got] == list(range(100))
    assert [int(fed.pixels[0, 0]) for fed in got] == list(range(100))
    assert frames.overrun == 0


def test_newest_passes_over_what_is_older(tmp_path):
    _, camera = of_simulated(tmp_path)
    with camera.feed.open() as frames:
        first = frames.newest(1)
        threading.Event().wait(0.1)
        second = frames.newest(1)
        assert second.number >= first.number + 5
        assert camera.feed.now_s() - second.t_s < 0.05
        assert frames.next(1).number == second.number + 1
    camera.destroy()


def test_a_slow_reader_is_told_how_many_frames_it_missed(camera, source):
    with camera.feed.open(keep=4) as frames:
        while frames.overrun < 10:
            threading.Event().wait(0.001)
        source.gate.clear()
        first = frames.next(1)
    assert first.number >= 10


def test_two_readers_see_the_same_frames_and_the_camera_stops_with_the_last(camera, source):
    with camera.feed.open(keep=10_000) as one:
        with camera.feed.open(keep=10_000) as other:
            seen = {other.next(1).number for _ in range(5)}
            assert source.running
        assert source.running
        assert seen < {one.next(1).number for _ in range(max(seen) + 2)}
    assert not source.running
    assert not camera.feed.is_running


def test_a_plan_takes_frames_exposed_after_it_asked_from_a_running_camera(RE, documents, tmp_path):
    _, camera = of_simulated(tmp_path)
    with camera.feed.open() as frames:
        frames.next(1)
        before_s = camera.feed.now_s()
        RE(bp.count([camera], num=3))
        assert camera.feed.is_running
        assert frames.newest(1).number > 3
    times = [event["data"]["camera_t_s"] for event in documents.of("event")]
    assert len(times) == 3
    assert times[0] - 0.002 >= before_s - 0.0005
    assert np.all(np.diff(times) > 0)
    camera.destroy()


def test_a_burst_from_a_running_camera_is_of_consecutive_frames(RE, camera, documents):
    def burst():
        yield from bps.open_run()
        yield from bps.declare_stream(camera.burst, name="burst", collect=True)
        yield from bps.prepare(camera.burst, BurstSettings(20), wait=True)
        yield from bps.kickoff(camera.burst, wait=True)
        yield from bps.collect_while_completing([camera.burst], [camera.burst], stream_name="burst")
        yield from bps.close_run()

    with camera.feed.open(keep=100_000) as frames:
        frames.next(1)
        RE(bpp.stage_wrapper(burst(), [camera]))
        assert camera.feed.is_running
    uri = next(r["uri"] for r in documents.of("stream_resource") if r["data_key"] == "camera")
    values = zarr.open_array(path_of(uri), mode="r")[:, 0, 0].astype(int)
    assert len(values) == 20
    assert set(np.diff(values)) == {1}


def test_exposure_is_changed_under_a_running_camera_and_roi_is_refused(tmp_path):
    core, camera = of_simulated(tmp_path)
    with camera.feed.open() as frames:
        number = frames.next(1).number
        camera.exposure_s.put(0.006)
        assert core.camera.describe().settings.exposure_s == 0.006
        assert frames.newest(1).number > number
        with pytest.raises(HardwareError, match=r"runs for a focus lock or a live view; end that"):
            camera.roi_px.put((0, 0, 8, 8))
        assert frames.newest(1).pixels.shape == (16, 16)
    camera.roi_px.put((0, 0, 8, 8))
    camera.destroy()


def test_a_camera_that_stops_answering_ends_the_feed_and_comes_back_at_restart(tmp_path):
    core, camera = of_simulated(tmp_path)
    camera.timeout_s = 0.05
    with camera.feed.open() as frames:
        number = frames.next(1).number
        core.camera.fail_next("timeout")
        with pytest.raises(HardwareError, match="no frame came within"):
            read_for_ever(frames)
        assert not camera.feed.is_running
        camera.feed.restart()
        assert frames.next(1).number > number
    camera.destroy()


def test_a_frame_lost_by_the_camera_is_a_gap_in_the_numbers(tmp_path):
    core, camera = of_simulated(tmp_path)
    with camera.feed.open(keep=100) as frames:
        frames.next(1)
        core.camera.fail_next("drop")
        got = [frames.next(1) for _ in range(12)]
    lost = [fed.dropped_before for fed in got]
    assert sum(lost) == 1
    assert got[-1].number - got[0].number == 12
    camera.destroy()


def test_with_take_each_frame_has_its_effect_before_the_next_is_exposed():
    core = simulated_core("beads", shape=(16, 16), realtime=False)
    camera = Camera(name="camera", source=core.camera, timeout_s=1, ring=FrameRing())
    done = threading.Event()
    seen = []

    def take(fed):
        seen.append((fed.number, fed.frame.z_um, core.stage.position_um("z")))
        core.stage.move("z", 0.2 * len(seen))
        while core.stage.is_moving("z"):
            pass
        if len(seen) == 6:
            done.set()

    with camera.feed.open(take=take):
        assert done.wait(30)
    assert [number for number, _, _ in seen[:6]] == list(range(6))
    z_um = [z for _, z, _ in seen[:6]]
    # The frame after a move shows the stage where the move left it, or on its way there.
    assert all(abs(z - 0.2 * k) < 0.25 for k, z in enumerate(z_um))
    camera.destroy()


def test_what_a_take_raises_ends_that_reader_alone(camera):
    def take(fed):
        raise ValueError("no bead")

    with camera.feed.open(keep=10_000) as other:
        with camera.feed.open(take=take) as broken:
            with pytest.raises(HardwareError, match="no bead"):
                broken.next(1)
        assert other.next(1).number == 0
        assert camera.feed.is_running


def test_a_camera_that_is_destroyed_tells_its_readers(source, tmp_path):
    camera = Camera(name="camera", source=source, frames_root=tmp_path, timeout_s=1)
    camera_gone, is_reading = threading.Event(), threading.Event()

    def read():
        with camera.feed.open(keep=1) as frames:
            frames.newest(1)
            is_reading.set()
            with pytest.raises(HardwareError, match="camera was closed"):
                read_for_ever(frames)
        camera_gone.set()

    reader = threading.Thread(target=read, daemon=True)
    with camera.feed.open() as frames:
        reader.start()
        frames.newest(1)
        assert is_reading.wait(10)  # a reader that opens later would begin the feed anew
        camera.owner.call(camera.feed.shut)
        assert not source.running
    assert camera_gone.wait(2)
    camera.destroy()
