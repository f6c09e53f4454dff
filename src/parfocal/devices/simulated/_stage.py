"""The stage of a simulated world, with its faults."""

from __future__ import annotations

import math
from typing import Literal

from parfocal.devices.simulated._world import SimulatedWorld
from parfocal.errors import BadInputError, HardwareError

StageFault = Literal["stall"]


class SimulatedStage:
    """The stage of a simulated world; a `StageDriver`. A larger z looks deeper into the sample.

    Not in real time, asking whether an axis moves lets it arrive.
    """

    backend = "simulated"

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world
        self._stalls: list[str] = []

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(self.world.axes)

    def fail_next(self, fault: StageFault, axis: str = "z") -> None:
        """Let the next move of an axis stop short and never arrive, until it is stopped or moved again."""
        if fault != "stall":
            raise BadInputError(f"simulated stage: fault is {fault!r}, expected 'stall'")
        self.world.axis(axis)
        self._stalls.append(axis)

    def mend(self) -> None:
        """Forget which moves were to stall; an axis that hangs is free with its next move."""
        self._stalls.clear()

    def bump(self, by_um: float) -> None:
        """Knock against it: the focal plane jumps by so much, and the encoder does not tell."""
        self.world.bump(by_um)

    def move(self, axis: str, position_um: float) -> None:
        """Start a move; `HardwareError` beyond the travel."""
        low, high = self.world.axis(axis).model.travel_um
        if not low <= position_um <= high:
            raise HardwareError(
                f"simulated stage: {axis} cannot go to {position_um:g} um, its travel is {low:g} to {high:g} um"
            )
        with self.world.lock:
            stalls = axis in self._stalls
            if stalls:
                self._stalls.remove(axis)
            self.world.axis(axis).command(self.world.now_s(), float(position_um), stalls)

    def position_um(self, axis: str) -> float:
        """Return what the encoder reads now, um."""
        with self.world.lock:
            return self.world.encoder_um(axis, self.world.now_s())

    def is_moving(self, axis: str) -> bool:
        """Say whether the axis is on its way; a stalled one says so for ever."""
        with self.world.lock:
            now = self.world.now_s()
            arrival = self.world.axis(axis).arrival_s(now)
            if not self.world.realtime and now < arrival < math.inf:
                self.world.wait_until(arrival)
                return False
            return now < arrival

    def stop(self, axis: str) -> None:
        """Stop the axis where it is."""
        with self.world.lock:
            found, now = self.world.axis(axis), self.world.now_s()
            found.command(now, found.motor_um(now))

    def velocity_um_per_s(self, axis: str) -> float:
        """Return the axis's speed, um/s."""
        return self.world.axis(axis).model.velocity_um_per_s
