"""One frame: candidates, fits, and how large a picture its spots are fitted in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations, join_localizations, no_localizations
from parfocal.puncta.detection._candidates import find_candidates, find_wide_candidates
from parfocal.puncta.detection._fit_spots import fit_at, without_duplicates
from parfocal.puncta.detection._settings import LocalizeSettings

_ANSWERED_PX = 2.0
"""A candidate is answered by a spot within so much of it."""

_WIDE_PX = 1.5
"""From this width on a spot may leave no background in a picture of the usual radius."""

_WIDE_RADIUS_PX = 5
"""From this radius on, spots are as wide as the filter for twice the width is made for."""

_ENOUGH_SPOTS = 5
"""Of so many, the median width says how wide a frame's spots are."""


def localize(
    frame: ArrayLike,
    camera_model: CameraModel,
    settings: LocalizeSettings | None = None,
    pixel_size_um: tuple[float, float] = (0.1, 0.1),
    frame_index: int = 0,
    *,
    baseline_e: NDArray[np.float32] | None = None,
    n_threads: int | None = None,
) -> Localizations:
    """Find the spots of one frame and fit each.

    Parameters
    ----------
    frame : array_like of shape (height, width)
        Raw ADU.
    camera_model : CameraModel
        Offset, gain and read noise, numbers or maps of the frame's shape.
    settings : LocalizeSettings, optional
    pixel_size_um : (float, float)
        (y, x).
    frame_index : int
        Written into the rows.
    baseline_e : ndarray of float32 of the frame's shape, optional
        Photoelectrons expected without spots; see `LocalizeSettings.baseline_frames`.
    n_threads : int, optional
        Threads to use; all usable cores by default.

    Returns
    -------
    Localizations
        By y, then by x of the pixel where the spot was found.

    Raises
    ------
    BadInputError
        It is no picture of real numbers, smaller than the fit, or the camera model's maps have another shape.
    """
    how = settings or LocalizeSettings()
    pixels = np.asarray(frame)
    _check(pixels, camera_model, how)
    spots = find_candidates(pixels, camera_model, how, baseline_e, n_threads)
    if not len(spots):
        return no_localizations(pixel_size_um)
    found = fit_at(pixels, spots, camera_model, how, pixel_size_um, frame_index, baseline_e, n_threads)
    if how.fit_radius_px is not None or how.defocus_model is not None:
        return found
    radius = _radius_for(found, how.radius_px, min(pixels.shape))
    if radius > how.radius_px:
        larger = replace(how, fit_radius_px=radius)
        if radius >= _WIDE_RADIUS_PX:
            dim = find_wide_candidates(pixels, camera_model, larger, baseline_e, n_threads)
            spots = np.concatenate([spots, _away_from(spots, dim)])
            spots = spots[np.lexsort(spots.T[::-1])]
        return fit_at(pixels, spots, camera_model, larger, pixel_size_um, frame_index, baseline_e, n_threads)
    wide = _wide_spots(
        pixels, _unanswered(spots, found), camera_model, how, frame_index, pixel_size_um, baseline_e
    )
    return found if wide is None else without_duplicates(join_localizations([found, wide]), how.duplicate_px)


def _radius_for(found: Localizations, usual_px: int, side_px: int) -> int:
    """Return the radius that holds a frame's spots: two of their widths and half a pixel, 6 px at most.

    Fitted in less, wide spots that overlap are taken for one, and those that do not are placed worse.
    """
    widths = found.sigma_x_px[found.n_emitters == 1]
    if widths.size < _ENOUGH_SPOTS:
        return usual_px
    wanted = min(math.ceil(2 * float(np.median(widths)) + 0.5), 2 * usual_px)
    return max(usual_px, wanted) if side_px > 2 * wanted else usual_px


def _unanswered(spots_px: NDArray[np.int64], found: Localizations) -> NDArray[np.int64]:
    """Return the candidates near which no spot was found."""
    return _away_from(np.stack([found.y_px, found.x_px], axis=1), spots_px)


def _away_from(known_px: NDArray[Any], spots_px: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places (y, x) that have no known one near."""
    if not len(known_px) or not len(spots_px):
        return spots_px
    from scipy.spatial import KDTree

    return spots_px[np.asarray(KDTree(known_px).query(spots_px)[0]) > _ANSWERED_PX]


def _wide_spots(
    frame: NDArray[Any],
    spots_px: NDArray[np.int64],
    camera_model: CameraModel,
    how: LocalizeSettings,
    frame_index: int,
    pixel_size_um: tuple[float, float],
    baseline_e: NDArray[np.float32] | None,
) -> Localizations | None:
    """Fit what was too wide for the usual picture in one twice as wide; None where there is no room or no spot."""
    radius = 2 * how.radius_px
    if not len(spots_px) or min(frame.shape) < 2 * radius + 1 or how.border == "skip":
        return None
    low, high = how.widths_px if how.sigma_range_px is not None else (_WIDE_PX, float(radius))
    wider = replace(how, fit_radius_px=radius, max_emitters=1, sigma_range_px=(low, high), widths="own")
    found = fit_at(frame, spots_px, camera_model, wider, pixel_size_um, frame_index, baseline_e, 1)
    return found if len(found) else None


def _check(pixels: NDArray[Any], camera_model: CameraModel, how: LocalizeSettings) -> None:
    side = 2 * how.radius_px + 1
    if pixels.ndim != 2 or pixels.dtype.kind not in "uif":
        raise BadInputError(
            f"localize: frame is {pixels.dtype} of shape {pixels.shape}, expected real numbers [y, x]"
        )
    if min(pixels.shape) < side:
        raise BadInputError(f"localize: frame of shape {pixels.shape}, at least {side} px a side are fitted")
    for name in ("offset_adu", "gain_adu_per_e", "read_noise_e"):
        value = getattr(camera_model, name)
        if np.ndim(value) and np.shape(value) != pixels.shape:
            raise BadInputError(
                f"localize: camera model's {name} has shape {np.shape(value)}, the frame {pixels.shape}; crop the "
                "model as the camera was"
            )
