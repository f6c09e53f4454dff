"""Micro-Manager's core, loaded with a configuration, and its errors in one line."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.errors import BadInputError, HardwareError

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

SIMULATED_LIBRARIES = ("DemoCamera", "SequenceTester")
"""Micro-Manager's own devices that do not exist."""


def find_adapters() -> list[str]:
    """Return the folders with device adapters on this machine.

    Raises
    ------
    BadInputError
        pymmcore-plus is not installed.
    """
    level = logging.root.level
    try:
        from pymmcore_plus import find_micromanager
    except ImportError as error:
        raise BadInputError(
            "Micro-Manager: pymmcore-plus is missing; pip install parfocal[micromanager]"
        ) from error
    finally:
        # It asks all of the process to log everything, and bluesky would format every message of every plan.
        logging.root.setLevel(level)
    # Asked for all of them: asking for the first logs an error of many lines where there is none.
    return [str(folder) for folder in find_micromanager(return_first=False)]


def load_core(config_file: Path | str | None) -> CMMCorePlus:
    """Return a core of its own (never the shared one) with a configuration loaded; None: the demo's.

    Raises
    ------
    BadInputError
        pymmcore-plus is not installed, or there is no such file.
    HardwareError
        No device adapters on this machine, or a device of the configuration does not come up.
    """
    adapters = find_adapters()
    from pymmcore_plus import CMMCorePlus

    if config_file is not None and not Path(config_file).expanduser().is_file():
        raise BadInputError(f"Micro-Manager: no configuration file {config_file}")
    if not adapters:
        raise HardwareError(
            "Micro-Manager: no device adapters on this machine; install them with `mmcore install`, "
            "or for the demo devices alone pip install mm-test-adapters"
        )
    # Beside a window the core would send its signals by Qt: through qtpy, and in the window's thread.
    os.environ.setdefault("PYMM_SIGNALS_BACKEND", "psygnal")
    core = CMMCorePlus()
    which = Path(config_file).expanduser().resolve() if config_file is not None else "MMConfig_demo.cfg"
    with in_one_line(f"Micro-Manager: configuration {which} cannot be loaded"):
        core.loadSystemConfiguration(which)
    return core


@contextmanager
def in_one_line(what: str) -> Generator[None]:
    """Turn what the core raises into a `HardwareError` of one line that begins with `what`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, MemoryError) as error:
        if isinstance(error, HardwareError | BadInputError):
            raise
        raise HardwareError(f"{what}: {' '.join(str(error).split())}") from error
