"""Micro-Manager's own core and C++ demo devices, driven by our plans through the real RunEngine."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zarr

from parfocal.devices import Microscope
from parfocal.devices.micromanager import micromanager_backend
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, FrameRing, clock_s, path_of
from parfocal.optics import CameraModel
from parfocal.plans import run_mda, z_burst, z_stack

pymmcore_plus = pytest.importorskip("pymmcore_plus", reason="extra `micromanager` is not installed")
if not pymmcore_plus.find_micromanager(return_first=False):
    pytest.skip("no Micro-Manager device adapters on this machine", allow_module_level=True)

# The demo camera triggers a demo DA board, which drives a z stage: each frame steps z, as a wire would do it.
TRIGGERED_Z = """
Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,DA,DemoCamera,D-DA
Device,Z,Utilities,DA Z Stage
Parent,Camera,DHub
Parent,DA,DHub
Property,Core,Initialize,1
Property,Z,DA Device,DA
Property,Camera,TriggerDevice,DA
Property,Camera,PixelType,16bit
Property,Core,Camera,Camera
Property,Core,Focus,Z
"""

# The SequenceTester's images are not pictures: each is a record of what every device was set to in its exposure.
RECORDING = """
Property,Core,Initialize,0
Device,THub,SequenceTester,THub
Device,TCamera-0,SequenceTester,TCamera-0
Device,TZStage-0,SequenceTester,TZStage-0
Parent,TCamera-0,THub
Parent,TZStage-0,THub
Property,TCamera-0,ImageMode,MachineReadable
Property,Core,Initialize,1
Property,TZStage-0,TriggerSequenceMaxLength,100
Property,TZStage-0,TriggerSourceDevice,TCamera-0
Property,TZStage-0,TriggerSourcePort,ExposureStartEdge
Property,Core,Camera,TCamera-0
Property,Core,Focus,TZStage-0
"""


@pytest.fixture
def new_microscope(tmp_path):
    made = []

    def make(cfg=None, **options):
        path = None
        if cfg is not None:
            path = tmp_path / "scope.cfg"
            path.write_text(cfg.strip() + "\n")
        microscope = Microscope(
            name="microscope", backend=micromanager_backend(path, **options), frames_root=tmp_path / "frames"
        )
        microscope.camera.ring = FrameRing()
        made.append(microscope)
        return microscope

    yield make
    for microscope in made:
        microscope.destroy()


@pytest.fixture
def microscope(new_microscope):
    microscope = new_microscope()
    microscope.camera.exposure_s.put(0.002)
    return microscope


def core_of(microscope):
    return microscope.backend.camera._core


def arrays(documents):
    return {r["data_key"]: zarr.open_array(path_of(r["uri"]), mode="r") for r in documents.of("stream_resource")}


def column(documents, key):
    return [event["data"][key] for event in documents.of("event")]


def test_a_stack_has_a_frame_for_each_event_and_leaves_everything_as_it_was(RE, microscope, documents):
    core = core_of(microscope)
    core.setPosition(3.0)
    RE(z_stack(microscope, 2, 0.5))
    assert column(documents, "stage_z") == pytest.approx([1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5])
    assert column(documents, "camera_frame") == list(range(9))
    assert column(documents, "light_on") == [1] * 9
    frames = arrays(documents)["camera"]
    assert frames.shape == (9, 512, 512)
    assert frames.dtype == np.uint16
    assert len({frame.tobytes() for frame in frames[:]}) == 9  # the demo's waves move from frame to frame
    assert core.getPosition() == pytest.approx(3.0)
    assert not core.getShutterOpen()
    assert not core.getAutoShutter()


def test_the_documents_say_what_the_camera_says_of_itself(RE, microscope, documents):
    RE(z_stack(microscope, 1, 1, exposure_s=0.004))
    (descriptor,) = documents.of("descriptor")
    facts = descriptor["configuration"]["camera"]["data"]
    assert facts["camera_exposure_s"] == pytest.approx(0.004)
    assert facts["camera_model"] == "DemoCamera DCam"
    assert facts["camera_pixel_size_um"] == [1.0, 1.0]
    assert np.isnan(facts["camera_read_noise_e"])  # nobody has measured it
    assert facts["camera_simulated"] is True


def test_a_sequence_of_channels_and_positions_moves_the_real_devices(RE, microscope, documents):
    core = core_of(microscope)
    seen = []
    RE.subscribe(lambda _, doc: seen.append((core.getCurrentConfig("Channel"), core.getXPosition())), "event")
    RE(
        run_mda(
            microscope,
            {
                "stage_positions": [{"x": 40, "y": -20}, {"x": 80, "y": 10}],
                "channels": [{"config": "FITC", "exposure": 1}, {"config": "Cy5", "exposure": 3}],
                "z_plan": {"range": 2, "step": 1},
            },
        )
    )
    assert column(documents, "light_channel") == (["FITC"] * 3 + ["Cy5"] * 3) * 2
    assert [channel for channel, _ in seen] == column(documents, "light_channel")
    assert [x for _, x in seen] == pytest.approx([40] * 6 + [80] * 6, abs=0.1)
    assert column(documents, "stage_y") == pytest.approx([-20] * 6 + [10] * 6, abs=0.1)
    assert column(documents, "point_exposure_s") == pytest.approx(([0.001] * 3 + [0.003] * 3) * 2)
    assert arrays(documents)["camera"].shape[0] == 12


def test_roi_and_binning_change_between_runs(RE, microscope, documents):
    RE(z_stack(microscope, 1, 1))
    microscope.camera.binning.put(2)
    microscope.camera.roi_px.put([10, 20, 64, 128])
    RE(z_stack(microscope, 1, 1))
    first, second = (
        zarr.open_array(path_of(r["uri"]), mode="r").shape[1:] for r in documents.of("stream_resource")
    )
    assert first == (512, 512)
    assert second == (64, 128)
    facts = documents.of("descriptor")[1]["configuration"]["camera"]["data"]
    assert facts["camera_roi_px"] == [10, 20, 64, 128]
    assert facts["camera_pixel_size_um"] == [2.0, 2.0]
    microscope.camera.roi_px.put(None)
    assert microscope.camera.facts.shape == (256, 256)


def test_a_burst_keeps_every_frame_with_its_time(RE, microscope, documents):
    core_of(microscope).setProperty("Camera", "DisplayImageNumber", "1")  # the demo writes it into the picture
    before_s = clock_s()
    RE(z_burst(microscope, n_frames=60))
    got = arrays(documents)
    t_s = got["camera_t_s"][:]
    assert got["camera"].shape[0] == 60
    assert len({frame.tobytes() for frame in got["camera"][:]}) == 60
    assert np.all(np.diff(t_s) > 0)
    assert np.median(np.diff(t_s)) > 0.0015  # exposures of 2 ms do not come faster
    assert before_s < t_s[0] < t_s[-1] < clock_s()
    assert not core_of(microscope).isSequenceRunning()
    assert not core_of(microscope).getShutterOpen()


def test_where_the_stage_can_be_triggered_a_burst_steps_it_by_hardware(RE, new_microscope, documents):
    microscope = new_microscope(TRIGGERED_Z, pixel_size_um=0.5)
    microscope.camera.exposure_s.put(0.04)
    core = core_of(microscope)
    core.setPosition(50.0)
    seen, done = [], threading.Event()

    def watch():
        while not done.wait(0.001):
            seen.append(round(core.getPosition(), 3))

    watcher = threading.Thread(target=watch)
    watcher.start()
    RE(z_burst(microscope, 2, 0.5))
    done.set()
    watcher.join()
    planes = list(np.arange(48, 52.01, 0.5))
    assert arrays(documents)["camera_z_um"][:].tolist() == planes
    visited = [z for z, before in zip(seen[1:], seen) if z != before]
    climb = [z for z in visited if z != 50.0]  # 50 um is a plane, and home
    assert climb == sorted(climb)
    assert set(climb) <= set(planes)
    assert len(climb) >= 3  # a busy machine may not have let us see each of them
    assert core.getPosition() == 50.0


def test_each_frame_of_a_hardware_stack_was_exposed_at_the_plane_it_says(RE, new_microscope, documents):
    msgpack = pytest.importorskip("msgpack", reason="msgpack reads the SequenceTester's records")
    microscope = new_microscope(RECORDING, pixel_size_um=0.5)
    RE(z_burst(microscope, 3, 1))
    got = arrays(documents)
    exposed_at = []
    for frame in got["camera"][:]:
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(frame.tobytes())
        settings = {tuple(key): value for key, (_, value) in next(unpacker)[5]}
        exposed_at.append(settings["TZStage-0", "ZPositionUm"])
    assert exposed_at == [-3, -2, -1, 0, 1, 2, 3]
    assert got["camera_z_um"][:].tolist() == exposed_at


def test_a_stage_that_cannot_be_triggered_refuses_a_hardware_stack(RE, microscope):
    assert not microscope.camera.facts.can_sequence_z
    with pytest.raises(BadInputError, match="cannot move z by itself"):
        RE(z_burst(microscope, 1, 1))


def test_frames_that_overflow_the_buffer_are_an_error_and_not_a_gap(microscope):
    camera, core = microscope.backend.camera, core_of(microscope)
    camera._buffer_mb = 2
    core.setCircularBufferMemoryFootprint(2)
    camera.start_sequence(50)
    deadline = time.monotonic() + 5
    while not core.isBufferOverflowed() and time.monotonic() < deadline:
        time.sleep(0.01)
    held = core.getRemainingImageCount()
    assert [camera.next_frame(1).dropped_before for _ in range(held)] == [0] * held
    with pytest.raises(
        HardwareError, match=f"frames were lost after {held} of 50 frames, the buffer of 2 MB"
    ) as error:
        camera.next_frame(1)
    assert 1 <= held < 50
    assert "\n" not in str(error.value)
    camera.stop_sequence()
    assert camera.snap(1).pixels.shape == (512, 512)


def test_a_camera_that_does_not_answer_in_time_is_given_up_on_and_comes_back(microscope):
    camera = microscope.backend.camera
    camera.apply(CameraSettings(exposure_s=0.4, gain=0))
    with pytest.raises(HardwareError, match=r"no frame within 0.05 s"):
        camera.snap(0.05)
    with pytest.raises(HardwareError, match="still waits"):
        camera.snap(0.05)
    time.sleep(0.5)
    assert camera.snap(1).pixels.shape == (512, 512)


def test_a_camera_that_runs_for_a_lock_serves_plans_and_lets_the_stage_move(RE, microscope, documents):
    camera, z = microscope.camera, microscope.xyz.z
    camera.exposure_s.put(0.005)
    with camera.feed.open(keep=10_000) as every, camera.feed.open() as lock:
        lock.newest(5)
        for k in range(5):
            z.set(0.1 * k).wait(5)
            fed = lock.newest(5)
            assert 0 < clock_s() - fed.t_s < 0.5
        RE(z_stack(microscope, 2.0, 1.0))
        got = [every.next(5) for _ in range(20)]
        assert camera.feed.is_running
    assert len(documents.of("event")) == 5
    assert [fed.number for fed in got] == list(range(20))
    assert np.all(np.diff([fed.t_s for fed in got]) > 0)
    assert not camera.feed.is_running
    camera.binning.put(2)  # single frames and settings again


def test_two_microscopes_in_one_process_do_not_meet(new_microscope):
    one, other = new_microscope(), new_microscope()
    one.xyz.z.set(7.0).wait(2)
    one.camera.binning.put(4)
    one.light.channel.put("Cy5")
    one.light.on.put(1)
    assert other.xyz.z.position == 0.0
    assert other.camera.facts.shape == (512, 512)
    assert other.light.channel.get() != "Cy5"
    assert other.light.on.get() == 0
    one.camera.owner.call(one.camera.source.close)
    assert other.camera.source.snap(1).pixels.shape == (512, 512)


def test_a_stage_of_a_configuration_without_xy_stands_still(RE, new_microscope, documents):
    microscope = new_microscope(TRIGGERED_Z, pixel_size_um=0.5)
    core_of(microscope).setPosition(10.0)
    RE(z_stack(microscope, 1, 1))
    assert column(documents, "stage_z") == pytest.approx([9, 10, 11], abs=1e-3)
    assert column(documents, "stage_x") == [0, 0, 0]
    with pytest.raises(HardwareError, match="no stage for axis x"):
        microscope.xyz.x.set(5).wait(1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (CameraSettings(exposure_s=0, gain=0), "exposure_s is 0"),
        (CameraSettings(binning=3, gain=0), "binning is 3, expected one of 1, 2, 4, 8"),
        (CameraSettings(roi_px=(0, 0, 600, 10), gain=0), "inside 512 x 512 px"),
        (CameraSettings(gain=99), "gain is 99, expected -5 to 8"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_change_nothing(microscope, settings, words):
    before = microscope.backend.camera.describe()
    with pytest.raises(BadInputError, match=words):
        microscope.backend.camera.apply(settings)
    assert microscope.backend.camera.describe() == before


def test_colour_is_refused(microscope):
    core_of(microscope).setProperty("Camera", "PixelType", "32bitRGB")
    with pytest.raises(BadInputError, match="colour, 8 or 16 bit grey was expected"):
        microscope.camera.stage()


def test_a_camera_model_that_is_told_follows_binning_roi_and_bit_depth(new_microscope):
    offsets = np.full((512, 512), 100.0)
    offsets[:128] = 50.0
    camera = new_microscope(camera_model=CameraModel(offset_adu=offsets)).backend.camera
    camera._core.setProperty("Camera", "PixelType", "8bit")
    camera.apply(CameraSettings(gain=0, binning=2, roi_px=(60, 0, 10, 20)))
    model = camera.describe().camera_model
    assert model.offset_adu.shape == (10, 20)
    assert model.offset_adu[:, 0].tolist() == [200] * 4 + [400] * 6
    assert model.saturation_adu == 255


def test_eight_bit_is_eight_bit(RE, microscope, documents):
    core_of(microscope).setProperty("Camera", "PixelType", "8bit")
    RE(z_stack(microscope, 1, 1))
    assert arrays(documents)["camera"].dtype == np.uint8


@pytest.mark.parametrize(
    ("cfg", "error", "words"),
    [
        ("Device,Camera,NoSuchAdapter,DCam", HardwareError, "NoSuchAdapter"),
        ("Device,Camera,DemoCamera", HardwareError, "scope.cfg cannot be loaded"),
        ("Property,Core,Initialize,1", BadInputError, "has no camera"),
        (TRIGGERED_Z, BadInputError, "no pixel size"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why_in_one_line(new_microscope, cfg, error, words):
    with pytest.raises(error, match=words) as raised:
        new_microscope(cfg)
    assert "\n" not in str(raised.value)


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"no configuration file .*nowhere\.cfg"):
        micromanager_backend(tmp_path / "nowhere.cfg")


def test_a_microscope_leaves_the_logging_of_the_process_as_it_was():
    # In a process of its own: pymmcore-plus sets the root logger when it is imported, once.
    program = (
        "import logging; from parfocal.devices.micromanager import micromanager_backend;"
        "micromanager_backend().close(); assert logging.root.level == logging.WARNING, logging.root.level"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
