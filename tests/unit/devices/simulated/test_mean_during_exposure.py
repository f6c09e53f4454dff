"""A single frame shows z as a camera does that collects light while the stage moves."""

import pytest

from parfocal.devices.simulated._camera import _mean_um


def test_a_frame_shows_the_mean_of_z_during_its_exposure():
    assert _mean_um(lambda t_s: 0.1 + 0.2, 5.0, 0.01) == 0.1 + 0.2, (
        "what stands still is where it is, to the last bit"
    )
    late_step = _mean_um(lambda t_s: 1.0 if t_s > 5.0075 else 0.0, 5.0, 0.01)
    assert late_step == pytest.approx(0.25)
