"""Fits a sweep when the plan asks for it, in a thread of its own, and tells the outcome as a Readable."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError
from parfocal.fitting import (
    Calibration,
    CalibrationKind,
    ExpectedSlope,
    OpticsFacts,
    Sweep,
    SweepStep,
    calibrate,
    sweep_of_steps,
)
from parfocal.focus import calibration_row
from parfocal.optics import CameraModel

_COLUMNS: dict[str, tuple[str, str]] = {
    "sha256": ("string", ""),
    "is_armable": ("integer", ""),
    "focus_um": ("number", "um"),
    "usable_low_um": ("number", "um"),
    "usable_high_um": ("number", "um"),
    "theta_rad": ("number", "rad"),
    "n_failed_moves": ("integer", ""),
    "issues": ("string", ""),
}


class FocusCalibrator:
    """Holds the steps of one sweep; `trigger` fits them, `read` tells what came out.

    A step that is repeated after a pause replaces the first.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    camera_model : CameraModel
        Of the region.
    facts : OpticsFacts
        What the calibration will hold for, the region in it.
    kind, expected_slope
        As in `parfocal.fitting.calibrate`.
    """

    def __init__(
        self,
        name: str,
        camera_model: CameraModel,
        facts: OpticsFacts,
        kind: CalibrationKind = "zhuang",
        expected_slope: ExpectedSlope = "auto",
    ) -> None:
        self.name = name
        self.parent = None
        self.hints: dict[str, Any] = {"fields": []}
        self.calibration: Calibration | None = None
        self._camera_model = camera_model
        self._facts = facts
        self._kind: CalibrationKind = kind
        self._expected_slope: ExpectedSlope = expected_slope
        self._steps: dict[int, SweepStep] = {}
        self._missed: set[int] = set()

    def add(self, step: int, frame: NDArray[np.generic], z_um: float, t_s: float, direction: int) -> None:
        """Keep a step: the region of its frame, encoder z (um), middle of the exposure (s), 1 up or -1 down."""
        self._steps[step] = SweepStep.of_frame(frame, self._facts.roi_px, z_um, t_s, direction)

    def miss(self, step: int) -> None:
        """Note that there is no frame of a step, because the stage did not get there."""
        self._missed.add(step)

    def sweep(self) -> Sweep:
        """Return what has been kept."""
        return sweep_of_steps(self._steps, self._camera_model, self._facts, len(self._missed - set(self._steps)))

    def trigger(self) -> PlainStatus:
        """Fit; the status is done with the calibration, good or bad, and fails where there is nothing to fit."""
        status = PlainStatus(self)

        def fit() -> None:
            try:
                self.calibration = calibrate(self.sweep(), kind=self._kind, expected_slope=self._expected_slope)
            except Exception as error:
                status.set_exception(error)
            else:
                status.set_finished()

        if not self._steps:
            status.set_exception(BadInputError(f"{self.name}: the sweep gave no frame to fit"))
        else:
            threading.Thread(target=fit, name=self.name, daemon=True).start()
        return status

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the outcome."""
        now, done = time.time(), self.calibration
        if done is None:
            raise BadInputError(f"{self.name}: read before it was triggered")
        values = calibration_row(done) | {
            "issues": json.dumps([[i.code, i.severity, i.message] for i in done.issues])
        }
        return OrderedDict((f"{self.name}_{k}", {"value": v, "timestamp": now}) for k, v in values.items())

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the outcome."""
        described: OrderedDict[str, dict[str, Any]] = OrderedDict()
        for key, (dtype, unit) in _COLUMNS.items():
            described[f"{self.name}_{key}"] = {"source": "fit of the sweep", "dtype": dtype, "shape": []}
            if unit:
                described[f"{self.name}_{key}"]["units"] = unit
        return described

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Return nothing: the start document tells how it was swept."""
        return OrderedDict()

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe nothing."""
        return OrderedDict()
