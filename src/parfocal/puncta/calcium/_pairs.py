"""Puncta and calcium that were recorded together, and labels of people, made into a sample to train on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations
from parfocal.puncta.calcium._labels import BinaryLabels
from parfocal.puncta.detection import labels_of
from parfocal.puncta.simulation import PunctaRecording
from parfocal.puncta.tracking import TrackSettings, track_puncta

_NEEDED = ("photons", "background", "sigma_x_px", "sigma_y_px")


def paired_recording(
    movie: NDArray[Any],
    calcium: NDArray[Any],
    puncta: Localizations,
    labels: BinaryLabels,
    frame_interval_s: float,
    camera_model: CameraModel,
    tracks: TrackSettings | None = None,
) -> PunctaRecording:
    """Return both channels with their labels in the form of a simulated recording, for `write_sample`.

    Puncta are linked, so that what is labelled on and off of one punctum can be held against its light. Those
    outside the image are left out.

    Parameters
    ----------
    movie, calcium : ndarray[frame, y, x]
        Raw ADU, whole numbers up to 65535.
    puncta : Localizations
        Frames and pixels as the movie's.
    labels : BinaryLabels
        Made with the same puncta.
    frame_interval_s : float
    camera_model : CameraModel
        Of both channels.
    tracks : TrackSettings, optional

    Raises
    ------
    BadInputError
        Shapes differ, pixels are no such numbers, or of a punctum light or width are not known.
    """
    for name, shape in (("calcium", calcium.shape), ("labels", labels.signal.shape)):
        if shape != movie.shape:
            raise BadInputError(f"pair: {name} is {shape} (frame, y, x), and the movie of puncta {movie.shape}")
    _, height, width = movie.shape
    x, y = puncta.x_px, puncta.y_px
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5) & (puncta.photons > 0)
    columns = puncta.columns()
    for name in _NEEDED:
        if n := int((~np.isfinite(columns[name])).sum()):
            raise BadInputError(
                f"pair: {name} is not known of {n} puncta of {len(puncta)}; expected a table of parfocal "
                "localize, or none, to have them found"
            )
    kept = puncta.take(inside)
    punctum = track_puncta(kept, tracks).track
    alone = punctum < 0
    punctum[alone] = punctum.max(initial=-1) + 1 + np.arange(alone.sum())
    truth = replace(labels_of(kept, frame_interval_s), punctum=punctum, is_calcium_on=labels.is_on[inside])
    return PunctaRecording(
        _as_uint16(movie, "the movie of puncta"),
        _as_uint16(calcium, "calcium"),
        truth,
        camera_model,
        camera_model,
        None,
        labels.is_ignored,
    )


def _as_uint16(frames: NDArray[Any], name: str) -> NDArray[np.uint16]:
    if frames.dtype == np.uint16:
        return frames
    if frames.dtype.kind not in "uif" or not np.array_equal(frames, np.round(frames)):
        raise BadInputError(f"pair: {name} is {frames.dtype}; samples hold whole numbers up to 65535")
    if frames.min(initial=0) < 0 or frames.max(initial=0) > 65535:
        raise BadInputError(f"pair: {name} goes beyond 0 to 65535, which samples hold")
    return frames.astype(np.uint16)
