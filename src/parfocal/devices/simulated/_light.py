"""The light of a simulated world."""

from __future__ import annotations

from parfocal.errors import BadInputError


class SimulatedLight:
    """The channel selector and shutter. Off, or at intensity 0, frames are dark."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self._channels = channels
        self._channel = channels[0]
        self._on = True
        self._intensity = dict.fromkeys(channels, 1.0)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self._channels

    @property
    def channel(self) -> str:
        """The channel in the light path."""
        return self._channel

    @property
    def is_on(self) -> bool:
        """Whether the shutter is open."""
        return self._on

    @property
    def intensity(self) -> float:
        """Intensity of the present channel, 0 to 1."""
        return self._intensity[self._channel]

    def intensity_of(self, name: str) -> float:
        """Return the intensity of a channel, 0 to 1."""
        self._check(name)
        return self._intensity[name]

    def set_channel(self, name: str, /) -> None:
        """Put a channel into the light path."""
        self._check(name)
        self._channel = name

    def set_on(self, on: bool, /) -> None:
        """Open or close the shutter."""
        self._on = on

    def set_intensity(self, name: str, intensity: float) -> None:
        """Set a channel's intensity, 0 to 1."""
        self._check(name)
        if not 0 <= intensity <= 1:
            raise BadInputError(f"light: intensity of {name!r} is {intensity}, expected 0 to 1")
        self._intensity[name] = intensity

    def _check(self, name: str) -> None:
        if name not in self._channels:
            raise BadInputError(f"light: channel is {name!r}, expected one of {list(self._channels)}")
