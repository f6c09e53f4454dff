"""What can be wrong with a sweep, one check each: its number, its words, and whether it blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from parfocal.fitting._calibration import Calibration, Issue
from parfocal.fitting._signal_models import ExpectedSlope, has_expected_slope
from parfocal.fitting._theta_line import ThetaLine


@dataclass(frozen=True)
class CalibrationGates:
    """Limits of what is accepted; those that the seed has carry its numbers.

    Parameters
    ----------
    min_parametric : int
        Steps with a parametric fit.
    max_fallback_share : float
        Of all steps.
    max_failed_share : float
        Of all moves; any at all warns.
    min_span : float
        Of tanh(q), or of the error signal, over the usable range.
    min_bracket_um : float
        The usable range must reach so far to either side of focus.
    min_slope_per_um : float
        Of tanh(q) at focus.
    min_split : float
        Distance of the two foci over the mean depth: below there is no astigmatism to speak of.
    min_r2_axis : float
        Of each width curve.
    min_r2_signal, min_correlation : float
        Of an error-signal curve; warn.
    max_hysteresis : float
        Mean distance of up and down in tanh(q), where it is more than 3 standard errors.
    max_light_outside : float
        Median share of a spot beyond the ROI's edges within the usable range; half of it warns.
    max_saturated_share : float
        Of all steps; any at all warns.
    max_z_se_um : float
        Median standard error of z, um; warns.
    max_shift_px : float
        How far the spot moves sideways; warns.
    max_theta_se_rad : float
        Standard error of the angle; warns.
    max_line_offset : float
        How far the quadrupole line misses the origin, over its half length; warns.
    max_model_error : float
        Relative width error that the model leaves; warns.
    max_correction_um : float
        What the learnt correction may move z by, after its mean; warns.
    max_pruned_share : float
        Of the parametric fits; warns.
    """

    min_parametric: int = 10
    max_fallback_share: float = 0.35
    max_failed_share: float = 0.2
    min_span: float = 0.06
    min_bracket_um: float = 0.12
    min_slope_per_um: float = 0.05
    min_split: float = 0.2
    min_r2_axis: float = 0.6
    min_r2_signal: float = 0.9
    min_correlation: float = 0.2
    max_hysteresis: float = 0.02
    max_light_outside: float = 0.1
    max_saturated_share: float = 0.1
    max_z_se_um: float = 0.03
    max_shift_px: float = 2.0
    max_theta_se_rad: float = 0.05
    max_line_offset: float = 0.15
    max_model_error: float = 0.05
    max_correction_um: float = 0.05
    max_pruned_share: float = 0.2


def issues_of(
    calibration: Calibration, gates: CalibrationGates, expected_slope: ExpectedSlope, failure: str, z_se_um: float
) -> tuple[Issue, ...]:
    """Return everything that is wrong, what blocks first.

    `failure` says why there is no model; `z_se_um` is the median standard error of z over the usable range.
    """
    found = [
        *_of_the_steps(calibration, gates),
        *_of_the_spot(calibration, gates, z_se_um),
        *_of_the_model(calibration, gates, failure),
        *_of_the_signal(calibration, gates, failure),
        *_of_the_slope(calibration, expected_slope),
        *_of_the_way_back(calibration, gates),
    ]
    return tuple(sorted(found, key=lambda issue: issue.severity))


def _of_the_steps(c: Calibration, g: CalibrationGates) -> Iterator[Issue]:
    n, n_good = len(c.steps), int(c.steps.is_parametric.sum())
    if n_good < g.min_parametric:
        yield Issue(
            "too_few_samples",
            "blocks",
            f"only {n_good} of {n} steps have a spot that can be fitted, {g.min_parametric} are needed: "
            "add steps, or raise exposure or light",
        )
    share = 1 - n_good / max(n, 1)
    if share > g.max_fallback_share:
        words, counts = np.unique(c.steps.reason[~c.steps.is_parametric], return_counts=True)
        most = str(words[np.argmax(counts)])
        yield Issue(
            "fallback_share",
            "blocks",
            f"{share:.0%} of the steps have no parametric fit (mostly: {most}), at most "
            f"{g.max_fallback_share:.0%} may: centre the ROI on one bright bead, centre the "
            "sweep on focus, or shorten it",
        )
    moves = n + c.n_failed_moves
    if c.n_failed_moves:
        yield Issue(
            "failed_moves",
            "blocks" if c.n_failed_moves > g.max_failed_share * moves else "warns",
            f"{c.n_failed_moves} of {moves} stage moves failed: check the stage's limits and its connection",
        )
    saturated = float(c.steps.is_saturated.mean()) if n else 0.0
    if saturated > 0:
        blocks = saturated > g.max_saturated_share
        yield Issue(
            "saturated",
            "blocks" if blocks else "warns",
            f"the camera is saturated in {saturated:.0%} of the steps: lower exposure, gain or light",
        )


def _of_the_spot(c: Calibration, g: CalibrationGates, z_se_um: float) -> Iterator[Issue]:
    if not c.is_used.any():
        return
    near = c.is_used.copy()
    if c.usable_um is not None and np.isfinite(c.focus_um):
        z = c.steps.z_um - c.focus_um
        inside = near & (z >= c.usable_um[0]) & (z <= c.usable_um[1])
        near = inside if inside.any() else near
    outside = (
        float(np.median(c.steps.light_outside[near])) if np.isfinite(c.steps.light_outside[near]).any() else 0.0
    )
    if outside > g.max_light_outside / 2:
        yield Issue(
            "roi_clipped",
            "blocks" if outside > g.max_light_outside else "warns",
            f"{outside:.0%} of the spot's light falls beyond the ROI's edges: enlarge the ROI, centre it, "
            "or shorten the sweep",
        )
    moved = max(float(np.ptp(c.steps.x_px[near])), float(np.ptp(c.steps.y_px[near])))
    if moved > g.max_shift_px:
        yield Issue(
            "spot_moved",
            "warns",
            f"the spot moved sideways by {moved:.1f} px during the sweep: wait for drift to end, or check that "
            "the stage's axis is along the light",
        )
    if z_se_um > g.max_z_se_um:
        yield Issue(
            "low_snr",
            "warns",
            f"one frame tells z to {1e3 * z_se_um:.0f} nm only ({np.median(c.steps.photons[near]):.0f} photons): "
            "raise light or exposure, or take a brighter bead",
        )
    pruned = 1 - c.is_used.sum() / max(int(c.steps.is_parametric.sum()), 1)
    if pruned > g.max_pruned_share:
        yield Issue(
            "outliers",
            "warns",
            f"{pruned:.0%} of the fits were left out as outliers: let the stage settle longer, and look for "
            "vibration or a second bead in the ROI",
        )


def _of_the_model(c: Calibration, g: CalibrationGates, failure: str) -> Iterator[Issue]:
    if c.kind != "zhuang":
        return
    if c.model is None:
        yield Issue(
            "no_model", "blocks", f"no defocus model: {failure}; centre the sweep on focus and check the lens"
        )
        return
    model = c.model
    split = abs(model.x.center_um - model.y.center_um) / (0.5 * (model.x.depth_um + model.y.depth_um))
    if split < g.min_split:
        yield Issue(
            "no_astigmatism",
            "blocks",
            f"both widths come to focus at nearly the same z ({split:.2f} depths apart, {g.min_split:g} needed): "
            "put in the cylindrical lens, or a stronger one",
        )
    low, high = model.usable_um
    if low > -g.min_bracket_um or high < g.min_bracket_um:
        yield Issue(
            "focus_not_bracketed",
            "blocks",
            f"the usable range {low:+.2f} to {high:+.2f} um does not reach {g.min_bracket_um:g} um to both "
            "sides of focus: centre the sweep on focus and lengthen it",
        )
    ends = np.tanh(model.q(np.array(model.usable_um)))
    span = abs(float(ends[1] - ends[0]))
    if not span >= g.min_span:
        yield Issue(
            "span_small",
            "blocks",
            f"the ellipticity signal spans {span:.3f} over the usable range, {g.min_span:g} needed: "
            "lengthen the sweep, or use a stronger cylindrical lens",
        )
    slope = abs(float(model.q_slope_per_um(0.0)))
    if not slope >= g.min_slope_per_um:
        yield Issue(
            "slope_small",
            "blocks",
            f"the signal changes by {slope:.3f} per um at focus, {g.min_slope_per_um:g} needed: "
            "use a stronger cylindrical lens",
        )
    if min(c.r2) < g.min_r2_axis:
        yield Issue(
            "axis_fit_poor",
            "blocks",
            f"the width curves explain {c.r2[0]:.2f} (x) and {c.r2[1]:.2f} (y) of the variance, {g.min_r2_axis:g} "
            "needed: keep one bead in the ROI and sweep about focus",
        )
    if c.model_error > g.max_model_error:
        yield Issue(
            "model_mismatch",
            "warns",
            f"widths scatter by {c.model_error:.0%} about the model, more than the light explains: "
            "shorten the sweep, let the stage settle longer, or look for aberrations",
        )
    if model.correction is not None:
        inner = np.linspace(*model.usable_um, 101)
        shift = model.correction.z_um(inner) - inner
        largest = float(np.max(np.abs(shift - np.mean(shift))))
        if largest > g.max_correction_um:
            yield Issue(
                "correction_large",
                "warns",
                f"the model alone would be off by up to {1e3 * largest:.0f} nm; the sweep's own correction takes "
                "it out at this bead's depth: calibrate where you will lock",
            )
    if c.theta is not None:
        yield from _of_the_angle(c.theta, g)


def _of_the_angle(theta: ThetaLine, g: CalibrationGates) -> Iterator[Issue]:
    if theta.theta_se_rad > g.max_theta_se_rad:
        yield Issue(
            "theta_uncertain",
            "warns",
            f"the angle of the lens is known to {np.degrees(theta.theta_se_rad):.1f} degrees only: "
            "lengthen the sweep or raise the light",
        )
    if theta.offset > g.max_line_offset and theta.offset > 4 * theta.offset_se:
        yield Issue(
            "field_astigmatism",
            "warns",
            f"the spot is never round in this field (off by {theta.offset:.0%} of its largest ellipticity): "
            "tilt, coma or astigmatism of the objective; take a bead nearer to the axis",
        )


def _of_the_signal(c: Calibration, g: CalibrationGates, failure: str) -> Iterator[Issue]:
    if c.kind == "zhuang":
        return
    model = c.signal_model
    if model is None:
        yield Issue("no_model", "blocks", f"no {c.kind} curve: {failure}; centre the sweep on focus")
        return
    low, high = model.usable_um
    if low > -g.min_bracket_um or high < g.min_bracket_um:
        yield Issue(
            "focus_not_bracketed",
            "blocks",
            f"the usable range {low:+.2f} to {high:+.2f} um does not reach {g.min_bracket_um:g} um to both "
            "sides of focus: centre the sweep on focus and lengthen it",
        )
    span = model.signal_range[1] - model.signal_range[0]
    if span < g.min_span:
        yield Issue(
            "span_small",
            "blocks",
            f"the error signal spans {span:.3f} over the usable range, {g.min_span:g} needed: lengthen the sweep, "
            "or use a stronger cylindrical lens",
        )
    if model.slope_um == 0 or abs(1 / model.slope_um) < g.min_slope_per_um:
        yield Issue("slope_small", "blocks", "the error signal hardly changes with z: use a stronger lens")
    if model.r2 < g.min_r2_signal:
        yield Issue(
            "signal_fit_poor",
            "warns",
            f"the {c.kind} curve explains {model.r2:.2f} of the variance of z: shorten the sweep, or use `zhuang`",
        )
    good = np.isfinite(c.steps.signal)
    if good.sum() > 2 and np.ptp(c.steps.signal[good]) > 0:
        correlation = abs(float(np.corrcoef(c.steps.z_um[good], c.steps.signal[good])[0, 1]))
        if correlation < g.min_correlation:
            yield Issue(
                "weak_correlation",
                "warns",
                f"signal and z hardly go together (|r| = {correlation:.2f}): centre the ROI, shorten the sweep",
            )


def _of_the_slope(c: Calibration, expected: ExpectedSlope) -> Iterator[Issue]:
    slope = None
    if c.kind == "zhuang":
        slope = None if c.model is None else float(c.model.q_slope_per_um(0.0))
    elif c.signal_model is not None:
        slope = c.signal_model.slope_um
    if slope is not None and not has_expected_slope(slope, expected):
        yield Issue(
            "slope_unexpected",
            "blocks",
            f"the signal {'rises' if slope > 0 else 'falls'} with stage z, and {expected} was expected: check the "
            "stage's sign and the lens' orientation, or expect `auto`",
        )


def _of_the_way_back(c: Calibration, g: CalibrationGates) -> Iterator[Issue]:
    h = c.hysteresis
    if h is not None and abs(h.signal) > g.max_hysteresis and abs(h.signal) > 3 * h.signal_se:
        yield Issue(
            "hysteresis",
            "blocks",
            f"the way down lies {1e3 * h.z_um:+.0f} nm from the way up: backlash or too short a settling "
            "time; sweep shorter, finer and slower",
        )
