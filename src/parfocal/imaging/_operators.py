"""Every focus operator by name: of a frame, of each object in it, of each tile."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import _operator_sums as fused
from parfocal.imaging._arrays import checked_frame, checked_mask
from parfocal.imaging._entropy import background_of, entropy_bits, grey_levels, relative_entropy
from parfocal.imaging._operator_table import OperatorScores, operator_names
from parfocal.imaging._sharpness import NoiseSource, sharpness
from parfocal.imaging._spectrum import SPECTRAL, local_focus, spectral_scores
from parfocal.imaging._tiles import tile_edges_px
from parfocal.optics import CameraModel

_SIX = ("laplacian_variance", "tenengrad", "brenner", "normalized_variance", "vollath_f4", "mean_abs_log")
_BEYOND_SIX = ("modified_laplacian", "tenengrad_variance", "vollath_f5")


def operator_scores(
    image: ArrayLike,
    names: Iterable[str] | None = None,
    camera_model: CameraModel | None = None,
    noise: NoiseSource | None = None,
    mask: ArrayLike | None = None,
    log_sigma_px: float = 1.5,
) -> OperatorScores:
    """Return focus operators of a frame, or of one object in it.

    Definitions and noise floors stand in `OPERATORS`. Neighbourhoods reach over no border, of the frame or of the
    mask. Spectra are those of the object's bounding box, with the object's mean around it. A flat frame scores 0,
    but NaN where 0 would be the sharpest of all (`power_slope`, `relative_entropy`).

    Parameters
    ----------
    image : array_like of shape (height, width)
        Any integer or real type; at least 3x3.
    names : iterable of str, optional
        Names or abbreviations among `OPERATORS`; all of them by default.
    camera_model : CameraModel, optional
        Offset, gain and read noise.
    noise : {"model", "immerkaer", "none"}, optional
        Where the noise floor comes from, as in `sharpness`.
    mask : array_like of shape (height, width), optional
        The object, where it is not 0.
    log_sigma_px : float
        Standard deviation of the Gaussian in `mean_abs_log`, 0.5 to 8 px.

    Returns
    -------
    OperatorScores

    Raises
    ------
    BadInputError
        An unknown operator, not a real image, a mask of another shape or with nothing in it, or "model" without a
        model.
    """
    wanted = operator_names(names)
    frame = checked_frame(image, "operators", 3)
    inside = checked_mask(mask, frame.shape, "operators")
    if inside is None:
        return _of_frame(frame, wanted, camera_model, noise, log_sigma_px)
    if not inside.any():
        raise BadInputError("operators: the mask is empty, expected at least one pixel that is not 0")
    labels = np.where(inside, 0, -1).astype(np.int32)
    return _of_labels(frame, labels, 1, wanted, camera_model, noise, log_sigma_px)[0]


def operator_scores_per_object(
    image: ArrayLike,
    labels: ArrayLike,
    names: Iterable[str] | None = None,
    camera_model: CameraModel | None = None,
    noise: NoiseSource | None = None,
    log_sigma_px: float = 1.5,
) -> dict[int, OperatorScores]:
    """Return focus operators of every object of a label image, by its label.

    All objects in one walk over the frame; as `operator_scores` of each one's mask, but that the background of
    `relative_entropy` keeps clear of every object.

    Parameters
    ----------
    image : array_like of shape (height, width)
        The frame.
    labels : array_like of int, shape (height, width)
        Label of the object that a pixel belongs to; 0 is background.
    names, camera_model, noise, log_sigma_px
        As in `operator_scores`.

    Raises
    ------
    BadInputError
        As in `operator_scores`, or labels are not integers.
    """
    wanted = operator_names(names)
    frame = checked_frame(image, "operators", 3)
    given = np.asarray(labels)
    if given.shape != frame.shape or given.dtype.kind not in "bui":
        raise BadInputError(
            f"operators: labels are {given.dtype} of shape {given.shape}, expected integers of shape {frame.shape}"
        )
    found, index = np.unique(given, return_inverse=True)
    objects = np.flatnonzero(found != 0)
    row_of = np.full(found.size, -1, np.int32)
    row_of[objects] = np.arange(objects.size, dtype=np.int32)
    rows = row_of[index.reshape(frame.shape)]
    scores = _of_labels(frame, rows, objects.size, wanted, camera_model, noise, log_sigma_px)
    return {int(found[i]): scores[k] for k, i in enumerate(objects)}


def operator_scores_by_tile(
    image: ArrayLike,
    names: Iterable[str] | None = None,
    tile_px: int = 128,
    camera_model: CameraModel | None = None,
    noise: NoiseSource | None = None,
    log_sigma_px: float = 1.5,
) -> list[list[OperatorScores]]:
    """Return focus operators of every tile of a frame, `[ty][tx]`; tiles as in `tile_grids`.

    Each tile is scored as a frame of its own, so that its noise floor is that of its own brightness.

    Parameters
    ----------
    image : array_like of shape (height, width)
        The frame.
    tile_px : int
        Side of a tile, at least 8.
    names, camera_model, noise, log_sigma_px
        As in `operator_scores`.

    Raises
    ------
    BadInputError
        As in `operator_scores`, or tiles under 8 px.
    """
    wanted = operator_names(names)
    frame = checked_frame(image, "operators", 8)
    if tile_px < 8:
        raise BadInputError(f"operators: tile_px is {tile_px}, expected at least 8")
    y_edges, x_edges = (tile_edges_px(n, tile_px).tolist() for n in frame.shape)

    def one_tile(y0: int, y1: int, x0: int, x1: int) -> OperatorScores:
        model = None if camera_model is None else camera_model.cropped((y0, x0, y1 - y0, x1 - x0))
        return _of_frame(frame[y0:y1, x0:x1], wanted, model, noise, log_sigma_px)

    return [[one_tile(y0, y1, x0, x1) for x0, x1 in pairwise(x_edges)] for y0, y1 in pairwise(y_edges)]


def _of_frame(
    frame: NDArray[np.generic],
    names: tuple[str, ...],
    camera_model: CameraModel | None,
    noise: NoiseSource | None,
    log_sigma_px: float,
) -> OperatorScores:
    six = sharpness(frame, camera_model, noise, log_sigma_px)
    if "non_finite" in six.flags:
        return fused.not_finite(names, six.noise, frame.size)
    raw = {name: getattr(six.raw, name) for name in _SIX}
    raw["variance_over_mean"] = raw["normalized_variance"] * six.mean_adu
    pixels, mean = fused.less_its_mean(frame, camera_model, six.mean_adu)
    if any(name in _BEYOND_SIX for name in names):
        sums = fused.sums_by_label(pixels, np.zeros(frame.shape, np.int32), 1)[0]
        more = fused.neighbourhood_scores(sums, mean)
        raw |= {name: more[name] for name in _BEYOND_SIX}
    floors: dict[str, float] = {}
    if "flat" in six.flags:
        raw |= fused.flat_scores(names)
    else:
        spectral, floors = spectral_scores(pixels, mean, names)
        raw |= spectral
        if "local_focus" in names:
            raw["local_focus"] = local_focus(pixels, mean, None)
        if "relative_entropy" in names:
            raw["relative_entropy"] = relative_entropy(frame)
    chosen = {name: raw[name] for name in names}
    return fused.scored(chosen, mean, six.noise_sd_adu, six.noise, frame.size, log_sigma_px, six.flags, floors)


def _of_labels(
    frame: NDArray[np.generic],
    labels: NDArray[np.int32],
    n_labels: int,
    names: tuple[str, ...],
    camera_model: CameraModel | None,
    noise: NoiseSource | None,
    log_sigma_px: float,
) -> list[OperatorScores]:
    noise = fused.noise_source(noise, camera_model, log_sigma_px)
    pixels, level = fused.near_zero(frame, camera_model)
    sums = fused.sums_by_label(pixels, labels, n_labels)
    log = (
        fused.abs_log_by_label(pixels, labels, n_labels, log_sigma_px)
        if "mean_abs_log" in names
        else np.full(n_labels, math.nan)
    )
    boxes = ndimage.find_objects(labels + 1, n_labels)
    levels, background_bits = None, math.nan
    if "relative_entropy" in names:
        levels = grey_levels(frame)
        if levels is not None:
            background_bits = entropy_bits(levels[background_of(labels >= 0, np.isfinite(frame), 10)])

    def one(k: int) -> OperatorScores:
        n, shift = fused.mean_shift(sums[k])
        if not np.isfinite(sums[k]).all():
            return fused.not_finite(names, noise, n)
        mean = level + shift
        raw = fused.neighbourhood_scores(sums[k], mean) | {"mean_abs_log": float(log[k])}
        flags: list[str] = []
        floors: dict[str, float] = {}
        noise_sd = fused.noise_sd(sums[k], mean, noise, camera_model)
        box = boxes[k]
        inside = labels[box] == k
        object_pixels = np.where(inside, pixels[box] - np.float32(shift), np.float32(0)).astype(np.float32)
        if not object_pixels.any() or (pixels[box][inside] == pixels[box][inside][0]).all():
            flags.append("flat")
            raw |= fused.flat_scores(names)
            noise_sd = 0.0
        else:
            if any(name in SPECTRAL for name in names):
                spectral, floors = spectral_scores(object_pixels, mean, names)
                raw |= spectral
            if "local_focus" in names:
                raw["local_focus"] = local_focus(object_pixels, mean, inside)
            if levels is not None:
                raw["relative_entropy"] = entropy_bits(levels[box][inside]) - background_bits
        if mean <= 0:
            flags.append("mean_not_positive")
        chosen = {name: raw.get(name, math.nan) for name in names}
        return fused.scored(chosen, mean, noise_sd, noise, n, log_sigma_px, tuple(flags), floors)

    return [one(k) for k in range(n_labels)]
