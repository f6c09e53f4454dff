"""Ways to measure defocus in a region, from the best to the quickest. A lock takes any of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import (
    Calibration,
    DefocusModel,
    SignalModel,
    ZCorrection,
    ZSamples,
    estimate_z,
    fit_psf,
    learn_correction,
    moments_error,
    spot_moments,
)
from parfocal.focus._lock_measurement import count_spots, measurement_from
from parfocal.focus._measurement import Measurement
from parfocal.optics import CameraModel
from parfocal.robust import robust_sd

RoiMeasure = Callable[[int, float, NDArray[np.generic], CameraModel], Measurement]
"""From a frame's count, its time (s), its region `[y, x]` (ADU) and the region's camera model to a measurement."""

MeasureKind = Literal["direct", "widths", "moments"]


def measure_of(
    kind: MeasureKind, calibration: Calibration, *, background_percentile: float | None = None
) -> RoiMeasure:
    """Return one of `measure_direct`, `measure_widths` and `measure_moments` by name."""
    if kind == "direct":
        return measure_direct(calibration)
    if kind == "widths":
        return measure_widths(calibration)
    if kind == "moments":
        return measure_moments(calibration, background_percentile=background_percentile)
    raise BadInputError(f"lock: measure is {kind!r}, expected direct, widths or moments")


def measure_direct(calibration: Calibration) -> RoiMeasure:
    """Fit z itself, shared by both widths: every photon counts, and the standard error is the bound's."""
    model = _model(calibration)

    def measure(frame: int, t_s: float, roi: NDArray[np.generic], camera_model: CameraModel) -> Measurement:
        return measurement_from(frame, t_s, roi, estimate_z(roi, camera_model, model), camera_model, model)

    return measure


def measure_widths(calibration: Calibration) -> RoiMeasure:
    """Fit both widths, and find z from their ratio by the quartic: the way of Focus Feedback.

    Blind where the ratio folds, and up to 1.4 times noisier than `measure_direct` beside focus. What the ratio is
    off by, because a real spot is no Gaussian, is learnt from the sweep's own ratios.
    """
    model = _model(calibration)
    correction = _of_ratios(calibration, model)

    def measure(frame: int, t_s: float, roi: NDArray[np.generic], camera_model: CameraModel) -> Measurement:
        fit = fit_psf(roi, camera_model, theta_rad=model.theta_rad)
        is_ok = fit.kind == "mle"
        z_um = model.z_of_q_analytic(fit.q) if is_ok else math.nan
        z_se_um = fit.q_se / abs(float(model.q_slope_per_um(z_um))) if math.isfinite(z_um) else math.nan
        z_um, z_se_um = _corrected(z_um, z_se_um, correction)
        is_in = math.isfinite(z_um) and math.isfinite(z_se_um)
        outside = "" if is_in or not is_ok else "the widths' ratio is outside the calibrated range"
        return _measurement(
            frame,
            t_s,
            roi,
            camera_model,
            z_um=z_um if is_in else math.nan,
            z_se_um=z_se_um if is_in else math.nan,
            x_px=fit.x_px,
            y_px=fit.y_px,
            photons=fit.photons,
            background=fit.background,
            sigma_x_px=fit.sigma_x_px,
            sigma_y_px=fit.sigma_y_px,
            excess_deviance=fit.excess_deviance if is_ok else 0.0,
            is_fit_ok=is_ok and is_in,
            reason=fit.reason or outside,
        )

    return measure


def measure_moments(calibration: Calibration, *, background_percentile: float | None = None) -> RoiMeasure:
    """Take windowed second moments and look z up in the signal model: no fit at all.

    A straight line is off by more than noise: what it is off by at the sweep's steps is taken off. The standard
    error is what the sweep left about the curve; light and background say no more.
    """
    signal = calibration.signal_model
    if signal is None:
        raise BadInputError("lock: this calibration has no signal model for moments; calibrate again")
    theta_rad = calibration.model.theta_rad if calibration.model is not None else 0.0
    curve_um = max(signal.rms_um, 1e-4)
    correction = _of_signals(calibration, signal, curve_um)

    def measure(frame: int, t_s: float, roi: NDArray[np.generic], camera_model: CameraModel) -> Measurement:
        electrons = camera_model.to_electrons(roi)
        moments = spot_moments(electrons, background_percentile=background_percentile)
        error = moments_error(electrons, theta_rad=theta_rad, background_percentile=background_percentile)
        z_um, z_se_um = _corrected(float(signal.z_um(error)[0]), curve_um, correction)
        along_x, along_y = moments.along(theta_rad)
        background = float(np.median(_ring(electrons)))
        is_ok = math.isfinite(z_um)
        return _measurement(
            frame,
            t_s,
            roi,
            camera_model,
            z_um=z_um,
            z_se_um=z_se_um if is_ok else math.nan,
            x_px=float(moments.x_px[0]),
            y_px=float(moments.y_px[0]),
            photons=float(moments.light[0]),
            background=background,
            sigma_x_px=math.sqrt(max(float(along_x[0]), 0.0)),
            sigma_y_px=math.sqrt(max(float(along_y[0]), 0.0)),
            is_fit_ok=is_ok,
            reason="" if is_ok else "the moments' signal is outside the calibrated range",
        )

    return measure


def _of_ratios(calibration: Calibration, model: DefocusModel) -> ZCorrection | None:
    steps = calibration.steps
    q = np.log(steps.sigma_px[:, 0] / steps.sigma_px[:, 1])
    z_um = np.array([model.z_of_q_analytic(float(each)) for each in q])
    relative = steps.covariance_px2 / (steps.sigma_px[:, :, None] * steps.sigma_px[:, None, :])
    variance = relative[:, 0, 0] + relative[:, 1, 1] - 2 * relative[:, 0, 1]
    slope = np.abs(model.q_slope_per_um(np.where(np.isfinite(z_um), z_um, 0.0)))
    return _learnt(calibration, z_um, np.sqrt(np.maximum(variance, 1e-12)) / np.maximum(slope, 1e-6))


def _of_signals(calibration: Calibration, signal: SignalModel, curve_um: float) -> ZCorrection | None:
    found = _learnt(calibration, signal.z_um(calibration.steps.signal), np.full(len(calibration.steps), curve_um))
    if found is None:
        return None
    # All steps were given the same error: what they scatter by about the corrected curve is the one to believe.
    left = _inside(calibration, found.z_um(signal.z_um(calibration.steps.signal)) - _stage_um(calibration))
    scatter_um = robust_sd(left[np.isfinite(left)], centre=0.0)
    return replace(found, se_factor=max(scatter_um, 1e-4) / curve_um)


def _learnt(calibration: Calibration, z_um: NDArray[np.float64], se_um: NDArray[np.float64]) -> ZCorrection | None:
    steps = calibration.steps
    contrast = np.maximum(steps.photons, 1e-3) / np.maximum(steps.background, 1.0)
    samples = ZSamples(_inside(calibration, z_um), se_um, contrast)
    return learn_correction(samples, [], _stage_um(calibration), 0.0)


def _stage_um(calibration: Calibration) -> NDArray[np.float64]:
    return calibration.steps.z_um - calibration.focus_um


def _inside(calibration: Calibration, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of the steps that the model was fitted to, within its range by the stage; NaN elsewhere."""
    low, high = calibration.usable_um or (-math.inf, math.inf)
    stage_um = _stage_um(calibration)
    return np.where(calibration.is_used & (stage_um >= low) & (stage_um <= high), values, np.nan)


def _corrected(z_um: float, z_se_um: float, correction: ZCorrection | None) -> tuple[float, float]:
    if correction is None or not math.isfinite(z_um):
        return z_um, z_se_um
    factor = float(correction.slope(z_um)) * correction.se_factor
    return float(correction.z_um(z_um)), z_se_um * factor


def _measurement(
    frame: int, t_s: float, roi: NDArray[Any], camera_model: CameraModel, **found: Any
) -> Measurement:
    electrons = camera_model.to_electrons(roi)
    read_variance = float(np.mean(np.square(camera_model.read_noise_e)))
    return Measurement(
        frame,
        t_s,
        peak_fraction=float(roi.max()) / camera_model.saturation_adu,
        n_peaks=count_spots(electrons, max(found["background"], 0.0), read_variance),
        **found,
    )


def _ring(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])


def _model(calibration: Calibration) -> DefocusModel:
    if calibration.model is None:
        raise BadInputError(f"lock: this calibration has no model of the widths; {calibration.why_not()}")
    return calibration.model
