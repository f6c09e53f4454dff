"""Documents in, documents out: one Analysis per science room, and replay."""

from parfocal.callbacks._analysis import Analysis, NoParameters, RunAnalysis
from parfocal.callbacks._replay import ANALYSES, Replayed, analysis_named, replay
from parfocal.callbacks._run_view import RunView
from parfocal.callbacks.calibration import CalibrationParameters, FocusCalibration
from parfocal.callbacks.focus import FocusParameters, FocusScores, focus_probe
from parfocal.callbacks.references import emit_reference_calibration, read_thresholds

__all__ = [
    "ANALYSES",
    "Analysis",
    "CalibrationParameters",
    "FocusCalibration",
    "FocusParameters",
    "FocusScores",
    "NoParameters",
    "Replayed",
    "RunAnalysis",
    "RunView",
    "analysis_named",
    "emit_reference_calibration",
    "focus_probe",
    "read_thresholds",
    "replay",
]
