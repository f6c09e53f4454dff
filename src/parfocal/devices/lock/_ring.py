"""The record of a lock: a preallocated ring that its loop writes, and that others read at their own pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from parfocal.focus import Command, LockState, Measurement

NUMBERS: dict[str, str] = {
    "t_s": "s",
    "frame": "",
    "error_um": "um",
    "z_um": "um",
    "z_se_um": "um",
    "setpoint_um": "um",
    "command_um": "um",
    "stage_um": "um",
    "photons": "",
    "background": "",
    "sigma_x_px": "px",
    "sigma_y_px": "px",
    "x_px": "px",
    "y_px": "px",
    "confidence": "",
    "arrival_s": "s",
    "fit_s": "s",
    "answer_s": "s",
}
"""Columns that are numbers, and their units. `arrival_s`, `fit_s` and `answer_s` are the parts of the latency:
from the middle of the exposure until the frame was had, until it was fitted, until the stage was told."""

WORDS = ("state", "flags")
"""Columns that are text; `flags` are the codes of the safeguards that spoke, by spaces."""


@dataclass(frozen=True)
class Taken:
    """Samples of a ring: columns of equal length, where to go on, and how many were overwritten unread."""

    columns: dict[str, list[Any]]
    cursor: int
    n_lost: int

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.columns["t_s"])


class LockRing:
    """The latest samples. One thread writes, any number read, nobody waits for anybody.

    Parameters
    ----------
    capacity : int
        Samples kept: 65536 are eleven minutes at 100 frames/s.
    """

    def __init__(self, capacity: int = 65536) -> None:
        self._capacity = capacity
        self._numbers = np.full((capacity, len(NUMBERS)), np.nan)
        self._words: list[tuple[str, str]] = [("", "")] * capacity
        self._written = 0

    @property
    def cursor(self) -> int:
        """Where one begins who wants what comes from now on."""
        return self._written

    def put(
        self,
        measurement: Measurement,
        command: Command,
        setpoint_um: float,
        stage_um: float,
        command_um: float,
        latency_s: tuple[float, float, float],
    ) -> None:
        """Write one sample."""
        m, at = measurement, self._written % self._capacity
        self._numbers[at] = (
            m.t_s, m.frame, command.error_um, m.z_um, m.z_se_um, setpoint_um, command_um, stage_um,
            m.photons, m.background, m.sigma_x_px, m.sigma_y_px, m.x_px, m.y_px, command.confidence, *latency_s,
        )  # fmt: skip
        self._words[at] = (str(command.state), " ".join(command.flags))
        self._written += 1  # last: a reader takes only what is whole

    def since(self, cursor: int, most: int | None = None) -> Taken:
        """Return the samples written since `cursor`, the latest `most` of them."""
        stop = self._written
        # Half a ring apart from the writer, so that it does not overwrite what is being copied.
        start = max(cursor, stop - self._capacity // 2, stop - most if most is not None else 0)
        places = np.arange(start, stop) % self._capacity
        numbers = self._numbers[places]
        columns: dict[str, list[Any]] = {name: numbers[:, k].tolist() for k, name in enumerate(NUMBERS)}
        columns["frame"] = [int(frame) for frame in columns["frame"]]
        for k, name in enumerate(WORDS):
            columns[name] = [self._words[place][k] for place in places]
        return Taken(columns, stop, start - cursor if most is None else 0)


def is_in_lock(state: str) -> bool:
    """Whether frames taken in this state are in focus."""
    return state == LockState.LOCKED
