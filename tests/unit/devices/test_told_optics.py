"""Noise that no driver tells, told by whoever measured it."""

import numpy as np
import pytest

from parfocal.devices import open_focus_camera
from parfocal.errors import BadInputError


def camera(**options):
    return open_focus_camera("micromanager", pixel_size_um=0.1, **options)


def test_numbers_and_maps_become_the_cameras_model(tmp_path):
    source = camera(offset_adu=98, gain_adu_per_e="2.1", read_noise_e=1.4)
    model = source.describe().camera_model
    assert (model.offset_adu, model.gain_adu_per_e, model.read_noise_e) == (98.0, 2.1, 1.4)
    source.close()
    noise = np.full((512, 512), 1.4)
    noise[3, 5] = 9.0
    np.savez(tmp_path / "sensor.npz", read_noise_e=noise, offset_adu=np.full((512, 512), 101.0))
    source = camera(gain_adu_per_e=2.0, noise_maps=str(tmp_path / "sensor.npz"))
    model = source.describe().camera_model
    assert model.read_noise_e[3, 5] == 9.0
    assert model.gain_adu_per_e == 2.0
    source.close()
    source = camera(gain_adu_per_e=6.7, em_gain=300)
    assert source.describe().camera_model.excess_noise == 2.0
    source.close()
    source = camera()
    assert source.describe().camera_model is None, "nothing is made up"
    source.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"read_noise_e": "low"}, "read_noise_e is 'low', expected a number"),
        ({"noise_maps": "nowhere.npz"}, "cannot be read"),
        ({"gain_adu_per_e": 0}, "gain_adu_per_e must be above 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(options, words):
    with pytest.raises(BadInputError, match=words):
        camera(**options)


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", dark=np.zeros((4, 4)))
    with pytest.raises(BadInputError, match="expected offset_adu, gain_adu_per_e and read_noise_e"):
        camera(noise_maps=tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", offset_adu=np.array([{}], dtype=object))
    with pytest.raises(BadInputError, match="cannot be read"):
        camera(noise_maps=tmp_path / "pickled.npz")
