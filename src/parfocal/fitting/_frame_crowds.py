"""Crowds of spots in a whole frame, fitted together from places that are told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.read_only import read_only

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_COLUMNS = 10


@dataclass(frozen=True, slots=True)
class FrameCrowds:
    """Spots of the crowds of a frame, a row each, crowd by crowd.

    Attributes
    ----------
    crowd : ndarray of int64, shape (n,)
    x_px, y_px, photons, background : ndarray of shape (n,)
        As in `PsfFit`, in the frame; background is the crowd's.
    x_se_px, y_se_px, photons_se : ndarray of shape (n,)
        Standard errors, with all of the crowd unknown but for the width.
    is_mle : ndarray of bool, shape (n,)
        Whether the crowd's fit came to rest.
    """

    crowd: Ints
    x_px: Floats
    y_px: Floats
    photons: Floats
    background: Floats
    x_se_px: Floats
    y_se_px: Floats
    photons_se: Floats
    is_mle: NDArray[np.bool_]

    def __len__(self) -> int:
        return self.crowd.size


@dataclass(frozen=True, slots=True)
class CrowdLimits:
    """How many spots a crowd may have.

    Parameters
    ----------
    least_gain : float
        Of the log-likelihood that one spot more must bring; fewer are taken where they say as much.
    gain_per_photon : float
        So much more for each photon of the brightest beside it, since no spot is quite a Gaussian.
    most_more : int
        Spots that may be added to those that are told.
    """

    least_gain: float = 9.0
    gain_per_photon: float = 0.01
    most_more: int = 2


def fit_frame_crowds(
    frame: NDArray[np.generic],
    camera_model: CameraModel,
    crowds: list[Ints],
    x_px: Floats,
    y_px: Floats,
    photons: Floats,
    background: Floats,
    sigma_px: float,
    limits: CrowdLimits | None = None,
    *,
    excess_noise: float = 1.0,
) -> FrameCrowds:
    """Fit each crowd's spots together by maximum likelihood: all pixels within 3 widths of one of them, at once.

    Where `fit_crowds` finds out what a small picture holds, here spots are known and the width is. Those of other
    crowds are light that is known. A spot that says nothing is given to its neighbour; one is added where light is
    lacking (a score test), if it gains enough.

    Parameters
    ----------
    frame : ndarray of shape (height, width)
        Raw ADU.
    camera_model : CameraModel
        Of the frame.
    crowds : list of ndarray of int64
        Rows of the spots of each crowd that is to be fitted.
    x_px, y_px, photons, background : ndarray of float64, shape (n,)
        Of all spots of the frame, near enough to begin with.
    sigma_px : float
        Width of all spots.
    limits : CrowdLimits, optional
    excess_noise : float
        As in `fit_psf`.

    Returns
    -------
    FrameCrowds
        Crowds whose pixels are too few have no rows.

    Raises
    ------
    BadInputError
        The frame is no picture of numbers, or the width is not above 0.
    """
    from parfocal.fitting._frame_crowds_kernel import fit_crowds  # numba is slow to import

    how = limits or CrowdLimits()
    if frame.ndim != 2 or frame.dtype.kind not in "uif" or not sigma_px > 0:
        raise BadInputError(
            f"fit_frame_crowds: frame is {frame.dtype} of shape {frame.shape}, width {sigma_px}; expected real "
            "numbers [y, x], and a width above 0"
        )
    counts = camera_model.to_electrons(frame).astype(np.float64) / excess_noise
    noise = np.square(np.asarray(camera_model.read_noise_e, np.float64) / excess_noise)
    variance = np.ascontiguousarray(np.broadcast_to(noise, counts.shape))
    members = np.concatenate([np.empty(0, np.int64), *crowds])
    starts = np.cumsum([0, *map(len, crowds)]).astype(np.int64)
    said = np.empty((len(x_px) + len(crowds) * how.most_more + 8, _COLUMNS))
    n = fit_crowds(
        read_only(counts), read_only(variance), np.ascontiguousarray(x_px), np.ascontiguousarray(y_px),
        photons / excess_noise, np.maximum(background / excess_noise, 0.0), members, starts, sigma_px,
        max(2, round(3 * sigma_px)), how.least_gain, how.gain_per_photon, how.most_more, said,
    )  # fmt: skip
    x, y, light, level, x_se, y_se, light_se, _, crowd, came = np.ascontiguousarray(said[:n].T)
    return FrameCrowds(
        crowd.astype(np.int64),
        x,
        y,
        light * excess_noise,
        level * excess_noise,
        x_se,
        y_se,
        light_se * excess_noise,
        came > 0,
    )
