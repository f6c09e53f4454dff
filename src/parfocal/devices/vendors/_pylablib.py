"""pylablib, imported when a camera needs it (extra `hardware`, GPL-3): its errors and its ways off Windows."""

from __future__ import annotations

import ctypes
import importlib
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from parfocal.errors import BadInputError, HardwareError


def import_pylablib(camera: str, module: str) -> Any:
    """Import one of pylablib's device modules.

    Raises
    ------
    BadInputError
        The extra is not installed.
    """
    try:
        loaded = importlib.import_module(f"pylablib.devices.{module}")
    except ImportError as error:
        raise BadInputError(
            f"{camera}: pylablib is missing; pip install parfocal[hardware] (pylablib is under the GPL-3)"
        ) from error
    # Lost frames are counted from the frames' own stamps.
    warnings.filterwarnings("ignore", message="lost DCAM frame")
    return loaded


def tell_library(parameter: str, path: str | None) -> None:
    """Tell pylablib in which folder a vendor's library lies."""
    if path is not None:
        parameters = cast(Any, importlib.import_module("pylablib")).par
        parameters[f"devices/dlls/{parameter}"] = str(Path(path).expanduser())


@contextmanager
def windows_names() -> Generator[None]:
    """Lend ctypes the two names that it has on Windows alone, while a binding that uses them is set up.

    pylablib asks for `stdcall` through `ctypes.windll` and `ctypes.WINFUNCTYPE`. On every other platform, and on
    64 bit Windows as well, there is only one calling convention, so these are `cdll` and `CFUNCTYPE`.
    """
    if sys.platform == "win32":
        yield
        return
    module = cast(Any, ctypes)
    lent = {"windll": ctypes.cdll, "WINFUNCTYPE": ctypes.CFUNCTYPE}
    lent = {name: value for name, value in lent.items() if not hasattr(module, name)}
    try:
        for name, value in lent.items():
            setattr(module, name, value)
        yield
    finally:
        for name in lent:
            delattr(module, name)


def new_camera(kind: Any, index: int, release: Callable[[Any], object]) -> Any:
    """Return the camera of this index, opened; `release` is given what is left of one that does not come up."""
    camera = kind.__new__(kind)  # so that there is something to let go of
    try:
        camera.__init__(index)
    except Exception:
        release(camera)
        raise
    return camera


def chosen_camera(
    name: str,
    index: int,
    serial: str | None,
    n_cameras: int,
    opened: Callable[[int], Any],
    serial_of: Callable[[Any], str],
) -> Any:
    """Return the camera with this serial number, or, where none is told, that of the index.

    Raises
    ------
    HardwareError
        It is not there.
    """
    if serial is None:
        if index >= n_cameras:
            raise HardwareError(
                f"{name}: there are {n_cameras} cameras; check power and cable, or choose another index"
            )
        return opened(index)
    there: list[str] = []
    for number in range(n_cameras):
        camera = opened(number)
        there.append(serial_of(camera))
        if there[-1] == serial:
            return camera
        camera.close()
    seen = f"there is {', '.join(there)}" if there else "there is none"
    raise HardwareError(f"{name}: no camera with serial number {serial}, {seen}; check power and cable")


def one_line(error: Exception) -> str:
    """Return an error's message in one line; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
