"""Axes check before they move, say where they are, and never leave a plan waiting for ever."""

import threading
import time

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky.utils import FailedStatus

from parfocal.devices import Backend, Light, Microscope, OutOfLimitsError, StageAxis
from parfocal.errors import BadInputError, HardwareError
from support import CountingSource, InstantStage, Lamp


class SlowStage(InstantStage):
    """Arrives after `takes_s`, at `short_um` from where it was sent; never, when stalled."""

    def __init__(self, takes_s=0.05, short_um=0.0, stalled=False):
        super().__init__()
        self.takes_s, self.short_um, self.stalled = takes_s, short_um, stalled
        self.due_s = 0.0
        self.stopped = False

    def move(self, axis, position_um):
        super().move(axis, position_um - self.short_um)
        self.due_s = time.monotonic() + self.takes_s

    def is_moving(self, axis):
        return not self.stopped and (self.stalled or time.monotonic() < self.due_s)

    def stop(self, axis):
        self.stopped = True


def axis(driver, **options):
    return StageAxis(name="z", axis="z", driver=driver, **options)


@pytest.mark.parametrize("bad", [11, -11, float("nan"), float("inf")])
def test_limits_are_checked_before_anything_moves(bad):
    driver = InstantStage()
    with pytest.raises(OutOfLimitsError, match=r"z: cannot move to"):
        axis(driver, limits_um=(-10, 10)).set(bad)
    assert not driver.moves


def test_readback_and_setpoint_are_both_recorded(RE, documents):
    z = axis(SlowStage(short_um=0.2))
    RE(bps.mv(z, 5))
    RE(bp.count([z]))
    data = documents.of("event")[0]["data"]
    assert data == {"z": 4.8, "z_setpoint": 5}
    assert documents.of("descriptor")[0]["data_keys"]["z"]["units"] == "um"


def test_a_move_is_done_when_it_has_arrived_and_settled():
    z = axis(SlowStage(0.05), settle_s=0.1)
    began = time.monotonic()
    z.set(3).wait(5)
    assert time.monotonic() - began >= 0.14
    assert z.position == 3


def test_a_stalled_stage_fails_the_move_says_where_and_is_stopped():
    driver = SlowStage(stalled=True)
    status = axis(driver, timeout_s=0.1).set(3)
    with pytest.raises(HardwareError, match=r"z stalled at .* on its way to 3 um"):
        status.wait(5)
    assert driver.stopped


def test_a_stage_that_ends_short_fails_the_move():
    with pytest.raises(HardwareError, match=r"z ended at 2.000 um, sent to 3 um"):
        axis(SlowStage(short_um=1.0)).set(3).wait(5)


def test_stop_ends_a_move_and_its_status():
    z = axis(SlowStage(stalled=True), timeout_s=30)
    status = z.set(3)
    threading.Timer(0.05, z.stop).start()
    with pytest.raises(HardwareError, match="stopped on its way"):
        status.wait(5)


def test_a_driver_that_refuses_fails_the_plan_with_its_words(RE):
    class Refusing(InstantStage):
        def move(self, axis, position_um):
            raise HardwareError("stage: no answer on the serial line")

    with pytest.raises(FailedStatus) as error:
        RE(bps.mv(axis(Refusing()), 1))
    assert "serial line" in str(error.value.__cause__)


def test_a_light_takes_only_its_own_channels():
    light = Light(name="light", driver=Lamp())
    light.channel.set("red").wait(1)
    assert light.read()["light_channel"]["value"] == "red"
    with pytest.raises(BadInputError, match="no channel 'blue', there are green, red"):
        light.channel.set("blue").wait(1)


def test_a_microscope_names_its_parts_and_makes_itself_safe(tmp_path):
    lamp, stage = Lamp(), SlowStage()
    microscope = Microscope(
        name="m",
        backend=Backend("bench", CountingSource(), stage, lamp),
        frames_root=tmp_path,
        limits_um={"z": (-1, 1)},
        part_prefix="left_",
    )
    assert microscope.camera.exposure_s.name == "left_camera_exposure_s"
    assert microscope.xyz.z.name == "left_stage_z"
    assert microscope.camera.burst.name == "left_camera_burst"
    with pytest.raises(OutOfLimitsError):
        microscope.xyz.z.set(2)
    lamp.set_on(True)
    microscope.destroy()
    assert not lamp.is_on
    assert stage.stopped
