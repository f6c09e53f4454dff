"""Signals of a camera: what a person sets, and what the camera says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ophyd import Signal
from ophyd.signal import SignalRO

from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError
from parfocal.frames import CameraSettings
from parfocal.optics import CameraModel


class SettingSignal(Signal):
    """One field of `CameraSettings`, applied to the camera when it is set."""

    def __init__(self, *, setting: str, units: str, parent: Any, **kwargs: Any) -> None:
        self._setting = setting
        self._units = units
        self._camera: Any = parent
        super().__init__(parent=parent, value=None, **kwargs)

    def get(self, **kwargs: Any) -> Any:
        """Return the value the camera has now."""
        value = getattr(self._camera.facts.settings, self._setting)
        if self._setting == "roi_px":
            return list(value) if value is not None else [0, 0, *self._camera.facts.shape]
        return value

    @property
    def value(self) -> Any:
        """The value the camera has now."""
        return self.get()

    def put(self, value: Any, **kwargs: Any) -> None:
        """Apply the setting now; `BadInputError` says what cannot be done."""
        settings: CameraSettings = self._camera.facts.settings
        if self._setting == "roi_px" and value is not None:
            value = tuple(int(v) for v in value)
            if len(value) != 4:
                raise BadInputError(f"{self.name}: expected (y, x, height, width) px, got {value}")
        old = self.get()
        self._camera.apply_settings(replace(settings, **{self._setting: value}))
        self._run_subs(sub_type=self.SUB_VALUE, old_value=old, value=self.get(), timestamp=self.timestamp)

    def set(self, value: Any, **kwargs: Any) -> PlainStatus:
        """Apply the setting; the status fails with the reason where it cannot be done."""
        status = PlainStatus(self)
        try:
            self.put(value)
        except Exception as error:
            status.set_exception(error)
        else:
            status.set_finished()
        return status

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the setting with its unit."""
        return {self.name: _describe(self.get(), self._units, self.name)}

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the value the camera has now."""
        return {self.name: {"value": self.get(), "timestamp": self.timestamp}}


class FactSignal(SignalRO):
    """One fact of the camera's `SourceDescription`, as documents can hold it: NaN where unknown."""

    def __init__(self, *, fact: str, units: str = "", parent: Any, **kwargs: Any) -> None:
        self._fact = fact
        self._units = units
        self._camera: Any = parent
        super().__init__(parent=parent, value=None, **kwargs)

    def get(self, **kwargs: Any) -> Any:
        """Return the fact as it is now; a map of the camera model is given by its mean."""
        facts = self._camera.facts
        if self._fact == "dtype":
            return str(facts.dtype)
        value = getattr(facts, self._fact, None)
        if value is None and facts.camera_model is not None:
            value = _camera_number(facts.camera_model, self._fact)
        if value is None:
            return float("nan")
        return list(value) if isinstance(value, tuple) else value

    @property
    def value(self) -> Any:
        """The fact as it is now."""
        return self.get()

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the fact with its unit."""
        return {self.name: _describe(self.get(), self._units, self.name)}

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the fact as it is now."""
        return {self.name: {"value": self.get(), "timestamp": self.timestamp}}


def _camera_number(model: CameraModel, fact: str) -> float | None:
    """Return one number for a map of the camera model, such that pixel variances come out right on average."""
    if fact == "offset_sd_adu":
        return float(np.std(model.offset_adu))
    if fact == "read_noise_e":
        return float(np.sqrt(np.mean(np.square(model.read_noise_e))))
    value = getattr(model, fact, None)
    return float(np.mean(value)) if value is not None else None


def _describe(value: Any, units: str, name: str) -> dict[str, Any]:
    kind = (
        "array"
        if isinstance(value, list)
        else "string"
        if isinstance(value, str)
        else "boolean"
        if isinstance(value, bool)
        else "integer"
        if isinstance(value, int)
        else "number"
    )
    shape = [len(value)] if isinstance(value, list) else []
    described: dict[str, Any] = {"source": f"parfocal:{name}", "dtype": kind, "shape": shape}
    if units:
        described["units"] = units
    return described
