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

from parfocal.devices._micromanager_camera import MicroManagerCamera, OpticsTold
from parfocal.devices._micromanager_core import in_one_line, load_core
from parfocal.devices._micromanager_stage import MicroManagerStage
from parfocal.devices._microscope import Backend
from parfocal.optics import CameraModel

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus


class MicroManagerLight:
    """A `LightDriver`: a configuration group's presets are the channels, the core's shutter switches the light.

    The core's auto-shutter is off: plans say when there is light.
    """

    def __init__(self, core: CMMCorePlus, group: str = "Channel") -> None:
        self._core = core
        self._group = group
        self._is_on = False
        core.setAutoShutter(False)
        has_group = group in core.getAvailableConfigGroups()
        self._channels = tuple(core.getAvailableConfigs(group)) if has_group else ()
        self.set_on(False)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; `default` alone where the configuration has no such group."""
        return self._channels or ("default",)

    @property
    def channel(self) -> str:
        """The channel that the devices stand at now; empty for none of them."""
        if not self._channels:
            return "default"
        with in_one_line(f"Micro-Manager: group {self._group}"):
            return self._core.getCurrentConfigFromCache(self._group)

    @property
    def is_on(self) -> bool:
        """Whether the shutter is open; as told, where there is none."""
        if not self._core.getShutterDevice():
            return self._is_on
        with in_one_line("Micro-Manager: shutter"):
            return self._core.getShutterOpen()

    def set_channel(self, channel: str) -> None:
        """Choose a channel and wait until its devices are there; with light on, the new one is on."""
        if not self._channels:
            return
        with in_one_line(f"Micro-Manager: channel {channel}"):
            old = self._core.getShutterDevice()
            self._core.setConfig(self._group, channel)
            self._core.waitForConfig(self._group, channel)
            if self._is_on and self._core.getShutterDevice() != old:
                if old:
                    self._core.setShutterOpen(old, False)
                self.set_on(True)

    def set_on(self, on: bool) -> None:
        """Open or close the shutter."""
        shutter = self._core.getShutterDevice()
        if shutter:
            with in_one_line(f"Micro-Manager: shutter {shutter}"):
                self._core.setShutterOpen(shutter, on)
                self._core.waitForDevice(shutter)
        self._is_on = on


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
