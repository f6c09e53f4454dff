"""What a simulated recording really holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PunctaTruth:
    """Every punctum in every frame of its life, a row each; all columns are as long as `frame`.

    Parameters
    ----------
    pixel_size_um : (float, float)
        (y, x).
    frame_interval_s : float
    frame : int64[n]
        From 0.
    punctum : int64[n]
        Which one, from 0.
    x_px, y_px : float64[n]
        Mean position during the exposure; a pixel's centre is its integer index.
    z_um : float64[n]
        Defocus.
    photons : float64[n]
        Expected on the camera in this frame; 0 while dark.
    background : float64[n]
        Expected photons per pixel there.
    sigma_px : float64[n]
        Width of a Gaussian with the spot's own core.
    is_visible : bool[n]
        On, and inside the image.
    motion : str[n]
        `immobile`, `brownian`, `confined`, `directed`: what it does in this frame. `unknown` where nobody says, as
        in `detection.labels_of`.
    is_calcium_on : bool[n]
        Whether an event of its own is under way.
    calcium : float64[n]
        dF/F0 of its own events.
    event_punctum : int64[m]
        Of every calcium event: whose it is, -1 of none (an event without a punctum, a confounder).
    event_onset_s, event_peak_dff : float64[m]
    event_x_px, event_y_px : float64[m]
    parents : int64[k, 2]
        Puncta that go over into one another by a merge or a split: (before, after).
    wave_onset_s : float64[w]
        When each wave of calcium sets out; it is no event of any punctum.
    drift_x_px, drift_y_px : float64[n_frames]
        How far the sample has moved in the middle of each frame; it is in the positions.
    """

    pixel_size_um: tuple[float, float]
    frame_interval_s: float
    frame: Ints
    punctum: Ints
    x_px: Floats
    y_px: Floats
    z_um: Floats
    photons: Floats
    background: Floats
    sigma_px: Floats
    is_visible: NDArray[np.bool_]
    motion: NDArray[np.str_]
    is_calcium_on: NDArray[np.bool_]
    calcium: Floats
    event_punctum: Ints
    event_onset_s: Floats
    event_peak_dff: Floats
    event_x_px: Floats
    event_y_px: Floats
    parents: Ints
    wave_onset_s: Floats = field(default_factory=lambda: np.empty(0))
    drift_x_px: Floats = field(default_factory=lambda: np.empty(0))
    drift_y_px: Floats = field(default_factory=lambda: np.empty(0))
