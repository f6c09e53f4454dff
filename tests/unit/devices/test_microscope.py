"""A microscope lets go of every driver that it holds."""

import pytest

from parfocal.devices import Backend, Microscope
from parfocal.errors import HardwareError
from support import CountingSource, InstantStage, Lamp


class Closing(CountingSource):
    closed = 0

    def close(self):
        super().close()
        self.closed += 1


@pytest.mark.parametrize("has_two", [False, True])
def test_both_cameras_are_closed_and_then_the_backend(tmp_path, has_two):
    camera, focus_camera, lamp, told = Closing(), Closing() if has_two else None, Lamp(), []
    backend = Backend(
        "bench", camera, InstantStage(), lamp, focus_camera, close=lambda: told.append(camera.closed)
    )
    microscope = Microscope(name="microscope", backend=backend, frames_root=tmp_path)
    lamp.set_on(True)
    microscope.destroy()
    assert camera.closed == 1
    assert focus_camera is None or focus_camera.closed == 1
    assert told == [1], "after its cameras"
    assert not lamp.is_on


def test_a_stage_that_is_gone_keeps_no_camera_open(tmp_path):
    class Gone(InstantStage):
        def stop(self, axis):
            raise HardwareError("the stage is not connected")

    camera = Closing()
    microscope = Microscope(name="microscope", backend=Backend("bench", camera, Gone()), frames_root=tmp_path)
    with pytest.raises(HardwareError, match="not connected"):
        microscope.destroy()
    assert camera.closed == 1
