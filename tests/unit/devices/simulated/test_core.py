import threading
import time

import numpy as np
import pytest

from parfocal.devices._stage_driver import StageDriver
from parfocal.devices.simulated import AxisModel, SimulatedMicroscopeCore, simulated_core
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, FrameSource, clock_s
from parfocal.optics import CameraModel, Channel, Drift, Objective, SimulatedScene, point_sample

STILL = Drift()
EXACT = AxisModel(1000.0, 0.003, 1e-4, 0.0, 0.0)


def world(axes=None, realtime=False, drift=STILL, z_sign=1, shape=(48, 48)):
    """A microscope with one bright bead at the origin."""
    channel = Channel(Objective(1.2, 1.33, 0.6, (0.108, 0.108)), 10.0)
    sample = point_sample([[0.0, 0.0, 0.0]], 5e6)
    scene = SimulatedScene(sample, {"bead": channel}, CameraModel(), shape, drift)
    axes = axes or dict.fromkeys("xyz", EXACT)
    return SimulatedMicroscopeCore(scene, axes=axes, realtime=realtime, z_sign=z_sign)


def go(core, axis, position_um):
    core.stage.move(axis, position_um)
    while core.stage.is_moving(axis):
        core.wait_until(core.now_s() + 0.001)


@pytest.fixture(scope="module")
def beads():
    return simulated_core("beads", seed=1, shape=(96, 96), realtime=False)


def test_it_speaks_the_protocols_of_the_house(beads):
    assert isinstance(beads.camera, FrameSource)
    assert isinstance(beads.stage, StageDriver)
    assert set(beads.stage.axes) == {"x", "y", "z"}


def test_description_is_that_of_the_frames_that_come(beads):
    for settings in (
        CameraSettings(),
        CameraSettings(binning=2, gain=2.0),
        CameraSettings(roi_px=(10, 20, 30, 41)),
        CameraSettings(binning=4, roi_px=(1, 2, 20, 10)),
    ):
        beads.camera.apply(settings)
        described, frame = beads.camera.describe(), beads.camera.snap(1.0)
        assert frame.pixels.shape == described.shape
        assert frame.pixels.dtype == described.dtype
        assert described.pixel_size_um == (0.108 * settings.binning, 0.108 * settings.binning)
    beads.camera.apply(CameraSettings())


def test_camera_model_turns_frames_of_any_setting_into_the_same_light():
    core = world(shape=(64, 64))
    total = []
    for settings in (CameraSettings(), CameraSettings(gain=3.0), CameraSettings(binning=2)):
        core.camera.apply(settings)
        frame = core.camera.snap(1.0)
        total.append(core.camera.describe().camera_model.to_electrons(frame.pixels).sum())
    np.testing.assert_allclose(total, total[0], rtol=0.01)


def test_roi_shows_its_part_of_the_sensor():
    core = world()
    whole = core.camera.snap(1.0).pixels
    core.camera.apply(CameraSettings(roi_px=(14, 10, 20, 30)))
    part = core.camera.snap(1.0).pixels
    peak = np.array(np.unravel_index(np.argmax(whole), whole.shape))
    found = np.array(np.unravel_index(np.argmax(part), part.shape))
    assert np.abs(found + np.array([14, 10]) - peak).max() <= 1


@pytest.mark.parametrize(
    "settings",
    [
        CameraSettings(binning=3),
        CameraSettings(exposure_s=0),
        CameraSettings(gain=-1),
        CameraSettings(roi_px=(90, 0, 20, 20)),
        CameraSettings(roi_px=(0, 0, 0, 20)),
    ],
)
def test_settings_that_the_camera_has_not_are_refused(beads, settings):
    before = beads.camera.describe()
    with pytest.raises(BadInputError, match=r"simulated camera: .*expected"):
        beads.camera.apply(settings)
    assert beads.camera.describe().settings == before.settings


def test_exposure_takes_its_time_and_is_stamped_in_its_middle():
    core = world(realtime=True)
    core.camera.snap(1.0)
    core.camera.apply(CameraSettings(exposure_s=0.1))
    before = clock_s()
    frame = core.camera.snap(1.0)
    assert clock_s() - before >= 0.1
    assert frame.t_s == pytest.approx(before + 0.05, abs=0.02)


def test_without_real_time_nothing_waits_but_the_clock_goes_on():
    core = world()
    core.camera.apply(CameraSettings(exposure_s=30.0))
    core.camera.snap(60.0)
    began = time.monotonic()
    first, second = core.camera.snap(60.0), core.camera.snap(60.0)
    assert time.monotonic() - began < 5
    assert second.t_s - first.t_s >= 30.0


def test_burst_delivers_every_frame_in_order_at_the_frame_period():
    core = world()
    core.camera.start_sequence(20)
    t = np.diff([core.camera.next_frame(1.0).t_s for _ in range(20)])
    core.camera.stop_sequence()
    np.testing.assert_allclose(t, t[0], rtol=1e-3)
    assert t[0] >= 0.02


def test_slow_reader_of_a_burst_loses_nothing_and_of_a_live_view_is_told_what_was_lost():
    core = world()
    core.camera.start_sequence(10)
    core.wait_until(core.now_s() + 100)
    assert [core.camera.next_frame(1.0).dropped_before for _ in range(10)] == [0] * 10
    core.camera.stop_sequence()
    core.camera.start_sequence(None)
    core.camera.next_frame(1.0)
    core.wait_until(core.now_s() + 10)
    late = core.camera.next_frame(1.0)
    core.camera.stop_sequence()
    assert late.dropped_before == pytest.approx(10 / 0.0205 - 16, abs=2)


def test_a_burst_that_is_over_gives_no_more_frames():
    core = world()
    core.camera.start_sequence(2)
    core.camera.next_frame(1.0), core.camera.next_frame(1.0)
    with pytest.raises(HardwareError, match="no frame came within"):
        core.camera.next_frame(0.1)


def test_z_sequence_shows_each_frame_at_its_own_z():
    core = world()
    z = [-1.0, -0.5, 0.0, 0.5, 1.0]
    core.camera.start_sequence(5, z)
    frames = [core.camera.next_frame(1.0) for _ in z]
    core.camera.stop_sequence()
    np.testing.assert_allclose([frame.z_um for frame in frames], z, atol=1e-3)
    assert np.argmax([frame.pixels.max() for frame in frames]) == 2
    go(core, "z", 0.5)
    single = core.camera.snap(1.0).pixels.astype(float)
    assert single.max() == pytest.approx(frames[3].pixels.max(), rel=0.1)


def test_stopping_a_z_sequence_leaves_z_where_it_is():
    core = world()
    core.camera.start_sequence(3, [1.0, 2.0, 3.0])
    core.camera.next_frame(1.0)
    core.camera.stop_sequence()
    core.wait_until(core.now_s() + 10)
    assert core.stage.position_um("z") == pytest.approx(1.0, abs=0.01)


def test_z_positions_must_match_the_frames():
    core = world()
    with pytest.raises(BadInputError, match="2 z positions for n_frames=3"):
        core.camera.start_sequence(3, [0.0, 1.0])
    with pytest.raises(HardwareError, match="travel"):
        world({"z": AxisModel(travel_um=(-10, 10))}).camera.start_sequence(1, [11.0])


def test_a_running_camera_refuses_snaps_and_settings():
    core = world()
    core.camera.start_sequence(None)
    for forbidden in (
        lambda: core.camera.snap(1.0),
        lambda: core.camera.apply(CameraSettings()),
        lambda: core.camera.start_sequence(1),
    ):
        with pytest.raises(HardwareError, match="stop it"):
            forbidden()
    core.camera.stop_sequence()
    core.camera.stop_sequence()
    core.camera.snap(1.0)


def test_camera_faults_come_once_and_leave_it_usable():
    core = world()
    core.camera.fail_next("timeout")
    with pytest.raises(HardwareError, match=r"no frame came within 0\.2 s"):
        core.camera.snap(0.2)
    core.camera.fail_next("drop")
    with pytest.raises(HardwareError, match="lost"):
        core.camera.snap(0.2)
    core.camera.fail_next("shape")
    assert core.camera.snap(1.0).pixels.shape != core.camera.describe().shape
    core.camera.fail_next("dtype")
    assert core.camera.snap(1.0).pixels.dtype == np.float32
    good = core.camera.snap(1.0)
    assert (good.pixels.shape, good.pixels.dtype) == (core.camera.describe().shape, np.uint16)


def test_a_frame_dropped_in_a_burst_is_counted():
    core = world()
    core.camera.start_sequence(4)
    core.camera.next_frame(1.0)
    core.camera.fail_next("drop")
    assert core.camera.next_frame(1.0).dropped_before == 1
    assert core.camera.next_frame(1.0).dropped_before == 0


def test_timeout_really_waits():
    core = world(realtime=True)
    core.camera.fail_next("timeout")
    began = time.monotonic()
    with pytest.raises(HardwareError):
        core.camera.snap(0.15)
    assert time.monotonic() - began >= 0.15


def test_a_move_takes_its_time_and_arrives():
    core = world({"x": AxisModel(100.0, 0.01, 0.01, encoder_noise_um=0.0)}, realtime=True)
    began = time.monotonic()
    core.stage.move("x", 10.0)
    early_um, early_s = core.stage.position_um("x"), time.monotonic() - began
    assert early_um <= 100.0 * early_s + 0.1
    while core.stage.is_moving("x"):
        threading.Event().wait(0.002)
    assert time.monotonic() - began > 0.1
    assert core.stage.position_um("x") == pytest.approx(10.0, abs=0.011)


def test_lag_makes_the_axis_trail_its_ramp_and_never_overshoot():
    core = world({"x": AxisModel(1000.0, 0.02, 0.001, encoder_noise_um=0.0)})
    axis = core.axes["x"]
    axis.command(0.0, 100.0)
    track = np.array([axis.motor_um(t) for t in np.linspace(0, 0.5, 400)])
    assert (np.diff(track) >= 0).all()
    assert track.max() <= 100.0
    # In the steady part of the ramp it is velocity times lag behind.
    assert axis.motor_um(0.09) == pytest.approx(90.0 - 20.0, abs=0.3)
    assert axis.arrival_s(0.0) == pytest.approx(0.1 + 0.02 * np.log(20 / 0.001), rel=0.01)


def test_frames_show_the_stage_as_it_was_in_the_middle_of_the_exposure():
    core = world({"x": AxisModel(5.0, 0.001, 0.01), "y": EXACT, "z": EXACT})
    core.camera.apply(CameraSettings(exposure_s=0.1))
    core.stage.move("x", 2.0)
    moving = core.camera.snap(1.0).pixels.astype(float) - 100
    centroid = (moving.sum(axis=0) * np.arange(48)).sum() / moving.sum()
    # 0.05 s at 5 um/s is 0.25 um: the bead is seen that far against the move.
    assert (23.5 - np.argmax(moving.max(axis=0))) * 0.108 == pytest.approx(0.25, abs=0.08)
    assert centroid < 23.5


def test_backlash_is_hidden_from_the_encoder_but_not_from_the_focal_plane():
    core = world({"z": AxisModel(1000.0, 0.003, 1e-4, backlash_um=0.4, encoder_noise_um=0.0)})
    go(core, "z", 2.0)
    upwards = core.focal_plane_um()
    go(core, "z", 5.0)
    go(core, "z", 2.0)
    assert core.stage.position_um("z") == pytest.approx(2.0, abs=1e-3)
    assert core.focal_plane_um() - upwards == pytest.approx(0.4, abs=1e-3)
    go(core, "z", 2.1)
    assert core.focal_plane_um() - upwards == pytest.approx(0.4, abs=1e-3)


def test_encoder_noise_is_that_of_the_axis():
    core = world({"z": AxisModel(encoder_noise_um=0.05)})
    readings = [core.stage.position_um("z") for _ in range(2000)]
    assert np.std(readings) == pytest.approx(0.05, rel=0.1)


def test_stalled_axis_says_it_moves_until_stopped():
    core = world()
    core.stage.fail_next("stall")
    core.stage.move("z", 10.0)
    core.wait_until(core.now_s() + 60)
    assert core.stage.is_moving("z")
    assert 0 < core.stage.position_um("z") < 9
    core.stage.stop("z")
    assert not core.stage.is_moving("z")
    go(core, "z", 10.0)
    assert core.stage.position_um("z") == pytest.approx(10.0, abs=0.01)


def test_stop_halts_the_axis_on_its_way():
    core = world({"x": AxisModel(10.0, 0.001, 0.01)})
    core.stage.move("x", 100.0)
    core.wait_until(core.now_s() + 1.0)
    core.stage.stop("x")
    here = core.stage.position_um("x")
    core.wait_until(core.now_s() + 10.0)
    assert core.stage.position_um("x") == pytest.approx(here, abs=0.1)
    assert here == pytest.approx(10.0, abs=0.2)


def test_moves_beyond_the_travel_and_unknown_axes_are_refused(beads):
    with pytest.raises(HardwareError, match="z cannot go to 1e\\+06 um"):
        beads.stage.move("z", 1e6)
    with pytest.raises(BadInputError, match="axis is 'w'"):
        beads.stage.position_um("w")


def test_camera_and_stage_agree_about_the_truth():
    core = world(drift=Drift((0.1, 0.0, 0.0)))
    go(core, "z", 1.0)
    core.wait_until(20.0)
    assert core.true_defocus_um() == pytest.approx(2.0 - 1.0, abs=1e-3)
    go(core, "z", 1.0 + core.true_defocus_um())
    sharp = core.camera.snap(1.0).pixels.max()
    go(core, "z", core.stage.position_um("z") + 0.5)
    assert core.camera.snap(1.0).pixels.max() < 0.7 * sharp


def test_a_stage_with_the_other_sign_focuses_the_other_way():
    core = world(drift=Drift((0.5, 0.0, 0.0)), z_sign=-1)
    core.wait_until(4.0)
    go(core, "z", -2.0)
    assert abs(core.true_defocus_um()) < 0.02


def test_light_off_gives_dark_frames_and_channels_differ():
    core = simulated_core("nuclei", seed=2, shape=(96, 96), realtime=False)
    nuclei = core.camera.snap(1.0).pixels.astype(float)
    core.light.set_channel("puncta")
    puncta = core.camera.snap(1.0).pixels.astype(float)
    assert core.camera.describe().wavelength_um == 0.52
    core.light.set_on(False)
    dark = core.camera.snap(1.0).pixels.astype(float)
    assert dark.mean() == pytest.approx(100, abs=1)
    assert min(nuclei.mean(), puncta.mean()) > dark.mean() + 2
    assert abs(np.corrcoef(nuclei.ravel(), puncta.ravel())[0, 1]) < 0.9
    with pytest.raises(BadInputError, match="channel is 'cy5'"):
        core.light.set_channel("cy5")


def test_half_the_intensity_is_half_the_light():
    core = world()
    full = core.camera.snap(1.0).pixels.astype(float) - 100
    core.light.set_intensity("bead", 0.5)
    half = core.camera.snap(1.0).pixels.astype(float) - 100
    assert half.sum() == pytest.approx(full.sum() / 2, rel=0.02)


def test_best_plane_of_a_demo_stack_is_inside_at_every_position():
    core = simulated_core("nuclei", seed=0, shape=(128, 128), realtime=False)
    planes = {}
    for x, y in ((0.0, 0.0), (-240.0, 240.0), (240.0, -240.0)):
        go(core, "x", x)
        go(core, "y", y)
        truth = core.true_defocus_um() + core.focal_plane_um()
        assert abs(truth) < 4.0
        z = np.arange(-6.0, 6.5, 1.0)
        core.camera.start_sequence(len(z), z.tolist())
        stack = [core.camera.next_frame(1.0).pixels.astype(float) for _ in z]
        core.camera.stop_sequence()
        sharpness = [np.var(f[:, 2:] - f[:, :-2]) - 2 * f.mean() for f in stack]
        planes[x, y] = z[int(np.argmax(sharpness))]
        assert abs(planes[x, y] - truth) <= 2.0
    assert len(set(planes.values())) > 1


def test_the_same_seed_gives_the_same_world():
    first, second = (simulated_core("puncta", 5, (48, 48), realtime=False) for _ in range(2))
    other = simulated_core("puncta", 6, (48, 48), realtime=False)
    frame = first.camera.snap(1.0).pixels
    np.testing.assert_array_equal(frame, second.camera.snap(1.0).pixels)
    assert (frame != other.camera.snap(1.0).pixels).any()
