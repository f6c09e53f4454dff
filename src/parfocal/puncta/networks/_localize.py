"""Puncta of a movie, as the network tells them, those that stand alone fitted again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations, join_localizations, no_localizations
from parfocal.puncta.networks._decode import DecodeSettings, decode
from parfocal.puncta.networks._net import PunctaNet, open_puncta_net
from parfocal.puncta.networks._predict import Answer, answers
from parfocal.puncta.networks._refit import RefitSettings, Refitter

Refit = Literal["crowds", "isolated", "none"]


def localize_with_net(
    frames: Iterable[NDArray[Any]],
    net: PunctaNet | None = None,
    *,
    camera_model: CameraModel,
    pixel_size_um: tuple[float, float],
    excess_noise: float | None = None,
    calcium: Iterable[NDArray[Any]] | None = None,
    calcium_camera: CameraModel | None = None,
    refit: Refit = "crowds",
    refit_settings: RefitSettings | None = None,
    settings: DecodeSettings | None = None,
    first_frame: int = 0,
    batch: int | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Localizations:
    """Return the puncta of a movie.

    Parameters
    ----------
    frames : ndarray[frame, y, x] or iterable of ndarray[y, x]
        Raw ADU; a generator is read as it goes, three frames at a time.
    net : PunctaNet, optional
        The one that came with parfocal by default: `puncta`, with `calcium` `puncta-calcium`.
    camera_model : CameraModel
        With single numbers or with maps of the frames' shape.
    pixel_size_um : (float, float)
        Of the camera in the sample, (y, x).
    excess_noise : float, optional
        Other than the camera model's.
    calcium : iterable of ndarray[y, x], optional
        The calcium channel, registered to the puncta.
    calcium_camera : CameraModel, optional
    refit : {"crowds", "isolated", "none"}
        `crowds`, the hybrid: every punctum is fitted by maximum likelihood from where the network sees it, with
        widths of its own where it stands alone, else together with those around it, one more or fewer where the
        likelihood asks for it. Its own frame alone has a part in that. `isolated` fits the lone ones alone, and
        leaves crowds as the network tells them.
    refit_settings : RefitSettings, optional
    settings : DecodeSettings, optional
        Those of the network by default.
    first_frame : int
        Number of the first frame.
    batch : int, optional
        Frames asked at once.
    on_progress : callable, optional
        Told how many frames are done.

    Returns
    -------
    Localizations
        Standard errors of what was not fitted are the network's sigmas, scaled as its card says; `sigma_x_px` is
        NaN there. `n_emitters` is how many puncta were fitted together.

    Raises
    ------
    BadInputError
        PyTorch or the weights are missing, frames differ in shape, or channels are not those of the network.
    """
    if refit not in ("crowds", "isolated", "none"):
        raise BadInputError(f"refit is {refit!r}; expected crowds, isolated or none")
    used = net or open_puncta_net("puncta" if calcium is None else "puncta-calcium")
    how = settings or used.settings
    excess = camera_model.excess_noise if excess_noise is None else excess_noise
    refitter = Refitter(camera_model, refit_settings, excess_noise=excess)
    parts = [no_localizations(pixel_size_um)]
    for answer in answers(
        frames, used, camera_model, calcium=calcium, calcium_camera=calcium_camera, excess_noise=excess,
        batch=batch,
    ):  # fmt: skip
        found = as_localizations(answer, used, how, pixel_size_um, first_frame)
        if refit != "none":
            found = refitter.refitted(answer.frame, found, crowds=refit == "crowds")
        parts.append(found)
        if on_progress is not None:
            on_progress(answer.index + 1)
    return join_localizations(parts)


def as_localizations(
    answer: Answer,
    net: PunctaNet,
    settings: DecodeSettings,
    pixel_size_um: tuple[float, float],
    first_frame: int = 0,
) -> Localizations:
    """Return the puncta of one frame's answer, those inside the frame, by rows."""
    height, width = answer.planes.shape[1:]
    found = decode(answer.planes, settings)
    y, x = found[:, 0], found[:, 1]
    inside = (y >= -0.5) & (y < height - 0.5) & (x >= -0.5) & (x < width - 0.5)
    found = found[inside]
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    y, x, probability, log_photons, log_background, sigma_x, sigma_y, sigma_log = found.T[:8]
    seen = answer.seen
    pixel = (np.rint(y).astype(int).clip(0, height - 1), np.rint(x).astype(int).clip(0, width - 1))
    variance = seen.variance[pixel] if isinstance(seen.variance, np.ndarray) else seen.variance
    background = np.exp(log_background) * seen.level[pixel] - variance - 0.375
    photons = np.exp(log_photons) * seen.excess_noise
    calcium = np.full(len(x), np.nan)
    if net.has_calcium:
        calcium = 1.0 / (1.0 + np.exp(net.calcium_logit - found[:, 8]))
    return Localizations(
        pixel_size_um,
        frame=np.full(len(x), first_frame + answer.index, np.int64),
        x_px=x,
        y_px=y,
        photons=photons,
        background=np.maximum(background, 0.0) * seen.excess_noise,
        x_se_px=sigma_x * net.sigma_scale,
        y_se_px=sigma_y * net.sigma_scale,
        photons_se=photons * sigma_log,
        probability=probability,
        calcium_probability=calcium,
    )
