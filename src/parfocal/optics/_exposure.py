"""From expected photoelectrons to the numbers a camera reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.optics._camera_model import CameraModel
from parfocal.optics._random import add_noise, stream
from parfocal.read_only import read_only


def expose(mean_electrons: ArrayLike, model: CameraModel, seed: int, number: int = 0) -> NDArray[np.uint16]:
    """Return one noisy raw frame: shot noise, read noise of each pixel, gain, offset, saturation.

    ADU = round(offset + gain (Poisson(mean + spurious) + Normal(0, read noise))), clipped to 0..saturation. An
    EMCCD's register stands between the two: n photoelectrons leave it as Gamma(n, 1) of them (times its gain).

    Parameters
    ----------
    mean_electrons : array_like of shape (height, width)
        Expected photoelectrons per pixel, dark current included.
    model : CameraModel
        Offset, gain, read noise; maps must have the frame's shape.
    seed, number : int
        The same pair gives the same frame; another number gives independent noise.

    Returns
    -------
    ndarray of shape (height, width), uint16

    Raises
    ------
    BadInputError
        If a map of the model has another shape than the frame.
    """
    mean = np.ascontiguousarray(mean_electrons, dtype=np.float32)
    maps: list[NDArray[np.float32]] = []
    for name in ("offset_adu", "gain_adu_per_e", "read_noise_e"):
        value = np.asarray(getattr(model, name), dtype=np.float32)
        if value.ndim and value.shape != mean.shape:
            raise BadInputError(
                f"camera model: {name} has shape {value.shape}, expected one number or {mean.shape} as the frame"
            )
        maps.append(np.ascontiguousarray(np.atleast_2d(value)))
    ceiling = min(float(model.saturation_adu), 65535.0)
    adu = np.empty(mean.shape, dtype=np.uint16)
    # A plain int would be a signed one to the compiled kernel, and its arithmetic float.
    state = np.uint64(stream(np.uint64(seed % 2**64), np.uint64(number % 2**64)))
    if model.spurious_e:
        mean = mean + np.float32(model.spurious_e)
    add_noise(read_only(mean), maps[0], maps[1], maps[2], ceiling, model.em_gain > 1, state, adu)
    return adu
