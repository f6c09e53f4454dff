"""A sample under an objective in front of a camera: where the stage is goes in, a raw frame comes out."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics._camera_model import CameraModel
from parfocal.optics._disturbance import Disturbance
from parfocal.optics._drift import Drift
from parfocal.optics._events import cloud
from parfocal.optics._exposure import expose
from parfocal.optics._objective import Objective
from parfocal.optics._point_images import PointImages
from parfocal.optics._samples import Box, EventLayer, Sample
from parfocal.optics._volume_images import VolumeImages

_POINT_MARGIN_UM = 12.0
_POINT_CELL_UM = 10.0
_EVENT_MARGIN_UM = 4.0

Roi = tuple[int, int, int, int]


@dataclass(frozen=True)
class Channel:
    """One fluorescence channel: objective and pixel at its wavelength, background light, aberrations.

    `background_photons_per_s` is detected per pixel; `zernike_waves` maps Noll index to waves RMS.
    """

    objective: Objective = field(default_factory=Objective)
    background_photons_per_s: float = 100.0
    zernike_waves: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True)
class PointTruth:
    """Where the emitters of a frame are: pixels (centre = integer), um above the focal plane, photons/s."""

    y_px: NDArray[np.float64]
    x_px: NDArray[np.float64]
    defocus_um: NDArray[np.float64]
    photons_per_s: NDArray[np.float64]


@dataclass(frozen=True)
class EventTruth:
    """Which events began: where (px at the onset, um above the focal plane), when, and photons/s at the peak."""

    y_px: NDArray[np.float64]
    x_px: NDArray[np.float64]
    defocus_um: NDArray[np.float64]
    onset_s: NDArray[np.float64]
    photons_per_s: NDArray[np.float64]


class SimulatedScene:
    """Forms raw frames of a drifting sample. Same arguments, same frame, in any order and from any thread.

    Photons are detected photons (quantum efficiency is in the brightness of the sample). The sample is still
    during an exposure, unless a `Disturbance` says otherwise. Points are looked up in cached tables of spots,
    volumes in cached focal series.

    Parameters
    ----------
    sample : Sample
        What there is to see.
    channels : mapping of str to Channel
        How each channel is imaged; must name every channel of the sample.
    camera_model : CameraModel
        Noise of the whole sensor.
    shape : (int, int)
        Sensor height and width, px.
    drift : Drift
        How the sample moves.
    seed : int
        Of the camera's noise.

    Raises
    ------
    BadInputError
        If a channel of the sample is not described.
    """

    def __init__(
        self,
        sample: Sample,
        channels: Mapping[str, Channel],
        camera_model: CameraModel | None = None,
        shape: tuple[int, int] = (256, 256),
        drift: Drift | None = None,
        seed: int = 0,
    ) -> None:
        missing = [name for name in sample.channels if name not in channels]
        if missing:
            raise BadInputError(f"scene: the sample glows in {missing[0]!r}, expected one of {list(channels)}")
        self.sample = sample
        self.channels = dict(channels)
        self.camera_model = camera_model or CameraModel()
        self.shape = shape
        self.drift = drift or Drift()
        self.seed = seed
        self._lock = threading.RLock()
        self._points = {
            name: PointImages(channels[name].objective, channels[name].zernike_waves)
            for name in dict.fromkeys([*sample.points, *sample.events])
        }
        self._volumes = {
            name: VolumeImages(channels[name].objective, channels[name].zernike_waves, layers, shape)
            for name, layers in sample.volumes.items()
        }
        self._cut: tuple[tuple[Roi | None, float], CameraModel] | None = None
        self._known: OrderedDict[tuple[str, int, int], list[NDArray[np.float64]]] = OrderedDict()

    def focus_um(self, x_um: float, y_um: float, t_s: float = 0.0) -> float:
        """Return the stage z at which the sample's mid-plane is in focus at the centre of the view, um."""
        dz, dy, dx = self.drift.at(t_s).tolist()
        return float(self.sample.surface.height_um(y_um - dy, x_um - dx)) + dz

    def smallest_pixel_um(self, channel: str) -> float:
        """Return the smaller side of a pixel at the sample, um."""
        return min(self._channel(channel).objective.pixel_size_um)

    def points(self, x_um: float, y_um: float, z_um: float, channel: str, t_s: float = 0.0) -> PointTruth:
        """Return the emitters in and around the view: the truth behind a frame of these arguments."""
        optics = self._channel(channel)
        dz, dy, dx = self.drift.at(t_s).tolist()
        pixel_y, pixel_x = optics.objective.pixel_size_um
        places, photons = self._places(channel, y_um - dy, x_um - dx)
        return PointTruth(
            (places[:, 1] + dy - y_um) / pixel_y + (self.shape[0] - 1) / 2,
            (places[:, 2] + dx - x_um) / pixel_x + (self.shape[1] - 1) / 2,
            places[:, 0] + dz - z_um,
            photons,
        )

    def events(
        self, x_um: float, y_um: float, z_um: float, channel: str, begin_s: float, end_s: float
    ) -> EventTruth:
        """Return the events of a channel in and around the view, with an onset in begin..end, in their order."""
        objective = self._channel(channel).objective
        pixel_y, pixel_x = objective.pixel_size_um
        rows: list[NDArray[np.float64]] = [np.empty((0, 5))]
        for layer in self.sample.events.get(channel, ()):
            # Cells are looked up where the view is without drift, with room for it.
            dy, dx = self.drift.at(begin_s).tolist()[1:]
            found = layer.events_in(self._box(objective, y_um - dy, x_um - dx), begin_s, end_s)
            moved = (
                np.array([self.drift.at(t) for t in found.onset_s.tolist()]).reshape(-1, 3) + found.positions_um
            )
            y_px = (moved[:, 1] - y_um) / pixel_y + (self.shape[0] - 1) / 2
            x_px = (moved[:, 2] - x_um) / pixel_x + (self.shape[1] - 1) / 2
            rows.append(np.stack([y_px, x_px, moved[:, 0] - z_um, found.onset_s, found.photons_per_s], axis=1))
        table = np.concatenate(rows)
        return EventTruth(*table[np.argsort(table[:, 3], kind="stable")].T)

    def photons(
        self,
        x_um: float,
        y_um: float,
        z_um: float,
        channel: str,
        exposure_s: float,
        t_s: float = 0.0,
        roi_px: Roi | None = None,
    ) -> NDArray[np.float32]:
        """Return the expected photoelectrons of a frame, dark current included, `[y, x]`.

        Arguments are those of `frame`.
        """
        optics = self._channel(channel)
        top, left, height, width = roi_px or (0, 0, *self.shape)
        with self._lock:
            image = np.full((height, width), optics.background_photons_per_s, dtype=np.float32)
            if channel in self._volumes:
                dz, dy, dx = self.drift.at(t_s).tolist()
                whole = self._volumes[channel].photons_per_s(y_um - dy, x_um - dx, z_um - dz)
                image += whole[top : top + height, left : left + width]
            for layer in self.sample.events.get(channel, ()):
                self._add_events(image, layer, (z_um, y_um, x_um), channel, exposure_s, t_s, (top, left))
            if channel in self.sample.points:
                truth = self.points(x_um, y_um, z_um, channel, t_s)
                self._points[channel].add(
                    image, truth.y_px - top, truth.x_px - left, truth.defocus_um, truth.photons_per_s
                )
        image += np.float32(self.camera_model.dark_current_e_per_s)
        # Spline and Fourier interpolation may undershoot a dark background by parts in a thousand.
        np.maximum(image, 0, out=image)
        image *= np.float32(exposure_s)
        return image

    def frame(
        self,
        x_um: float,
        y_um: float,
        z_um: float,
        channel: str | None,
        exposure_s: float,
        t_s: float = 0.0,
        number: int = 0,
        roi_px: Roi | None = None,
        light: float = 1.0,
        gain: float = 1.0,
        disturbance: Disturbance | None = None,
    ) -> NDArray[np.uint16]:
        """Return one raw frame.

        Parameters
        ----------
        x_um, y_um, z_um : float
            Place of the sample at the centre of the view, and height of the focal plane, without drift.
        channel : str or None
            What shines; None for a dark frame.
        exposure_s : float
            Exposure time.
        t_s : float
            Seconds since the start, for the drift.
        number : int
            Number of the frame: another number, other noise.
        roi_px : (y, x, height, width), optional
            Part of the sensor.
        light : float
            Factor on all light, background included.
        gain : float
            Factor on the camera's gain.
        disturbance : Disturbance, optional
            What spoils this exposure.

        Returns
        -------
        ndarray of shape (height, width), uint16
        """
        shape = self.shape if roi_px is None else roi_px[2:]
        if channel is None or light == 0:
            dark = self.camera_model.dark_current_e_per_s * exposure_s
            mean = np.full(shape, dark, dtype=np.float32)
        else:
            spoilt = disturbance if disturbance is not None else Disturbance()
            path = spoilt.path_um or ((0.0, 0.0, 0.0),)
            share_s = exposure_s * light / len(path)
            parts = (
                self.photons(x_um - dx, y_um - dy, z_um - dz, channel, share_s, t_s, roi_px) for dz, dy, dx in path
            )
            mean = next(parts)
            for part in parts:
                mean += part
            if spoilt.illumination is not None:
                top, left = roi_px[:2] if roi_px is not None else (0, 0)
                y_px, x_px = (np.arange(n, dtype=np.float64) + at for n, at in zip(shape, (top, left)))
                mean *= spoilt.illumination.factor(y_px[:, None], x_px[None, :]).astype(np.float32)
        return expose(mean, self._model(roi_px, gain), self.seed, number)

    def _add_events(
        self,
        image: NDArray[np.float32],
        layer: EventLayer,
        at_um: tuple[float, float, float],
        channel: str,
        exposure_s: float,
        t_s: float,
        corner_px: tuple[int, int],
    ) -> None:
        """Add what is under way of a layer's events in an exposure about `t_s`, as clouds of points."""
        objective = self._channel(channel).objective
        moved = np.array(at_um) - self.drift.at(t_s)
        begin_s = t_s - exposure_s / 2
        box = self._box(objective, float(moved[1]), float(moved[2]))
        found = layer.events_in(box, max(begin_s - layer.lasts_s, 0.0), max(t_s + exposure_s / 2, 0.0))
        if not found.onset_s.size:
            return
        photons = found.photons_per_s * layer.share(begin_s - found.onset_s, exposure_s)
        around = cloud(layer.sigma_um)
        from_view = found.positions_um - moved
        pixel_y, pixel_x = objective.pixel_size_um
        y_px = (from_view[:, None, 1] + around[:, 0]) / pixel_y + (self.shape[0] - 1) / 2 - corner_px[0]
        x_px = (from_view[:, None, 2] + around[:, 1]) / pixel_x + (self.shape[1] - 1) / 2 - corner_px[1]
        n = len(around)
        defocus, each = np.repeat(from_view[:, 0], n), np.repeat(photons / n, n)
        self._points[channel].add(image, y_px.ravel(), x_px.ravel(), defocus, each)

    def _box(self, objective: Objective, y_um: float, x_um: float) -> Box:
        """Return the view about a place, with what lies around and shines into it."""
        pixel_y, pixel_x = objective.pixel_size_um
        half_y = self.shape[0] * pixel_y / 2 + _EVENT_MARGIN_UM
        half_x = self.shape[1] * pixel_x / 2 + _EVENT_MARGIN_UM
        return Box(y_um - half_y, x_um - half_x, y_um + half_y, x_um + half_x)

    def _model(self, roi_px: Roi | None, gain: float) -> CameraModel:
        """Return the camera model of a region and gain; kept, as cutting maps costs as much as a frame."""
        kept = self._cut
        if kept is None or kept[0] != (roi_px, gain):
            model = self.camera_model if roi_px is None else self.camera_model.cropped(roi_px)
            kept = ((roi_px, gain), model if gain == 1 else model.with_gain(gain))
            self._cut = kept
        return kept[1]

    def _channel(self, name: str) -> Channel:
        if name not in self.channels:
            raise BadInputError(f"scene: channel is {name!r}, expected one of {list(self.channels)}")
        return self.channels[name]

    def _places(self, channel: str, y_um: float, x_um: float) -> list[NDArray[np.float64]]:
        """Return positions and photons around a place; what lies there is drawn once and remembered."""
        key = (channel, math.floor(y_um / _POINT_CELL_UM), math.floor(x_um / _POINT_CELL_UM))
        with self._lock:
            if key not in self._known:
                pixel_y, pixel_x = self.channels[channel].objective.pixel_size_um
                half_y = self.shape[0] * pixel_y / 2 + _POINT_MARGIN_UM
                half_x = self.shape[1] * pixel_x / 2 + _POINT_MARGIN_UM
                y0, x0 = key[1] * _POINT_CELL_UM, key[2] * _POINT_CELL_UM
                box = Box(y0 - half_y, x0 - half_x, y0 + _POINT_CELL_UM + half_y, x0 + _POINT_CELL_UM + half_x)
                layers = self.sample.points.get(channel, ())
                parts = [layer.points_in(box) for layer in layers]
                self._known[key] = [
                    np.concatenate([np.empty((0, 3)), *(p for p, _ in parts)]),
                    np.concatenate([np.empty(0), *(n for _, n in parts)]),
                ]
                if len(self._known) > 64:
                    self._known.popitem(last=False)
            return self._known[key]
