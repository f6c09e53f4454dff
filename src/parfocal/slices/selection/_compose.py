"""One good image from the chosen frames of a stack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import sharpness
from parfocal.optics import CameraModel
from parfocal.slices.selection._compose_morphseq import compose_morphseq
from parfocal.slices.selection._evidence import Selection
from parfocal.slices.selection._fill import filled

ComposeMethod = Literal["softmax", "index"]
Compat = Literal["morphseq"]


@dataclass(frozen=True, eq=False)
class ComposedImage:
    """An image made of the sharpest parts of several frames.

    Attributes
    ----------
    image : ndarray, shape (height, width)
        float32 in the unit of the frames; as the original makes it with `compat`.
    index_map : ndarray of float32, shape (height, width)
        Which frame each pixel comes from, by its index in the stack; between two where it is blended or filled.
    confidence : ndarray of float32, shape (height, width)
        Energy of the sharpest frame over that of the second peak along the stack, 1 (any frame would do) to 1000.
    flat : ndarray of bool, shape (height, width)
        Where no frame shows structure above its noise: the index there is a smooth continuation.
    frames : tuple of int
        The frames it was made of.
    provenance : mapping
        Rule, parameters, frames and method: what it takes to make it again.
    """

    image: NDArray[Any]
    index_map: NDArray[np.float32]
    confidence: NDArray[np.float32]
    flat: NDArray[np.bool_]
    frames: tuple[int, ...]
    provenance: Mapping[str, Any]


def compose(
    stack: Sequence[ArrayLike] | NDArray[Any],
    selection: Selection | Sequence[int] | None = None,
    *,
    method: ComposeMethod = "softmax",
    log_sigma_px: float = 1.5,
    window_px: int = 7,
    exponent: float = 6.0,
    median_px: int = 5,
    flat_sd: float = 5.0,
    camera_model: CameraModel | None = None,
    compat: Compat | None = None,
) -> ComposedImage:
    """Make one good image from the chosen frames of a stack.

    With E(z) the energy of the Laplacian of Gaussian of frame z, averaged over a window and less what its noise
    alone gives::

        E(z) = <LoG(z)²>_window - s(z)² ‖LoG kernel‖²

    "softmax" blends the frames with weights E(z)^exponent; "index" takes the frame of the largest E, its map
    median filtered. Where the largest E is not `flat_sd` standard deviations of noise above 0, nothing in the
    pixels tells which frame to take (an argmax of noise gives salt and pepper): the index there continues that
    around it smoothly, and the two nearest frames are blended.

    Parameters
    ----------
    stack : array_like of shape (n, height, width)
        The frames, of one place: none is moved.
    selection : Selection or sequence of int, optional
        The frames to use; all by default.
    method : {"softmax", "index"}
        How frames are put together.
    log_sigma_px : float
        Width of the Gaussian, px: the size of structure that counts as sharp.
    window_px : int
        Side of the window that energies are averaged over, px; odd, 5 to 9 as a rule.
    exponent : float
        4 to 8: larger takes more of the sharpest frame alone.
    median_px : int
        Side of the median filter over the index map, px; 1: none.
    flat_sd : float
        How far above its noise structure must be.
    camera_model : CameraModel, optional
        For the noise; without it the noise is estimated from each frame (Immerkaer).
    compat : {"morphseq"}, optional
        Exactly what morphseq's Build01 makes instead: see `compose_morphseq`. The other parameters do not apply.

    Returns
    -------
    ComposedImage

    Raises
    ------
    BadInputError
        There is no frame to use, a frame does not exist or is of another shape or smaller than the filters, or a
        parameter is out of range.

    Notes
    -----
    Memory: 4 bytes a pixel of the chosen frames, twice.
    """
    frames, chosen, provenance = _chosen(stack, selection)
    if compat is not None:
        if compat != "morphseq":
            raise BadInputError(f"compose: compat {compat!r} is unknown; expected morphseq")
        image, index, energy = compose_morphseq(frames)
        best, confidence = _confidence(energy, np.float32(1e-6) * float(energy.max(initial=1e-30)))
        where = np.asarray(chosen, np.float32)[index]
        provenance |= {"method": "morphseq"}
        return ComposedImage(image, where, confidence, best <= 0, tuple(chosen), provenance)
    _check(frames[0].shape, method, log_sigma_px, window_px, exponent, median_px)
    energy = np.empty((len(frames), *frames[0].shape), np.float32)
    noise = np.empty(len(frames))
    for n, frame in enumerate(frames):
        energy[n], noise[n] = _energy(frame, log_sigma_px, window_px, camera_model)
    largest_noise = np.float32(max(float(noise.max()), 1e-12 * float(energy.max(initial=0)), 1e-30))
    best, confidence = _confidence(energy, largest_noise)
    flat = best < flat_sd * largest_noise
    if flat.all():  # nothing to go by: the frame of the largest energy on the whole
        place = np.full(flat.shape, np.argmax(energy.mean(axis=(1, 2))), np.float32)
    else:
        place = np.argmax(energy, axis=0).astype(np.float32)
        if median_px > 1:
            place = _median_known(place, flat, median_px)
        place = filled(place, (~flat).astype(np.float32))
    # From "nothing but noise" to "twice the limit" the pixels' own word counts more and more: no seam shows.
    trust = np.clip(best / (flat_sd * largest_noise) - 1, 0, 1)
    image, index = _blended(frames, energy, place, trust if method == "softmax" else None, exponent, largest_noise)
    provenance |= {
        "method": method,
        "log_sigma_px": log_sigma_px,
        "window_px": window_px,
        "exponent": exponent,
        "median_px": median_px,
        "flat_sd": flat_sd,
        "noise": "immerkaer" if camera_model is None else "model",
    }
    lookup = np.asarray(chosen, np.float64)
    where = np.interp(index, np.arange(len(chosen)), lookup).astype(np.float32)
    return ComposedImage(image, where, confidence, flat, tuple(chosen), provenance)


def compose_batch(
    stacks: Sequence[Sequence[ArrayLike] | NDArray[Any]] | NDArray[Any],
    selections: Sequence[Selection | Sequence[int] | None] | None = None,
    **how: Any,
) -> tuple[ComposedImage, ...]:
    """Make one image of every stack of a batch, `[stack, z, y, x]`; `how` as in `compose`.

    Raises
    ------
    BadInputError
        There is another number of selections than of stacks, or a stack cannot be composed: its number is said.
    """
    chosen = [None] * len(stacks) if selections is None else list(selections)
    if len(chosen) != len(stacks):
        raise BadInputError(f"compose batch: {len(stacks)} stacks and {len(chosen)} selections; expected one each")
    made: list[ComposedImage] = []
    for n, (stack, selection) in enumerate(zip(stacks, chosen, strict=True)):
        try:
            made.append(compose(stack, selection, **how))
        except BadInputError as error:
            raise BadInputError(f"stack {n}: {error}") from error
    return tuple(made)


def _chosen(
    stack: Sequence[ArrayLike] | NDArray[Any], selection: Selection | Sequence[int] | None
) -> tuple[list[NDArray[np.float32]], list[int], dict[str, Any]]:
    n = len(stack)
    provenance: dict[str, Any] = {"n_frames": n}
    if isinstance(selection, Selection):
        if selection.keep.size != n:
            raise BadInputError(f"compose: the selection is of {selection.keep.size} frames, the stack has {n}")
        wanted = list(selection.frames)
        provenance |= {
            "rule": selection.rule,
            "parameters": dict(selection.parameters),
            "notes": list(selection.notes),
        }
    else:
        wanted = list(range(n)) if selection is None else sorted({int(i) for i in selection})
    provenance["frames"] = wanted
    if not wanted:
        raise BadInputError("compose: no frame is selected; relax the rule, or give the frames to use")
    if not 0 <= wanted[0] <= wanted[-1] < n:
        raise BadInputError(f"compose: frames {wanted} of a stack with frames 0 to {n - 1}")
    frames: list[NDArray[np.float32]] = []
    for i in wanted:
        frame = np.asarray(stack[i])
        if frame.ndim != 2 or (frames and frame.shape != frames[0].shape) or frame.dtype.kind not in "buif":
            raise BadInputError(
                f"compose: frame {i} is {frame.dtype} of shape {frame.shape}, expected real [y, x] like the others"
            )
        frames.append(np.asarray(frame, np.float32))
    return frames, wanted, provenance


def _check(
    shape: tuple[int, ...], method: str, log_sigma_px: float, window_px: int, exponent: float, median_px: int
) -> None:
    if method not in ("softmax", "index"):
        raise BadInputError(f"compose: method {method!r} is unknown; expected softmax or index")
    if not 0.5 <= log_sigma_px <= 8:
        raise BadInputError(f"compose: log_sigma_px is {log_sigma_px:g}, expected 0.5 to 8")
    for name, side in (("window_px", window_px), ("median_px", median_px)):
        if side < 1 or side % 2 == 0 or side > min(shape):
            raise BadInputError(f"compose: {name} is {side}, expected odd and no larger than {min(shape)} px")
    if not exponent > 0:
        raise BadInputError(f"compose: exponent is {exponent:g}, expected above 0")


def _energy(
    frame: NDArray[np.float32], sigma_px: float, window_px: int, camera_model: CameraModel | None
) -> tuple[NDArray[np.float32], float]:
    """Return the debiased local energy of a frame, and the standard deviation that its noise gives it."""
    finite = np.isfinite(frame)
    pixels = (
        frame
        if finite.all()
        else np.where(finite, frame, np.float32(np.median(frame[finite] if finite.any() else [0])))
    )
    # large offsets cost float32 digits; a whole number leaves differences exact
    pixels = pixels - np.float32(round(float(pixels.mean(dtype=np.float64))))
    response = ndimage.gaussian_laplace(pixels, sigma_px, mode="mirror")
    energy = ndimage.uniform_filter(np.square(response), window_px, mode="mirror")
    if camera_model is not None:
        variance = camera_model.noise_variance_adu2(float(np.mean(frame, where=finite)))
    else:
        # the same estimate as scores have; too small a frame to tell its noise has none
        variance = sharpness(pixels, noise="immerkaer").noise_sd_adu ** 2 if min(pixels.shape) >= 3 else 0.0
    power, scatter = _noise_response(sigma_px, window_px)
    floor, sd = variance * power, variance * scatter
    return np.maximum(energy - np.float32(floor), 0), sd


@lru_cache(maxsize=16)
def _noise_response(sigma_px: float, window_px: int) -> tuple[float, float]:
    """Return mean and standard deviation of the windowed energy of white noise of variance 1.

    With r the autocorrelation of the Laplacian of Gaussian's kernel, r(0) is the mean, and the variance is that of
    an average of squares of correlated normal values: 2 sum over pairs in the window of r(distance)² / window⁴.
    """
    reach = math.ceil(5 * sigma_px) + window_px
    impulse = np.zeros((4 * reach + 1, 4 * reach + 1))
    impulse[2 * reach, 2 * reach] = 1.0
    kernel = ndimage.gaussian_laplace(impulse, sigma_px)
    alike = np.fft.ifft2(np.abs(np.fft.fft2(kernel)) ** 2).real
    lags = np.arange(-(window_px - 1), window_px)
    pairs = window_px - np.abs(lags)
    square = np.square(alike[np.ix_(lags, lags)]) * np.outer(pairs, pairs)
    return float(alike[0, 0]), math.sqrt(2 * float(square.sum())) / window_px**2


def _confidence(energy: NDArray[np.float32], noise: np.float32) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the largest energy and its ratio to the second peak along the stack, noise added to both.

    A second peak is the largest energy among frames that are not on the slopes of the first: those from which
    energy rises all the way to the first are its slopes. Without one, the smallest energy stands in for it.
    """
    n = energy.shape[0]
    top = np.argmax(energy, axis=0)
    best = np.take_along_axis(energy, top[np.newaxis], axis=0)[0]
    second = energy.min(axis=0)
    for z in range(n):
        rises = np.ones(top.shape, bool)
        if z > 0:
            rises &= (energy[z] >= energy[z - 1]) | (z - 1 == top)
        if z < n - 1:
            rises &= (energy[z] >= energy[z + 1]) | (z + 1 == top)
        # beside the top itself a frame is a slope, never a peak
        rises &= np.abs(top - z) > 1
        np.maximum(second, energy[z], out=second, where=rises)
    return best, np.minimum((best + noise) / (second + noise), 1000).astype(np.float32)


def _median_known(place: NDArray[np.float32], flat: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """Return the index map median filtered, where noise chose filled in first so that it takes no part."""
    known = filled(place, (~flat).astype(np.float32))
    return ndimage.median_filter(known, side, mode="mirror")


def _blended(
    frames: Sequence[NDArray[np.float32]],
    energy: NDArray[np.float32],
    place: NDArray[np.float32],
    trust: NDArray[np.float32] | None,
    exponent: float,
    noise: np.float32,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the blend of the frames and the mean index that went into each pixel.

    Frames near `place` with weights 1 - |z - place|; with `trust`, of that share, weights by energy instead.
    """
    image = np.zeros(place.shape, np.float32)
    index = np.zeros(place.shape, np.float32)
    total = np.zeros(place.shape, np.float32)
    best = energy.max(axis=0) + noise
    for z in range(len(frames)) if trust is not None else ():
        total += np.power((energy[z] + noise) / best, exponent)
    for z, frame in enumerate(frames):
        weight = np.maximum(0, 1 - np.abs(np.float32(z) - place))
        if trust is not None:
            weight = (1 - trust) * weight + trust * np.power((energy[z] + noise) / best, exponent) / total
        image += weight * frame
        index += weight * np.float32(z)
    return image, index
