"""Any Micro-Manager configuration as a microscope, through pymmcore-plus (extra `micromanager`).

::

    microscope = Microscope(name="microscope", backend=micromanager_backend("scope.cfg"))

Without a file it is the demo configuration, with Micro-Manager's own C++ demo devices.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.devices._microscope import Backend
from parfocal.devices._told_optics import OpticsTold
from parfocal.devices.micromanager._camera import MicroManagerCamera
from parfocal.devices.micromanager._core import in_one_line, load_core
from parfocal.devices.micromanager._light import MicroManagerLight
from parfocal.devices.micromanager._stage import MicroManagerStage
from parfocal.optics import CameraModel

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus


def micromanager_backend(
    config_file: Path | str | None = None,
    *,
    core: CMMCorePlus | None = None,
    channel_group: str = "Channel",
    pixel_size_um: float | None = None,
    na: float | None = None,
    wavelength_um: float | None = None,
    camera_model: CameraModel | None = None,
    velocity_um_per_s: Mapping[str, float] | None = None,
    buffer_mb: int = 1024,
) -> Backend:
    """Return the drivers of a Micro-Manager configuration.

    Parameters
    ----------
    config_file : path, optional
        A `.cfg`; default: the demo configuration that comes with the device adapters.
    core : CMMCorePlus, optional
        One that is loaded already, such as napari-micromanager's; it is left loaded at the end.
    channel_group : str
        The configuration group whose presets are the channels.
    pixel_size_um : float, optional
        Of an unbinned pixel at the sample; default: as the configuration has it.
    na, wavelength_um, camera_model
        What Micro-Manager does not know.
    velocity_um_per_s : mapping, optional
        Speeds by axis, where no device property tells them.
    buffer_mb : int
        Largest size of the core's sequence buffer, MB.

    Raises
    ------
    BadInputError
        pymmcore-plus is not installed, no such file, no camera, a colour camera, or no pixel size.
    HardwareError
        The configuration cannot be loaded.
    """
    own = core is None
    loaded = load_core(config_file) if core is None else core
    try:
        told = OpticsTold(pixel_size_um, na, wavelength_um, camera_model)
        camera = MicroManagerCamera(loaded, told, buffer_mb)
        stage = MicroManagerStage(loaded, velocity_um_per_s)
        with in_one_line("Micro-Manager: light"):
            light = MicroManagerLight(loaded, channel_group)
    except Exception:
        if own:
            loaded.unloadAllDevices()
        raise
    closed = threading.Lock()

    def close() -> None:
        if not closed.acquire(blocking=False):
            return
        stage.close()
        if own:
            with in_one_line("Micro-Manager: devices cannot be unloaded"):
                loaded.unloadAllDevices()

    name = Path(config_file).stem if config_file is not None else "micromanager-demo" if own else "micromanager"
    return Backend(name, camera, stage, light, close=close)
