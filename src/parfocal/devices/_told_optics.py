"""What no driver of a camera tells: its optics, and its noise as a few numbers or as maps measured once."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel

NOISE_OPTIONS = ("offset_adu", "gain_adu_per_e", "read_noise_e", "em_gain", "noise_maps")


@dataclass(frozen=True)
class OpticsTold:
    """What a driver or a configuration does not say, or says wrongly.

    `pixel_size_um` is that of an unbinned pixel at the sample; None: as the configuration has it.
    `camera_model` is that of the whole sensor, unbinned.
    """

    pixel_size_um: float | None = None
    na: float | None = None
    wavelength_um: float | None = None
    camera_model: CameraModel | None = None


def told_camera_model(options: dict[str, Any]) -> CameraModel | None:
    """Take the noise out of a camera's options; None where nothing is told.

    `offset_adu`, `gain_adu_per_e` and `read_noise_e` are numbers for all pixels, told before the register
    of an EMCCD, whose multiplication `em_gain` is; `noise_maps` is a `.npz` file of
    arrays of these names, of the whole sensor, unbinned, which count where they are there.

    Raises
    ------
    BadInputError
        No number, or no such file.
    """
    told = {name: options.pop(name) for name in NOISE_OPTIONS if name in options}
    maps = told.pop("noise_maps", None)
    if not told and maps is None:
        return None
    values: dict[str, Any] = {}
    for name, value in told.items():
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise BadInputError(f"camera: {name} is {value!r}, expected a number") from None
    if maps is not None:
        values |= _read_maps(Path(str(maps)))
    return CameraModel(**values)


def _read_maps(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: np.asarray(file[name], np.float64) for name in NOISE_OPTIONS[:3] if name in file}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInputError(f"camera: noise_maps {path} cannot be read ({error}); expected a .npz file") from None
    shapes = {array.shape for array in found.values()}
    if not found or len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise BadInputError(
            f"camera: noise_maps {path} holds {sorted(found) or 'nothing'} of shapes {sorted(shapes)}; "
            "expected offset_adu, gain_adu_per_e and read_noise_e of the sensor's shape"
        )
    return found
