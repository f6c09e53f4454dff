"""A profile: its files, what its devices need, and, where asked, the devices themselves."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from parfocal.devices import Microscope, load_devices, read_devices_file
from parfocal.doctor._check import Check
from parfocal.errors import BadInputError, ParfocalError

_EXPECTED = "microscope"
_DRIVERS = {"orca", "andor", "mcl", "micromanager"}


def check_profile(folder: Path, *, open_devices: bool = False) -> Iterator[Check]:
    """Look at a profile.

    Parameters
    ----------
    folder : Path
        With `startup.py` and `devices.yml`.
    open_devices : bool
        Whether to make the devices, connect to them, and let go of them again. Nothing is moved.
    """
    if not folder.is_dir():
        yield Check("profile: folder", "fail", f"{folder} is not there", "parfocal profile new NAME makes one")
        return
    yield from _startup(folder / "startup.py")
    file = folder / "devices.yml"
    try:
        listed = read_devices_file(file)
        for path in listed:
            _class_of(path)
    except BadInputError as error:
        yield Check("profile: devices", "fail", str(error), f"mend {file}")
        return
    names = [
        f"{entry['name']} ({path.rpartition('.')[2]})" for path, entries in listed.items() for entry in entries
    ]
    if any(entry["name"] == _EXPECTED for entries in listed.values() for entry in entries):
        yield Check("profile: devices", "ok", f"{file} lists {', '.join(names)}")
    else:
        found = f"{file} lists {', '.join(names) or 'nothing'}: none is called {_EXPECTED}"
        advice = f"name it {_EXPECTED}: our startup.py and the queue's supervisor look for that"
        yield Check("profile: devices", "warn", found, advice)
    permissions = folder / "user_group_permissions.yaml"
    try:
        yaml.safe_load(permissions.read_text(encoding="utf-8"))
        yield Check("profile: permissions", "ok", f"{permissions.name} can be read")
    except (OSError, yaml.YAMLError) as error:
        advice = "copy it from profiles/simulated: the queue does not start without it"
        yield Check("profile: permissions", "warn", " ".join(str(error).split()), advice)
    if open_devices:
        yield from _open(file)


def drivers_of(folder: Path) -> set[str]:
    """Return which drivers the devices of a profile need; none where they cannot be told."""
    try:
        listed = read_devices_file(folder / "devices.yml")
    except BadInputError:
        return set()
    found: set[str] = set()
    for path, entries in listed.items():
        if path.endswith("micromanager_microscope"):
            found.add("micromanager")
        if path.rpartition(".")[2].startswith("Epics"):
            found.add("epics")
        for entry in entries:
            found |= _DRIVERS & {str(entry.get(key, "")) for key in ("camera", "stage")}
    return found


def frame_shape_of(folder: Path) -> tuple[int, int] | None:
    """Return the frames' shape (y, x) where the profile tells it."""
    try:
        listed = read_devices_file(folder / "devices.yml")
    except BadInputError:
        return None
    for entries in listed.values():
        for entry in entries:
            if {"height_px", "width_px"} <= set(entry):
                return int(entry["height_px"]), int(entry["width_px"])
    return None


def _startup(file: Path) -> Iterator[Check]:
    try:
        ast.parse(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        yield Check("profile: startup", "fail", f"{file}: {error.strerror}", "copy it from profiles/simulated")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        yield Check("profile: startup", "fail", f"{file} is no Python{where}: {error}", f"mend {file}")
    else:
        yield Check("profile: startup", "ok", f"{file} is Python")


def _class_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInputError(f"{path} cannot be imported: {error}") from error


def _open(file: Path) -> Iterator[Check]:
    try:
        devices = load_devices(file)
    except (ParfocalError, OSError) as error:
        yield Check(
            "profile: hardware", "fail", str(error), "check power, cables, and that no other program has it"
        )
        return
    try:
        for name, device in devices.items():
            facts = device.facts() if isinstance(device, Microscope) else {"class": type(device).__name__}
            silent = {key: words for key, words in facts.items() if words.startswith("does not answer")}
            found = "; ".join(f"{key} {words}" for key, words in (silent or facts).items())
            advice = "check power and cables" if silent else ""
            yield Check(f"profile: {name}", "fail" if silent else "ok", found, advice)
    finally:
        for device in devices.values():
            device.destroy()
