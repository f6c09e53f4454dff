"""Stand-ins of vendors' libraries, compiled once a session."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "standins"


def compile_standin(source, library):
    """Compile `standins/<source>` into the file `library`, or skip where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: stand-ins of vendors' libraries cannot be compiled")
    if sys.platform == "win32":
        pytest.skip("stand-ins are written for POSIX")
    library.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCES / source, "-lm"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library
