"""The light of a Micro-Manager configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parfocal.devices.micromanager._core import in_one_line

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
