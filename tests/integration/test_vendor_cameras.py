"""Orca and Andor through pylablib's own bindings, against compiled stand-ins: not against real cameras.

Each vendor's scenarios run in one process with its own library path (`tests/standins/scenarios.py`).
"""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

import compiled
from parfocal.devices import open_focus_camera
from parfocal.errors import BadInputError

SCRIPT = compiled.SOURCES / "scenarios.py"
NAMES = re.findall(r"^    (\w+),$", SCRIPT.read_text().partition("\nSCENARIOS = (")[2].partition("\n)")[0], re.M)
needs_pylablib = pytest.mark.skipif(
    importlib.util.find_spec("pylablib") is None, reason="extra `hardware` (pylablib) is not installed"
)


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory):
    """What came of each vendor's scenarios, run when first asked for."""
    folder, known = tmp_path_factory.mktemp("vendors"), {}

    def of(vendor):
        if vendor not in known:
            source, library = {"orca": ("dcamapi.c", "dcamapi.dll"), "andor": ("atcore.c", "atcore.dll")}[vendor]
            compiled.compile_standin(source, folder / library)
            path = os.pathsep.join(p for p in sys.path if p)
            environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": path}
            done = subprocess.run(
                [sys.executable, "-W", "error", str(SCRIPT), vendor],
                env=environment,
                capture_output=True,
                text=True,
                timeout=150,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            known[vendor] = json.loads(done.stdout.splitlines()[-1])
        return known[vendor]

    return of


@needs_pylablib
@pytest.mark.parametrize("vendor", ["orca", pytest.param("andor", marks=pytest.mark.long)])
@pytest.mark.parametrize("scenario", NAMES)
def test_camera(outcomes, vendor, scenario):
    assert outcomes(vendor)[scenario] == ""


def test_there_are_scenarios():
    assert len(NAMES) == 19


@needs_pylablib
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("orca", r"^Orca: Hamamatsu's DCAM-API cannot be loaded .*install it or give `library`[^\n]*$"),
        ("andor", r"^Andor: SDK3 cannot be loaded .*install it, or give `library`[^\n]*$"),
    ],
)
def test_a_vendors_library_that_is_missing_is_named_in_one_line(kind, words, tmp_path):
    with pytest.raises(BadInputError, match=words):
        open_focus_camera(kind, pixel_size_um=0.1, library=str(tmp_path))


@pytest.mark.parametrize("kind", ["orca", "andor"])
def test_without_the_extra_it_is_named_with_its_licence(kind, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pylablib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pylablib", None)
    with pytest.raises(BadInputError, match=r"pylablib is missing; pip install parfocal\[hardware\] .*GPL-3"):
        open_focus_camera(kind, pixel_size_um=0.1)


def test_nothing_of_ours_imports_pylablib_before_it_is_asked_for():
    code = (
        "import parfocal.devices, parfocal.cli, sys; sys.exit(any(m.startswith('pylablib') for m in sys.modules))"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}).returncode == 0
