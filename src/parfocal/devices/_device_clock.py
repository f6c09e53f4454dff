"""A device's own frame times, told on our clock."""

from __future__ import annotations

_SLACK = 2e-4  # how much faster or slower a device's clock may run than ours: 200 ppm


class DeviceClock:
    """Tells on our clock when frames were ready that a device stamped on its own.

    Where the device's clock begins is not known, but no frame arrives before it is ready: the smallest difference
    between arrival and stamp is the truth plus the shortest delay. It may creep up by 200 ppm, so that two
    clocks that run apart stay together for days. Late arrivals (a busy computer) do not disturb the times, and
    times never go back.

    Parameters
    ----------
    zero_s : float
        The latest our clock may have shown when the device's began, seconds; infinite where nothing is known.
    """

    def __init__(self, zero_s: float = float("inf")) -> None:
        self._zero_s = zero_s
        self._stamp_s = 0.0
        self._last_s = -float("inf")

    def ready_s(self, stamp_s: float, arrival_s: float) -> float:
        """Return when a frame was ready, on the clock of `arrival_s`."""
        creep_s = _SLACK * max(0.0, stamp_s - self._stamp_s) if self._last_s > 0 else 0.0
        self._stamp_s = stamp_s
        self._zero_s = min(self._zero_s + creep_s, arrival_s - stamp_s)
        self._last_s = max(self._last_s, self._zero_s + stamp_s)
        return self._last_s
