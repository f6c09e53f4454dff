"""What the calcium channel shows: events at puncta, events elsewhere, waves, a baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.optics import pulse_mean
from parfocal.puncta.simulation._background import Surroundings
from parfocal.puncta.simulation._draws import Part, generator
from parfocal.puncta.simulation._lives import Lives
from parfocal.puncta.simulation._scene import Calcium, PunctaScene

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ON_ABOVE = 0.1
"""An event is under way in a frame whose mean of it is above this share of its peak."""

_GONE_DECAYS = 8.0


@dataclass(frozen=True, eq=False)
class Events:
    """Calcium events and waves of a scene.

    Attributes
    ----------
    punctum : int64[m]
        -1 of none.
    onset_s, peak_dff, y_px, x_px : float64[m]
        Places are in the sample, at the onset.
    dff : float64[n_puncta, n_frames]
        Of each punctum's own events, mean of the exposure.
    is_on : bool[n_puncta, n_frames]
    stray_dff : float64[n_stray, n_frames]
    wave_onset_s, wave_dff : float64[w]
    wave_from_px : float64[w, 2]
    """

    punctum: Ints
    onset_s: Floats
    peak_dff: Floats
    y_px: Floats
    x_px: Floats
    dff: Floats
    is_on: NDArray[np.bool_]
    stray_dff: Floats
    wave_onset_s: Floats
    wave_dff: Floats
    wave_from_px: Floats

    @property
    def n_own(self) -> int:
        """How many events are at puncta: they stand first."""
        return int((self.punctum >= 0).sum())


def draw_events(scene: PunctaScene, told: Calcium, lives: Lives, around: Surroundings) -> Events:
    """Draw the events of a scene."""
    rng, duration_s = generator(scene.seed, Part.EVENTS), scene.duration_s
    frame_s = np.arange(scene.n_frames) * scene.frame_interval_s
    dff, is_on = np.zeros((lives.n, scene.n_frames)), np.zeros((lives.n, scene.n_frames), bool)
    rows: list[tuple[int, float, float, float, float]] = []
    for i in range(lives.n):
        count = int(rng.poisson(told.events_per_s * duration_s))
        onsets = np.sort(rng.uniform(0, duration_s, count))
        for onset, peak in zip(onsets.tolist(), _peaks(told, rng, count).tolist()):
            frame = int(onset / scene.frame_interval_s)
            if not lives.first[i] <= frame < lives.last[i]:
                continue
            shape = _shape(scene, told, onset, frame_s)
            dff[i] += peak * shape
            is_on[i] |= shape > ON_ABOVE
            sub = min(int((onset - frame_s[frame]) / scene.open_s * scene.sub_frames), scene.sub_frames - 1)
            rows.append((i, onset, peak, float(lives.y_px[i, frame, sub]), float(lives.x_px[i, frame, sub])))
    alive = (np.arange(scene.n_frames) >= lives.first[:, None]) & (np.arange(scene.n_frames) < lives.last[:, None])
    stray = _stray(scene, told, around)
    table = np.array([*rows, *stray]).reshape(-1, 5)
    waves = generator(scene.seed, Part.WAVES)
    n_waves = int(waves.poisson(told.waves_per_min * duration_s / 60))
    height, width = scene.shape_px
    turn = waves.uniform(0, 2 * np.pi, n_waves)
    radius = np.hypot(height, width) / 2
    return Events(
        punctum=table[:, 0].astype(np.int64),
        onset_s=table[:, 1],
        peak_dff=table[:, 2],
        y_px=table[:, 3],
        x_px=table[:, 4],
        dff=dff * alive,
        is_on=is_on & alive,
        stray_dff=np.array([row[2] * _shape(scene, told, row[1], frame_s) for row in stray]).reshape(
            -1, scene.n_frames
        ),
        wave_onset_s=np.sort(waves.uniform(0, duration_s, n_waves)),
        wave_dff=told.wave_dff * np.exp(waves.normal(0, 0.2, n_waves)),
        wave_from_px=np.stack([height / 2 + radius * np.sin(turn), width / 2 + radius * np.cos(turn)], axis=1),
    )


def wave_rise(scene: PunctaScene, told: Calcium, events: Events, frame: int) -> NDArray[np.float32] | None:
    """Return dF/F0 of the waves that cross the image in a frame, per pixel; None where none does."""
    total: NDArray[np.float32] | None = None
    t_s = frame * scene.frame_interval_s
    y_um = np.arange(scene.shape_px[0], dtype=np.float32)[:, None] * np.float32(scene.pixel_size_um[0])
    x_um = np.arange(scene.shape_px[1], dtype=np.float32)[None, :] * np.float32(scene.pixel_size_um[1])
    across_s = float(np.hypot(y_um[-1, 0], x_um[0, -1])) / told.wave_speed_um_per_s * 1.5
    for onset_s, dff, origin in zip(events.wave_onset_s, events.wave_dff, events.wave_from_px):
        if not onset_s - scene.open_s < t_s < onset_s + across_s + _GONE_DECAYS * told.wave_decay_s:
            continue
        from_y, from_x = origin * scene.pixel_size_um
        arrival_s = onset_s + np.hypot(y_um - from_y, x_um - from_x) / told.wave_speed_um_per_s
        shape = pulse_mean(t_s - arrival_s, scene.open_s, told.wave_rise_s, told.wave_decay_s)
        rise = (dff * shape).astype(np.float32)
        total = rise if total is None else total + rise
    return total


def _peaks(told: Calcium, rng: np.random.Generator, count: int) -> Floats:
    return told.peak_dff * np.exp(rng.normal(0, told.peak_spread, count))


def _shape(scene: PunctaScene, told: Calcium, onset_s: float, frame_s: Floats) -> Floats:
    """Return an event's mean in each frame, peak 1; nothing of it is left after eight decays."""
    shape = np.zeros(frame_s.size)
    begin = int(onset_s / scene.frame_interval_s)
    end = int((onset_s + _GONE_DECAYS * told.decay_s + told.rise_s) / scene.frame_interval_s) + 1
    shape[begin:end] = pulse_mean(frame_s[begin:end] - onset_s, scene.open_s, told.rise_s, told.decay_s)
    return shape


def _stray(
    scene: PunctaScene, told: Calcium, around: Surroundings
) -> list[tuple[int, float, float, float, float]]:
    """Return the events where no punctum is: anywhere in the cell."""
    rng = generator(scene.seed, Part.STRAY)
    count = int(rng.poisson(told.stray_per_s * scene.duration_s))
    y, x = rng.uniform(0, scene.shape_px[0] - 1, count), rng.uniform(0, scene.shape_px[1] - 1, count)
    onset, peak = rng.uniform(0, scene.duration_s, count), _peaks(told, rng, count)
    inside = around.at(around.cell, y, x) > 0.5
    return [(-1, *row) for row in np.stack([onset, peak, y, x], axis=1)[inside].tolist()]
