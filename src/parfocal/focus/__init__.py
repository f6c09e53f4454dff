"""Focus from images: scores along a stack, the best plane, and the lock that holds a bead's defocus."""

from parfocal.focus._best_plane import BestPlane, best_plane
from parfocal.focus._calibration_files import load_calibration, load_sweep, save_calibration, save_sweep
from parfocal.focus._drift_filter import DriftFilter
from parfocal.focus._kalman_bound import kalman_bound
from parfocal.focus._lock_controller import LockController
from parfocal.focus._lock_measure import (
    MeasureKind,
    RoiMeasure,
    measure_direct,
    measure_moments,
    measure_of,
    measure_widths,
)
from parfocal.focus._lock_measurement import measurement_from
from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._lock_summary import LockSamples, LockSummary, summarize_lock
from parfocal.focus._measurement import Command, LockState, Measurement, StageState
from parfocal.focus._roi_tracker import Roi, RoiTracker
from parfocal.focus._safeguards_quality import Alarm
from parfocal.focus._score_stack import DEFAULT_SCORE, StackScores, score_stack
from parfocal.focus._sweep_document import calibration_row, sweep_document, sweep_from_document

__all__ = [
    "DEFAULT_SCORE",
    "Alarm",
    "BestPlane",
    "Command",
    "DriftFilter",
    "LockController",
    "LockSamples",
    "LockSettings",
    "LockState",
    "LockSummary",
    "MeasureKind",
    "Measurement",
    "Roi",
    "RoiMeasure",
    "RoiTracker",
    "StackScores",
    "StageState",
    "best_plane",
    "calibration_row",
    "kalman_bound",
    "load_calibration",
    "load_sweep",
    "measure_direct",
    "measure_moments",
    "measure_of",
    "measure_widths",
    "measurement_from",
    "save_calibration",
    "save_sweep",
    "score_stack",
    "summarize_lock",
    "sweep_document",
    "sweep_from_document",
]
