"""What the analysis of puncta is told, what of it is refused, and what it means to the rooms of science."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel
from parfocal.puncta.calcium import EventSettings, ReadSettings
from parfocal.puncta.detection import LocalizeSettings, Widths
from parfocal.puncta.rendering import RenderSettings
from parfocal.puncta.tracking import TrackSettings

DetectorName = Literal["classical", "hybrid", "network"]


@dataclass(frozen=True)
class PunctaParameters:
    """What the result depends on.

    `channel` shows puncta (empty: the first that comes), `calcium_channel` calcium (empty: the first other one;
    `none`: no calcium; that of the puncta: both are seen in one). `detector` finds puncta: `classical`, by
    wavelets and fits; `network`, which tells crowds apart and needs PyTorch; `hybrid`, the network, and what it
    finds fitted again. `model` is the network's: a name, version or hash of weights, or a file of them (empty: the
    `puncta` that is promoted, or that came with parfocal; what is kept is its hash). `threshold` is an expression,
    of a network the least probability; `fitter`, `max_emitters` and `widths` are of the classical detector, see
    `parfocal.puncta.detection.LocalizeSettings`. `excess_noise` is the factor on the variance of shot noise (0: as
    the camera's EM gain tells). `calibration`, for the classical detector, names a calibration of
    the data folder (file, beginning of its hash, or `newest`) by which astigmatic spots tell their depth; its hash
    is cited. Distances of 0 for splits and merges: neither is sought. `calcium_sigma_px` is the width of a
    punctum's calcium (0: that of the optics and 0.3 um of diffusion, else 1.5 px), `event_sd` how far an
    event stands out of the noise, `bleed_through` the share of a punctum's photons that is seen in the calcium
    channel (-1: measured when the run has ended; events that are told live go without it). A `frame_interval_s` of
    0 is as the frames tell.
    """

    channel: str = ""
    calcium_channel: str = ""
    detector: DetectorName = "classical"
    model: str = ""
    threshold: str = "auto"
    fitter: Literal["mle", "wlsq", "lsq"] = "mle"
    max_emitters: int = 0
    widths: Widths = "alike"
    excess_noise: float = 0.0
    calibration: str = ""
    max_step_um: float = 0.5
    max_missing_frames: int = 2
    max_split_um: float = 0.0
    max_merge_um: float = 0.0
    min_frames: int = 5
    drift: Literal["none", "correlation", "fiducials"] = "none"
    calcium_sigma_px: float = 0.0
    event_sd: float = 3.0
    bleed_through: float = -1.0
    frame_interval_s: float = 0.0
    image: Literal["gaussian", "histogram", "average_shifted", "none"] = "gaussian"
    zoom: int = 5
    batch_frames: int = 32


def check_parameters(told: PunctaParameters) -> None:
    """Refuse here what would fail at the first frame."""
    if told.excess_noise and not 1 <= told.excess_noise < math.inf:
        raise BadInputError(f"puncta: excess_noise={told.excess_noise:g}: 1 or more, or 0, was expected")
    if told.detector == "classical":
        detection_settings(told, None)
        if told.model:
            raise BadInputError(f"puncta: model={told.model} is of a network, detector is classical")
    else:
        _check_network(told)
    tracking_settings(told)
    event_settings(told)
    if told.calcium_sigma_px:
        ReadSettings(told.calcium_sigma_px)
    if told.bleed_through != -1 and not 0 <= told.bleed_through < 1:
        raise BadInputError(
            f"puncta: bleed_through={told.bleed_through:g}: 0 to below 1, or -1 to have it measured, was expected"
        )
    if told.image != "none":
        RenderSettings(told.image, told.zoom)
    if told.batch_frames < 1 or told.frame_interval_s < 0 or told.calcium_sigma_px < 0:
        raise BadInputError(
            f"puncta: batch_frames={told.batch_frames}, frame_interval_s={told.frame_interval_s:g}, "
            f"calcium_sigma_px={told.calcium_sigma_px:g}: 1 or more, and 0 or more were expected"
        )


def _check_network(told: PunctaParameters) -> None:
    from parfocal.learning import need_torch

    if told.detector not in ("hybrid", "network"):
        raise BadInputError(f"puncta: detector is {told.detector!r}; expected classical, hybrid or network")
    need_torch(f"puncta: detector {told.detector}")
    least_probability(told)
    if told.calibration:
        raise BadInputError("puncta: depth by a calibration is told by the classical detector alone")


def least_probability(told: PunctaParameters) -> float | None:
    """Return what a network has to say of a punctum at least; None: what its card says."""
    if told.threshold == "auto":
        return None
    with contextlib.suppress(ValueError):
        if 0 < (number := float(told.threshold)) < 1:
            return number
    raise BadInputError(f"puncta: threshold={told.threshold}: of a network a probability was expected, as 0.6")


def detection_settings(told: PunctaParameters, model: DefocusModel | None) -> LocalizeSettings:
    """Return how the classical detector finds and fits."""
    return LocalizeSettings(
        threshold=told.threshold,
        method=told.fitter,
        max_emitters=told.max_emitters or None,
        widths=told.widths,
        excess_noise=told.excess_noise or None,
        defocus_model=model,
    )


def tracking_settings(told: PunctaParameters) -> TrackSettings:
    """Return how localizations become tracks."""
    return TrackSettings(
        max_step_um=told.max_step_um,
        max_missing_frames=told.max_missing_frames,
        max_split_um=told.max_split_um or None,
        max_merge_um=told.max_merge_um or None,
        min_frames=told.min_frames,
    )


def event_settings(told: PunctaParameters) -> EventSettings:
    """Return what a calcium event is: it ends at 1.5 SD, or where it has to begin."""
    return EventSettings(high_sd=told.event_sd, low_sd=min(1.5, told.event_sd))
