"""An owner runs what it is given, in order; once it is closed it says so, and nobody waits for it."""

import pytest

from parfocal.devices import simulated_microscope
from parfocal.devices._owner import Owner
from parfocal.errors import HardwareError


def test_who_asks_a_closed_owner_is_told_at_once():
    owner = Owner("camera")
    assert owner.call(lambda: 7, 5) == 7
    owner.close()
    owner.close()
    with pytest.raises(HardwareError, match="camera: it was closed"):
        owner.call(lambda: 7, 5)


def test_a_microscope_may_be_destroyed_again_whole_or_in_part():
    microscope = simulated_microscope("microscope", realtime=False, height_px=32, width_px=32)
    microscope.destroy()
    microscope.camera.destroy()
    microscope.destroy()
