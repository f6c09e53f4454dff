"""Several spots in one fit, and whose they are where pictures overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.fitting import fit_crowds
from parfocal.optics import CameraModel
from parfocal.puncta.detection._settings import LocalizeSettings
from parfocal.puncta.detection._uncertainty import with_next_order

Floats = NDArray[np.float64]


def fit_overlapping(
    rois: NDArray[Any],
    at: NDArray[np.int64],
    corners: NDArray[np.int64],
    chosen: NDArray[np.int64],
    camera_model: CameraModel,
    how: LocalizeSettings,
    light: NDArray[Any] | None,
    n_threads: int | None,
    width_prior_px: tuple[float, float] | None = None,
) -> dict[str, Floats]:
    """Return columns of the spots of the `chosen` pictures that are kept, as the detector's fits of one do.

    A spot in several pictures is taken from that whose candidate is nearest to it; in the others it only stands
    for the light that it sends into them.
    """
    from scipy.spatial import KDTree

    fits = fit_crowds(
        rois[chosen],
        camera_model,
        max_spots=how.most_emitters,
        f_test_p=how.f_test_p,
        corners_px=corners[chosen],
        excess_noise=how.excess_of(camera_model),
        at_px=at[chosen],
        sigma_px=how.sigma_px,
        known_light=light[chosen] if light is not None else None,
        n_threads=n_threads,
        width_prior_px=width_prior_px,
    )
    low, high = how.widths_px
    picture = chosen[fits.picture]
    misfit = (fits.deviance - fits.degrees_of_freedom) / np.sqrt(2 * fits.degrees_of_freedom)
    away_x, away_y = fits.x_px - at[picture, 1], fits.y_px - at[picture, 0]
    keep = (np.abs(away_x) <= how.radius_px) & (np.abs(away_y) <= how.radius_px)
    keep &= (fits.photons > max(how.min_photons, 0.0)) & (misfit <= how.max_misfit)
    keep &= (fits.sigma_px >= low) & (fits.sigma_px <= high) & np.isfinite(fits.x_se_px + fits.y_se_px)
    # a spot that could as well be nothing
    keep &= fits.photons > 2 * fits.photons_se
    k = np.flatnonzero(keep)
    if k.size:
        place = np.stack([fits.y_px[k], fits.x_px[k]], axis=1) + corners[picture[k]]
        own = np.hypot(away_x[k], away_y[k])
        nearest = np.asarray(KDTree(corners + at).query(place)[0])
        k = k[own <= nearest + 1e-9]
    return {
        "roi": picture[k].astype(np.float64),
        "x_px": fits.x_px[k],
        "y_px": fits.y_px[k],
        "photons": fits.photons[k],
        "background": fits.background[k],
        "sigma_x_px": fits.sigma_px[k],
        "sigma_y_px": fits.sigma_px[k],
        "x_se_px": with_next_order(fits.x_se_px[k], fits.photons[k], fits.photons_se[k]),
        "y_se_px": with_next_order(fits.y_se_px[k], fits.photons[k], fits.photons_se[k]),
        "photons_se": fits.photons_se[k],
        "misfit": misfit[k],
        "n_emitters": fits.n_spots[k].astype(np.float64),
    }
