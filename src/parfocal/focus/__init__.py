"""Focus from images: scores along a stack, the best plane and how well it is known."""

from parfocal.focus._best_plane import BestPlane, best_plane
from parfocal.focus._calibration_files import load_calibration, load_sweep, save_calibration, save_sweep
from parfocal.focus._measurement import Command, LockState, Measurement, StageState
from parfocal.focus._score_stack import DEFAULT_SCORE, StackScores, score_stack

__all__ = [
    "DEFAULT_SCORE",
    "BestPlane",
    "Command",
    "LockState",
    "Measurement",
    "StackScores",
    "StageState",
    "best_plane",
    "load_calibration",
    "load_sweep",
    "save_calibration",
    "save_sweep",
    "score_stack",
]
