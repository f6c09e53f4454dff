"""The measured noise of a camera, put in the place of what its driver does not tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from parfocal.devices._characterization_shelf import CharacterizationShelf, KeptCharacterization
from parfocal.errors import BadInputError
from parfocal.focus import Characterization
from parfocal.frames import SourceDescription
from parfocal.optics import CameraModel


@dataclass(frozen=True, eq=False)
class MeasuredNoise:
    """Noise of a whole sensor, unbinned, at one gain, and the run that it was measured in.

    Attributes
    ----------
    camera_model : CameraModel
        Of the whole sensor.
    gain : float
        The camera's gain setting at which it holds.
    run_uid : str
        The run.
    """

    camera_model: CameraModel
    gain: float
    run_uid: str

    def into(self, facts: SourceDescription) -> SourceDescription:
        """Return the facts with this noise, cut and binned as they say; as they were where it does not hold."""
        settings = facts.settings
        if settings.gain != self.gain:
            return facts
        b = settings.binning
        model = self.camera_model.binned(b)
        if settings.roi_px is not None:
            model = model.cropped(settings.roi_px)
        em_gain = facts.camera_model.em_gain if facts.camera_model is not None else 1.0
        return replace(facts, camera_model=replace(model, em_gain=em_gain), noise_run=self.run_uid)


def camera_identity(facts: SourceDescription) -> dict[str, Any]:
    """Return what a measurement of a camera holds for: the camera, and its gain setting."""
    return {"camera": facts.model, "serial": facts.serial, "gain": float(facts.settings.gain)}


def find_noise(shelf: CharacterizationShelf, facts: SourceDescription, wanted: str) -> MeasuredNoise | None:
    """Return the measured noise that a camera is to go by.

    Parameters
    ----------
    shelf : CharacterizationShelf
        Where characterizations are kept.
    facts : SourceDescription
        Of the camera, as its driver tells.
    wanted : str
        Empty: the newest of this camera, unless its noise was told. `newest`: the newest, whatever was told.
        `told`: none. Else a file's name, or how its hash begins.

    Raises
    ------
    BadInputError
        There is none such, or it is of another camera.
    """
    if wanted == "told" or (not wanted and facts.camera_model is not None and not facts.simulated):
        return None
    if wanted in ("", "newest"):
        kept = shelf.newest("camera", camera_identity(facts))
        return _noise_of(kept) if kept is not None else None
    kept = shelf.find(wanted)
    of, here = kept.found.about, camera_identity(facts)
    if kept.found.kind != "camera" or not kept.found.is_usable or any(of.get(k) != v for k, v in here.items()):
        raise BadInputError(
            f"noise_maps {wanted!r} are of {of.get('camera')} {of.get('serial')} at gain {of.get('gain')}, "
            f"expected {here['camera']} {here['serial']} at gain {here['gain']:g}"
        )
    return _noise_of(kept)


def model_of(found: Characterization) -> CameraModel:
    """Return the camera model of a characterization of a camera."""
    maps, numbers = found.maps, found.numbers
    return CameraModel(
        maps["offset_adu"],
        maps["gain_adu_per_e"],
        maps["read_noise_e"],
        float(numbers["saturation_adu"]),
        float(numbers["dark_current_e_per_s"]),
    )


def _noise_of(kept: KeptCharacterization) -> MeasuredNoise:
    return MeasuredNoise(model_of(kept.found), float(kept.found.about["gain"]), kept.run_uid)
