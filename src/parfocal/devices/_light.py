"""Illumination: which channel, and whether it is on."""

from __future__ import annotations

import time
from typing import Any, Protocol, runtime_checkable

from ophyd import Component, Device, Kind, Signal

from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError


@runtime_checkable
class LightDriver(Protocol):
    """A light source with named channels and a shutter."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        ...

    @property
    def channel(self) -> str:
        """The channel chosen now."""
        ...

    @property
    def is_on(self) -> bool:
        """Whether light reaches the sample."""
        ...

    def set_channel(self, channel: str, /) -> None:
        """Choose a channel."""
        ...

    def set_on(self, on: bool, /) -> None:
        """Open or close the shutter."""
        ...


class _LightSignal(Signal):
    """A signal whose truth is in the driver."""

    def __init__(self, *, what: str, parent: Any, **kwargs: Any) -> None:
        self._what = what
        self._light: Any = parent
        super().__init__(parent=parent, value=None, **kwargs)

    def get(self, **kwargs: Any) -> Any:
        driver: LightDriver = self._light.driver
        return driver.channel if self._what == "channel" else int(driver.is_on)

    @property
    def value(self) -> Any:
        return self.get()

    def put(self, value: Any, **kwargs: Any) -> None:
        driver: LightDriver = self._light.driver
        old = self.get()
        if self._what == "channel":
            if value not in driver.channels:
                raise BadInputError(f"{self.name}: no channel {value!r}, there are {', '.join(driver.channels)}")
            driver.set_channel(str(value))
        else:
            driver.set_on(bool(value))
        self._run_subs(sub_type=self.SUB_VALUE, old_value=old, value=self.get(), timestamp=time.time())

    def set(self, value: Any, **kwargs: Any) -> PlainStatus:
        status = PlainStatus(self)
        try:
            self.put(value)
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()
        return status

    def read(self) -> dict[str, dict[str, Any]]:
        return {self.name: {"value": self.get(), "timestamp": time.time()}}

    def describe(self) -> dict[str, dict[str, Any]]:
        dtype = "string" if self._what == "channel" else "integer"
        return {self.name: {"source": "parfocal:light", "dtype": dtype, "shape": []}}


class Light(Device):
    """Channel selector and shutter; `on` is 1 or 0."""

    channel = Component(_LightSignal, what="channel", kind=Kind.normal)
    on = Component(_LightSignal, what="on", kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        driver: LightDriver | None = None,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        self.driver: LightDriver = driver if driver is not None else parent.backend.light
        super().__init__(prefix, name=name, parent=parent, **kwargs)


class NoLight:
    """The light of a bench that has none to switch: one channel, always as it is told."""

    def __init__(self, channel: str = "default") -> None:
        self.channels = (channel,)
        self.channel = channel
        self.is_on = False

    def set_channel(self, channel: str) -> None:
        """Choose a channel."""
        self.channel = channel

    def set_on(self, on: bool) -> None:
        """Remember whether light was asked for."""
        self.is_on = on


class LightLevel:
    """The intensity of one channel of a light, 0 to 1, as a Movable: for plans that dim or brighten it.

    Parameters
    ----------
    light : Light
        Its driver must have `set_intensity(channel, intensity)`.
    channel : str
        Empty for the one that is chosen.

    Raises
    ------
    BadInputError
        The light cannot be dimmed, or has no such channel.
    """

    def __init__(self, light: Light, channel: str = "") -> None:
        driver: Any = light.driver
        if not hasattr(driver, "set_intensity"):
            raise BadInputError(f"{light.name}: its intensity cannot be set; change the exposure instead")
        self._driver = driver
        self._channel = channel or driver.channel
        if self._channel not in driver.channels:
            raise BadInputError(f"{light.name}: no channel {channel!r}, there are {', '.join(driver.channels)}")
        self.name = f"{light.name}_{self._channel}_intensity"
        self.parent = None

    @property
    def position(self) -> float:
        """The intensity now."""
        return float(self._driver.intensity_of(self._channel))

    def set(self, value: float) -> PlainStatus:
        """Set the intensity."""
        status = PlainStatus(self)
        try:
            self._driver.set_intensity(self._channel, float(value))
        except BadInputError as error:
            status.set_exception(error)
        else:
            status.set_finished()
        return status
