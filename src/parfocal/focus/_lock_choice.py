"""Which law and which measure a lock takes, where not all is told: the same for the command and the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from parfocal.errors import BadInputError
from parfocal.fitting import Calibration
from parfocal.focus._lock_measure import MeasureKind

Law = Literal["kalman", "pi"]
MeasureChoice = Literal["auto", "direct", "widths", "moments"]


def chosen_law(law: Law | None, kp: float | None, ki: float | None, settings: Mapping[str, Any]) -> Law | None:
    """Return the law: the one named; `pi` where a gain of it was given; None where nothing tells."""
    gains = [name for name, value in (("--kp", kp), ("--ki", ki)) if value is not None]
    if law == "kalman" and gains:
        raise BadInputError(f"{' and '.join(gains)} are gains of --law pi: the kalman law has none to tune")
    named: Law | None = law or settings.get("law")
    return named or ("pi" if gains else None)


def wanted_measure(
    use_gaussian_fit: bool | None, fast_mode: bool, background_percentile: float | None = None
) -> MeasureChoice:
    """Return the measure that the options of Focus Feedback ask for; `auto` where they leave it open."""
    if background_percentile is not None and use_gaussian_fit is not False:
        raise BadInputError("--background-percentile is of --no-gaussian-fit: a fit finds the background itself")
    if use_gaussian_fit is False:
        if fast_mode:
            raise BadInputError("--fast-mode is a quicker fit and --no-gaussian-fit is none: give one of the two")
        return "moments"
    return "widths" if fast_mode else "auto"


def chosen_measure(wanted: MeasureChoice, law: Law, calibration: Calibration | None) -> MeasureKind:
    """Return how frames are measured.

    Parameters
    ----------
    wanted : {"auto", "direct", "widths", "moments"}
        One of the three, or `auto`: `widths` with the `pi` law, and where nothing corrects `direct`, since a CSV
        holds widths, but no pictures to learn from; else `direct`.
    law : {"kalman", "pi"}
        Of the lock.
    calibration : Calibration or None
        Of the lock, where it has one already.

    Returns
    -------
    {"direct", "widths", "moments"}
    """
    if wanted != "auto":
        return wanted
    model = calibration.model if calibration is not None else None
    return "widths" if law == "pi" or (model is not None and model.correction is None) else "direct"
