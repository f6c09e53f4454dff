"""A plan that lets simulated hardware fail: as the real failure shows, safely ended, and in the documents."""

import pytest
from bluesky.utils import FailedStatus

from parfocal.devices import Backend, Microscope, simulated_microscope
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import inject_fault, positions, z_stack


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    microscope = simulated_microscope("microscope", height_px=32, width_px=32, realtime=False)
    microscope.camera.frames_root = tmp_path_factory.mktemp("frames")
    microscope.camera.timeout_s = microscope.xyz.z.timeout_s = microscope.xyz.x.timeout_s = 0.05
    yield microscope
    microscope.destroy()


@pytest.fixture
def real(source, stage, lamp, tmp_path):
    microscope = Microscope(name="microscope", backend=Backend("bench", source, stage, lamp), frames_root=tmp_path)
    yield microscope
    microscope.destroy()


@pytest.fixture
def microscope(shared):
    yield shared
    shared.inject_fault("none")


def is_safe(microscope):
    return abs(microscope.xyz.z.position) < 0.02 and not microscope.backend.light.is_on


def test_that_it_was_asked_for_is_a_run_of_its_own(RE, microscope, documents):
    RE(inject_fault(microscope, "camera_timeout", 3, 2, md={"purpose": "a night"}))
    (start,), (stop,) = documents.of("start"), documents.of("stop")
    assert (start["plan_name"], start["purpose"]) == ("inject_fault", "a night")
    assert start["plan_args"]["after_frames"] == 3
    assert documents.column("injected_fault", "faults") == ["camera_timeout"]
    assert documents.column("injected_n_times", "faults") == [2]
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"faults": 1})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("camera_timeout", "no frame came within"),
        ("frame_lost", "the frame was lost on its way"),
        ("stage_stall", "stage_z stalled at"),
    ],
)
def test_a_run_that_meets_it_fails_with_its_reason_and_ends_safely(RE, microscope, documents, fault, words):
    RE(inject_fault(microscope, fault, after_frames=3))
    with pytest.raises(FailedStatus):
        RE(z_stack(microscope, 3, 1))
    stop = documents.of("stop")[-1]
    assert stop["exit_status"] == "fail"
    assert words in stop["reason"]
    assert stop["num_events"]["primary"] == 3
    assert is_safe(microscope)
    RE(z_stack(microscope, 1, 1))
    assert documents.of("stop")[-1]["exit_status"] == "success", "the hardware works again"


def test_a_run_that_was_told_to_skip_goes_on_and_names_the_position(RE, microscope, documents):
    RE(inject_fault(microscope, "stage_stall", after_frames=1, axis="x"))
    RE(positions(microscope, [[0, 0], [10, 0], [20, 0]], on_error="skip"))
    assert documents.of("stop")[-1]["exit_status"] == "success"
    assert documents.column("failure_position", "failures") == [1]
    (reason,) = documents.column("failure_reason", "failures")
    assert "stage_x stalled at" in reason
    assert documents.column("point_position", "primary") == [0, 2]
    assert is_safe(microscope)


def test_a_lamp_without_light_fails_no_plan_and_shows_in_the_frames(RE, microscope, documents):
    RE(inject_fault(microscope, "light_out", after_frames=2, duration_s=0.0))
    RE(z_stack(microscope, 2, 1))
    assert documents.of("stop")[-1]["exit_status"] == "success"
    assert documents.column("light_on", "primary") == [1] * 5, "the shutter was open"
    frames = [microscope.backend.camera.snap(1.0).pixels.mean()]
    RE(inject_fault(microscope, "none"))
    microscope.backend.light.set_on(True)
    frames.append(microscope.backend.camera.snap(1.0).pixels.mean())
    assert frames[0] < frames[1] - 1


def test_what_cannot_be_is_refused_before_a_run_is_opened(RE, microscope, documents, tmp_path):
    with pytest.raises(BadInputError, match="expected one of"):
        RE(inject_fault(microscope, "fire"))
    with pytest.raises(BadInputError, match="a Microscope was expected"):
        RE(inject_fault("microscop", "camera_timeout"))
    assert not documents.of("start")


def test_hardware_that_is_not_simulated_is_left_alone(RE, real, documents):
    with pytest.raises(HardwareError, match="its backend is 'bench'"):
        RE(inject_fault(real, "camera_timeout"))
    assert not documents.of("start")
