"""A sweep through focus, fitted: every step, the model, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from parfocal.callbacks._analysis import Analysis, RunAnalysis
from parfocal.callbacks._run_view import RunView
from parfocal.errors import BadInputError
from parfocal.fitting import (
    Calibration,
    CalibrationKind,
    ExpectedSlope,
    OpticsFacts,
    SweepStep,
    calibrate,
    calibration_to_json,
    sweep_of_steps,
)
from parfocal.focus import calibration_row, sweep_from_document
from parfocal.frames import Frame
from parfocal.optics import CameraModel

_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}
_UM = {**_NUMBER, "units": "um"}
_PX = {**_NUMBER, "units": "px"}

_COLUMNS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "steps": {
        "z_um": _UM,
        "step_t_s": {**_NUMBER, "units": "s"},
        "direction": _INTEGER,
        "sample_class": _TEXT,
        "is_used": _INTEGER,
        "sigma_x_px": _PX,
        "sigma_y_px": _PX,
        "q": _NUMBER,
        "q_se": _NUMBER,
        "signal": _NUMBER,
        "x_px": _PX,
        "y_px": _PX,
        "photons": _NUMBER,
        "background": _NUMBER,
        "reason": _TEXT,
    },
    "issues": {"code": _TEXT, "severity": _TEXT, "message": _TEXT},
    "calibration": {
        "sha256": _TEXT,
        "is_armable": _INTEGER,
        "focus_um": _UM,
        "usable_low_um": _UM,
        "usable_high_um": _UM,
        "theta_rad": {**_NUMBER, "units": "rad"},
        "n_failed_moves": _INTEGER,
        "json": _TEXT,
    },
}


@dataclass(frozen=True)
class CalibrationParameters:
    """What is fitted; empty takes what the plan was told."""

    kind: str = ""
    expected_slope: str = ""


class FocusCalibration(Analysis):
    """Fit the sweep of a `calibrate_focus` run once it has ended.

    Streams of the derived run: `steps`, a row a step; `issues`, a row each; `calibration`, one row with the whole
    calibration as JSON, of the same hash as the one that the plan armed with. The verdict is `armable` or
    `not_armable`. Runs of other plans are left alone.
    """

    name = "focus_calibration"
    version = "1"
    stream = "sweep"

    def __init__(self, parameters: CalibrationParameters | None = None, **kwargs: Any) -> None:
        self.wanted = parameters if parameters is not None else CalibrationParameters()
        super().__init__(self.wanted, **kwargs)

    def open(self, run: RunView) -> RunAnalysis:
        """Return the fitting of one sweep."""
        told = run.start.get("parfocal", {}).get("sweep")
        if told is None:
            raise BadInputError(f"run {run.uid[:8]} is no sweep of calibrate_focus")
        facts, camera_model = sweep_from_document(told)
        return _RunCalibration(
            run,
            facts,
            camera_model,
            _one_of(get_args(CalibrationKind), self.wanted.kind or told.get("kind", "zhuang")),
            _one_of(get_args(ExpectedSlope), self.wanted.expected_slope or told.get("expected_slope", "auto")),
            run.axis_key("z"),
            f"{run.data_key}_t_s",
        )


@dataclass
class _RunCalibration:
    run: RunView
    facts: OpticsFacts
    camera_model: CameraModel
    kind: CalibrationKind
    expected_slope: ExpectedSlope
    z_key: str
    t_key: str
    _steps: dict[int, SweepStep] = field(default_factory=dict[int, SweepStep])
    _verdict: str = ""

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return _COLUMNS

    @property
    def verdict(self) -> str:
        return self._verdict

    def frame(self, frame: Frame) -> Iterable[tuple[str, Mapping[str, Any]]]:
        told = frame.columns
        self._steps[int(told["step_number"])] = SweepStep.of_frame(
            frame.pixels,
            self.facts.roi_px,
            told[self.z_key],
            told[self.t_key],
            told["step_direction"],
        )
        return ()

    def finish(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        n_failed_moves = self.run.n_events("failures")
        sweep = sweep_of_steps(self._steps, self.camera_model, self.facts, n_failed_moves)
        done = calibrate(sweep, kind=self.kind, expected_slope=self.expected_slope)
        self._verdict = "armable" if done.is_armable else "not_armable"
        yield from _step_rows(done)
        for issue in done.issues:
            yield "issues", {"code": issue.code, "severity": issue.severity, "message": issue.message}
        yield "calibration", calibration_row(done) | {"json": calibration_to_json(done)}


def _one_of(known: tuple[Any, ...], told: str) -> Any:
    names = [name for item in known for name in (get_args(item) or (item,))]
    if told not in names:
        raise BadInputError(f"focus_calibration: {told!r} is none of {', '.join(names)}")
    return told


def _step_rows(done: Calibration) -> Iterator[tuple[str, Mapping[str, Any]]]:
    s = done.steps
    for k in range(len(s)):
        yield (
            "steps",
            {
                "z_um": float(s.z_um[k]),
                "step_t_s": float(s.t_s[k]),
                "direction": int(s.direction[k]),
                "sample_class": "parametric_fit" if s.is_parametric[k] else "moment_fallback",
                "is_used": int(done.is_used[k]),
                "sigma_x_px": float(s.sigma_px[k, 0]),
                "sigma_y_px": float(s.sigma_px[k, 1]),
                "q": float(s.q[k]),
                "q_se": float(s.q_se[k]),
                "signal": float(s.signal[k]),
                "x_px": float(s.x_px[k]),
                "y_px": float(s.y_px[k]),
                "photons": float(s.photons[k]),
                "background": float(s.background[k]),
                "reason": str(s.reason[k]),
            },
        )
