"""PSF fits, bounds, the defocus model and its calibration."""

from parfocal.fitting._calibrate import calibrate, calibrate_steps
from parfocal.fitting._calibration import (
    Calibration,
    CalibrationKind,
    DevianceBaseline,
    Hysteresis,
    Issue,
    check_applies,
    corrected,
    next_sweep,
)
from parfocal.fitting._calibration_json import calibration_from_json, calibration_hash, calibration_to_json
from parfocal.fitting._common_width import are_of_one_kind, common_width
from parfocal.fitting._crowd_fit import CrowdFits, fit_crowds
from parfocal.fitting._defocus_model import DefocusModel, WidthCurve, ZCorrection
from parfocal.fitting._find_beads import cut_rois, find_beads
from parfocal.fitting._fit_defocus import DefocusFit, WidthSamples, fit_defocus
from parfocal.fitting._frame_crowds import CrowdLimits, FrameCrowds, fit_frame_crowds
from parfocal.fitting._gates import CalibrationGates
from parfocal.fitting._moments import Moments, moments_error, spot_moments
from parfocal.fitting._optics_facts import OpticsFacts
from parfocal.fitting._psf_bounds import crlb_psf, crlb_z, spot_image
from parfocal.fitting._psf_depth import ZEstimate, ZEstimates, estimate_z, estimate_zs
from parfocal.fitting._psf_fit import FitKind, FitMethod, PsfFit, PsfFits, fit_psf, fit_psfs
from parfocal.fitting._signal_models import (
    ExpectedSlope,
    LinearSignal,
    PiecewiseSignal,
    Poly2Signal,
    SignalKind,
    SignalModel,
    fit_signal_model,
    has_expected_slope,
)
from parfocal.fitting._stage_motion import (
    Estimate,
    StageAffine,
    StepResponse,
    backlash_um,
    stage_affine,
    step_response,
)
from parfocal.fitting._step_fits import StepFits, measure_steps
from parfocal.fitting._sweep import Sweep, SweepSettings, SweepStep, sweep_of_steps
from parfocal.fitting._sweep_csv import (
    EllipticityConvention,
    facts_from_meta,
    meta_from_json,
    sweep_from_csv,
    sweep_meta,
    sweep_to_csv,
)
from parfocal.fitting._theta_line import ThetaLine, theta_line
from parfocal.fitting._vote import Vote, bead_offsets, vote_z
from parfocal.fitting._z_correction import ZSamples, learn_correction

__all__ = [
    "Calibration",
    "CalibrationGates",
    "CalibrationKind",
    "CrowdFits",
    "CrowdLimits",
    "DefocusFit",
    "DefocusModel",
    "DevianceBaseline",
    "EllipticityConvention",
    "Estimate",
    "ExpectedSlope",
    "FitKind",
    "FitMethod",
    "FrameCrowds",
    "Hysteresis",
    "Issue",
    "LinearSignal",
    "Moments",
    "OpticsFacts",
    "PiecewiseSignal",
    "Poly2Signal",
    "PsfFit",
    "PsfFits",
    "SignalKind",
    "SignalModel",
    "StageAffine",
    "StepFits",
    "StepResponse",
    "Sweep",
    "SweepSettings",
    "SweepStep",
    "ThetaLine",
    "Vote",
    "WidthCurve",
    "WidthSamples",
    "ZCorrection",
    "ZEstimate",
    "ZEstimates",
    "ZSamples",
    "are_of_one_kind",
    "backlash_um",
    "bead_offsets",
    "calibrate",
    "calibrate_steps",
    "calibration_from_json",
    "calibration_hash",
    "calibration_to_json",
    "check_applies",
    "common_width",
    "corrected",
    "crlb_psf",
    "crlb_z",
    "cut_rois",
    "estimate_z",
    "estimate_zs",
    "facts_from_meta",
    "find_beads",
    "fit_crowds",
    "fit_defocus",
    "fit_frame_crowds",
    "fit_psf",
    "fit_psfs",
    "fit_signal_model",
    "has_expected_slope",
    "learn_correction",
    "measure_steps",
    "meta_from_json",
    "moments_error",
    "next_sweep",
    "spot_image",
    "spot_moments",
    "stage_affine",
    "step_response",
    "sweep_from_csv",
    "sweep_meta",
    "sweep_of_steps",
    "sweep_to_csv",
    "theta_line",
    "vote_z",
]
