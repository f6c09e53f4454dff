"""Spots fitted where they may be, and which of the fits to believe."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from parfocal.fitting import are_of_one_kind, common_width, estimate_zs, fit_psfs
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations
from parfocal.puncta.detection._places import own_places, places_of_common_width
from parfocal.puncta.detection._settings import LocalizeSettings
from parfocal.puncta.detection._uncertainty import uncertainty_px

Floats = NDArray[np.float64]

_PLAIN_MISFIT = 2.0
"""What one spot leaves over by chance, in standard deviations, in 1 picture of 40."""

_RING_SIGMAS = 4.0
"""The first ring of a round pupil is brightest 3.9 widths of the core's Gaussian from its middle."""

_NEIGHBOUR_PX = 2
"""How far beyond a picture another spot's light counts."""


def fit_at(
    frame: NDArray[Any],
    spots_px: NDArray[np.int64],
    camera_model: CameraModel,
    settings: LocalizeSettings | None = None,
    pixel_size_um: tuple[float, float] = (0.1, 0.1),
    frame_index: int = 0,
    baseline_e: NDArray[np.float32] | None = None,
    n_threads: int | None = None,
) -> Localizations:
    """Fit a spot at each given pixel of a frame, and keep those that are to be believed.

    Parameters
    ----------
    spots_px : ndarray of int, shape (n, 2)
        (y, x).
    frame, camera_model, settings, pixel_size_um, frame_index, baseline_e, n_threads
        As in `localize`.
    """
    how = settings or LocalizeSettings()
    radius = how.radius_px
    side = 2 * radius + 1
    corners = np.clip(spots_px - radius, 0, np.subtract(frame.shape, side))
    at = spots_px - corners
    rois = _cut(frame, corners, side)
    light = None
    if baseline_e is not None:
        light = _cut(baseline_e, corners, side)
        light = light - light.min(axis=(1, 2), keepdims=True)  # the level itself is fitted
    found = _fit_each(rois, at, corners, camera_model, how, light, n_threads)
    origin = corners[found.pop("roi").astype(np.int64)]
    table = Localizations(
        pixel_size_um,
        np.full(len(origin), frame_index, np.int64),
        found.pop("x_px") + origin[:, 1],
        found.pop("y_px") + origin[:, 0],
        found.pop("photons"),
        n_emitters=found.pop("n_emitters").astype(np.int64),
        **found,
    )
    alone = without_duplicates(table, how.duplicate_px)
    # far from focus under a cylindrical lens there is no ring to speak of, and four widths reach far
    return alone if how.defocus_model is not None else without_rings(alone, how.ring_share)


def _fit_each(
    rois: NDArray[Any],
    at: NDArray[np.int64],
    corners: NDArray[np.int64],
    camera_model: CameraModel,
    how: LocalizeSettings,
    light: NDArray[Any] | None,
    n_threads: int | None,
) -> dict[str, Floats]:
    """Return columns of the fits that are kept; positions within the picture, whose number is `roi`."""
    told: dict[str, Any] = {
        "corners_px": corners,
        "excess_noise": how.excess_of(camera_model),
        "n_threads": n_threads,
        "at_px": at,
        "known_light": light,
    }
    if how.defocus_model is not None:
        fits: Any = estimate_zs(rois, camera_model, how.defocus_model, **told)
    else:
        fits = fit_psfs(
            rois,
            camera_model,
            is_round=how.shape == "round",
            sigma_px=how.sigma_px,
            method=how.method,
            **told,
        )
    low, high = how.widths_px
    keep = fits.is_mle & (fits.photons > max(how.min_photons, 0.0)) & (fits.excess_deviance <= how.max_misfit)
    keep &= (np.abs(fits.x_px - at[:, 1]) <= how.radius_px) & (np.abs(fits.y_px - at[:, 0]) <= how.radius_px)
    if how.defocus_model is None:
        keep &= (np.minimum(fits.sigma_x_px, fits.sigma_y_px) >= low) & (
            np.maximum(fits.sigma_x_px, fits.sigma_y_px) <= high
        )
    crowded = np.empty(0, np.int64)
    if how.most_emitters > 1:
        crowded = np.flatnonzero(_may_be_several(fits, keep, at + corners, how.radius_px))
        keep[crowded] = False
    k = np.flatnonzero(keep)
    fits = fits.take(k)
    places = own_places(fits) if how.method == "mle" else {}
    prior: tuple[float, float] | None = None
    if how.are_alike and (prior := common_width(rois[k], camera_model, fits, **_of_rows(told, k))) is not None:
        tied = fit_psfs(rois[k], camera_model, is_round=True, width_prior_px=prior, **_of_rows(told, k))
        if are_of_one_kind(tied, fits):
            places = places_of_common_width(fits, tied, at[k], how.radius_px)
        else:
            prior = None
    variances = np.diagonal(fits.covariance, axis1=1, axis2=2)
    found: dict[str, Floats] = {
        "roi": k.astype(np.float64),
        "x_px": fits.x_px,
        "y_px": fits.y_px,
        "photons": fits.photons,
        "background": fits.background,
        "sigma_x_px": fits.sigma_x_px,
        "sigma_y_px": fits.sigma_y_px,
        "x_se_px": np.sqrt(variances[:, 0]),
        "y_se_px": np.sqrt(variances[:, 1]),
        "photons_se": np.sqrt(variances[:, 2]),
        "misfit": fits.excess_deviance,
        "n_emitters": np.ones(len(k)),
    }
    found |= places
    if how.defocus_model is not None:
        found |= {"z_um": fits.z_um, "z_se_um": fits.z_se_um}
    if how.method == "lsq":  # equal weights are not the noise's: what their curvature says is too small
        for axis in "xy":
            found[f"{axis}_se_px"] = uncertainty_px(
                found["photons"],
                found["background"],
                found[f"sigma_{axis}_px"],
                "lsq",
                how.excess_of(camera_model),
                read_noise_e=_read_noise_e(camera_model),
            )
    if crowded.size:
        from parfocal.puncta.detection._crowds import fit_overlapping

        more = fit_overlapping(rois, at, corners, crowded, camera_model, how, light, n_threads, prior)
        found = {name: np.concatenate([column, more[name]]) for name, column in found.items()}
        order = np.argsort(found["roi"], kind="stable")
        found = {name: column[order] for name, column in found.items()}
    roi = found["roi"].astype(np.int64)
    electrons = _electrons(rois[roi], camera_model, corners[roi], light[roi] if light is not None else None)
    left_over = _left_over(electrons, found)
    # about several spots that of one says nothing: the background's own noise stands for it
    expected = np.sqrt(
        how.excess_of(camera_model) * np.maximum(found["background"], 0.0) + _read_noise_e(camera_model) ** 2
    )
    found["background_sd"] = np.where(found["n_emitters"] > 1, expected, left_over)
    return found


def _of_rows(told: dict[str, Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return what was told of each picture for some of them."""
    return {name: value[rows] if isinstance(value, np.ndarray) else value for name, value in told.items()}


def _read_noise_e(camera_model: CameraModel) -> float:
    return math.sqrt(float(np.mean(np.square(camera_model.read_noise_e))))


def _may_be_several(
    fits: Any, keep: NDArray[np.bool_], places: NDArray[np.int64], radius_px: int
) -> NDArray[np.bool_]:
    """Return which pictures a single spot does not do: it leaves too much over, failed, or has company."""
    from scipy.spatial import KDTree

    several = ~keep | ~(fits.excess_deviance < _PLAIN_MISFIT)
    pairs = KDTree(places).query_pairs(radius_px + _NEIGHBOUR_PX, p=np.inf, output_type="ndarray")
    several[pairs.ravel()] = True
    return several


def _left_over(electrons: Floats, found: dict[str, Floats]) -> Floats:
    """Return the standard deviation of the pixels about the fitted spot."""
    pixel = np.arange(electrons.shape[-1])
    across = _share(pixel - found["x_px"][:, None], found["sigma_x_px"])
    down = _share(pixel - found["y_px"][:, None], found["sigma_y_px"])
    spot = found["photons"][:, None, None] * down[:, :, None] * across[:, None, :]
    return np.std(electrons - spot - found["background"][:, None, None], axis=(1, 2))


def _share(u: Floats, sigma_px: Floats) -> Floats:
    scale = (math.sqrt(0.5) / sigma_px)[:, None]
    return 0.5 * (np.asarray(erf((u + 0.5) * scale)) - np.asarray(erf((u - 0.5) * scale)))


def _electrons(
    rois: NDArray[Any], camera_model: CameraModel, corners: NDArray[np.int64], light: NDArray[Any] | None
) -> Floats:
    side = rois.shape[-1]
    offset, gain = (
        _cut(np.asarray(value), corners, side) if np.ndim(value) else value
        for value in (camera_model.offset_adu, camera_model.gain_adu_per_e)
    )
    electrons = (rois.astype(np.float64) - offset) / gain
    return electrons if light is None else electrons - light


def _cut(image: NDArray[Any], corners: NDArray[np.int64], side: int) -> NDArray[Any]:
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side))
    return windows[corners[:, 0], corners[:, 1]]


def without_duplicates(spots: Localizations, nearest_px: float) -> Localizations:
    """Leave out the fainter of two that have come down on one place."""
    if nearest_px == 0 or len(spots) < 2:
        return spots
    from scipy.spatial import KDTree

    places = np.stack([spots.y_px, spots.x_px], axis=1)
    pairs = KDTree(places).query_pairs(nearest_px, output_type="ndarray")
    if not len(pairs):
        return spots
    keep = np.ones(len(spots), bool)
    rank = np.argsort(np.argsort(-spots.photons, kind="stable"))
    first, second = pairs[:, 0], pairs[:, 1]
    brighter = np.where(rank[first] < rank[second], first, second)
    fainter = np.where(rank[first] < rank[second], second, first)
    for b, f in sorted(zip(brighter.tolist(), fainter.tolist()), key=lambda pair: rank[pair[0]]):
        if keep[b]:
            keep[f] = False
    return spots.take(keep)


def without_rings(spots: Localizations, share: float) -> Localizations:
    """Leave out what has less than such a share of a spot's photons and is as near to it as its first ring."""
    if share == 0 or len(spots) < 2:
        return spots
    from scipy.spatial import KDTree

    places = np.stack([spots.y_px, spots.x_px], axis=1)
    reach_px = _RING_SIGMAS * spots.sigma_x_px
    pairs = KDTree(places).query_pairs(float(reach_px.max()), output_type="ndarray")
    a, b = pairs.T
    is_less = spots.photons[a] < spots.photons[b]
    faint, bright = np.where(is_less, a, b), np.where(is_less, b, a)
    away_px = np.hypot(*(places[faint] - places[bright]).T)
    is_ring = (spots.photons[faint] < share * spots.photons[bright]) & (away_px <= reach_px[bright])
    keep = np.ones(len(spots), bool)
    keep[faint[is_ring]] = False
    return spots if keep.all() else spots.take(keep)
