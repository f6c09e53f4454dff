"""A Mad City Labs Nano-Drive, by one of three doors: the vendor's library, a Python module, or memory."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

from parfocal.errors import BadInputError, HardwareError

_ERRORS = {
    -1: ("MCL_GENERAL_ERROR", "the drive gave no reason; switch it off and on"),
    -2: ("MCL_DEV_ERROR", "the drive could not be talked to; check its cable and power"),
    -3: ("MCL_DEV_NOT_ATTACHED", "the drive is not attached; check its cable and power"),
    -4: ("MCL_USAGE_ERROR", "this drive cannot do that"),
    -5: ("MCL_DEV_NOT_READY", "the drive is busy; try again"),
    -6: ("MCL_ARGUMENT_ERROR", "a value is beyond what the drive takes"),
    -7: ("MCL_INVALID_AXIS", "the drive has no such axis"),
    -8: ("MCL_INVALID_HANDLE", "the drive was disconnected or taken by another program"),
}
_ATTACHED_WAIT_MS = 100


@runtime_checkable
class NanoDrive(Protocol):
    """What the stage asks of a drive. Axes are numbered as the vendor does: 1, 2, 3 for x, y, z.

    A wrapper module has a function `open_nanodrive(serial)` that returns an object with these methods; `serial`
    is an int, or None for the only drive there is. Calls come from several threads, one at a time.
    """

    def range_um(self, axis: int) -> float:
        """Return the axis's travel from 0, um; 0 where there is no such axis."""
        ...

    def read_um(self, axis: int) -> float:
        """Return where the sensor sees the axis, um."""
        ...

    def write_um(self, position_um: float, axis: int) -> None:
        """Send the axis somewhere, um."""
        ...

    def close(self) -> None:
        """Let go of the drive."""
        ...


class _ProductInformation(ctypes.Structure):
    _pack_ = 1
    _fields_ = (
        ("axis_bitmap", ctypes.c_ubyte),
        ("adc_resolution", ctypes.c_short),
        ("dac_resolution", ctypes.c_short),
        ("product_id", ctypes.c_short),
        ("firmware_version", ctypes.c_short),
        ("firmware_profile", ctypes.c_short),
    )


def load_madlib(path: str | None = None) -> ctypes.CDLL:
    """Load the vendor's library from `path` (the file, or its folder), else from where the system looks.

    Raises
    ------
    BadInputError
        There is none; the message says where was looked.
    """
    names = ["Madlib.dll"] if sys.platform == "win32" else ["libmadlib.so", "libmadlib.so.1", "Madlib.dll"]
    if path:
        told = Path(path).expanduser()
        candidates = [str(told / name) for name in names] if told.is_dir() else [str(told)]
    else:
        found = ctypes.util.find_library("madlib") or ctypes.util.find_library("Madlib")
        candidates = [*([found] if found else []), *names]
    for candidate in candidates:
        try:
            library = ctypes.CDLL(candidate)
        except OSError:
            continue
        return _with_signatures(library, candidate)
    looked = ", ".join(candidates) if path else f"the system's library path ({', '.join(names)})"
    raise BadInputError(
        f"mcl stage: Mad City Labs' Madlib was not found at {looked}; install the drive's software and give "
        "`library`, or use backend 'memory' to try without a stage"
    )


def _with_signatures(library: ctypes.CDLL, path: str) -> ctypes.CDLL:
    c_int, c_uint, c_double = ctypes.c_int, ctypes.c_uint, ctypes.c_double
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "MCL_InitHandleOrGetExisting": (c_int, []),
        "MCL_GrabAllHandles": (c_int, []),
        "MCL_GetAllHandles": (c_int, [ctypes.POINTER(c_int), c_int]),
        "MCL_GetSerialNumber": (c_int, [c_int]),
        "MCL_ProductInfo": (c_int, [ctypes.POINTER(_ProductInformation), c_int]),
        "MCL_DeviceAttached": (ctypes.c_bool, [c_int, c_int]),
        "MCL_GetCalibration": (c_double, [c_uint, c_int]),
        "MCL_SingleReadN": (c_double, [c_uint, c_int]),
        "MCL_SingleWriteN": (c_int, [c_double, c_uint, c_int]),
        "MCL_ReleaseHandle": (None, [c_int]),
    }
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise BadInputError(f"mcl stage: {path} is no Madlib: it has no {name}") from None
        function.restype, function.argtypes = result, arguments
    return library


class MadlibDrive:
    """A drive through the vendor's library. A handle that has been lost is asked for again with the next call.

    Parameters
    ----------
    library : ctypes.CDLL
        From `load_madlib`.
    serial : int, optional
        Which drive; None: the only one.
    """

    def __init__(self, library: ctypes.CDLL, serial: int | None = None) -> None:
        self._library: Any = library
        self._wanted = serial
        self._handle = 0
        self._lock = threading.Lock()
        self.serial = serial or 0
        self.product_id = 0
        with self._lock:
            self._open()

    def range_um(self, axis: int) -> float:
        """Return the axis's travel, um; 0 where the drive has no such axis."""
        with self._lock:
            range_um = float(self._library.MCL_GetCalibration(axis, self._opened()))
            if range_um == -7:
                return 0.0
            self._check(range_um, f"cannot tell the travel of axis {axis}")
            return range_um

    def read_um(self, axis: int) -> float:
        """Return where the sensor sees the axis, um."""
        with self._lock:
            position_um = float(self._library.MCL_SingleReadN(axis, self._opened()))
            self._check(position_um, f"cannot read axis {axis}")
            return position_um

    def write_um(self, position_um: float, axis: int) -> None:
        """Send the axis somewhere, um."""
        with self._lock:
            code = int(self._library.MCL_SingleWriteN(position_um, axis, self._opened()))
            self._check(code, f"cannot send axis {axis} to {position_um:g} um")

    def close(self) -> None:
        """Release the handle; the drive stays where it is."""
        with self._lock:
            self._release()
            self._handle = -1

    def _opened(self) -> int:
        if self._handle == -1:
            raise HardwareError("mcl stage: it was closed")
        if not self._handle:
            self._open()
        return self._handle

    def _release(self) -> None:
        handle, self._handle = self._handle, 0
        if handle > 0:
            self._library.MCL_ReleaseHandle(handle)

    def _open(self) -> None:
        library = self._library
        if self._wanted is None:
            handle = int(library.MCL_InitHandleOrGetExisting())
            if handle <= 0:
                raise HardwareError(
                    "mcl stage: no Nano-Drive could be opened; check cable and power, and that nothing else has it"
                )
            self._handle = handle
        else:
            self._handle = self._find(self._wanted)
        try:
            if not library.MCL_DeviceAttached(_ATTACHED_WAIT_MS, self._handle):
                raise HardwareError("mcl stage: the drive is not attached; check its cable and power")
            serial = int(library.MCL_GetSerialNumber(self._handle))
            self._check(serial, "cannot tell its serial number")
            product = _ProductInformation()
            self._check(
                int(library.MCL_ProductInfo(ctypes.byref(product), self._handle)), "cannot tell what it is"
            )
        except HardwareError:
            self._release()
            raise
        self.serial, self.product_id = serial, int(product.product_id)
        self._wanted = serial  # after a replug it is this one again, whatever else is there

    def _find(self, serial: int) -> int:
        """Return the handle of the drive with a serial number, and let go of others taken on the way."""
        library = self._library
        before = self._handles()
        library.MCL_GrabAllHandles()
        found, serials = 0, list[int]()
        for handle in self._handles():
            number = int(library.MCL_GetSerialNumber(handle))
            serials.append(number)
            if number == serial:
                found = handle
            elif handle not in before:
                library.MCL_ReleaseHandle(handle)
        if not found:
            there = f"there are {serials}" if serials else "there is none"
            raise HardwareError(
                f"mcl stage: no Nano-Drive with serial number {serial}, {there}; check cable and power"
            )
        return found

    def _handles(self) -> list[int]:
        handles = (ctypes.c_int * 16)()
        return list(handles[: max(0, int(self._library.MCL_GetAllHandles(handles, 16)))])

    def _check(self, code: float, what: str) -> None:
        # Readings may be a little below 0; an error is one of eight whole numbers.
        if code in _ERRORS:
            name, words = _ERRORS[int(code)]
            if code in (-2, -3, -8):
                self._release()  # the next call asks for the drive again
            raise HardwareError(f"mcl stage {self.serial or ''}: {what}: {words} ({name}, {int(code)})")


class MemoryDrive:
    """No drive at all: positions kept in memory, reached at once. For trying things without a stage."""

    def __init__(self, range_um: float = 100.0) -> None:
        self._range_um = range_um
        self._at_um = {1: range_um / 2, 2: range_um / 2, 3: range_um / 2}

    def range_um(self, axis: int) -> float:
        """Return the travel, um."""
        return self._range_um if axis in self._at_um else 0.0

    def read_um(self, axis: int) -> float:
        """Return where the axis was sent, um."""
        return self._at_um[axis]

    def write_um(self, position_um: float, axis: int) -> None:
        """Send the axis somewhere, um."""
        self._at_um[axis] = position_um

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def drive_of_module(name: str, folder: str | None = None, serial: int | None = None) -> NanoDrive:
    """Open a drive through a Python module's `open_nanodrive(serial)`; see `NanoDrive`.

    Parameters
    ----------
    name : str
        An installed module's dotted name, or the name of a file in `folder` without its `.py`.
    folder : str, optional
        Where the module lies. It alone is looked into, and it does not join Python's path.
    serial : int, optional
        Which drive.

    Raises
    ------
    BadInputError
        No such module, or one without what is asked of it.
    """
    module = _import(name, folder)
    opener = getattr(module, "open_nanodrive", None)
    if not callable(opener):
        raise BadInputError(f"mcl stage: module {name} has no function open_nanodrive(serial)")
    try:
        drive = opener(serial)
    except Exception as error:
        raise HardwareError(f"mcl stage: module {name} cannot open the drive: {_line(error)}") from error
    missing = [m for m in ("range_um", "read_um", "write_um", "close") if not callable(getattr(drive, m, None))]
    if missing:
        raise BadInputError(f"mcl stage: what open_nanodrive of {name} returned has no {', '.join(missing)}")
    return _OneAtATime(cast(NanoDrive, drive), name)


class _OneAtATime:
    """A wrapper module's drive, asked by one thread at a time, its errors in one line."""

    def __init__(self, drive: NanoDrive, name: str) -> None:
        self._drive = drive
        self._name = name
        self._lock = threading.Lock()

    def range_um(self, axis: int) -> float:
        return float(self._call(self._drive.range_um, axis))

    def read_um(self, axis: int) -> float:
        return float(self._call(self._drive.read_um, axis))

    def write_um(self, position_um: float, axis: int) -> None:
        self._call(self._drive.write_um, position_um, axis)

    def close(self) -> None:
        self._call(self._drive.close)

    def _call(self, method: Any, *arguments: Any) -> Any:
        with self._lock:
            try:
                return method(*arguments)
            except HardwareError:
                raise
            except Exception as error:
                raise HardwareError(f"mcl stage: module {self._name}: {_line(error)}") from error


def _import(name: str, folder: str | None) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadInputError(f"mcl stage: {name!r} is no module's name")
    try:
        if folder is None:
            return importlib.import_module(name)
        file = Path(folder).expanduser() / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"parfocal_wrapper_{name}", file)
        if spec is None or spec.loader is None or not file.is_file():
            raise BadInputError(f"mcl stage: there is no {file}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except BadInputError:
        raise
    except Exception as error:
        raise BadInputError(f"mcl stage: module {name} cannot be imported: {_line(error)}") from error
    return module


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
