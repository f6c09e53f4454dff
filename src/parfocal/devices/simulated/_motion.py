"""How a simulated axis moves, as a formula of time, so that its past can be asked for."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from parfocal.optics import Path

_KEPT_MOVES = 4096


@dataclass(frozen=True)
class AxisModel:
    """How an axis moves: a ramp at constant speed, followed by a first-order lag, then play in the screw.

    A move has arrived when the axis is within `tolerance_um` of its target. `encoder_noise_um` is the
    standard deviation of a reading; `backlash_um` is the full width of the play, hidden from the encoder.
    """

    velocity_um_per_s: float = 2000.0
    lag_s: float = 0.004
    tolerance_um: float = 0.05
    backlash_um: float = 0.0
    encoder_noise_um: float = 0.01
    travel_um: tuple[float, float] = (-50_000.0, 50_000.0)


Z_AXIS = AxisModel(1000.0, 0.003, 0.003, 0.003, 0.001, (-500.0, 500.0))
"""A piezo: 1 mm/s, 3 ms lag, 3 nm of play, 1 nm of encoder noise."""


@dataclass(frozen=True)
class Move:
    """One motion of an axis: from `start_um` at `t_s` to `target_um`. `load_um` is where the load was."""

    t_s: float
    start_um: float
    target_um: float
    load_um: float
    stalls_at_um: float | None = None

    def motor_um(self, t_s: float, model: AxisModel) -> float:
        """Return where the motor is; monotonic between start and target."""
        distance = self.target_um - self.start_um
        elapsed = t_s - self.t_s
        if distance == 0 or elapsed <= 0:
            return self.start_um
        speed = math.copysign(model.velocity_um_per_s, distance)
        ramp_s, lag_s = distance / speed, max(model.lag_s, 1e-9)
        ramped = min(elapsed, ramp_s)
        where = self.start_um + speed * (ramped - lag_s * -math.expm1(-ramped / lag_s))
        if elapsed > ramp_s:
            where = self.target_um + (where - self.target_um) * math.exp(-(elapsed - ramp_s) / lag_s)
        if self.stalls_at_um is not None and (where - self.stalls_at_um) * distance > 0:
            return self.stalls_at_um
        return where

    def arrival_s(self, model: AxisModel) -> float:
        """Return when the axis is within tolerance of its target; infinite if it stalls."""
        if self.stalls_at_um is not None:
            return math.inf
        ramp_s = abs(self.target_um - self.start_um) / model.velocity_um_per_s
        left = abs(self.target_um - self.motor_um(self.t_s + ramp_s, model))
        return self.t_s + ramp_s + model.lag_s * math.log(max(left / model.tolerance_um, 1.0))


class Axis:
    """The history of one axis's moves."""

    def __init__(self, model: AxisModel, position_um: float) -> None:
        self.model = model
        self._moves = [Move(-math.inf, position_um, position_um, position_um)]

    def command(self, t_s: float, target_um: float, stalls: bool = False) -> None:
        """Start a move at a time not before the latest move's; a pending later one is forgotten."""
        self.forget_after(t_s)
        motor, load = self.motor_um(t_s), self.load_um(t_s)
        stop_at = motor + 0.4 * (target_um - motor) if stalls else None
        self._moves.append(Move(t_s, motor, target_um, load, stop_at))
        del self._moves[:-_KEPT_MOVES]

    def forget_after(self, t_s: float) -> None:
        """Take back the moves planned for later."""
        while len(self._moves) > 1 and self._moves[-1].t_s > t_s:
            self._moves.pop()

    def motor_um(self, t_s: float) -> float:
        """Return where the motor and its encoder are, um."""
        return self._move(t_s).motor_um(t_s, self.model)

    def load_um(self, t_s: float) -> float:
        """Return where what the axis carries is: dragged along once the play is used up, um."""
        move = self._move(t_s)
        motor, play = move.motor_um(t_s, self.model), self.model.backlash_um / 2
        return min(max(move.load_um, motor - play), motor + play)

    def arrival_s(self, t_s: float) -> float:
        """Return when the move under way at a time ends."""
        return self._move(t_s).arrival_s(self.model)

    def _move(self, t_s: float) -> Move:
        return self._moves[max(bisect_right(self._moves, t_s, key=lambda move: move.t_s) - 1, 0)]


@dataclass(frozen=True)
class Twitch:
    """A sample that moves by `by_um` (dz, dy, dx) and back within `duration_s`, as sin²."""

    start_s: float
    duration_s: float
    by_um: tuple[float, float, float]

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Whether it happens within a span of time."""
        return self.start_s < end_s and start_s < self.start_s + self.duration_s

    def at(self, t_s: float) -> tuple[float, float, float]:
        """Return how far it has carried the sample, um."""
        phase = (t_s - self.start_s) / self.duration_s
        share = math.sin(math.pi * phase) ** 2 if 0 < phase < 1 else 0.0
        return share * self.by_um[0], share * self.by_um[1], share * self.by_um[2]


def sample_path(twitches: Sequence[Twitch], start_s: float, end_s: float, step_um: float) -> Path:
    """Return where twitches carry a sample from `start_s` to `end_s`, about a step apart; empty for none."""
    felt = [twitch for twitch in twitches if twitch.overlaps(start_s, end_s)]
    if not felt:
        return ()

    def at(share: float) -> tuple[float, float, float]:
        dz, dy, dx = zip(*(twitch.at(start_s + share * (end_s - start_s)) for twitch in felt))
        return sum(dz), sum(dy), sum(dx)

    coarse = [at(k / 8) for k in range(9)]
    way_um = sum(math.dist(a, b) for a, b in itertools.pairwise(coarse))
    n = max(1, min(math.ceil(way_um / step_um), 64))
    return tuple(at((k + 0.5) / n) for k in range(n))
