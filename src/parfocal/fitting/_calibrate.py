"""From a sweep to a calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting._calibration import Calibration, CalibrationKind, DevianceBaseline, Hysteresis
from parfocal.fitting._defocus_model import DefocusModel
from parfocal.fitting._fit_defocus import fit_defocus
from parfocal.fitting._gates import CalibrationGates, issues_of
from parfocal.fitting._optics_facts import OpticsFacts
from parfocal.fitting._psf_depth import ZEstimates, estimate_zs
from parfocal.fitting._signal_models import ExpectedSlope, SignalModel, fit_signal_model
from parfocal.fitting._step_fits import Progress, StepFits, measure_steps
from parfocal.fitting._sweep import Sweep
from parfocal.fitting._theta_line import ThetaLine
from parfocal.fitting._z_correction import ZSamples, learn_correction

Estimator = Callable[[DefocusModel, float], ZEstimates]
"""From a model to direct-z estimates of every step, with the spot's light multiplied by a factor."""

_LIGHTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 4.0)
"""At which the correction is learnt beside the sweep's own light: beads bleach."""

KINDS: tuple[CalibrationKind, ...] = ("zhuang", "linear", "poly2", "piecewise")


def calibrate(
    sweep: Sweep,
    *,
    kind: CalibrationKind = "zhuang",
    expected_slope: ExpectedSlope = "auto",
    theta_rad: float | None = None,
    gates: CalibrationGates | None = None,
    on_progress: Progress | None = None,
) -> Calibration:
    """Calibrate focus from a sweep.

    The angle of the lens comes from the whole sweep, then every step is fitted with it; both width curves are
    fitted together; the sweep's own direct-z estimates against the stage give a smooth correction. A bad sweep
    raises nothing: it gives a calibration that is not armable, with its issues.

    Parameters
    ----------
    sweep : Sweep
        ROIs of one bead, and where the stage was.
    kind : {"zhuang", "linear", "poly2", "piecewise"}
        What a lock will invert: the widths' model, or a curve from the moments' error signal to z.
    expected_slope : {"auto", "positive", "negative"}
        Sign of the signal's change with stage z, where it is known; the other sign blocks.
    theta_rad : float, optional
        Angle of the lens, where it is known.
    gates : CalibrationGates, optional
        Limits of what is accepted.
    on_progress : callable, optional
        Told steps done, steps in all, and what is done.

    Returns
    -------
    Calibration

    Raises
    ------
    BadInputError
        An unknown `kind`, or ROIs that the fit cannot take (under 5 px a side).
    """
    if kind not in KINDS:
        raise BadInputError(f"calibrate: {kind!r} is none of {', '.join(KINDS)}")
    steps, line, theta = measure_steps(sweep, theta_rad=theta_rad, on_progress=on_progress)

    def estimator(model: DefocusModel, light: float) -> ZEstimates:
        if on_progress is not None:
            on_progress(0, len(steps), "correcting")
        if light == 1:
            return estimate_zs(sweep.rois, sweep.camera_model, model)
        electrons = sweep.camera_model.to_electrons(sweep.rois)
        floor = steps.background[:, None, None]
        unlimited = replace(sweep.camera_model, offset_adu=0.0, gain_adu_per_e=1.0, saturation_adu=float("inf"))
        return estimate_zs(floor + light * (electrons - floor), unlimited, model)

    done = calibrate_steps(
        steps,
        sweep.facts,
        kind=kind,
        expected_slope=expected_slope,
        theta_rad=theta,
        theta=line if theta_rad is None else None,
        gates=gates,
        estimator=estimator,
        read_variance_e2=float(np.mean(np.square(sweep.camera_model.read_noise_e))),
        n_failed_moves=sweep.n_failed_moves,
    )
    if on_progress is not None:
        on_progress(len(steps), len(steps), "done")
    return done


def calibrate_steps(
    steps: StepFits,
    facts: OpticsFacts,
    *,
    kind: CalibrationKind = "zhuang",
    expected_slope: ExpectedSlope = "auto",
    theta_rad: float = 0.0,
    theta: ThetaLine | None = None,
    gates: CalibrationGates | None = None,
    estimator: Estimator | None = None,
    read_variance_e2: float = 0.0,
    n_failed_moves: int = 0,
) -> Calibration:
    """Calibrate from steps measured before, such as those of a CSV: without ROIs no correction is learnt.

    Parameters
    ----------
    steps : StepFits
        From `measure_steps` or a file.
    facts, kind, expected_slope, gates, n_failed_moves
        As in `calibrate` and `Sweep`.
    theta_rad : float
        Angle that the steps were fitted with.
    theta : ThetaLine, optional
        How well it is known.
    estimator : callable, optional
        Gives direct-z estimates of every step for a model.
    read_variance_e2 : float
        Of the camera, mean over the pixels.

    Returns
    -------
    Calibration
    """
    gates = CalibrationGates() if gates is None else gates
    swept = (float(steps.z_um.min()), float(steps.z_um.max())) if len(steps) else (np.nan, np.nan)
    used = steps.is_parametric & ~steps.is_saturated
    facts_of_fit: dict[str, Any] = {}
    model, focus, failure, z_se = None, np.nan, "", np.nan
    try:
        fit = fit_defocus(_taken(steps, used).samples(), theta_rad=theta_rad, pixel_size_um=facts.pixel_size_um)
    except BadInputError as error:
        failure = str(error).removeprefix("defocus fit: ")
    else:
        model, focus = fit.model, fit.focus_um
        used[np.flatnonzero(used)[~fit.is_used]] = False
        facts_of_fit = {"r2": fit.r2, "orders": fit.orders, "model_error": fit.model_error}
        if estimator is not None:
            model, z_se = _corrected_model(model, steps, used, focus, estimator, read_variance_e2)
        facts_of_fit["hysteresis"] = _hysteresis(steps, used, model, focus)
    signal_model, signal_failure = None, ""
    if not np.isfinite(focus):
        focus = _focus_of_signal(steps)
    try:
        signal_model = _signal_model(steps, focus, kind)
    except BadInputError as error:
        signal_failure = str(error).removeprefix("signal model: ")
    calibration = Calibration(
        kind=kind,
        model=model,
        signal_model=signal_model,
        facts=facts,
        focus_um=float(focus),
        swept_um=swept,
        steps=steps,
        is_used=used,
        theta=theta,
        baseline=_baseline(steps, used),
        n_failed_moves=n_failed_moves,
        **facts_of_fit,
    )
    why = failure if kind == "zhuang" else signal_failure
    return replace(calibration, issues=issues_of(calibration, gates, expected_slope, why, float(z_se)))


def _taken(steps: StepFits, used: NDArray[np.bool_]) -> StepFits:
    return replace(steps, is_parametric=used)


def _corrected_model(
    model: DefocusModel,
    steps: StepFits,
    used: NDArray[np.bool_],
    focus_um: float,
    estimator: Estimator,
    read_variance_e2: float,
) -> tuple[DefocusModel, float]:
    """Return the model with what its own estimates of the sweep are off by, and the median error of z, um."""
    stage = steps.z_um - focus_um
    low, high = model.usable_um
    # by where the stage was, not by the estimate: cutting off by the noisy one would bias what is left
    inside = used & (stage >= low) & (stage <= high)
    if not inside.any():
        return model, np.nan

    def at(light: float) -> ZSamples:
        found = estimator(model, light)
        z = np.where(found.is_mle & inside, found.z_um, np.nan)
        contrast = found.photons / np.maximum(found.background + read_variance_e2, 1e-3)
        return ZSamples(z, found.z_se_um, contrast)

    usual = at(1.0)
    correction = learn_correction(usual, [at(light) for light in _LIGHTS], stage, read_variance_e2)
    finite = np.isfinite(usual.z_um) & np.isfinite(usual.se_um)
    return replace(model, correction=correction), float(np.median(usual.se_um[finite])) if finite.any() else np.nan


def _baseline(steps: StepFits, used: NDArray[np.bool_]) -> DevianceBaseline:
    good = used & np.isfinite(steps.deviance) & (steps.photons > 0)
    if not good.any():
        return DevianceBaseline()
    share = (steps.deviance[good] - steps.degrees_of_freedom) / steps.photons[good]
    return DevianceBaseline(float(np.median(share)), float(np.percentile(share, 95)))


def _hysteresis(
    steps: StepFits, used: NDArray[np.bool_], model: DefocusModel, focus_um: float
) -> Hysteresis | None:
    """Compare the way down with the way up, interpolated at the same places; None where they hardly overlap."""
    z = steps.z_um - focus_um
    inside = used & (z >= model.usable_um[0]) & (z <= model.usable_um[1])
    up, down = inside & (steps.direction > 0), inside & (steps.direction < 0)
    if up.sum() < 3 or down.sum() < 3:
        return None
    z_up, level = np.unique(z[up], return_inverse=True)
    count = np.bincount(level)
    # what the model does not explain is interpolated, not the curve: it is straight where the curve is not
    left = steps.q - model.q(z)
    left_up = np.bincount(level, left[up]) / count
    variance_up = np.bincount(level, np.square(steps.q_se[up])) / count**2
    z_down = z[down]
    within = (z_down >= z_up[0]) & (z_down <= z_up[-1])
    if within.sum() < 3:
        return None
    z_down = z_down[within]
    off = left[down][within] - np.interp(z_down, z_up, left_up)
    variance = np.square(steps.q_se[down][within]) + np.interp(z_down, z_up, variance_up)
    slope = model.q_slope_per_um(z_down)
    weight = np.square(slope) / variance  # a frame tells z by so much
    t_up = np.bincount(level, steps.t_s[up]) / count
    apart_s = steps.t_s[down][within] - np.interp(z_down, z_up, t_up)
    (z_um, drift), (z_se, _) = _constant_and_slope(apart_s, off / slope, weight)
    at_focus = abs(float(model.q_slope_per_um(0.0)))  # tanh'(0) is 1
    return Hysteresis(-z_um, z_se, -z_um * at_focus, z_se * at_focus, -drift)


def _constant_and_slope(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Fit y = a + b x; return (a, b) and their standard errors. Without any spread in x, b is 0.

    The focus drifts while one sweeps, and the more of it is between up and down the longer these are apart in
    time: not at all where the sweep turned. What is left there is hysteresis.
    """
    columns = [np.ones_like(x)]
    if np.ptp(x) > 1e-3 * max(float(np.abs(x).max()), 1e-9) and x.size > 3:
        columns.append(x)
    design = np.stack(columns, axis=1)
    covariance = np.linalg.inv(design.T @ (weight[:, None] * design))
    found = covariance @ design.T @ (weight * y)
    # the scatter of neighbours tells of vibration, which the light alone would not
    scatter = float(np.sum(weight * np.square(y - design @ found))) / max(y.size - len(columns), 1)
    se = np.sqrt(np.diag(covariance) * max(scatter, 1.0))
    slope, slope_se = (found[1], se[1]) if len(columns) == 2 else (0.0, 0.0)
    return (float(found[0]), float(slope)), (float(se[0]), float(slope_se))


def _signal_model(steps: StepFits, focus_um: float, kind: CalibrationKind) -> SignalModel:
    weight = np.where(steps.is_saturated, 0.0, 1.0)
    return fit_signal_model("linear" if kind == "zhuang" else kind, steps.z_um - focus_um, steps.signal, weight)


def _focus_of_signal(steps: StepFits) -> float:
    """Return where the error signal changes sign, um, where there is no model; else where it is smallest."""
    good = np.isfinite(steps.signal)
    if good.sum() < 4:
        return float("nan")
    order = np.argsort(steps.z_um[good], kind="stable")
    z, e = steps.z_um[good][order], steps.signal[good][order]
    width = max(3, z.size // 8)
    box = np.ones(width) / width
    z, e = np.convolve(z, box, "valid"), np.convolve(e, box, "valid")
    turns = np.flatnonzero(np.sign(e[:-1]) * np.sign(e[1:]) <= 0)
    if turns.size == 0:
        return float(z[np.argmin(np.abs(e))])
    at = int(turns[np.argmax(np.abs(e[turns + 1] - e[turns]))])
    step = e[at + 1] - e[at]
    return float(z[at] - e[at] * (z[at + 1] - z[at]) / step) if step else float(z[at])
