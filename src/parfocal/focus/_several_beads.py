"""Several beads of one field as one measurement: a lock that a single bead cannot lose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parfocal.fitting import DefocusModel, Vote, bead_offsets, vote_z
from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._measurement import Measurement
from parfocal.focus._safeguards_quality import Alarm, QualityGates


class SeveralBeads:
    """Puts what several beads say in one frame into one measurement, for the controller of a lock.

    First nothing is told until `setpoint_frames` frames have shown how much higher each bead is measured than all
    together (`parfocal.fitting.bead_offsets`): their heights, and the tilt of the field. From then on z is the
    weighted vote of the beads that the gates let pass, and M alike are better by sqrt(M)
    (`parfocal.fitting.vote_z`). With three beads or more, one that disagrees is left out.

    A bead that is lost leaves the vote, and the lock goes on with the others. One that comes later, or that has
    disagreed for `setpoint_frames` frames on end, since it moved, is measured against the others and joins.

    Parameters
    ----------
    model : DefocusModel
        The calibration; each bead has to be within its range.
    settings : LockSettings
        Gates, `setpoint_frames` and `bead_reject_sigma`.
    shapes_px : sequence of (int, int)
        Height and width of each bead's region.
    """

    def __init__(self, model: DefocusModel, settings: LockSettings, shapes_px: Sequence[tuple[int, int]]) -> None:
        n = len(shapes_px)
        self._s = settings
        self._gates = [QualityGates(settings, model.usable_um, shape_px) for shape_px in shapes_px]
        self._seen: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._apart: list[list[float]] = [[] for _ in range(n)]
        self._offset_um: NDArray[np.float64] | None = None
        self._is_good = np.zeros(n, np.bool_)
        self._is_used = np.zeros(n, np.bool_)

    @property
    def offset_um(self) -> NDArray[np.float64]:
        """How much higher each bead is measured than all together, um; NaN where that is not known."""
        return np.full(len(self._gates), np.nan) if self._offset_um is None else self._offset_um.copy()

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """Which beads the gates let pass in the last frame."""
        return self._is_good

    @property
    def is_used(self) -> NDArray[np.bool_]:
        """Which beads were in the last vote."""
        return self._is_used

    def resize(self, bead: int, shape_px: tuple[int, int]) -> None:
        """Take the new shape (height, width) of a bead's region."""
        self._gates[bead].resize(shape_px)

    def combine(self, measured: Sequence[Measurement]) -> Measurement:
        """Return one measurement of a frame from those of its beads.

        z and its standard error are the vote's, photons the mean of the beads in it; place, widths and the rest
        are of the first of these.
        """
        alarms = [gates.judge(m) for gates, m in zip(self._gates, measured, strict=True)]
        self._is_good = np.array([not found for found in alarms])
        z = np.array([m.z_um for m in measured])
        se = np.array([m.z_se_um for m in measured])
        z, se = np.where(self._is_good, z, np.nan), np.where(self._is_good, se, np.nan)
        self._is_used = np.zeros(len(measured), np.bool_)
        if not self._is_good.any():
            return _refused(measured[0], _all_refused(alarms))
        if self._offset_um is None:
            return self._learn(z, se, measured[int(np.argmax(self._is_good))])
        vote = vote_z(z, se, self._offset_um, reject_sigma=self._s.bead_reject_sigma)
        if not vote.is_used.any():
            return _refused(measured[0], "no bead is seen whose offset from the others is known")
        self._is_used = vote.is_used
        self._measure_apart(z, vote)
        used = np.flatnonzero(vote.is_used)
        return replace(
            measured[int(used[0])],
            z_um=vote.z_um,
            z_se_um=vote.z_se_um,
            photons=float(np.mean([measured[k].photons for k in used])),
            n_beads=used.size,
        )

    def _learn(self, z: NDArray[np.float64], se: NDArray[np.float64], shown: Measurement) -> Measurement:
        self._seen.append((z, se))
        n_wanted = self._s.setpoint_frames
        if len(self._seen) >= n_wanted:
            z_um, se_um = (np.stack(column) for column in zip(*self._seen, strict=True))
            # A bead that hardly showed is measured against the others later on.
            is_known = np.isfinite(z_um).sum(0) * 2 >= n_wanted
            if is_known.any():
                self._offset_um, _ = bead_offsets(
                    np.where(is_known, z_um, np.nan), np.where(is_known, se_um, np.nan)
                )
            self._seen.clear()
        return _refused(shown, f"learning the beads' offsets: frame {len(self._seen)} of {n_wanted}")

    def _measure_apart(self, z: NDArray[np.float64], vote: Vote) -> None:
        """Find the offset of beads that are good but not in the vote."""
        if self._offset_um is None:
            return
        for k, apart in enumerate(self._apart):
            if not self._is_good[k]:
                continue
            if vote.is_used[k]:
                apart.clear()
                continue
            apart.append(float(z[k]) - vote.z_um)
            if len(apart) >= self._s.setpoint_frames:
                self._offset_um[k] = float(np.mean(apart))
                apart.clear()


def settings_of_vote(settings: LockSettings) -> LockSettings:
    """Return what the controller judges a vote by: what compares a bead with itself, each bead's gates have done.

    Which beads are in the vote changes, and with it whose light and shape the measurement shows.
    """
    return replace(
        settings,
        min_roi_intensity_fraction=0.0,
        max_roi_intensity_fraction=math.inf,
        max_excess_deviance=math.inf,
        edge_margin_px=0.0,
    )


def _refused(shown: Measurement, reason: str) -> Measurement:
    return replace(shown, z_um=math.nan, z_se_um=math.nan, is_fit_ok=False, reason=reason, n_beads=0)


def _all_refused(alarms: Sequence[tuple[Alarm, ...]]) -> str:
    return f"none of {len(alarms)} beads can be believed; the first: {alarms[0][0].reason}"
