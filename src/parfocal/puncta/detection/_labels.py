"""Localizations as pseudo-ground-truth: what a network may learn from on movies of which no truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from parfocal.puncta._localizations import Localizations
from parfocal.puncta._truth import PunctaTruth


def labels_of(localizations: Localizations, frame_interval_s: float) -> PunctaTruth:
    """Return localizations in the form of a simulation's truth, each a punctum of its own.

    Nothing is known of motion or calcium: every punctum is `unknown` and dark in calcium, and none is an event's.

    Parameters
    ----------
    localizations : Localizations
    frame_interval_s : float
        Of the movie.
    """
    spots = localizations
    n = len(spots)
    nothing = np.empty(0)
    columns: dict[str, Any] = {
        "frame": spots.frame,
        "punctum": np.arange(n),
        "x_px": spots.x_px,
        "y_px": spots.y_px,
        "z_um": np.where(np.isfinite(spots.z_um), spots.z_um, 0.0),
        "photons": spots.photons,
        "background": spots.background,
        "sigma_px": 0.5 * (spots.sigma_x_px + spots.sigma_y_px),
        "is_visible": np.ones(n, bool),
        "motion": np.full(n, "unknown"),
        "is_calcium_on": np.zeros(n, bool),
        "calcium": np.zeros(n),
        "event_punctum": np.empty(0, np.int64),
        "event_onset_s": nothing,
        "event_peak_dff": nothing,
        "event_x_px": nothing,
        "event_y_px": nothing,
        "parents": np.empty((0, 2), np.int64),
    }
    return PunctaTruth(spots.pixel_size_um, frame_interval_s, **columns)
