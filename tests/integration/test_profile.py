"""The profiles, as a person starts them: IPython in a process of its own, typed into."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parfocal.catalog import open_catalog, stop_server

PROFILES = Path(__file__).parents[2] / "profiles"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    yield folder
    stop_server(folder)


def type_into_ipython(profile, lines, data, profiles=PROFILES):
    """Return what IPython printed; it ends with the last line."""
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "--no-confirm-exit", "-i"]
    environment = {**os.environ, "PARFOCAL_DATA": str(data), "IPYTHONDIR": str(data.parent / "ipython")}
    done = subprocess.run(
        [*command, str(profiles / profile / "startup.py")],
        input="\n".join([*lines, "exit()", ""]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def test_a_stack_typed_into_ipython_is_in_the_catalog_with_its_focus(data):
    said = type_into_ipython(
        "simulated",
        [
            'RE(z_stack(microscope, 3, 1, md={"sample": "slide 7"}))',
            "session.drain()",
            'print("rows", len(catalog.runs(sample="slide 7")))',
            "run = catalog.raw[-1]",
            'print("plan", run.start["plan_name"], run.stop["exit_status"])',
            "(scores,) = catalog.analyses_of(run)",
            'print("analysis", scores.start["parfocal"]["analysis"], scores.stop["exit_status"])',
        ],
        data,
    )
    assert "rows 1" in said
    assert "plan z_stack success" in said
    assert re.search(r"analysis \S*focus\S* success", said)
    # and what one process left is there for the next
    with open_catalog(data) as catalog:
        assert catalog.raw[-1].start["plan_name"] == "z_stack"
    assert list((data / "frames").rglob("*.ome.zarr"))


def test_what_else_a_profile_lists_is_there_by_its_name(data, tmp_path):
    shutil.copytree(PROFILES / "simulated", tmp_path / "mine")
    with (tmp_path / "mine" / "devices.yml").open("a") as listed:
        listed.write("\nophyd.sim.SynAxis:\n- name: focus\n")
    lines = ["RE(z_stack(microscope, 1, 1, z=focus))", "session.drain()", "run = catalog.raw[-1]"]
    lines += ['print("at", run["primary"]["focus"].read().tolist())']
    assert "at [-1.0, 0.0, 1.0]" in type_into_ipython("mine", lines, data, tmp_path)


@pytest.mark.long
def test_the_same_startup_drives_micro_manager(data):
    pymmcore_plus = pytest.importorskip("pymmcore_plus", reason="extra `micromanager` is not installed")
    if not pymmcore_plus.find_micromanager(return_first=False):
        pytest.skip("no Micro-Manager device adapters on this machine")
    said = type_into_ipython(
        "micromanager",
        [
            'RE(positions(microscope, [[0, 0], [30, 0]], 1, 1, channels=["FITC", "Cy5"]))',
            "session.drain()",
            'print("events", catalog.raw[-1].stop["num_events"])',
        ],
        data,
    )
    assert "'primary': 12" in said


def test_profiles_differ_in_their_devices_alone():
    texts = {
        (PROFILES / name / "startup.py")
        .read_text()
        .replace(f"profiles/{name}", "profiles/NAME")
        # Only what is simulated can be told to fail.
        .replace("    inject_fault,\n", "")
        for name in ("simulated", "micromanager")
    }
    assert len(texts) == 1


@pytest.mark.parametrize("profile", ["simulated", pytest.param("micromanager", marks=pytest.mark.long)])
def test_the_list_of_plans_and_devices_is_what_the_profile_has(profile, data, tmp_path):
    tool = Path(sys.executable).with_name("qserver-list-plans-devices")
    if not tool.exists():
        pytest.skip("extra `queue` is not installed")
    command = [str(tool), "--startup-dir", str(PROFILES / profile), "--file-dir"]
    done = subprocess.run(
        [*command, str(tmp_path)],
        env={**os.environ, "PARFOCAL_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name = "existing_plans_and_devices.yaml"
    assert (tmp_path / name).read_text() == (PROFILES / profile / name).read_text(), (
        f"make it anew: {' '.join(command)} profiles/{profile}".replace(f"{PROFILES.parent}/", "")
    )
