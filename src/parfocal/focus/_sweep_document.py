"""What documents say of a sweep: enough to fit it again from its frames alone, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import Calibration, OpticsFacts, calibration_hash
from parfocal.optics import CameraModel

_MAPS = ("offset_adu", "gain_adu_per_e", "read_noise_e")


def sweep_document(facts: OpticsFacts, camera_model: CameraModel) -> dict[str, Any]:
    """Return facts and the region's camera model as plain numbers and lists: exact, and what JSON can say."""
    maps = {name: np.asarray(getattr(camera_model, name), np.float64).tolist() for name in _MAPS}
    return {
        "facts": asdict(facts),
        "camera_model": maps | {"saturation_adu": float(camera_model.saturation_adu)},
    }


def sweep_from_document(document: Mapping[str, Any]) -> tuple[OpticsFacts, CameraModel]:
    """Return what `sweep_document` was given.

    Raises
    ------
    BadInputError
        Something is missing.
    """
    try:
        facts = dict(document["facts"])
        if facts.get("roi_px") is not None:
            y, x, height, width = facts["roi_px"]
            facts["roi_px"] = (int(y), int(x), int(height), int(width))
        model = document["camera_model"]
        offset, gain, read_noise = (_map(model[name]) for name in _MAPS)
        saturation_adu = float(model["saturation_adu"])
        return OpticsFacts(**facts), CameraModel(offset, gain, read_noise, saturation_adu)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"sweep: the run's start document lacks {error}; was it made by calibrate_focus?"
        ) from None


def calibration_row(calibration: Calibration) -> dict[str, str | int | float]:
    """Return what came out of a sweep as one event's row: NaN where there is no model."""
    low_um, high_um = calibration.usable_um or (float("nan"), float("nan"))
    return {
        "sha256": calibration_hash(calibration),
        "is_armable": int(calibration.is_armable),
        "focus_um": calibration.focus_um,
        "usable_low_um": low_um,
        "usable_high_um": high_um,
        "theta_rad": calibration.model.theta_rad if calibration.model is not None else float("nan"),
        "n_failed_moves": calibration.n_failed_moves,
    }


def _map(value: Any) -> float | NDArray[np.float64]:
    array = np.asarray(value, np.float64)
    return float(array) if array.ndim == 0 else array
