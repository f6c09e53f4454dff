"""Focus from images: scores along a stack, the best plane, and the lock that holds a bead's defocus."""

from parfocal.focus._best_plane import BestPlane, best_plane
from parfocal.focus._calibration_files import (
    load_calibration,
    load_sweep,
    named_file,
    read_calibration,
    save_calibration,
    save_sweep,
)
from parfocal.focus._characterization import (
    Characterization,
    CharacterizationKind,
    characterization_from_json,
    maps_hash,
    run_uid_of,
)
from parfocal.focus._characterizing import Characterizing, characterizing
from parfocal.focus._drift_filter import DriftFilter
from parfocal.focus._kalman_bound import kalman_bound
from parfocal.focus._lock_choice import Law, MeasureChoice, chosen_law, chosen_measure, wanted_measure
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
from parfocal.focus._lock_options import read_lock_settings, region_of_xywh
from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._lock_summary import LockSamples, LockSummary, summarize_lock
from parfocal.focus._measurement import Command, LockState, Measurement, StageState
from parfocal.focus._probed import Probed, Trace
from parfocal.focus._roi_tracker import Roi, RoiTracker
from parfocal.focus._safeguards_quality import Alarm
from parfocal.focus._score_stack import DEFAULT_SCORE, StackScores, score_stack
from parfocal.focus._several_beads import SeveralBeads, settings_of_vote
from parfocal.focus._sweep_document import calibration_row, sweep_document, sweep_from_document

__all__ = [
    "DEFAULT_SCORE",
    "Alarm",
    "BestPlane",
    "Characterization",
    "CharacterizationKind",
    "Characterizing",
    "Command",
    "DriftFilter",
    "Law",
    "LockController",
    "LockSamples",
    "LockSettings",
    "LockState",
    "LockSummary",
    "MeasureChoice",
    "MeasureKind",
    "Measurement",
    "Probed",
    "Roi",
    "RoiMeasure",
    "RoiTracker",
    "SeveralBeads",
    "StackScores",
    "StageState",
    "Trace",
    "best_plane",
    "calibration_row",
    "characterization_from_json",
    "characterizing",
    "chosen_law",
    "chosen_measure",
    "kalman_bound",
    "load_calibration",
    "load_sweep",
    "maps_hash",
    "measure_direct",
    "measure_moments",
    "measure_of",
    "measure_widths",
    "measurement_from",
    "named_file",
    "read_calibration",
    "read_lock_settings",
    "region_of_xywh",
    "run_uid_of",
    "save_calibration",
    "save_sweep",
    "score_stack",
    "settings_of_vote",
    "summarize_lock",
    "sweep_document",
    "sweep_from_document",
    "wanted_measure",
]
