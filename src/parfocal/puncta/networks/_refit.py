"""Puncta that stand alone, fitted again by maximum likelihood from where the network sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from parfocal.errors import BadInputError
from parfocal.fitting import fit_psfs
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations


@dataclass(frozen=True)
class RefitSettings:
    """What is fitted again, and when the fit is believed.

    Parameters
    ----------
    roi_px : int
        Side of the picture around a punctum; odd.
    alone_px : float
        A punctum stands alone where no other is as near.
    most_shift_px : float
        A fit that ends farther from where the network sees the punctum is not believed.
    most_photons_ratio : float
        Nor one that finds so many times more, or fewer, photons.
    """

    roi_px: int = 9
    alone_px: float = 7.0
    most_shift_px: float = 1.0
    most_photons_ratio: float = 2.5

    def __post_init__(self) -> None:
        if self.roi_px < 5 or self.roi_px % 2 == 0:
            raise BadInputError(f"refit: roi_px is {self.roi_px}; expected an odd number from 5 on")
        if not (self.alone_px > 0 and self.most_shift_px > 0 and self.most_photons_ratio > 1):
            raise BadInputError(
                "refit: alone_px, most_shift_px above 0 and most_photons_ratio above 1 are expected"
            )


def refitted(
    frame: NDArray[Any],
    found: Localizations,
    camera_model: CameraModel,
    settings: RefitSettings | None = None,
    *,
    excess_noise: float = 1.0,
) -> Localizations:
    """Return the puncta of one frame, those that stand alone as `fitting.fit_psfs` tells them.

    Parameters
    ----------
    frame : ndarray[y, x]
        Raw ADU.
    found : Localizations
        All puncta of the frame.
    camera_model : CameraModel
    settings : RefitSettings, optional
    excess_noise : float
        As in `fit_psfs`.
    """
    how = settings or RefitSettings()
    if not len(found):
        return found
    places = np.stack([found.y_px, found.x_px], axis=1)
    near = np.array([len(others) for others in KDTree(places).query_ball_point(places, how.alone_px)])
    crowded = replace(found, n_emitters=near.astype(np.int64))
    half = how.roi_px // 2
    pixel = np.rint(places).astype(np.int64)
    inside = (pixel >= half).all(axis=1) & (pixel < np.array(frame.shape) - half).all(axis=1)
    rows = np.flatnonzero((near == 1) & inside)
    if not len(rows):
        return crowded
    corners = pixel[rows] - half
    windows = np.lib.stride_tricks.sliding_window_view(frame, (how.roi_px, how.roi_px))
    rois = windows[corners[:, 0], corners[:, 1]]
    fits = fit_psfs(rois, camera_model, corners_px=corners, excess_noise=excess_noise, n_threads=1)
    x, y = fits.x_px + corners[:, 1], fits.y_px + corners[:, 0]
    ratio = fits.photons / found.photons[rows]
    believed = (
        fits.is_mle
        & (np.hypot(x - found.x_px[rows], y - found.y_px[rows]) <= how.most_shift_px)
        & (ratio <= how.most_photons_ratio)
        & (ratio >= 1 / how.most_photons_ratio)
    )
    kept = rows[believed]
    errors = fits.standard_errors[believed]
    said: dict[str, NDArray[Any]] = {
        "x_px": x[believed],
        "y_px": y[believed],
        "photons": fits.photons[believed],
        "background": fits.background[believed],
        "sigma_x_px": fits.sigma_x_px[believed],
        "sigma_y_px": fits.sigma_y_px[believed],
        "x_se_px": errors[:, 0],
        "y_se_px": errors[:, 1],
        "photons_se": errors[:, 2],
        "misfit": fits.excess_deviance[believed],
    }
    columns: dict[str, NDArray[Any]] = {}
    for name, values in said.items():
        columns[name] = getattr(found, name).copy()
        columns[name][kept] = values
    return replace(crowded, **columns)
