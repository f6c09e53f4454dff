"""What a lock is armed with: checked once, before anything is locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from parfocal.devices._camera import Camera
from parfocal.devices.lock._loop import RoiPx
from parfocal.errors import BadInputError
from parfocal.fitting import Calibration, OpticsFacts, calibration_hash, check_applies
from parfocal.focus import LockController, LockSettings, RoiMeasure, measure_direct
from parfocal.optics import CameraModel

_ROUGH_RESPONSE = 0.5


@dataclass(frozen=True)
class Armed:
    """What a lock is armed with.

    Parameters
    ----------
    calibration : Calibration
        Of this light path.
    roi_px : (int, int, int, int)
        y, x, height, width of the bead's region in the frame.
    settings : LockSettings
        Every option.
    measure : callable
        From a region to a measurement.
    run_uid : str
        The run that it was calibrated in; empty where that is not known.
    sha256 : str
        Hash of the calibration.
    """

    calibration: Calibration
    roi_px: RoiPx
    settings: LockSettings
    measure: RoiMeasure
    run_uid: str
    sha256: str

    def about(self) -> dict[str, Any]:
        """Return what a start document says of it."""
        return {
            "calibration": self.sha256,
            "calibration_run": self.run_uid,
            "law": self.settings.law,
            "roi_px": list(self.roi_px),
        }


def arm_with(
    name: str,
    camera: Camera,
    facts: OpticsFacts,
    calibration: Calibration,
    roi_px: RoiPx | None,
    settings: LockSettings | None,
    *,
    measure: RoiMeasure | None,
    run_uid: str,
) -> Armed:
    """Check that a lock may be armed so, and return it; `BadInputError` says in one line why not."""
    if not calibration.is_armable or calibration.model is None:
        raise BadInputError(f"{name} cannot be armed: {calibration.why_not()}")
    check_applies(calibration, facts)
    settings = settings if settings is not None else LockSettings()
    roi_px = roi_px if roi_px is not None else calibration.facts.roi_px
    if roi_px is None:
        raise BadInputError(f"{name} cannot be armed: no roi_px (y, x, height, width) was told")
    _check_roi(name, roi_px, camera)
    refused = LockController(settings, roi_shape_px=roi_px[2:]).arm(calibration.model)
    if refused:
        raise BadInputError(f"{name} cannot be armed: {refused[0].reason}")
    return Armed(
        calibration,
        roi_px,
        settings,
        measure if measure is not None else measure_direct(calibration),
        run_uid,
        calibration_hash(calibration),
    )


def warm_up(armed: Armed, camera: Camera) -> None:
    """Measure an empty region once: what is compiled first must not hold up the first frame of a lock."""
    model = camera_model_of(camera).cropped(armed.roi_px)
    empty = np.full(armed.roi_px[2:], float(np.mean(model.offset_adu)) + 1.0).astype(camera.facts.dtype)
    armed.measure(0, 0.0, empty, model)


def options_of(name: str, told: Mapping[str, Any], measure: str) -> LockSettings:
    """Return settings from options by name; `BadInputError` lists what there is."""
    # `widths` and `moments` are corrected by a curve through noisier points: their slope is not known as well.
    defaults: dict[str, Any] = {} if measure == "direct" else {"response_tolerance": _ROUGH_RESPONSE}
    known = {f.name for f in fields(LockSettings)}
    if unknown := sorted(set(told) - known):
        raise BadInputError(f"{name}: no option {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return LockSettings(**(defaults | dict(told)))


def region_of(roi_px: Sequence[int] | None) -> RoiPx | None:
    """Return a region from what a plan was given, which may be a list."""
    if roi_px is None:
        return None
    if len(roi_px) != 4:
        raise BadInputError(f"roi_px is {roi_px}, expected y, x, height, width")
    return int(roi_px[0]), int(roi_px[1]), int(roi_px[2]), int(roi_px[3])


def optics_facts(camera: Camera) -> OpticsFacts:
    """Return the light path of a camera, as far as its driver tells."""
    facts = camera.facts
    return OpticsFacts(
        pixel_size_um=float(facts.pixel_size_um[0]),
        na=facts.na,
        wavelength_um=facts.wavelength_um,
        camera=facts.model,
        binning=facts.settings.binning,
        exposure_s=facts.settings.exposure_s,
    )


def camera_model_of(camera: Camera) -> CameraModel:
    """Return the camera's noise model; a plain one where its driver tells none, of one photoelectron per ADU."""
    known = camera.facts.camera_model
    return known if known is not None else CameraModel()


def _check_roi(name: str, roi_px: RoiPx, camera: Camera) -> None:
    y, x, height, width = roi_px
    rows, columns = camera.facts.shape
    if height != width or height < 7 or y < 0 or x < 0 or y + height > rows or x + width > columns:
        raise BadInputError(
            f"{name}: roi_px (y, x, height, width) is {roi_px}, expected a square of 7 px or more inside "
            f"{rows} x {columns} px"
        )
