"""How good puncta are: against the truth, against what physics allows, and against what was asked for."""

from parfocal.puncta.evaluation._evaluate import PunctaEvaluation, evaluate_puncta
from parfocal.puncta.evaluation._events import EventScore, score_events
from parfocal.puncta.evaluation._frames import FrameScore, score_probabilities
from parfocal.puncta.evaluation._gates import (
    GATE_TABLES,
    GATES,
    HYBRID_GATES,
    PHYSICS_GATES,
    TRAINING_GATES,
    Gate,
    Level,
    Verdict,
    verdicts,
)
from parfocal.puncta.evaluation._matching import Matching, efficiency, match_localizations
from parfocal.puncta.evaluation._pool import pool_evaluations, worst_first
from parfocal.puncta.evaluation._precision import (
    PhotonAccuracy,
    SigmaCalibration,
    false_per_1000_px,
    photon_accuracy,
    position_bound_nm,
    rmse_over_bound,
    sigma_calibration,
)
from parfocal.puncta.evaluation._tracks import TrackScore, score_tracks

__all__ = [
    "GATES",
    "GATE_TABLES",
    "HYBRID_GATES",
    "PHYSICS_GATES",
    "TRAINING_GATES",
    "EventScore",
    "FrameScore",
    "Gate",
    "Level",
    "Matching",
    "PhotonAccuracy",
    "PunctaEvaluation",
    "SigmaCalibration",
    "TrackScore",
    "Verdict",
    "efficiency",
    "evaluate_puncta",
    "false_per_1000_px",
    "match_localizations",
    "photon_accuracy",
    "pool_evaluations",
    "position_bound_nm",
    "rmse_over_bound",
    "score_events",
    "score_probabilities",
    "score_tracks",
    "sigma_calibration",
    "verdicts",
    "worst_first",
]
