"""Any Micro-Manager configuration, through pymmcore-plus."""

from parfocal.devices.micromanager._backend import micromanager_backend
from parfocal.devices.micromanager._camera import MicroManagerCamera
from parfocal.devices.micromanager._core import find_adapters, in_one_line, load_core
from parfocal.devices.micromanager._light import MicroManagerLight
from parfocal.devices.micromanager._stage import MicroManagerStage

__all__ = [
    "MicroManagerCamera",
    "MicroManagerLight",
    "MicroManagerStage",
    "find_adapters",
    "in_one_line",
    "load_core",
    "micromanager_backend",
]
