"""Drivers: which cameras and stages could be opened here. None is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.util import find_spec

from parfocal.devices.vendors import find_libraries
from parfocal.doctor._check import Check

_NAMES = {"orca": "Hamamatsu (DCAM)", "andor": "Andor (SDK3)", "mcl": "Mad City Labs (Madlib)"}


def check_drivers(needed: Collection[str] = ()) -> Iterator[Check]:
    """Look at what could be opened.

    Parameters
    ----------
    needed : collection of str
        What a profile asks for: `micromanager`, `orca`, `andor`, `mcl`, `epics`. What is missing of these is a
        fault; of others it is only told.
    """
    yield from _micromanager("micromanager" in needed)
    if find_spec("pylablib") is None:
        missing = dict.fromkeys(("orca", "andor"), "pylablib is missing")
        advice = "pip install 'parfocal[hardware]'"
    else:
        missing, advice = {}, "install the maker's software, and give `library` where it lies elsewhere"
    for name, why in (find_libraries() | missing).items():
        if not why:
            yield Check(f"drivers: {name}", "ok", f"the library of {_NAMES[name]} can be loaded")
        elif name in needed:
            yield Check(f"drivers: {name}", "fail", why, advice)
        else:
            yield Check(f"drivers: {name}", "ok", f"no library of {_NAMES[name]} here")
    yield from _epics("epics" in needed)


def _micromanager(is_needed: bool) -> Iterator[Check]:
    state = "fail" if is_needed else "ok"
    if find_spec("pymmcore_plus") is None:
        advice = "pip install 'parfocal[micromanager]'" if is_needed else ""
        yield Check("drivers: micromanager", state, "pymmcore-plus is not installed", advice)
        return
    from parfocal.devices.micromanager import find_adapters

    folders = find_adapters()
    if folders:
        yield Check("drivers: micromanager", "ok", f"device adapters at {folders[0]}")
    else:
        advice = "mmcore install" if is_needed else ""
        yield Check("drivers: micromanager", state, "no device adapters on this machine", advice)


def _epics(is_needed: bool) -> Iterator[Check]:
    if find_spec("epics") is None:
        state = "fail" if is_needed else "ok"
        advice = "pip install 'parfocal[hardware]'" if is_needed else ""
        yield Check("drivers: epics", state, "pyepics is not installed", advice)
        return
    from epics import ca

    try:
        library = ca.find_libca()
    except ca.ChannelAccessException as error:
        yield Check(
            "drivers: epics", "fail" if is_needed else "warn", str(error), "pip install --force-reinstall pyepics"
        )
        return
    yield Check("drivers: epics", "ok", f"libca at {library}")
