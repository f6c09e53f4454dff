"""A sweep through focus: how it is to be made, what it gave, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting._optics_facts import OpticsFacts
from parfocal.optics import CameraModel


@dataclass(frozen=True)
class SweepSettings:
    """How to sweep; the defaults are those of Focus Feedback.

    Parameters
    ----------
    half_range_um : float
        Reach to either side of where the sweep starts, um.
    n_steps : int
        Positions one way.
    is_bidirectional : bool
        Up, then down again.
    settle_s : float
        Wait after each move before the encoder is read and a frame taken, s.
    attempt : int
        0 for the first; counts what `next_sweep` proposed.
    """

    half_range_um: float = 0.75
    n_steps: int = 21
    is_bidirectional: bool = True
    settle_s: float = 0.05
    attempt: int = 0

    def __post_init__(self) -> None:
        if not self.half_range_um > 0 or self.n_steps < 2 or self.settle_s < 0:
            raise BadInputError(
                f"sweep: half_range_um={self.half_range_um}, n_steps={self.n_steps}, settle_s={self.settle_s}; "
                "expected above 0, 2 or more, 0 or more"
            )

    def positions_um(self, centre_um: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """Return where to go, um, and the direction of each step: 1 up, -1 down."""
        up = centre_um + np.linspace(-self.half_range_um, self.half_range_um, self.n_steps)
        if not self.is_bidirectional:
            return up, np.ones(up.size, np.int8)
        return np.concatenate([up, up[::-1]]), np.repeat(np.array([1, -1], np.int8), up.size)

    def gentler(self) -> SweepSettings | None:
        """Return what to try after hysteresis: finer, shorter and slower; then one way; then None.

        Half-range 0.8 times, at least 1.5 times the steps, settle at least 0.25 s; then one way with at
        least 31 steps and 0.35 s.
        """
        if not self.is_bidirectional:
            return None
        if self.attempt == 0:
            return replace(
                self,
                half_range_um=0.8 * self.half_range_um,
                n_steps=int(np.ceil(1.5 * self.n_steps)),
                settle_s=max(self.settle_s, 0.25),
                attempt=1,
            )
        return replace(
            self,
            n_steps=max(self.n_steps, 31),
            settle_s=max(self.settle_s, 0.35),
            is_bidirectional=False,
            attempt=self.attempt + 1,
        )


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep gave: one ROI of the bead camera a step.

    Parameters
    ----------
    rois : ndarray of shape (n, side, side)
        Raw ADU.
    z_um : ndarray of shape (n,)
        Encoder, read after settling, um.
    t_s : ndarray of shape (n,)
        Middle of each exposure, s.
    direction : ndarray of shape (n,)
        1 where the stage had come up, -1 where it had come down.
    camera_model : CameraModel
        Of the ROI's pixels: maps, where it has any, have the ROI's shape.
    facts : OpticsFacts
        Objective, camera, pixel size and ROI that the calibration will hold for.
    n_failed_moves : int
        Steps of which no frame was had, because the stage did not move.
    """

    rois: NDArray[np.generic]
    z_um: NDArray[np.float64]
    t_s: NDArray[np.float64]
    direction: NDArray[np.int8]
    camera_model: CameraModel
    facts: OpticsFacts
    n_failed_moves: int = field(default=0)

    def __post_init__(self) -> None:
        n = len(self.rois)
        if self.rois.ndim != 3 or any(np.shape(v) != (n,) for v in (self.z_um, self.t_s, self.direction)):
            raise BadInputError(
                f"sweep: rois {self.rois.shape}, z_um {np.shape(self.z_um)}, t_s {np.shape(self.t_s)}, direction "
                f"{np.shape(self.direction)}; expected (n, side, side) and three times (n,)"
            )
        if not np.isfinite(self.z_um).all():
            raise BadInputError(f"sweep: z of step {int(np.argmin(np.isfinite(self.z_um)))} is not a number")
        if not np.isin(self.direction, (-1, 1)).all():
            raise BadInputError("sweep: direction must be 1 (up) or -1 (down) at every step")


@dataclass(frozen=True, eq=False)
class SweepStep:
    """One step of a sweep, as a plan or a stored run has it.

    Parameters
    ----------
    roi : ndarray of shape (height, width)
        Raw ADU, cut from the frame.
    z_um, t_s : float
        Encoder, um; middle of the exposure, s.
    direction : int
        1 up, -1 down.
    """

    roi: NDArray[np.generic]
    z_um: float
    t_s: float
    direction: int

    @classmethod
    def of_frame(
        cls,
        frame: NDArray[np.generic],
        roi_px: tuple[int, int, int, int] | None,
        z_um: float,
        t_s: float,
        direction: int,
    ) -> SweepStep:
        """Keep the region of a frame (y, x, height, width; None for all of it), not the frame."""
        y, x, height, width = roi_px if roi_px is not None else (0, 0, *frame.shape)
        return cls(frame[y : y + height, x : x + width].copy(), float(z_um), float(t_s), int(direction))


def sweep_of_steps(
    steps: Mapping[int, SweepStep], camera_model: CameraModel, facts: OpticsFacts, n_failed_moves: int = 0
) -> Sweep:
    """Put steps together in the order of their numbers.

    Raises
    ------
    BadInputError
        There is none.
    """
    if not steps:
        raise BadInputError("sweep: there is no frame to fit")
    found = [steps[number] for number in sorted(steps)]
    return Sweep(
        np.stack([step.roi for step in found]),
        np.array([step.z_um for step in found]),
        np.array([step.t_s for step in found]),
        np.array([step.direction for step in found], np.int8),
        camera_model,
        facts,
        n_failed_moves,
    )
