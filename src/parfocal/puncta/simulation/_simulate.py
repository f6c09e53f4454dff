"""A scene made into frames and truth: any frame by itself, a stream of them, or the whole movie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel, expose
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.simulation._background import make_surroundings
from parfocal.puncta.simulation._calcium import Events, draw_events, wave_rise
from parfocal.puncta.simulation._draws import Part, number
from parfocal.puncta.simulation._lives import live
from parfocal.puncta.simulation._scene import MOTIONS, PunctaScene
from parfocal.puncta.simulation._spots import paint_gaussians, painter

Frame = NDArray[np.uint16]
Image = NDArray[np.float32]
Floats = NDArray[np.float64]


class PunctaFrame(NamedTuple):
    """One frame of each channel; `calcium` is None where there is one channel."""

    frame_index: int
    image: Frame
    calcium: Frame | None


@dataclass(frozen=True, eq=False)
class PunctaRecording:
    """A movie, and all that is true of it, or was found or labelled.

    Parameters
    ----------
    movie : uint16[frame, y, x]
    calcium : uint16[frame, y, x] or None
    truth : PunctaTruth
    camera_model, calcium_camera_model : CameraModel
        Of the two channels; the second is another camera of the same kind.
    scene : PunctaScene or None
        None of a recording that was not simulated.
    is_ignored : bool[frame, y, x], optional
        Where calcium is neither on nor off, such as in a wave that people labelled; nothing is to be learnt of it.
    """

    movie: Frame
    calcium: Frame | None
    truth: PunctaTruth
    camera_model: CameraModel
    calcium_camera_model: CameraModel
    scene: PunctaScene | None
    is_ignored: NDArray[np.bool_] | None = None


class PunctaSimulation:
    """The frames of a scene, each when asked for: same scene, same frame, in any order and from any thread.

    What moves and what shines is drawn once, when this is made; no frame is kept.

    Parameters
    ----------
    scene : PunctaScene
    """

    def __init__(self, scene: PunctaScene) -> None:
        self.scene = scene
        middles = (np.arange(scene.n_frames) * scene.frame_interval_s + scene.open_s / 2).tolist()
        drift_um = np.array([scene.drift.at(t) for t in middles])
        self._middle_s = np.array(middles)
        self._shift_px = drift_um[:, 1:] / scene.pixel_size_um
        self._lift_um = drift_um[:, 0]
        self._around = make_surroundings(scene, float(np.abs(self._shift_px).max()))
        self._lives = live(scene, self._around)
        self._events: Events | None = None
        if scene.calcium is not None:
            self._events = draw_events(scene, scene.calcium, self._lives, self._around)
        self._sample = self._around.sample_photons
        self._decay = self._around.decay(self._middle_s)
        self._paint = painter(scene)
        self._seeds = number(scene.seed, Part.CAMERA), number(scene.seed, Part.CALCIUM_CAMERA)
        self.camera_model = scene.camera.model(scene.shape_px, self._seeds[0])
        self.calcium_camera_model = scene.camera.model(scene.shape_px, self._seeds[1])
        lives = self._lives
        self._is_still = (np.ptp(lives.y_px, axis=2) == 0) & (np.ptp(lives.x_px, axis=2) == 0)
        self._light = lives.on * (lives.photons / scene.sub_frames)[:, None, None]
        self._light *= self._lit()[..., None]

    def expected(self, index: int) -> Image:
        """Return the expected photoelectrons of a frame of the puncta channel, `[y, x]`."""
        image = self._background(index)
        image += np.float32(self.scene.background.offset_photons + self._dark_e(self.camera_model))
        self._add_spots(image, index, 1.0)
        return np.maximum(image, 0, out=image)

    def expected_calcium(self, index: int) -> Image:
        """Return the expected photoelectrons of a frame of the calcium channel; refuse without one."""
        told, events, around = self.scene.calcium, self._events, self._around
        if told is None or events is None:
            raise BadInputError("scene: calcium is None, expected settings of a calcium channel")
        shift = (float(self._shift_px[index, 0]), float(self._shift_px[index, 1]))
        f0 = around.moved(around.cell * around.texture, shift) * around.illumination
        f0 = f0 * np.float32(told.f0_photons * self._calcium_decay(index))
        image = f0.copy()
        rise = wave_rise(self.scene, told, events, index)
        if rise is not None:
            image += f0 * rise
        sigma_y, sigma_x = (told.sigma_um / p for p in self.scene.pixel_size_um)
        y, x, dff = self._calcium_places(events, index)
        if dff.size:
            height, width = f0.shape
            there = f0[
                np.clip(np.rint(y), 0, height - 1).astype(int), np.clip(np.rint(x), 0, width - 1).astype(int)
            ]
            paint_gaussians(
                image,
                y,
                x,
                np.full(y.size, sigma_y),
                np.full(y.size, sigma_x),
                dff * there * 2 * math.pi * sigma_y * sigma_x,
            )
        image += np.float32(told.offset_photons + self._dark_e(self.calcium_camera_model))
        if told.bleed_through:
            self._add_spots(image, index, told.bleed_through)
        return np.maximum(image, 0, out=image)

    def frame(self, index: int) -> Frame:
        """Return a noisy frame of the puncta channel."""
        return expose(self.expected(self._known(index)), self.camera_model, self._seeds[0], index)

    def calcium_frame(self, index: int) -> Frame:
        """Return a noisy frame of the calcium channel; refuse without one."""
        return expose(self.expected_calcium(self._known(index)), self.calcium_camera_model, self._seeds[1], index)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[PunctaFrame]:
        """Yield frames one after another; none is kept."""
        has_calcium = self.scene.calcium is not None
        for index in range(start, self.scene.n_frames if stop is None else stop):
            yield PunctaFrame(index, self.frame(index), self.calcium_frame(index) if has_calcium else None)

    @property
    def truth(self) -> PunctaTruth:
        """What is in the frames."""
        scene, lives, events = self.scene, self._lives, self._events
        frames = np.arange(scene.n_frames)
        alive = (frames >= lives.first[:, None]) & (frames < lives.last[:, None])
        frame, i = np.nonzero(alive.T)
        y, x = self._mean_places()
        y, x = (y + self._shift_px[:, 0])[i, frame], (x + self._shift_px[:, 1])[i, frame]
        height, width = scene.shape_px
        inside = (y >= -0.5) & (y < height - 0.5) & (x >= -0.5) & (x < width - 0.5)
        photons = self._light.sum(axis=2)[i, frame]
        empty = np.empty(0)
        own = np.zeros((lives.n, scene.n_frames)) if events is None else events.dff
        on = own.astype(bool) if events is None else events.is_on
        at_onset = np.zeros((0, 2))
        if events is not None:
            at_frame = np.minimum((events.onset_s / scene.frame_interval_s).astype(int), scene.n_frames - 1)
            at_onset = self._shift_px[at_frame]
        return PunctaTruth(
            pixel_size_um=scene.pixel_size_um,
            frame_interval_s=scene.frame_interval_s,
            frame=frame.astype(np.int64),
            punctum=i.astype(np.int64),
            x_px=x,
            y_px=y,
            z_um=lives.z_um[i] + self._lift_um[frame],
            photons=photons,
            background=self._background_at(frame, y, x),
            sigma_px=lives.sigma_px[i],
            is_visible=(photons > 0) & inside,
            motion=np.array(MOTIONS)[lives.doing[i, frame]],
            is_calcium_on=on[i, frame],
            calcium=own[i, frame],
            event_punctum=np.empty(0, np.int64) if events is None else events.punctum,
            event_onset_s=empty if events is None else events.onset_s,
            event_peak_dff=empty if events is None else events.peak_dff,
            event_x_px=empty if events is None else events.x_px + at_onset[:, 1],
            event_y_px=empty if events is None else events.y_px + at_onset[:, 0],
            parents=lives.parents,
            wave_onset_s=empty if events is None else events.wave_onset_s,
            drift_x_px=self._shift_px[:, 1],
            drift_y_px=self._shift_px[:, 0],
        )

    def _add_spots(self, image: Image, index: int, share: float) -> None:
        lives = self._lives
        light = self._light[:, index]
        shift_y, shift_x = self._shift_px[index].tolist()
        shines = light.any(axis=1)
        still = np.flatnonzero(shines & self._is_still[:, index])
        moving = np.flatnonzero(shines & ~self._is_still[:, index])
        s = self.scene.sub_frames
        who = np.concatenate([still, np.repeat(moving, s)])
        if not who.size:
            return
        y = np.concatenate([lives.y_px[still, index, 0], lives.y_px[moving, index].ravel()]) + shift_y
        x = np.concatenate([lives.x_px[still, index, 0], lives.x_px[moving, index].ravel()]) + shift_x
        photons = np.concatenate([light[still].sum(axis=1), light[moving].ravel()]) * share
        shown = photons > 0
        z = lives.z_um[who] + self._lift_um[index]
        self._paint(image, y[shown], x[shown], z[shown], lives.sigma_px[who][shown], photons[shown])

    def _background(self, index: int) -> Image:
        """Return the sample's own light in a frame."""
        shift = (float(self._shift_px[index, 0]), float(self._shift_px[index, 1]))
        image = self._around.moved(self._sample, shift) * self._around.illumination
        return image * np.float32(self._decay[index])

    def _background_at(self, frame: NDArray[np.intp], y: Floats, x: Floats) -> Floats:
        around = self._around
        sample = around.at(self._sample, y - self._shift_px[frame, 0], x - self._shift_px[frame, 1])
        return sample * self._illumination_at(y, x) * self._decay[frame] + self.scene.background.offset_photons

    def _illumination_at(self, y: Floats, x: Floats) -> Floats:
        lit = self._around.illumination
        height, width = lit.shape
        return lit[
            np.clip(np.rint(y), 0, height - 1).astype(np.intp), np.clip(np.rint(x), 0, width - 1).astype(np.intp)
        ].astype(np.float64)

    def _lit(self) -> Floats:
        """Return how strongly each punctum is lit in each frame."""
        if not self.scene.background.tirf_falloff:
            return np.ones((self._lives.n, self.scene.n_frames))
        y, x = self._mean_places()
        return self._illumination_at(y + self._shift_px[:, 0], x + self._shift_px[:, 1])

    def _mean_places(self) -> tuple[Floats, Floats]:
        """Return mean places of each frame, weighted by the light; of the whole exposure while dark."""
        lives = self._lives
        weight = np.where(lives.on.sum(axis=2, keepdims=True) > 0, lives.on, 1.0)
        total = weight.sum(axis=2)
        return (lives.y_px * weight).sum(axis=2) / total, (lives.x_px * weight).sum(axis=2) / total

    def _calcium_places(self, events: Events, index: int) -> tuple[Floats, Floats, Floats]:
        """Return where calcium rises in a frame, and by how much."""
        lives = self._lives
        own = np.flatnonzero(events.dff[:, index] > 0)
        n_own = events.n_own
        stray = np.flatnonzero(events.stray_dff[:, index] > 0)
        y = np.concatenate([lives.y_px[own, index].mean(axis=1), events.y_px[n_own:][stray]])
        x = np.concatenate([lives.x_px[own, index].mean(axis=1), events.x_px[n_own:][stray]])
        dff = np.concatenate([events.dff[own, index], events.stray_dff[stray, index]])
        return y + self._shift_px[index, 0], x + self._shift_px[index, 1], dff

    def _calcium_decay(self, index: int) -> float:
        told = self.scene.calcium
        if told is None or told.bleaching_s is None:
            return 1.0
        return math.exp(-float(self._middle_s[index]) / told.bleaching_s)

    def _dark_e(self, model: CameraModel) -> float:
        return model.dark_current_e_per_s * self.scene.open_s

    def _known(self, index: int) -> int:
        if not 0 <= index < self.scene.n_frames:
            raise BadInputError(f"scene: frame {index}, expected 0 to {self.scene.n_frames - 1}")
        return index


def puncta_frames(scene: PunctaScene) -> Iterator[PunctaFrame]:
    """Yield the frames of a scene one after another, without holding the movie."""
    return PunctaSimulation(scene).frames()


def simulate_puncta(scene: PunctaScene) -> PunctaRecording:
    """Return a whole simulated recording and its truth.

    Examples
    --------
    >>> from parfocal.puncta.simulation import Calcium, PunctaScene
    >>> recording = simulate_puncta(PunctaScene(shape_px=(64, 64), n_frames=3, calcium=Calcium(), seed=4))
    >>> recording.movie.shape, recording.movie.dtype.name, recording.calcium.shape
    ((3, 64, 64), 'uint16', (3, 64, 64))
    >>> recording.truth.photons.size == recording.truth.frame.size
    True
    """
    simulation = PunctaSimulation(scene)
    movie = np.empty((scene.n_frames, *scene.shape_px), np.uint16)
    calcium = np.empty_like(movie) if scene.calcium is not None else None
    for frame in simulation.frames():
        movie[frame.frame_index] = frame.image
        if calcium is not None and frame.calcium is not None:
            calcium[frame.frame_index] = frame.calcium
    return PunctaRecording(
        movie, calcium, simulation.truth, simulation.camera_model, simulation.calcium_camera_model, scene
    )
