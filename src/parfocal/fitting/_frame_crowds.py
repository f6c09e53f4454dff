"""Crowds of spots in a whole frame, fitted together from places that are told."""

from __future__ import annotations

import math
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

    def __post_init__(self) -> None:
        """Refuse what no number of spots follows from."""
        if not (self.least_gain > 0 and self.gain_per_photon >= 0 and self.most_more >= 0):
            raise BadInputError(
                f"crowd limits: least_gain {self.least_gain}, gain_per_photon {self.gain_per_photon}, most_more "
                f"{self.most_more}; expected above 0, and 0 or more"
            )


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
        Crowds whose pixels are too few, saturated or no numbers have no rows.

    Raises
    ------
    BadInputError
        The frame is no picture of numbers, spots are not equally long columns of them, a crowd is empty or names
        a spot that there is not, or width or excess noise is out of its range.
    """
    from parfocal.fitting._frame_crowds_kernel import fit_in_frame  # numba is slow to import

    how = limits or CrowdLimits()
    spots = _checked(frame, camera_model, crowds, (x_px, y_px, photons, background), sigma_px, excess_noise)
    counts = camera_model.to_electrons(frame).astype(np.float64) / excess_noise
    noise = np.square(np.asarray(camera_model.read_noise_e, np.float64) / excess_noise)
    variance = np.ascontiguousarray(np.broadcast_to(noise, counts.shape))
    radius = max(2, round(3 * sigma_px))
    unusable = ~np.isfinite(counts) | (np.asarray(frame, np.float64) >= camera_model.saturation_adu)
    usable = np.arange(len(crowds))
    if unusable.any():
        usable = np.flatnonzero([not _meets(unusable, spots[:2, rows], radius) for rows in crowds])
    told = [crowds[c] for c in usable]
    members = np.concatenate([np.empty(0, np.int64), *told]).astype(np.int64)
    starts = np.cumsum([0, *map(len, told)]).astype(np.int64)
    said = np.empty((spots.shape[1] + len(told) * how.most_more + 8, _COLUMNS))
    x, y, light, level = spots
    n = fit_in_frame(
        read_only(counts), read_only(variance), x, y, light / excess_noise, np.maximum(level / excess_noise, 0.0),
        members, starts, sigma_px, radius, how.least_gain, how.gain_per_photon, how.most_more, said,
    )  # fmt: skip
    x, y, light, level, x_se, y_se, light_se, _, crowd, came = np.ascontiguousarray(said[:n].T)
    return FrameCrowds(
        usable[crowd.astype(np.int64)],
        x,
        y,
        light * excess_noise,
        level * excess_noise,
        x_se,
        y_se,
        light_se * excess_noise,
        came > 0,
    )


def _checked(
    frame: NDArray[np.generic],
    camera_model: CameraModel,
    crowds: list[Ints],
    columns: tuple[Floats, ...],
    sigma_px: float,
    excess_noise: float,
) -> Floats:
    """Return the columns of all spots, shape (4, n), if the kernel can do with what it is told."""
    if frame.ndim != 2 or frame.dtype.kind not in "uif" or not 0 < sigma_px < min(frame.shape, default=0):
        raise BadInputError(
            f"fit_frame_crowds: frame is {frame.dtype} of shape {frame.shape}, width {sigma_px}; expected real "
            "numbers [y, x], and a width above 0 that they hold"
        )
    if not 1 <= excess_noise < math.inf:
        raise BadInputError(f"fit_frame_crowds: excess_noise is {excess_noise}, expected 1, or 2 for an EMCCD")
    lengths = {np.shape(column) for column in columns}
    spots = np.array(columns, np.float64) if len(lengths) == 1 else np.full((4, 1), np.nan)
    if spots.ndim != 2 or not np.isfinite(spots).all():
        raise BadInputError(f"fit_frame_crowds: spots are columns of {lengths}, expected numbers, as many in each")
    for number, rows in enumerate(crowds):
        whole = rows.ndim == 1 and rows.size > 0 and rows.dtype.kind in "iu"
        if not whole or rows.min() < 0 or rows.max() >= spots.shape[1]:
            raise BadInputError(
                f"fit_frame_crowds: crowd {number} is {rows}, expected rows of {spots.shape[1]} spots"
            )
    for name in ("offset_adu", "gain_adu_per_e", "read_noise_e"):
        if np.shape(getattr(camera_model, name)) not in ((), frame.shape):
            raise BadInputError(f"fit_frame_crowds: camera's {name} is not of the frame's shape {frame.shape}")
    return spots


def _meets(unusable: NDArray[np.bool_], places: Floats, radius: int) -> bool:
    """Return whether a pixel that says nothing is one of those that a crowd at (x, y) is fitted to."""
    x, y = np.rint(places).astype(np.int64)
    return any(
        unusable[max(j - radius, 0) : j + radius + 1, max(i - radius, 0) : i + radius + 1].any()
        for i, j in zip(x.tolist(), y.tolist())
    )
