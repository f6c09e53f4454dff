"""What a lock is told and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class LockState(StrEnum):
    """Where a lock stands."""

    IDLE = "IDLE"
    CALIBRATED_READY = "CALIBRATED_READY"
    LOCKING = "LOCKING"
    LOCKED = "LOCKED"
    DEGRADED = "DEGRADED"
    RECOVERY = "RECOVERY"
    LOST = "LOST"
    FAULT = "FAULT"


@dataclass(frozen=True)
class Measurement:
    """One frame of the bead camera, measured. Numbers that could not be had are NaN.

    Parameters
    ----------
    frame : int
        Count of the camera's frames; a gap is a dropped frame, a repeat is the same frame again.
    t_s : float
        Middle of the exposure, s.
    z_um, z_se_um : float
        Defocus by the calibration and its standard error, um.
    x_px, y_px : float
        Position in the ROI, px.
    photons, background : float
        Photoelectrons of the spot, and per pixel.
    sigma_x_px, sigma_y_px : float
        Widths, px.
    excess_deviance : float
        (deviance - degrees of freedom) / sqrt(2 degrees of freedom).
    peak_fraction : float
        Brightest pixel over the saturation level of the camera.
    n_peaks : int
        Spots seen in the ROI.
    is_fit_ok : bool
        Whether the fit converged to a spot.
    reason : str
        Why not, in plain words.
    exposure_s : float
        With `StageState.commanded_t_s` it tells how much of the last move the frame saw; NaN: by
        `LockSettings.latency_frames`.
    n_beads : int
        Beads that z comes from.
    """

    frame: int
    t_s: float
    z_um: float
    z_se_um: float
    x_px: float
    y_px: float
    photons: float
    background: float
    sigma_x_px: float
    sigma_y_px: float
    excess_deviance: float = 0.0
    peak_fraction: float = 0.0
    n_peaks: int = 1
    is_fit_ok: bool = True
    reason: str = ""
    exposure_s: float = float("nan")
    n_beads: int = 1


@dataclass(frozen=True)
class StageState:
    """What is known of the z stage when a frame has been measured.

    Parameters
    ----------
    z_um : float
        Readback, um.
    commanded_um : float
        Where it was last sent, um.
    commanded_t_s : float
        When, s, on the clock of `Measurement.t_s`.
    low_um, high_um : float
        Soft limits, um.
    is_fault : bool
        The stage reports an error, or does not answer.
    sending_s : float
        How long it took to send: at `commanded_t_s` the stage may have been moving for as long, s.
    """

    z_um: float
    commanded_um: float
    commanded_t_s: float
    low_um: float = float("-inf")
    high_um: float = float("inf")
    is_fault: bool = False
    sending_s: float = 0.0


@dataclass(frozen=True)
class Command:
    """What a lock wants done.

    Parameters
    ----------
    z_um : float or None
        Where to send the stage, um; None to leave it.
    state : LockState
        The lock's state after this step.
    error_um : float
        Defocus less the setpoint as the law estimates it, um; NaN where unknown.
    confidence : float
        0 to 1.
    flags : tuple of str
        Codes of the safeguards that spoke, such as `slew_limited`.
    reason : str
        The first of them in plain words; empty for none.
    """

    z_um: float | None
    state: LockState
    error_um: float
    confidence: float
    flags: tuple[str, ...] = field(default=())
    reason: str = ""
