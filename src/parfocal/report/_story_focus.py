"""Focus over time: the lock's error, thinned, and the states it was in; and where the best planes were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.report._lock_report import lock_report
from parfocal.report._lock_run import read_lock_run
from parfocal.report._plot import Floats, thin
from parfocal.report._story_reading import Reading, columns_of

_MOST_POINTS, _MOST_STRETCHES = 3000, 400


@dataclass(frozen=True)
class Stretch:
    """Some time in one state of the lock."""

    t0_s: float
    t1_s: float
    state: str


@dataclass(frozen=True, eq=False)
class FocusStory:
    """The lock of one run.

    Attributes
    ----------
    report : dict
        As `lock_report` gives it, of all samples.
    t_s, error_um : ndarray of shape (n,)
        Thinned: of each stretch the lowest and the highest error. Seconds since 1970; NaN where it had none.
    n_samples : int
        How many there were.
    stretches : tuple of Stretch
        States in order; `n_stretches` of them there were, the shortest may be missing.
    """

    report: dict[str, Any]
    t_s: Floats
    error_um: Floats
    n_samples: int
    stretches: tuple[Stretch, ...]
    n_stretches: int

    @property
    def note(self) -> str:
        """What was left out of the figure; empty for nothing."""
        said: list[str] = []
        if self.t_s.size < self.n_samples:
            said.append(f"{self.t_s.size} of {self.n_samples} samples are drawn, every extreme among them")
        if len(self.stretches) < self.n_stretches:
            said.append(f"{len(self.stretches)} of {self.n_stretches} changes of state are shaded, the longest")
        return "; ".join(said)


def read_focus(reading: Reading) -> FocusStory | None:
    """Return the lock of a run; None where it had none."""
    if "lock" not in reading.streams and not (reading.start.get("parfocal") or {}).get("lock"):
        return None
    run = read_lock_run(reading.catalog, str(reading.start["uid"]))
    columns = run.columns
    t_s = columns["t_s"].astype(np.float64)
    # While a plan holds the lock, z is where the plan wants it: that is no error, and no bad state.
    held = run.samples.is_held
    error_um = np.where(held, np.nan, columns["error_um"].astype(np.float64))
    report: dict[str, Any] = lock_report(run) if t_s.size else {}
    stretches = _stretches(t_s, np.where(held, "held by a plan", columns["state"].astype(str)))
    shown = sorted(sorted(stretches, key=lambda s: s.t0_s - s.t1_s)[:_MOST_STRETCHES], key=lambda s: s.t0_s)
    return FocusStory(report, *thin(t_s, error_um, _MOST_POINTS), t_s.size, tuple(shown), len(stretches))


def read_best_planes(reading: Reading, derived: Iterable[Any]) -> tuple[tuple[float, float], ...]:
    """Return when (s) and at which z (um) each stack was sharpest, where `focus_scores` found it."""
    found: list[tuple[float, float]] = []
    for run in derived:
        if run.metadata["start"]["parfocal"]["analysis"] != "focus_scores" or "stacks" not in run:
            continue
        stacks, primary = columns_of(run, "stacks"), reading.columns("primary")
        key = f"{reading.data_key}_frame"
        when = dict(zip(primary.get(key, np.zeros(0)).tolist(), primary.get("time", np.zeros(0)).tolist()))
        for frame, z_um, reason in zip(stacks["best_frame"], stacks["best_z_um"], stacks["reason"]):
            if not reason and int(frame) in when:
                found.append((float(when[int(frame)]), float(z_um)))
    return tuple(sorted(found))


def _stretches(t_s: Floats, state: NDArray[Any]) -> list[Stretch]:
    if not t_s.size:
        return []
    begins = np.concatenate([[0], np.flatnonzero(state[1:] != state[:-1]) + 1])
    ends = np.append(begins[1:], t_s.size - 1)  # a state lasts until the next one begins
    return [Stretch(float(t_s[a]), float(t_s[b]), str(state[a])) for a, b in zip(begins, ends)]
