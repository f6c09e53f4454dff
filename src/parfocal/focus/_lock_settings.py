"""Every option of a lock, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class LockSettings:
    """Options of a lock. Names and defaults are explained one by one in `docs/explanation/holding-focus.md`.

    Parameters
    ----------
    law : {"kalman", "pi"}
        What turns measurements into commands.
    latency_frames : float
        Frames between the one that a command answers and the first that shows it, less one: 0 means that the
        next frame is already exposed at the new place. A fraction is the share of an exposure before the move.
    walk_um_per_frame : float or None
        Random walk of the focus from frame to frame, um (`kalman`); None estimates it while running.
    noise_factor : float or None
        By how much the noise of measurements exceeds the standard errors of their fits (`kalman`); None estimates
        it while running.
    rate_share : float
        How much the drift rate changes each frame, as a share of the walk (`kalman`).
    walk_memory_frames : float
        Over how many frames the walk is estimated.
    kp, ki, kd : float
        Gains of `pi`: um of stage per um of error; ki per second, kd in seconds.
    integral_limit_um, derivative_alpha, max_dt_s : float
        Of `pi`: limit of the integral (um s), smoothing of the derivative (0 none), longest time step, s.
    error_alpha : float
        Of `pi`: smoothing of the error, 0 none to below 1.
    error_median3 : bool
        Of `pi`: median of the last three errors, against single wild ones; costs a frame of delay.
    min_confidence_scale : float
        Of `pi`: the error is multiplied by the confidence, but at least by this; 1 turns that off.
    command_deadband_um, deadband_sigma, dynamic_deadband_coeff : float
        No move smaller than the largest of: this distance; so many standard errors of the estimated focus;
        the distance plus so many times the noise of recent errors (change from frame to frame, so that drift
        does not count).
    dynamic_deadband_window : int
        Errors that the last of these looks back on.
    max_step_um : float
        Longest correction a frame, um. Moves of the setpoint are not corrections.
    max_slew_rate_um_per_s : float or None
        Longest correction for the time since the last command.
    max_abs_excursion_um : float or None
        How far the stage may go from where it was at engage (plus what the setpoint was moved), um.
    stage_min_um, stage_max_um : float or None
        Where the stage may go at all, um; the stage's own limits count beside.
    limit_fault_frames : int
        Frames in a row at a limit of these until FAULT.
    setpoint_frames : int
        Good frames in a row, before anything moves, whose mean is the setpoint.
    engage_timeout_frames : int
        Frames within which these must have been had.
    lock_setpoint : bool
        Hold the focus found at engage; False: go to where both widths are equal.
    recenter_alpha : float
        Share of each error by which the setpoint follows the focus; 0 holds it.
    engage_ramp_s : float
        Time over which corrections grow from none to whole after engage, s.
    sign_probe : bool
        Move a little at engage, to see that the focus follows by as much as calibrated.
    probe_sigma, probe_min_um, probe_max_um : float
        Size of that move, in standard errors of a measurement, and its bounds, um.
    probe_frames : int
        Frames within which it must be clear.
    response_tolerance : float
        How far the response may be from 1.
    lock_tolerance_um : float
        Error up to which a frame counts as in focus, um.
    verify_frames : int
        Frames in a row within tolerance until LOCKED, after engage, a move, a pause or a loss.
    max_peak_fraction : float
        Brightest pixel over saturation, at most.
    min_photons, min_roi_intensity_fraction : float
        Fewest photoelectrons of the spot, outright and as a share of their running mean.
    max_roi_intensity_fraction : float
        Most of them, as a share of their running mean: another spot shines in.
    max_z_se_um : float
        Largest standard error of a measurement, um.
    max_excess_deviance : float
        How much worse than usual a fit may be, in standard deviations of its deviance.
    fwhm_min_px, fwhm_max_px, ellipticity_min, ellipticity_max : float
        Plausible widths (geometric mean, as FWHM) and sqrt(sigma_x / sigma_y).
    edge_margin_px : float
        Least distance of the fitted position from the border of the region.
    max_peaks : int
        Most spots in the region.
    domain_margin_um : float
        How far within the calibrated range a measurement must be, um.
    detection_window_size : int
        Frames over which good ones are counted.
    detection_pass_threshold : float
        Share of them that must be exceeded to control.
    innovation_sigma : float
        How many standard deviations a measurement may be from what was expected; infinity turns that off.
    kick_frames : int
        Unexpected measurements in a row that agree with each other, to be taken for a real jump.
    runaway_slope, runaway_sigma : float
        Response below which the stage does not correct, and with how many standard errors that must be sure;
        infinity turns it off.
    max_stage_lag_um : float
        How far the stage's readback may stay from where it was sent, um.
    stage_lag_fault_frames, stage_nudge_frames, stage_stall_frames : int
        Frames of that until RECOVERY; between repeated commands there; until FAULT.
    lost_frames : int
        Refused frames in a row until LOST.
    search : bool
        Look for a lost spot by moving z round the last good place.
    search_step_um, search_range_um : float
        Step and farthest distance of the search, um.
    search_passes : int
        How often, before waiting at the last good place.
    relock_frames : int
        Good frames in a row until a spot counts as found again.
    min_cal_q_span, min_cal_usable_half_range_um, min_cal_slope_per_um : float
        Least change of ln(sigma_x / sigma_y) over the calibrated range, least range to both sides of focus (um),
        least slope at focus (1/um), to arm at all.
    n_beads : int
        Beads to follow at most: beside the calibrated one the brightest that stand alone in view. Their vote
        steers, and one that is lost does not lose the lock.
    bead_reject_sigma : float
        How many of its standard errors a bead may be from all beads' median to be in the vote, with three or more.
    track_roi : bool
        Let the region follow the spot.
    track_gain, track_deadband_px, track_max_step_px : float
        Share of the offset by which the region follows; offset below which it stays; most px a frame.
    roi_expand_on_low_confidence : bool
        Let the region grow while frames are refused.
    roi_expand_step_px, roi_expand_max_px : int
        By how much a frame, and in all.
    roi_shrink_stable_frames : int
        Good frames until it shrinks by a step.
    background_percentile : float or None
        Of the region's pixels, taken for background by `measure_moments`; None takes the border. A fit finds the
        background itself.

    Raises
    ------
    BadInputError
        A value makes no sense; the message names it.
    """

    law: Literal["kalman", "pi"] = "kalman"
    latency_frames: float = 1.0
    walk_um_per_frame: float | None = None
    noise_factor: float | None = None
    rate_share: float = 0.01
    walk_memory_frames: float = 900.0
    kp: float = 0.6
    ki: float = 0.15
    kd: float = 0.0
    integral_limit_um: float = 2.0
    derivative_alpha: float = 0.7
    max_dt_s: float = 0.2
    error_alpha: float = 0.0
    error_median3: bool = False
    min_confidence_scale: float = 1.0
    command_deadband_um: float = 0.0
    deadband_sigma: float = 0.0
    dynamic_deadband_coeff: float = 0.0
    dynamic_deadband_window: int = 30
    max_step_um: float = 0.25
    max_slew_rate_um_per_s: float | None = None
    max_abs_excursion_um: float | None = 5.0
    stage_min_um: float | None = None
    stage_max_um: float | None = None
    limit_fault_frames: int = 30
    setpoint_frames: int = 25
    engage_timeout_frames: int = 300
    lock_setpoint: bool = True
    recenter_alpha: float = 0.0
    engage_ramp_s: float = 0.3
    sign_probe: bool = True
    probe_sigma: float = 6.0
    probe_min_um: float = 0.01
    probe_max_um: float = 0.1
    probe_frames: int = 90
    response_tolerance: float = 0.3
    lock_tolerance_um: float = 0.05
    verify_frames: int = 5
    max_peak_fraction: float = 0.98
    min_photons: float = 50.0
    min_roi_intensity_fraction: float = 0.25
    max_roi_intensity_fraction: float = 1.4
    max_z_se_um: float = 0.1
    max_excess_deviance: float = 6.0
    fwhm_min_px: float = 1.0
    fwhm_max_px: float = 20.0
    ellipticity_min: float = 0.5
    ellipticity_max: float = 2.0
    edge_margin_px: float = 2.0
    max_peaks: int = 1
    domain_margin_um: float = 0.0
    detection_window_size: int = 5
    detection_pass_threshold: float = 0.35
    innovation_sigma: float = 5.0
    kick_frames: int = 3
    runaway_slope: float = 0.2
    runaway_sigma: float = 4.0
    max_stage_lag_um: float = 0.2
    stage_lag_fault_frames: int = 5
    stage_nudge_frames: int = 15
    stage_stall_frames: int = 300
    lost_frames: int = 20
    search: bool = True
    search_step_um: float = 0.2
    search_range_um: float = 2.0
    search_passes: int = 2
    relock_frames: int = 5
    min_cal_q_span: float = 0.06
    min_cal_usable_half_range_um: float = 0.1
    min_cal_slope_per_um: float = 0.05
    n_beads: int = 1
    bead_reject_sigma: float = 3.5
    track_roi: bool = True
    track_gain: float = 0.4
    track_deadband_px: float = 1.5
    track_max_step_px: float = 8.0
    roi_expand_on_low_confidence: bool = False
    roi_expand_step_px: int = 2
    roi_expand_max_px: int = 8
    roi_shrink_stable_frames: int = 15
    background_percentile: float | None = None

    def __post_init__(self) -> None:
        if self.law not in ("kalman", "pi"):
            raise BadInputError(f"lock settings: law is {self.law!r}, expected 'kalman' or 'pi'")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise BadInputError(f"lock settings: {name} is {getattr(self, name)}, expected above 0")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise BadInputError(f"lock settings: {name} is {getattr(self, name)}, expected 0 or more")
        for name in _OPTIONAL_POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInputError(f"lock settings: {name} is {value}, expected above 0 or None")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise BadInputError(f"lock settings: {name} is {getattr(self, name)}, expected 0 to 1")
        for name in _SMOOTHING:
            if not 0 <= getattr(self, name) < 1:
                raise BadInputError(f"lock settings: {name} is {getattr(self, name)}, expected 0 to below 1")
        if self.latency_frames > 10:
            raise BadInputError(f"lock settings: latency_frames is {self.latency_frames}, expected 0 to 10")
        low = -math.inf if self.stage_min_um is None else self.stage_min_um
        high = math.inf if self.stage_max_um is None else self.stage_max_um
        for below, above, names in (
            (low, high, "stage_min_um and stage_max_um"),
            (self.fwhm_min_px, self.fwhm_max_px, "fwhm_min_px and fwhm_max_px"),
            (self.ellipticity_min, self.ellipticity_max, "ellipticity_min and ellipticity_max"),
            (self.probe_min_um, self.probe_max_um, "probe_min_um and probe_max_um"),
        ):
            if not below < above:
                raise BadInputError(f"lock settings: {names} are {below} and {above}, expected the first below")

    @classmethod
    def of_the_original(cls, **changes: Any) -> LockSettings:
        """Return the library defaults of the program that the `pi` law comes from: the baseline to beat.

        Its own checks of sign and growth never fire on a wrong sign and are not rebuilt; checks it has not
        are off.
        """
        original = cls(
            law="pi",
            command_deadband_um=0.005,
            setpoint_frames=1,
            engage_ramp_s=0.0,
            sign_probe=False,
            innovation_sigma=math.inf,
            runaway_sigma=math.inf,
            max_excess_deviance=math.inf,
            edge_margin_px=0.0,
            max_peak_fraction=math.inf,
            max_peaks=1_000_000,
            min_roi_intensity_fraction=0.0,
            max_roi_intensity_fraction=math.inf,
            max_z_se_um=math.inf,
            search=False,
        )
        return replace(original, **changes)


_POSITIVE = (
    "max_dt_s", "max_step_um", "setpoint_frames", "engage_timeout_frames", "probe_sigma", "probe_min_um",
    "response_tolerance", "lock_tolerance_um", "verify_frames", "max_z_se_um", "detection_window_size",
    "innovation_sigma", "kick_frames", "runaway_sigma", "max_stage_lag_um", "stage_lag_fault_frames",
    "stage_nudge_frames", "stage_stall_frames", "lost_frames", "search_step_um", "search_range_um",
    "relock_frames", "limit_fault_frames", "dynamic_deadband_window", "walk_memory_frames", "max_peaks",
    "max_peak_fraction", "probe_frames", "track_max_step_px", "roi_expand_step_px", "roi_shrink_stable_frames",
    "max_roi_intensity_fraction", "n_beads", "bead_reject_sigma",
)  # fmt: skip
_NOT_NEGATIVE = (
    "latency_frames", "rate_share", "kp", "ki", "kd", "integral_limit_um", "command_deadband_um",
    "deadband_sigma", "dynamic_deadband_coeff", "engage_ramp_s", "min_photons", "max_excess_deviance",
    "fwhm_min_px", "edge_margin_px", "domain_margin_um", "search_passes", "min_cal_q_span",
    "min_cal_usable_half_range_um", "min_cal_slope_per_um", "track_deadband_px", "roi_expand_max_px",
)  # fmt: skip
_OPTIONAL_POSITIVE = ("walk_um_per_frame", "noise_factor", "max_slew_rate_um_per_s", "max_abs_excursion_um")
_SHARES = (
    "min_confidence_scale", "min_roi_intensity_fraction", "detection_pass_threshold", "runaway_slope",
    "track_gain",
)  # fmt: skip
_SMOOTHING = ("derivative_alpha", "error_alpha", "recenter_alpha")
