"""Devices from a `devices.yml`, by guarneri."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

import yaml
from ophyd import Device

from parfocal.devices import _factories
from parfocal.errors import BadInputError, HardwareError

_OURS = ("simulated_microscope", "recorded_microscope", "micromanager_microscope", "focus_microscope")


def load_devices(path: Path | str, timeout_s: float = 10.0, needs: str = "") -> dict[str, Device]:
    """Return the devices that a YAML file lists, by name, connected.

    Each key is a class, or a function that returns a device; below it is a list of its parameters::

        parfocal.devices.simulated_microscope:
        - name: microscope
          sample: nuclei
        ophyd.EpicsMotor:
        - name: focus
          prefix: "IOC:m1"

    The file names code that is then run: load only files you trust, as you would a startup file.

    Parameters
    ----------
    path : path
        The file.
    timeout_s : float
        How long devices on a network may take to connect, each.
    needs : str
        Name of a device that has to be among them.

    Raises
    ------
    BadInputError
        The file cannot be read, says something that cannot be done, or lacks what is needed; the message says
        where. Nothing is made then.
    HardwareError
        A device did not connect.
    """
    from guarneri import Instrument
    from guarneri.exceptions import InvalidConfiguration

    file = Path(path).expanduser()
    names = [str(entry["name"]) for entries in read_devices_file(file).values() for entry in entries]
    if needs and needs not in names:
        raise BadInputError(f"{file}: lists {', '.join(names) or 'nothing'}; a device called {needs} was expected")
    instrument = Instrument({f"parfocal.devices.{name}": getattr(_factories, name) for name in _OURS})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Unknown device class")
            instrument.load(file)
    except (BadInputError, HardwareError):
        raise
    except (InvalidConfiguration, UserWarning, TypeError, ValueError, AttributeError, ImportError) as error:
        raise BadInputError(f"{file}: {' '.join(str(error).split())}") from error
    loaded = cast("list[Device]", instrument.unconnected_devices)
    devices: dict[str, Device] = {str(device.name): device for device in loaded}
    for device in devices.values():
        try:
            device.wait_for_connection(timeout=timeout_s)
        except TimeoutError as error:
            raise HardwareError(
                f"{file}: {device.name} did not connect within {timeout_s:g} s; check its prefix and the network"
            ) from error
    return devices


def read_devices_file(path: Path | str) -> dict[str, list[dict[str, Any]]]:
    """Return what a `devices.yml` lists, by class: parameters of each device. Nothing is made, or connected to.

    Raises
    ------
    BadInputError
        It is no YAML, or no list of devices: in one line what guarneri would say in a traceback.
    """
    file = Path(path).expanduser()
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{file} is not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be understood"
        raise BadInputError(f"{file} is not YAML{where}: {problem}") from error
    if not isinstance(content, dict):
        raise BadInputError(f"{file}: device classes, each with a list of devices, were expected")
    names: set[str] = set()
    for cls, entries in cast("dict[Any, Any]", content).items():
        if "." not in str(cls):
            raise BadInputError(
                f"{file}: {cls!r} is no class; a dotted path such as ophyd.EpicsMotor was expected"
            )
        if not isinstance(entries, list):
            raise BadInputError(
                f"{file}: below {cls} a list of devices was expected, each beginning with `- name:`"
            )
        for entry in cast("list[Any]", entries):
            name = cast("dict[str, Any]", entry).get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name.isidentifier():
                raise BadInputError(f"{file}: below {cls} is {entry!r}; a `name` that Python can use was expected")
            if name in names:
                raise BadInputError(f"{file}: two devices are called {name}")
            names.add(name)
    return cast("dict[str, list[dict[str, Any]]]", content)
