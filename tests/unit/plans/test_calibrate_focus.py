"""A sweep goes on past a step that the stage does not get to, and says so."""

import pytest

from parfocal.callbacks import FocusCalibration
from parfocal.devices import simulated_microscope
from parfocal.errors import HardwareError
from parfocal.plans import calibrate_focus
from support import Documents

N_STEPS = 13


@pytest.fixture
def microscope(tmp_path):
    microscope = simulated_microscope("microscope", realtime=False, height_px=64, width_px=64)
    microscope.camera.frames_root = microscope.focus_camera.frames_root = tmp_path
    microscope.lock.calibrations = tmp_path
    microscope.xyz.z.timeout_s = 0.02
    yield microscope
    microscope.destroy()


def rows(documents, stream):
    descriptors = {doc["uid"] for doc in documents.of("descriptor") if doc["name"] == stream}
    return [doc["data"] for doc in documents.of("event") if doc["descriptor"] in descriptors]


def sweep(microscope):
    return calibrate_focus(microscope, exposure_s=0.01, settle_s=0.0, n_steps=N_STEPS, retry=False)


def stall_after(RE, microscope, *n_events):
    """Let the stage stall on its way to the step after each of so many events."""
    seen = []

    def watch(name, doc):
        if name == "event":
            seen.append(doc)
            if len(seen) in n_events:
                microscope.backend.stage.fail_next("stall")

    RE.subscribe(watch)


def test_a_step_that_the_stage_does_not_get_to_is_left_out_and_told(RE, documents, microscope):
    derived = Documents()
    analysis = FocusCalibration(emit=derived)
    RE.subscribe(analysis)
    stall_after(RE, microscope, 4, 9)
    RE(sweep(microscope))
    analysis.close()

    failures = rows(documents, "failures")
    assert [row["failure_step"] for row in failures] == [4, 9]
    assert all("stalled" in row["failure_reason"] for row in failures)
    assert sorted(row["step_number"] for row in rows(documents, "sweep")) == sorted(
        set(range(2 * N_STEPS)) - {4, 9}
    )
    armed = microscope.lock.armed.calibration
    assert armed.n_failed_moves == 2
    assert [issue.severity for issue in armed.issues if issue.code == "failed_moves"] == ["warns"]
    (told,) = rows(documents, "calibration")
    (found,) = rows(derived, "calibration")
    assert told["calibration_sha256"] == found["sha256"]
    assert told["calibration_n_failed_moves"] == found["n_failed_moves"] == 2


def test_too_many_steps_that_failed_refuse_the_calibration(RE, documents, microscope):
    home_um = microscope.xyz.z.position
    stall_after(RE, microscope, 3, 6, 9, 12, 15, 18)
    with pytest.raises(HardwareError, match=r"6 of 26 stage moves failed"):
        RE(sweep(microscope))
    assert microscope.lock.armed is None
    assert len(rows(documents, "failures")) == 6
    assert microscope.xyz.z.position == pytest.approx(home_um, abs=0.05)


def test_a_stage_that_is_gone_ends_the_sweep_at_the_fifth_move_in_a_row(RE, documents, microscope):
    stall_after(RE, microscope, *range(2, 50))
    with pytest.raises(HardwareError, match="5 moves in a row failed, the last: stage_z stalled"):
        RE(sweep(microscope))
    assert len(rows(documents, "failures")) == 4
    assert not rows(documents, "calibration")
