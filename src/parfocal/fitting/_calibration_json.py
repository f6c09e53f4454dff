"""A calibration as JSON that carries the hash of its own content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.fitting._calibration import Calibration, DevianceBaseline, Hysteresis, Issue
from parfocal.fitting._defocus_model import DefocusModel, WidthCurve, ZCorrection
from parfocal.fitting._optics_facts import OpticsFacts
from parfocal.fitting._signal_models import LinearSignal, PiecewiseSignal, Poly2Signal, SignalModel
from parfocal.fitting._step_fits import StepFits
from parfocal.fitting._theta_line import ThetaLine
from parfocal.sealed_json import SealedJson, content_hash, plain

_FILE = SealedJson("parfocal-calibration", 1, "calibration", "is no calibration", "a saved calibration")
_SIGNALS = {"linear": LinearSignal, "poly2": Poly2Signal, "piecewise": PiecewiseSignal}
_DTYPES = {
    "direction": np.int8,
    "is_parametric": np.bool_,
    "is_saturated": np.bool_,
    "reason": np.str_,
}


def calibration_to_json(calibration: Calibration) -> str:
    """Return a calibration as JSON: format, version, sha256 of the content's canonical form, content."""
    return _FILE.to_text(_content(calibration))


def calibration_hash(calibration: Calibration) -> str:
    """Return the sha256 of a calibration's content, by which runs cite it."""
    return content_hash(_content(calibration))


def calibration_from_json(text: str, name: str = "calibration") -> Calibration:
    """Read a calibration; `name` is what errors call it.

    Raises
    ------
    BadInputError
        Not JSON, another format or version, or the content was changed after it was written.
    """
    content = _FILE.content_of(text, name)
    try:
        return _calibration(content)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{name}: lacks what a calibration needs ({error}); calibrate again") from None


def _content(c: Calibration) -> dict[str, Any]:
    model = None
    if c.model is not None:
        model = {
            "x": asdict(c.model.x),
            "y": asdict(c.model.y),
            "theta_rad": c.model.theta_rad,
            "usable_um": c.model.usable_um,
            "pixel_size_um": c.model.pixel_size_um,
            "covariance": c.model.covariance,
            "correction": None if c.model.correction is None else asdict(c.model.correction),
        }
    signal = None if c.signal_model is None else asdict(c.signal_model)  # pyright: ignore[reportArgumentType]
    return plain(
        {
            "kind": c.kind,
            "model": model,
            "signal_model": signal,
            "facts": asdict(c.facts),
            "focus_um": c.focus_um,
            "swept_um": c.swept_um,
            "steps": {one.name: getattr(c.steps, one.name) for one in fields(StepFits)},
            "is_used": c.is_used,
            "theta": None if c.theta is None else asdict(c.theta),
            "r2": c.r2,
            "orders": c.orders,
            "model_error": c.model_error,
            "baseline": asdict(c.baseline),
            "hysteresis": None if c.hysteresis is None else asdict(c.hysteresis),
            "n_failed_moves": c.n_failed_moves,
            "issues": [asdict(issue) for issue in c.issues],
        }
    )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _pair(value: Any) -> tuple[float, float]:
    first, second = value
    return _number(first), _number(second)


def _calibration(d: Mapping[str, Any]) -> Calibration:
    facts = dict(d["facts"])
    facts["roi_px"] = None if facts["roi_px"] is None else tuple(facts["roi_px"])
    h = d["hysteresis"]
    return Calibration(
        kind=d["kind"],
        model=None if d["model"] is None else _model(d["model"]),
        signal_model=None if d["signal_model"] is None else _signal(d["signal_model"]),
        facts=OpticsFacts(**facts),
        focus_um=_number(d["focus_um"]),
        swept_um=_pair(d["swept_um"]),
        steps=_steps(d["steps"]),
        is_used=np.array(d["is_used"], dtype=np.bool_),
        theta=None if d["theta"] is None else ThetaLine(**d["theta"]),
        r2=_pair(d["r2"]),
        orders=(str(d["orders"][0]), str(d["orders"][1])),
        model_error=_number(d["model_error"]),
        baseline=DevianceBaseline(**d["baseline"]),
        hysteresis=None if h is None else Hysteresis(**{key: _number(value) for key, value in h.items()}),
        n_failed_moves=int(d["n_failed_moves"]),
        issues=tuple(Issue(**issue) for issue in d["issues"]),
    )


def _model(d: Mapping[str, Any]) -> DefocusModel:
    c = d["correction"]
    correction = None
    if c is not None:
        rows: dict[str, Any] = {
            "model_um": tuple(c["model_um"]),
            "stage_um": tuple(tuple(row) for row in c["stage_um"]),
            "contrast": tuple(tuple(row) for row in c["contrast"]),
        }
        correction = ZCorrection(**{**c, **rows})
    return DefocusModel(
        WidthCurve(**d["x"]),
        WidthCurve(**d["y"]),
        float(d["theta_rad"]),
        _pair(d["usable_um"]),
        float(d["pixel_size_um"]),
        covariance=None if d["covariance"] is None else np.array(d["covariance"], dtype=np.float64),
        correction=correction,
    )


def _signal(d: Mapping[str, Any]) -> SignalModel:
    made = {key: tuple(value) if isinstance(value, list) else value for key, value in d.items()}
    return _SIGNALS[str(d["kind"])](**made)  # pyright: ignore[reportArgumentType]


def _steps(d: Mapping[str, Any]) -> StepFits:
    n = len(d["z_um"])
    tails = {"sigma_px": (2,), "covariance_px2": (2, 2)}
    arrays: dict[str, Any] = {
        one.name: np.array(d[one.name], dtype=_DTYPES.get(one.name, np.float64)).reshape(
            n, *tails.get(one.name, ())
        )
        for one in fields(StepFits)
        if one.name != "degrees_of_freedom"
    }
    return StepFits(degrees_of_freedom=int(d["degrees_of_freedom"]), **arrays)
