"""`parfocal calibrate` and `lock` on no simulation of ours: real bindings, compiled stand-ins, the demo camera.

None of these shows a bead, so a sweep has to be refused, in words, and leave camera and stage as they were.
"""

import importlib.util
import json

import pytest

import compiled
from parfocal.devices import Microscope

_LIBRARIES = {"orca": ("dcamapi.c", "dcamapi.dll"), "andor": ("atcore.c", "atcore.dll")}
_HOME_UM = 50.0
_SCRIPT = """
import ctypes, json, sys
from parfocal.cli import main
from parfocal.devices.vendors import open_mcl_stage

camera_library, stage_library, home_um, commands = sys.argv[1:]
camera, drive = ctypes.CDLL(camera_library), ctypes.CDLL(stage_library)
stage = open_mcl_stage(library=stage_library)
stage.move("z", float(home_um))
while stage.is_moving("z"):
    pass
stage.close()
codes = []
for arguments in json.loads(commands):
    try:
        main(arguments)
        codes.append(0)
    except SystemExit as end:
        codes.append(int(end.code or 0))
left = {
    "codes": codes,
    "cameras_open": camera.standin_open_cameras(),
    "cameras_running": camera.standin_running(),
    "drives_open": drive.standin_open_handles(),
}
stage = open_mcl_stage(library=stage_library)
print(json.dumps(left | {"z_um": stage.position_um("z")}))
stage.close()
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("libraries")
    compiled.compile_standin("madlib.c", folder / "libmadlib.so")
    return folder


@pytest.fixture
def on_hardware(command, libraries, monkeypatch, data):
    """Run a command on a vendor's camera and stage; what it said, and what it left behind."""
    if importlib.util.find_spec("pylablib") is None:
        pytest.skip("extra `hardware` (pylablib) is not installed")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(libraries))

    def run(vendor, *commands):
        source, library = _LIBRARIES[vendor]
        if not (libraries / library).exists():
            compiled.compile_standin(source, libraries / library)
        bench = [
            "--camera", vendor, "--camera-option", "pixel_size_um=0.1", "--exposure-s", "0.005",
            "--stage", "mcl", "--stage-option", f"library={libraries / 'libmadlib.so'}", "--data", str(data),
        ]  # fmt: skip
        told = json.dumps([[verb, *bench, *map(str, others)] for verb, *others in commands])
        said = command(library, libraries / "libmadlib.so", _HOME_UM, told, code=_SCRIPT)
        assert said.out, said.err
        return said, json.loads(said.out.splitlines()[-1])

    return run


def check_safe(left):
    assert (left["cameras_open"], left["cameras_running"], left["drives_open"]) == (0, 0, 0)
    assert left["z_um"] == pytest.approx(_HOME_UM, abs=0.02), "z is back"


@pytest.mark.long
@pytest.mark.parametrize("vendor", ["orca", "andor"])
def test_without_a_bead_a_vendors_bench_is_refused_in_words_and_let_go(on_hardware, vendor, tmp_path):
    said, left = on_hardware(
        vendor,
        ("calibrate", "--track-roi-xy", 40, 40, 17, 17, "--calibration-steps", 6, "--settle-s", 0, "--one-way",
         "--out", tmp_path),
        ("lock", "--duration", 1),
    )  # fmt: skip
    assert left["codes"] == [2, 2]
    assert (left["cameras_open"], left["cameras_running"], left["drives_open"]) == (0, 0, 0)
    assert left["z_um"] == pytest.approx(_HOME_UM, abs=0.02), "z is back"
    assert "Traceback" not in said.err
    swept, locked = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert "calibrate_focus: not fit to lock with: only 0 of 6 steps have a spot" in swept
    assert "to lock with: `parfocal calibrate` makes one" in locked or "does not apply here" in locked
    report = json.loads((tmp_path / "calibration_report.json").read_text())
    assert not report["is_armable"]
    assert report["n_steps"] == 6
    assert report["simulated"] == []


@pytest.fixture
def left_by_core(monkeypatch):
    """What Micro-Manager's core was like when its devices were let go: z, shutter, sequence."""
    pytest.importorskip("pymmcore_plus")
    make_safe, seen = Microscope.make_safe, []

    def look(microscope):
        make_safe(microscope)
        core = microscope.focus_camera.source._core
        seen.append((core.getPosition(core.getFocusDevice()), core.getShutterOpen(), core.isSequenceRunning()))

    monkeypatch.setattr(Microscope, "make_safe", look)
    return seen


def test_micro_managers_demo_camera_is_refused_in_words_and_let_go(parfocal, left_by_core, data, tmp_path):
    bench = (
        "--camera", "micromanager", "--stage", "micromanager", "--camera-option", "pixel_size_um=0.1",
        "--exposure-s", 0.005, "--data", data,
    )  # fmt: skip
    said = parfocal(
        "calibrate", *bench, "--track-roi-xy", 40, 40, 17, 17, "--calibration-steps", 12, "--settle-s", 0,
        "--one-way", "--out", tmp_path,
    )  # fmt: skip
    assert said.code == 2
    assert "calibrate_focus: not fit to lock with: " in said.complaint
    report = json.loads((tmp_path / "calibration_report.json").read_text())
    assert report["n_steps"] == 12
    assert report["simulated"] == ["focus camera", "stage"], "demo devices are none"
    said = parfocal("lock", *bench, "--calibration-csv", tmp_path / "calibration_sweep.csv")
    assert said.code == 2
    assert "cannot be armed: " in said.complaint
    assert len(left_by_core) == 2
    for z_um, is_lit, is_running in left_by_core:
        assert z_um == pytest.approx(0.0, abs=0.02), "z is back"
        assert not is_lit
        assert not is_running
