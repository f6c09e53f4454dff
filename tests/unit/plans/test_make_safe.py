"""What is left unsafe is found again, also by another process, and made safe step by step."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from parfocal.catalog import Resting, RestingFile
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import keep_resting, make_safe, z_stack


@pytest.fixture
def resting(microscope, tmp_path, RE):
    """The record of a microscope, kept by its RunEngine as a session has it."""
    microscope.resting = RestingFile(tmp_path / "resting" / "microscope.json")
    RE.preprocessors.append(lambda plan: keep_resting(plan, microscope))
    return microscope.resting


def left(z_um=3.0, light_on=False):
    return Resting(z_um, light_on, 1, "elsewhere", 1000.0)


def safe_event(documents):
    (event,) = [doc["data"] for name, doc in documents.all if name == "event" and "safe_z_um" in doc["data"]]
    return event


def test_while_a_plan_runs_the_folder_says_where_the_microscope_rested(RE, resting, microscope, stage):
    stage.at["z"] = 7.0
    seen = []

    def look():
        yield from bps.mv(microscope.xyz.z, 20.0, microscope.light.on, 1)
        seen.append(resting.read())

    RE(look())
    (told,) = seen
    assert (told.z_um, told.light_on, told.pid) == (7.0, False, os.getpid())
    assert resting.read() is None, "a plan that ends well has nothing to put back"


def test_the_record_is_for_its_owner_alone(resting):
    resting.write(left())
    assert resting.path.stat().st_mode & 0o077 == 0


def test_a_plan_that_cleaned_up_leaves_no_record_though_it_failed(RE, resting, microscope, source):
    source.at_frame[1] = lambda: setattr(source, "fault", "drop")
    with pytest.raises(FailedStatus):
        RE(z_stack(microscope, 2, 1))
    assert resting.read() is None


def test_an_aborted_plan_that_cleaned_up_leaves_no_record(RE, resting, microscope):
    def paused():
        yield from bps.checkpoint()
        yield from bps.pause()

    with pytest.raises(RunEngineInterrupted):
        RE(paused())
    assert resting.read() is not None
    RE.abort()
    assert resting.read() is None


def test_a_plan_that_failed_half_way_leaves_the_record_and_make_safe_goes_by_it(
    RE, resting, microscope, stage, lamp, documents
):
    stage.at["z"] = 5.0

    def careless():
        yield from bps.mv(microscope.xyz.z, 40.0, microscope.light.on, 1)
        raise HardwareError("gone")

    with pytest.raises(HardwareError):
        RE(careless())
    assert resting.read().z_um == 5.0
    RE(make_safe(microscope))
    assert stage.at["z"] == 5.0
    assert not lamp.is_on
    assert resting.read() is None
    event = safe_event(documents)
    assert (event["safe_z_before_um"], event["safe_z_um"], event["safe_z_restored"]) == (40.0, 5.0, 1)
    assert event["safe_light_was_on"] == 1
    assert documents.of("stop")[-1]["exit_status"] == "success"


def test_make_safe_after_a_safe_end_does_not_move_z(RE, resting, microscope, stage, documents):
    stage.at["z"] = 12.0
    RE(make_safe(microscope))
    assert stage.moves == []
    assert safe_event(documents)["safe_z_restored"] == 0


def test_z_stays_where_it_was_told_to_stay(RE, resting, microscope, stage):
    resting.write(left(z_um=3.0))
    stage.at["z"] = 30.0
    RE(make_safe(microscope, restore_z=False))
    assert stage.at["z"] == 30.0


def test_a_plan_that_follows_a_crash_takes_its_own_place_for_the_resting_one(RE, resting, microscope, stage):
    """A person has looked, moved on and imaged: the old z is nobody's business any more."""
    resting.write(left(z_um=3.0))
    stage.at["z"] = 30.0
    RE(z_stack(microscope, 1, 1))
    RE(make_safe(microscope))
    assert stage.at["z"] == 30.0


def test_every_step_is_tried_whatever_became_of_the_one_before(
    RE, resting, microscope, stage, lamp, documents, monkeypatch
):
    resting.write(left(z_um=3.0))
    stage.at["z"] = 30.0
    stopped = []

    def stop(axis):
        stopped.append(axis)
        raise RuntimeError(f"{axis} does not answer")

    def refuse(on):
        raise RuntimeError("the shutter is stuck")

    monkeypatch.setattr(stage, "stop", stop)
    monkeypatch.setattr(lamp, "set_on", refuse)
    with pytest.raises(HardwareError, match="not safe: the shutter is stuck; x does not answer"):
        RE(make_safe(microscope))
    assert stopped[:3] == ["x", "y", "z"]
    assert stage.at["z"] == 3.0
    assert "z does not answer" in safe_event(documents)["safe_problem"]
    assert documents.of("stop")[-1]["exit_status"] == "fail"
    assert resting.read() == left(z_um=3.0), "the next make_safe has to know too"
    monkeypatch.undo()


def test_a_resting_place_beyond_the_limits_is_not_gone_to(RE, resting, microscope, stage):
    resting.write(left(z_um=300.0))
    microscope.xyz.z.limits_um = (-50.0, 50.0)
    with pytest.raises(HardwareError, match="soft limits"):
        RE(make_safe(microscope))
    assert stage.at["z"] == 0.0


def test_without_a_session_it_still_puts_the_light_out(RE, microscope, lamp):
    lamp.set_on(True)
    RE(make_safe(microscope))
    assert not lamp.is_on


def test_what_is_no_microscope_is_refused(RE):
    with pytest.raises(BadInputError, match="a Microscope was expected"):
        RE(make_safe("microscop"))


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"z_um": 1.0})])
def test_a_torn_record_is_no_record(resting, content):
    resting.path.parent.mkdir()
    resting.path.write_text(content)
    assert resting.read() is None


def test_the_record_outlives_a_killed_process(RE, resting, microscope, stage):
    code = """
import os, signal, sys
from pathlib import Path
from bluesky import RunEngine
import bluesky.plan_stubs as bps
from parfocal.catalog import RestingFile
from parfocal.devices import Backend, Microscope
from parfocal.plans import keep_resting
from support import CountingSource, InstantStage, Lamp
stage = InstantStage()
stage.at["z"] = 4.5
m = Microscope(name="microscope", backend=Backend("bench", CountingSource(), stage, Lamp()))
m.resting = RestingFile(Path(sys.argv[1]))
def plan():
    yield from bps.mv(m.xyz.z, 33.0)
    os.kill(os.getpid(), signal.SIGKILL)
RunEngine({})(keep_resting(plan(), m))
"""
    tests = Path(__file__).parents[2]
    path = os.pathsep.join([str(tests.parent / "src"), str(tests)])
    ended = subprocess.run(
        [sys.executable, "-c", code, str(resting.path)], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    stage.at["z"] = 33.0
    RE(make_safe(microscope))
    assert stage.at["z"] == 4.5
