"""A `devices.yml` becomes devices, or one line that says what is wrong with it."""

import numpy as np
import pytest

from parfocal.devices import Microscope, load_devices
from parfocal.errors import BadInputError, HardwareError


@pytest.fixture
def load(tmp_path):
    def load(text, **options):
        path = tmp_path / "devices.yml"
        path.write_text(text)
        return load_devices(path, **options)

    return load


def test_devices_come_by_name(load, tmp_path):
    import tifffile

    tifffile.imwrite(
        tmp_path / "stack.tif", np.zeros((4, 16, 16), np.uint16), imagej=True, metadata={"axes": "ZYX"}
    )
    devices = load(
        f"""
parfocal.devices.simulated_microscope:
- name: microscope
  sample: beads
  width_px: 64
  height_px: 32
- name: second
  realtime: false
parfocal.devices.recorded_microscope:
- name: recorded
  path: {tmp_path / "stack.tif"}
ophyd.sim.SynAxis:
- name: motor
"""
    )
    assert list(devices) == ["microscope", "second", "recorded", "motor"]
    assert isinstance(devices["microscope"], Microscope)
    assert devices["microscope"].camera.facts.shape == (32, 64)
    assert devices["recorded"].camera.facts.shape == (16, 16)
    for name in ("microscope", "second", "recorded"):
        devices[name].destroy()


def test_a_device_that_is_needed_and_not_listed_is_named_before_any_is_made(load):
    with pytest.raises(BadInputError, match=r"devices.yml: lists bench; a device called microscope was expected"):
        load("parfocal.devices.simulated_microscope:\n- name: bench\n  sample: cheese\n", needs="microscope")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ophyd.NoSuchMotor:\n- name: m\n", "Unknown device class: ophyd.NoSuchMotor"),
        ("no_such_module.Motor:\n- name: m\n", "Unknown device class: no_such_module.Motor"),
        ("Motor:\n- name: m\n", "'Motor' is no class"),
        ("parfocal.devices.simulated_microscope:\n- name: m\n  sampel: beads\n", "argument 'sampel'"),
        (
            "parfocal.devices.simulated_microscope:\n- name: m\n  sample: cheese\n",
            "sample is 'cheese', expected nuc",
        ),
        ("parfocal.devices.simulated_microscope:\n- name: m\n  seed: many\n", "key 'seed': expected .*int"),
        ("parfocal.devices.recorded_microscope:\n- name: m\n", "Missing required key 'path'"),
        ("parfocal.devices.recorded_microscope:\n- name: m\n  path: nowhere.tif\n", "nowhere.tif"),
        ("ophyd.sim.SynAxis:\n- name: [\n", "is not YAML in line 3"),
        ("ophyd.sim.SynAxis:\n  name: m\n", "a list of devices was expected"),
        ("ophyd.sim.SynAxis:\n- prefix: m\n", "a `name` that Python can use"),
        ("ophyd.sim.SynAxis:\n- name: a b\n", "a `name` that Python can use"),
        ("ophyd.sim.SynAxis:\n- name: m\n- name: m\n", "two devices are called m"),
        ("- a\n- b\n", "device classes, each with a list"),
        ("", "device classes, each with a list"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_in_one_line(load, text, words, capfd):
    with pytest.raises(BadInputError, match=words) as error:
        load(text)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"nowhere\.yml cannot be read: No such file"):
        load_devices(tmp_path / "nowhere.yml")
    (tmp_path / "image.yml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(BadInputError, match="not a text file"):
        load_devices(tmp_path / "image.yml")


def test_a_device_that_does_not_connect_is_named(load):
    with pytest.raises(HardwareError, match=r"never did not connect within 0.1 s"):
        load("support.NeverConnected:\n- name: never\n", timeout_s=0.1)
