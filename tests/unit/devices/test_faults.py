"""Faults on demand: what is refused, and what the drivers of a simulated microscope do then."""

import pytest

from parfocal.devices import FaultOrder, focus_microscope, recorded_microscope, simulated_microscope
from parfocal.errors import BadInputError, HardwareError


@pytest.fixture(scope="module")
def shared():
    microscope = simulated_microscope("microscope", height_px=32, width_px=32, realtime=False)
    yield microscope
    microscope.destroy()


@pytest.fixture
def microscope(shared):
    yield shared
    shared.inject_fault("none")
    shared.xyz.z.set(0.0).wait(5)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"fault": "fire"}, "expected one of camera_timeout"),
        ({"fault": "camera_timeout", "after_frames": -1}, "after_frames=-1"),
        ({"fault": "camera_timeout", "n_times": 0}, "n_times=0"),
        ({"fault": "bead_gone", "duration_s": -1.0}, "duration_s=-1"),
        ({"fault": "bead_gone", "duration_s": float("inf")}, "duration_s=inf"),
        ({"fault": "light_out", "duration_s": 0.0, "n_times": 2}, "happens once"),
        ({"fault": "stage_stall", "axis": "w"}, "axis is 'w'"),
        ({"fault": "frame_lost", "camera": "third"}, "'third'"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(asked, words):
    with pytest.raises(BadInputError, match=words):
        FaultOrder(**asked)


def test_hardware_that_is_not_simulated_is_left_alone(tmp_path):
    import numpy as np
    import tifffile

    tifffile.imwrite(
        tmp_path / "stack.tif", np.zeros((3, 8, 8), np.uint16), photometric="minisblack", metadata={"axes": "ZYX"}
    )
    microscope = recorded_microscope("microscope", str(tmp_path / "stack.tif"))
    with pytest.raises(HardwareError, match="its backend is 'recorded'"):
        microscope.inject_fault("camera_timeout")
    microscope.destroy()


def test_a_focus_bench_of_simulated_parts_fails_too_but_has_one_camera():
    bench = focus_microscope("bench", camera_options={"realtime": False, "height_px": 32, "width_px": 32})
    bench.inject_fault("frame_lost")
    with pytest.raises(HardwareError, match="lost on its way"):
        bench.backend.camera.snap(1.0)
    with pytest.raises(BadInputError, match="no camera of its own"):
        bench.inject_fault("camera_timeout", camera="focus_camera")
    bench.destroy()


def test_frames_come_until_it_is_due_then_so_many_fail_then_they_come_again(microscope):
    camera = microscope.backend.camera
    microscope.inject_fault("camera_timeout", after_frames=2, n_times=2)
    came = []
    for _ in range(6):
        try:
            camera.snap(0.5)
        except HardwareError as error:
            came.append(str(error))
        else:
            came.append("")
    why = "simulated camera: no frame came within 0.5 s; check exposure and trigger"
    assert came == ["", "", why, why, "", ""]


def test_frames_of_one_camera_do_not_count_for_the_other(microscope):
    microscope.inject_fault("camera_timeout", after_frames=1, camera="focus_camera")
    for _ in range(3):
        microscope.backend.camera.snap(0.5)
    microscope.backend.focus_camera.snap(0.5)
    with pytest.raises(HardwareError, match="no frame came"):
        microscope.backend.focus_camera.snap(0.5)


def test_a_stage_that_stalls_stops_short_and_goes_on_with_the_next_move(microscope):
    microscope.xyz.z.timeout_s = 0.05
    microscope.inject_fault("stage_stall")
    with pytest.raises(HardwareError, match="stage_z stalled at"):
        microscope.xyz.z.set(2.0).wait(5)
    assert microscope.xyz.z.position < 1.9
    microscope.xyz.z.set(3.0).wait(5)
    assert microscope.xyz.z.position == pytest.approx(3.0, abs=0.02)


def test_lost_focus_is_seen_by_no_encoder_and_ends_when_it_was_told_to(microscope):
    world = microscope.backend.camera.world
    before_um, encoder_um = world.true_defocus_um(), microscope.backend.stage.position_um("z")
    microscope.inject_fault("lost_focus", duration_s=2.0, n_times=2, by_um=6.0)
    began_s = world.now_s()
    off_um = [world.true_defocus_um(began_s + t_s) - before_um for t_s in (0.5, 2.5, 4.5, 6.5)]
    assert off_um == pytest.approx([-6, 0, -6, 0], abs=0.2)
    assert microscope.backend.stage.position_um("z") == pytest.approx(encoder_um, abs=0.01)


@pytest.mark.parametrize(
    ("fault", "dark", "bright"), [("bead_gone", "focus_camera", "camera"), ("light_out", "camera", "focus_camera")]
)
def test_what_gives_no_light_is_dark_in_its_own_camera_alone(microscope, fault, dark, bright):
    def light(camera):
        source = getattr(microscope.backend, camera)
        return float(source.snap(1.0).pixels.mean()) - float(source.describe().camera_model.offset_adu.mean())

    before = light(dark), light(bright)
    microscope.inject_fault(fault, duration_s=0.0)
    assert abs(light(dark)) < 0.05 * before[0]
    assert light(bright) > 0.5 * before[1]
    microscope.inject_fault("none")
    assert light(dark) > 0.5 * before[0]


def test_none_takes_back_what_was_to_come(microscope):
    microscope.inject_fault("camera_timeout", after_frames=1)
    microscope.inject_fault("stage_stall")
    microscope.inject_fault("lost_focus", duration_s=0.0)
    microscope.inject_fault("none")
    for _ in range(3):
        microscope.backend.camera.snap(0.5)
    microscope.xyz.z.set(1.0).wait(5)
    world = microscope.backend.camera.world
    assert abs(world.true_defocus_um()) < 4
