"""`PYTHONPATH=src python -m parfocal ...`, in a clone that is not installed."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from parfocal.cli._faces import _OURS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """`clone("live", "--help")`: beside everything that is installed here but parfocal."""
    libraries = tmp_path_factory.mktemp("libraries")
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for each in Path(folder).iterdir():
            if "parfocal" not in each.name and not (libraries / each.name).exists():
                (libraries / each.name).symlink_to(each)

    def run(*arguments):
        path = os.pathsep.join((str(ROOT / "src"), str(libraries)))
        return subprocess.run(
            [sys.executable, "-S", "-m", "parfocal", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, "QT_QPA_PLATFORM": "offscreen", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_clone_runs_without_being_installed(clone, tmp_path):
    assert clone("--version").stdout.strip() == "parfocal 0+clone"
    said = clone(
        "lock", "--calibration-csv", "/nowhere.csv", "--fast-mode", "--no-gaussian-fit", "--data", tmp_path
    )
    assert said.returncode == 2
    assert said.stderr.startswith("error: --fast-mode is a quicker fit")


@pytest.mark.skipif(find_spec("PySide6") is None, reason="the window is an extra: parfocal[gui]")
def test_the_windows_of_a_clone_open_too(clone, tmp_path):
    listed = clone("--help").stdout
    for name in _OURS:
        assert f" {name} " in listed
    said = clone("lock", "--show-live", "--calibration-csv", "/nowhere.csv", "--data", tmp_path)
    assert said.returncode == 2
    assert said.stderr.startswith("error: /nowhere.csv: calibration not found"), "it is the window that says so"
    assert "Usage" in clone("view", "--help").stdout


def test_the_commands_that_a_clone_knows_are_those_of_the_package():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert package["project"]["entry-points"]["parfocal.commands"] == _OURS
