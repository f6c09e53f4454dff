"""A calibrated focus: the model, what it came from, what it holds for, and what is wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.fitting._defocus_model import DefocusModel
from parfocal.fitting._optics_facts import OpticsFacts, differences
from parfocal.fitting._psf_depth import ZEstimates, estimate_zs
from parfocal.fitting._signal_models import SignalKind, SignalModel
from parfocal.fitting._step_fits import StepFits
from parfocal.fitting._sweep import SweepSettings
from parfocal.fitting._theta_line import ThetaLine
from parfocal.optics import CameraModel

CalibrationKind = Literal["zhuang"] | SignalKind
Severity = Literal["blocks", "warns"]


@dataclass(frozen=True)
class Issue:
    """Something wrong with a calibration.

    Attributes
    ----------
    code : str
        Stable, such as `hysteresis`.
    severity : {"blocks", "warns"}
        Whether a lock may be armed with it.
    message : str
        What was found and what to do, in plain words.
    """

    code: str
    severity: Severity
    message: str


@dataclass(frozen=True)
class DevianceBaseline:
    """How far real spots of this light path are from the fitted shape.

    deviance - degrees of freedom grows with the light: at N photons by `per_photon` N. Both numbers were
    learnt from the sweep's own fits.

    Attributes
    ----------
    per_photon : float
        Median.
    per_photon_95 : float
        95th percentile.
    """

    per_photon: float = 0.0
    per_photon_95: float = 0.0

    def excess(self, deviance: ArrayLike, degrees_of_freedom: int, photons: ArrayLike) -> NDArray[np.float64]:
        """Return (deviance - what is usual) / its standard deviation: gate at some 5.

        The deviance of a spot with noncentrality L = per_photon_95 N has mean dof + L and variance 2 (dof + 2 L).
        """
        usual = max(self.per_photon_95, 0.0) * np.maximum(np.asarray(photons, dtype=np.float64), 0)
        off = np.asarray(deviance, dtype=np.float64) - degrees_of_freedom - usual
        return np.asarray(off / np.sqrt(2 * (degrees_of_freedom + 2 * usual)), dtype=np.float64)


@dataclass(frozen=True)
class Hysteresis:
    """How far the way up and the way down disagree, by interpolating one curve at the places of the other.

    Drift of the focus during the sweep is told apart by time and left out.

    Attributes
    ----------
    z_um, z_se_um : float
        Mean distance of both curves along z within the usable range, um, and its standard error.
    signal, signal_se : float
        The same along tanh(q), and its standard error.
    drift_um_per_s : float
        Of the focus, as stage z.
    """

    z_um: float
    z_se_um: float
    signal: float
    signal_se: float
    drift_um_per_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a lock needs to know, and where it came from.

    Attributes
    ----------
    kind : {"zhuang", "linear", "poly2", "piecewise"}
        What was asked for: the widths' model, or a curve from the error signal to z.
    model : DefocusModel or None
        The widths over z; None where it could not be fitted.
    signal_model : SignalModel or None
        From `moments_error` to z: of the kind asked for, linear beside a `zhuang` model.
    facts : OpticsFacts
        What it holds for.
    focus_um : float
        The stage's z at focus during the sweep, um; NaN where none was found.
    swept_um : (float, float)
        Lowest and highest encoder z.
    steps : StepFits
        Every step.
    is_used : ndarray of shape (n,), bool
        The steps that the model was fitted to.
    theta : ThetaLine or None
        How well the sweep tells the angle of the axes; None where it was given.
    r2 : (float, float)
        Of both width curves; NaN without a model.
    orders : (str, str)
        Higher orders that AICc put in, of x and y.
    model_error : float
        Relative width error that the model leaves.
    baseline : DevianceBaseline
        For the gate on the fit's deviance.
    hysteresis : Hysteresis or None
        None of a one-way sweep, or without a model.
    n_failed_moves : int
        Steps that gave no frame.
    issues : tuple of Issue
        Those that block first.
    """

    kind: CalibrationKind
    model: DefocusModel | None
    signal_model: SignalModel | None
    facts: OpticsFacts
    focus_um: float
    swept_um: tuple[float, float]
    steps: StepFits
    is_used: NDArray[np.bool_]
    theta: ThetaLine | None = None
    r2: tuple[float, float] = (float("nan"), float("nan"))
    orders: tuple[str, str] = ("", "")
    model_error: float = float("nan")
    baseline: DevianceBaseline = field(default_factory=DevianceBaseline)
    hysteresis: Hysteresis | None = None
    n_failed_moves: int = 0
    issues: tuple[Issue, ...] = ()

    @property
    def is_armable(self) -> bool:
        """Whether a lock may use it: no issue blocks."""
        return not any(issue.severity == "blocks" for issue in self.issues)

    @property
    def misfit_per_photon(self) -> float:
        """How badly this spot fits, at its worst: standard deviations of the deviance, per photoelectron.

        The 95th percentile over the sweep; 0 where the sweep did not tell.
        """
        return max(self.baseline.per_photon_95, 0.0) / math.sqrt(2 * max(self.steps.degrees_of_freedom, 1))

    @property
    def usable_um(self) -> tuple[float, float] | None:
        """Where z can be told, um from focus: of the model asked for."""
        if self.kind == "zhuang":
            return None if self.model is None else self.model.usable_um
        return None if self.signal_model is None else self.signal_model.usable_um

    def estimate(self, rois: ArrayLike, camera_model: CameraModel) -> ZEstimates:
        """Estimate z of ROIs, corrected by what the sweep taught; see `estimate_zs` and `corrected`."""
        if self.model is None:
            raise BadInputError(f"calibration: there is no model of the widths; {self.why_not()}")
        return corrected(estimate_zs(rois, camera_model, self.model), self.model)

    def why_not(self) -> str:
        """Return the first issue that blocks, in words; "" where none does."""
        return next((issue.message for issue in self.issues if issue.severity == "blocks"), "")


def corrected(estimates: ZEstimates, model: DefocusModel) -> ZEstimates:
    """Return direct-z estimates passed through the model's correction.

    Standard errors are scaled by its slope, and by how much more the sweep scattered than they said.
    """
    if model.correction is None:
        return estimates
    contrast = model.correction.contrast_of(estimates.photons, estimates.background)
    factor = model.correction.slope(estimates.z_um, contrast) * model.correction.se_factor
    covariance = estimates.covariance.copy()
    covariance[:, 4, :] *= factor[:, None]
    covariance[:, :, 4] *= factor[:, None]
    return replace(
        estimates,
        z_um=model.correction.z_um(estimates.z_um, contrast),
        z_se_um=estimates.z_se_um * factor,
        covariance=covariance,
    )


def check_applies(calibration: Calibration, facts: OpticsFacts) -> None:
    """Refuse a calibration of another objective, pixel size or camera.

    Raises
    ------
    BadInputError
        One line that says what differs.
    """
    found = differences(calibration.facts, facts)
    if found:
        raise BadInputError(f"calibration does not apply here: {'; '.join(found)}; calibrate again")


def next_sweep(calibration: Calibration, settings: SweepSettings) -> SweepSettings | None:
    """Return how to sweep again after hysteresis; None where another sweep would not help.

    First 0.8 times the range in 1.5 times the steps with at least 0.25 s to settle; then one way, at least 31
    steps, 0.35 s. One way there is no hysteresis to see: the lock will meet it, and its gain must allow for it.
    """
    if not any(issue.code == "hysteresis" for issue in calibration.issues):
        return None
    return settings.gentler()
