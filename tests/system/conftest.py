"""The program as people run it: commands, output, exit codes, over a data folder with a real server."""

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from parfocal.catalog import DataFolder, open_catalog, stop_server
from parfocal.cli import main

_PROGRAM = "from parfocal.cli import main; main()"


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of an error, without `error: `."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("error: ")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """One data folder a worker, with its own server."""
    folder = DataFolder(tmp_path_factory.mktemp("microscope-data"))
    yield folder.root
    stop_server(folder)


@pytest.fixture(scope="session")
def catalog(data):
    with open_catalog(data) as catalog:
        yield catalog


@pytest.fixture
def parfocal(capfd):
    """`parfocal("runs", "--data", folder)`, in this process: the second command costs no start."""

    def run(*arguments) -> Said:
        capfd.readouterr()
        code = 0
        with contextlib.suppress(KeyboardInterrupt):
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as end:
                code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Said(code, out, _plain(err))

    return run


@pytest.fixture
def program():
    """`program("demo", ...)`, in a process of its own; give `code=` instead for a small script."""
    started = []

    def start(*arguments, code: str = "", **kwargs) -> subprocess.Popen:
        started.append(_start(*arguments, code=code, **kwargs))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def command():
    """`command("demo", ...)`: in a process of its own, waited for; give `code=` instead for a small script."""

    def run(*arguments, code: str = "", timeout_s: float = 150.0, **kwargs) -> Said:
        process = _start(*arguments, code=code, **kwargs)
        with process:  # shuts its pipes, whatever happens
            try:
                out, err = process.communicate(timeout=timeout_s)
            finally:
                process.kill()
        return Said(process.returncode, out, _plain(err))

    return run


def _start(*arguments, code: str, **kwargs) -> subprocess.Popen:
    tests = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(tests.parent / "src"), str(tests), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code or _PROGRAM, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
