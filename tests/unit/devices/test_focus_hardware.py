"""Focus cameras and stages by name, in Python and in a `devices.yml`."""

import pytest

from parfocal.devices import (
    FOCUS_CAMERAS,
    STAGES,
    StageDriver,
    load_devices,
    open_focus_backend,
    open_focus_camera,
    open_stage_driver,
)
from parfocal.errors import BadInputError
from parfocal.frames import CameraSettings, FrameSource


def test_the_kinds_are_those_of_the_command_line():
    assert FOCUS_CAMERAS == ("simulate", "orca", "andor", "micromanager")
    assert STAGES == ("simulate", "mcl", "micromanager")


def test_a_simulated_pair_shares_a_world():
    backend = open_focus_backend(camera_options={"height_px": 24, "width_px": 24, "realtime": False, "seed": 3})
    backend.camera.apply(CameraSettings(0.01))
    before = backend.camera.snap(1).z_um
    backend.stage.move("z", 5.0)
    while backend.stage.is_moving("z"):
        pass
    assert isinstance(backend.camera, FrameSource)
    assert isinstance(backend.stage, StageDriver)
    assert backend.camera.snap(1).z_um == pytest.approx(before + 5.0, abs=0.2)
    assert backend.light.channels == ("bead",)


def test_a_camera_and_a_stage_of_different_kinds_make_a_bench():
    backend = open_focus_backend("simulate", "mcl", "y", {"height_px": 16, "width_px": 16}, {"backend": "memory"})
    assert backend.name == "simulate camera, mcl stage"
    assert backend.stage.axes == ("x", "z")
    backend.close()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: open_focus_camera("hamamatsu"),
            r"^camera is 'hamamatsu', expected one of simulate, orca, andor, micromanager$",
        ),
        (lambda: open_stage_driver("pi"), r"^stage is 'pi', expected one of simulate, mcl, micromanager$"),
        (lambda: open_stage_driver("mcl", "w", backend="memory"), r"^stage mcl: axis is 'w', expected x, y or z$"),
        (lambda: open_stage_driver("simulate", "x"), r"axis is 'x', expected z: with mcl alone another axis"),
        (lambda: open_focus_camera("simulate", sead=1), r"no option 'sead', expected one of core, height_px, "),
        (lambda: open_focus_camera("simulate", seed=1.5), r"^camera simulate: seed is 1.5, expected int$"),
        (lambda: open_focus_camera("simulate", seed=True), r"seed is True, expected int$"),
        (lambda: open_focus_camera("simulate", sample="cheese"), r"sample is 'cheese', expected nuclei"),
        (lambda: open_stage_driver("mcl", backend=3), r"^stage mcl: backend is 3, expected str$"),
        (lambda: open_stage_driver("mcl", serial="A7"), r"serial is 'A7', expected int or nothing$"),
        (lambda: open_stage_driver("mcl", backend="memory", range_um=0), r"range_um is 0, expected more than 0$"),
        (lambda: open_stage_driver("mcl", backend="wrapper"), r"needs `wrapper`, the name of a Python module$"),
    ],
)
def test_what_there_is_not_is_told_in_one_line(call, words):
    with pytest.raises(BadInputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_bench_comes_from_a_devices_yml(tmp_path):
    file = tmp_path / "devices.yml"
    file.write_text(
        """
parfocal.devices.focus_microscope:
- name: bench
  camera: simulate
  stage: mcl
  axis: z
  camera_options: {height_px: 32, width_px: 48}
  stage_options: {backend: memory, range_um: 80}
"""
    )
    bench = load_devices(file)["bench"]
    assert bench.camera.facts.shape == (32, 48)
    assert bench.xyz.z.limits_um == (0.0, 80.0)
    bench.xyz.z.set(30.0).wait(5)
    assert bench.xyz.z.position == 30.0
    configuration = bench.read_configuration()
    assert configuration["stage_z_backend"]["value"] == "in-memory stand-in, not hardware"
    bench.destroy()


def test_an_option_of_a_devices_yml_that_is_wrong_is_told(tmp_path):
    file = tmp_path / "devices.yml"
    file.write_text(
        "parfocal.devices.focus_microscope:\n- name: bench\n  stage: mcl\n  stage_options: {door: dll}\n"
    )
    with pytest.raises(BadInputError, match="stage mcl: no option 'door', expected one of axis, backend, library"):
        load_devices(file)


def test_micro_managers_camera_and_stage_share_a_core():
    pymmcore_plus = pytest.importorskip("pymmcore_plus", reason="extra `micromanager` is not installed")
    if not pymmcore_plus.find_micromanager(return_first=False):
        pytest.skip("no Micro-Manager device adapters on this machine")
    backend = open_focus_backend("micromanager", "micromanager", camera_options={"pixel_size_um": 0.1})
    assert backend.camera._core is backend.stage._core
    backend.stage.move("z", 3.0)
    while backend.stage.is_moving("z"):
        pass
    assert backend.stage.position_um("z") == pytest.approx(3.0, abs=0.02)
    backend.camera.start_sequence(None)
    assert backend.camera.next_frame(5).pixels.ndim == 2
    backend.camera.stop_sequence()
    backend.close()
    assert not backend.camera._core.getCameraDevice()
