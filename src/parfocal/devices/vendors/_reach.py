"""Which makers' libraries this machine has, found out without opening a camera or a stage."""

from __future__ import annotations

from collections.abc import Callable

from parfocal.devices.vendors._andor import AndorBinding
from parfocal.devices.vendors._nanodrive import load_madlib
from parfocal.devices.vendors._orca import OrcaBinding
from parfocal.errors import BadInputError

_LIBRARIES: dict[str, Callable[[], object]] = {
    "orca": lambda: OrcaBinding(0, None, None, None),
    "andor": lambda: AndorBinding(0, None, None, None),
    "mcl": load_madlib,
}


def find_libraries() -> dict[str, str]:
    """Return, by driver (`orca`, `andor`, `mcl`), why its library cannot be loaded; empty where it was."""
    found: dict[str, str] = {}
    for name, load in _LIBRARIES.items():
        try:
            load()
            found[name] = ""
        except BadInputError as error:
            found[name] = str(error)
    return found
