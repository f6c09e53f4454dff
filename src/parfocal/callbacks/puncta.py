"""Puncta of every frame while it is taken: localizations, tracks, calcium, and an image of all."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks._analysis import Analysis, Row, RunAnalysis
from parfocal.callbacks._derived_run import TableRows, WrittenVolume
from parfocal.callbacks._puncta_detectors import ClassicalDetector, Detector, NetworkDetector
from parfocal.callbacks._puncta_parameters import (
    PunctaParameters,
    check_parameters,
    detection_settings,
    event_settings,
    least_probability,
    tracking_settings,
)
from parfocal.callbacks._puncta_series import Batch, PunctaSeries, PunctaSettings, Whole
from parfocal.callbacks._puncta_tables import (
    drift_rows,
    event_rows,
    localization_rows,
    mobile_at_peak,
    point_rows,
    track_rows,
)
from parfocal.callbacks._run_view import RunView
from parfocal.devices import CalibrationShelf
from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, calibration_hash
from parfocal.frames import Frame
from parfocal.optics import CameraModel
from parfocal.puncta.calcium import ReadSettings, calcium_sigma_px, own_events
from parfocal.puncta.rendering import RenderKind, RenderSettings, render, write_rendering

_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}
_PLACE = {"position": _INTEGER, "tile": _INTEGER}
_COLUMNS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "batches": {
        **_PLACE,
        "first_frame": _INTEGER,
        "n_frames": _INTEGER,
        "n_localizations": _INTEGER,
        "density_per_um2": _NUMBER,
        "photons": _NUMBER,
        "precision_um": {**_NUMBER, "units": "um"},
        "n_live_tracks": _INTEGER,
        "n_active_tracks": _INTEGER,
        "n_live_events": _INTEGER,
    },
    "summary": {
        **_PLACE,
        "n_frames": _INTEGER,
        "frame_interval_s": {**_NUMBER, "units": "s"},
        "n_localizations": _INTEGER,
        "n_tracks": _INTEGER,
        "n_mobile": _INTEGER,
        "n_judged": _INTEGER,
        "n_events": _INTEGER,
        "n_waves": _INTEGER,
        "bleed_through": _NUMBER,
        "drift_um": {**_NUMBER, "units": "um"},
        "drift_method": _TEXT,
        "image": _TEXT,
        "zoom": _INTEGER,
        "detector": _TEXT,
        "model_hash": _TEXT,
        "remarks": _TEXT,
    },
}
_PIXEL_TOLERANCE = 0.02


class Puncta(Analysis):
    """Localize puncta while frames come, follow them, and read their calcium.

    While frames come: table `localizations`, a batch of rows every `batch_frames` time points, with provisional
    tracks; table `live_events`, calcium events as soon as they are over; stream `batches`, a row a batch. When
    the run has ended: tables `tracks`, `track_points`, `events` (and `drift`); `image_0`, `image_1` ... as
    OME-Zarr, an image of all localizations at each place; stream `summary`, a row a place. The verdict is how many
    tracks and events there are, or `empty`.
    """

    name = "puncta"
    version = "3"

    def __init__(
        self, parameters: PunctaParameters | None = None, *, models: Path | str | None = None, **kwargs: Any
    ) -> None:
        self.puncta = parameters if parameters is not None else PunctaParameters()
        check_parameters(self.puncta)
        self._models = models
        self._net: Any = None
        super().__init__(self.puncta, **kwargs)

    @property
    def models(self) -> Path:
        """Folder of models: that of the data folder, unless told."""
        return Path(self._models) if self._models is not None else self.frames_root.parent / "models"

    def hash_for(self, run_uid: str, stream: str, data_key: str) -> str:
        """Return the hash by which the result is known; it depends on what the names of a calibration and of a
        model mean now.
        """  # noqa: D205
        with contextlib.suppress(BadInputError):  # what is wrong with them, the run itself is told
            self._find_calibration()
            self._find_net()
        return super().hash_for(run_uid, stream, data_key)

    def open(self, run: RunView) -> RunAnalysis:
        """Return the work on one run."""
        now = datetime.now()
        folder = self.frames_root / f"{now:%Y/%m/%d}" / f"{self.name}_{now:%H%M%S}_{uuid4().hex[:8]}"
        # Live, the plan has the first call on the cores.
        n_threads = 1 if self.mode == "live" else None
        return _RunPuncta(self.puncta, run, folder, self._find_calibration(), self._find_net(), n_threads)

    def prepare(self) -> None:
        """Load the network, so that the first frames need not wait for it."""
        if self.mode == "live" and self.puncta.detector != "classical" and not self.puncta.model:
            self._find_net()

    def _find_net(self) -> Any:
        """Return the network; cite its hash. None of the classical detector."""
        told = self.puncta
        if told.detector == "classical":
            return None
        from parfocal.puncta.networks import find_puncta_weights, open_puncta_net

        path = find_puncta_weights(told.model, self.models)
        file = (path, path.stat().st_mtime_ns)
        if self._net is None or self._net[0] != file:
            net = open_puncta_net(path)
            if net.has_calcium:
                raise BadInputError(f"puncta: model {net.name} looks at calcium too; one of puncta was expected")
            self._net = (file, net)
        net = self._net[1]
        self.parameters = replace(told, model=net.model_hash or "")
        return net

    def _find_calibration(self) -> tuple[DefocusModel, float] | None:
        """Return the defocus model and the pixel that it is told in; cite its hash."""
        if not self.puncta.calibration:
            return None
        kept = CalibrationShelf(self.frames_root.with_name("calibrations")).find(self.puncta.calibration)
        if kept.calibration.model is None:
            raise BadInputError(f"puncta: calibration {kept.path.name} has no model of widths, one was expected")
        self.calibration = calibration_hash(kept.calibration)
        return kept.calibration.model, kept.calibration.facts.pixel_size_um


@dataclass
class _RunPuncta:
    parameters: PunctaParameters
    run: RunView
    folder: Path
    calibration: tuple[DefocusModel, float] | None
    net: Any
    n_threads: int | None
    _channel: str | None = None
    _calcium: str | None = None
    _series: dict[tuple[int, int], PunctaSeries] = field(default_factory=dict[tuple[int, int], PunctaSeries])
    _n_tracks: int = 0
    _n_events: int = 0
    _n_found: int = 0
    of_no_frame: frozenset[str] = frozenset({"batches"})

    def __post_init__(self) -> None:
        told = self.parameters
        self._channel = told.channel or None
        self._calcium = told.calcium_channel or None
        self._z_key = self.run.axis_key("z")
        pixel = np.broadcast_to(np.asarray(self.run.configuration("pixel_size_um", 1.0), float), (2,))
        self._pixel_um = (float(pixel[0]), float(pixel[1]))
        camera = self.run.camera_model()
        self._remarks = (
            () if camera is not None else ("the run does not tell offset and gain: 100 and 1 were taken",)
        )
        self._camera = camera if camera is not None else CameraModel()
        model = None
        if self.calibration is not None:
            model, pixel_um = self.calibration
            if max(abs(side / pixel_um - 1) for side in self._pixel_um) > _PIXEL_TOLERANCE:
                raise BadInputError(
                    f"puncta: the calibration is of pixels of {pixel_um:g} um, the frames have "
                    f"{self._pixel_um[0]:g} x {self._pixel_um[1]:g} um: the same light path was expected"
                )
        self._settings = PunctaSettings(
            partial(self._detector, model),
            self._camera,
            self._pixel_um,
            tracking_settings(told),
            ReadSettings(self._calcium_sigma_px()),
            event_settings(told),
            told.drift,
            told.batch_frames,
            told.frame_interval_s,
            told.bleed_through if told.bleed_through >= 0 else None,
        )

    def _detector(self, model: DefocusModel | None) -> Detector:
        told, camera = self.parameters, self._camera
        if self.net is None:
            return ClassicalDetector(camera, detection_settings(told, model), self._pixel_um, self.n_threads)
        least = least_probability(told)
        net = self.net
        if least is not None:
            net = replace(net, settings=replace(net.settings, threshold=least))
        is_refitted = told.detector == "hybrid"
        excess = told.excess_noise or None
        return NetworkDetector(net, camera, self._pixel_um, is_refitted=is_refitted, excess_noise=excess)

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return _COLUMNS

    @property
    def verdict(self) -> str:
        if not self._n_found:
            return "empty"
        return f"{self._n_tracks} tracks, {self._n_events} events"

    def frame(self, frame: Frame) -> Iterator[tuple[str, Row]]:
        told = frame.columns
        place = (int(told.get("point_position", 0)), int(told.get("point_tile", 0)))
        channel = str(told.get("point_channel", ""))
        if self._channel is None:
            self._channel = channel
        if self._calcium is None and channel != self._channel:
            self._calcium = channel
        is_puncta, is_calcium = channel == self._channel, channel == self._calcium
        if not (is_puncta or is_calcium):
            return
        # A plain scan tells no time points: there each event is one.
        time_point = told.get("point_time_point")
        key = (frame.seq_num, 0) if time_point is None else (int(time_point), int(told.get("point_plane", 0)))
        if place not in self._series:
            self._series[place] = PunctaSeries(self._settings, place)
        t_s = float(told.get(f"{self.run.data_key}_t_s", told.get("t_s", frame.time_s)))
        z_um = float(told.get(self._z_key, told.get("z_um", math.nan)))
        for batch in self._series[place].take(
            key, frame.pixels, frame.index, t_s, z_um, is_puncta=is_puncta, is_calcium=is_calcium
        ):
            yield from self._tell(place, batch)

    def finish(self) -> Iterator[tuple[str, Row]]:
        for number, (place, series) in enumerate(sorted(self._series.items())):
            for batch in series.flush(is_last=True):
                yield from self._tell(place, batch)
            yield from self._tell_whole(place, series.finish(), number)

    def _tell(self, place: tuple[int, int], batch: Batch) -> Iterator[tuple[str, Row]]:
        spots = batch.localizations
        self._n_found += len(spots)
        if len(spots):
            yield "localizations", TableRows(localization_rows(place, batch))
        n_events = 0
        if batch.events is not None and len(batch.events):
            n_events = int((~batch.events.is_wave).sum())
            yield "live_events", TableRows(event_rows(place, batch.events, own_events(batch.events, spots)))
        se_um = np.sqrt(
            0.5 * ((spots.x_se_px * self._pixel_um[1]) ** 2 + (spots.y_se_px * self._pixel_um[0]) ** 2)
        )
        yield (
            "batches",
            {
                **_said(place),
                "first_frame": batch.first,
                "n_frames": batch.n_frames,
                "n_localizations": len(spots),
                "density_per_um2": len(spots) / batch.n_frames / batch.area_um2,
                "photons": _median(spots.photons),
                "precision_um": _median(se_um),
                "n_live_tracks": batch.n_tracks,
                "n_active_tracks": batch.n_active,
                "n_live_events": n_events,
            },
        )

    def _tell_whole(self, place: tuple[int, int], whole: Whole, number: int) -> Iterator[tuple[str, Row]]:
        n_tracks = whole.tracks.n_tracks
        n_waves = int(whole.events.is_wave.sum()) if whole.events is not None else 0
        n_events = len(whole.events) - n_waves if whole.events is not None else 0
        self._n_tracks += n_tracks
        self._n_events += n_events
        if n_tracks:
            yield "tracks", TableRows(track_rows(place, whole))
            yield "track_points", TableRows(point_rows(place, whole))
        if whole.events is not None and len(whole.events):
            own = own_events(whole.events, whole.localizations)
            mobile = {"is_mobile": mobile_at_peak(whole, whole.events)}
            yield "events", TableRows(event_rows(place, whole.events, own, mobile))
        if whole.drift.method != "none":
            yield "drift", TableRows(drift_rows(place, whole))
        image = ""
        kind = self.parameters.image
        if kind != "none" and len(whole.localizations):
            image = f"image_{number}"
            yield image, self._rendered(image, kind, whole)
        yield (
            "summary",
            {
                **_said(place),
                "n_frames": whole.n_frames,
                "frame_interval_s": whole.frame_interval_s,
                "n_localizations": len(whole.localizations),
                "n_tracks": n_tracks,
                "n_mobile": int(whole.mobility.is_mobile.sum()),
                "n_judged": int(whole.mobility.is_judged.sum()),
                "n_events": n_events,
                "n_waves": n_waves,
                "bleed_through": whole.traces.bleed_through if whole.traces is not None else 0.0,
                "drift_um": whole.drift.reach_um,
                "drift_method": whole.drift.method,
                "image": image,
                "zoom": self.parameters.zoom,
                "detector": self.parameters.detector,
                "model_hash": (self.net.model_hash or "") if self.net is not None else "",
                "remarks": "; ".join((*self._remarks, *whole.remarks)),
            },
        )

    def _rendered(self, name: str, kind: RenderKind, whole: Whole) -> WrittenVolume:
        zoom = self.parameters.zoom
        image = render(whole.localizations, whole.shape_px, settings=RenderSettings(kind, zoom))
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"kind": kind, "n_localizations": len(whole.localizations), "drift": whole.drift.method}
        return WrittenVolume(write_rendering(self.folder / f"{name}.ome.zarr", image, self._pixel_um, zoom, about))

    def _calcium_sigma_px(self) -> float:
        if self.parameters.calcium_sigma_px:
            return self.parameters.calcium_sigma_px
        na, wavelength_um = (self.run.configuration(fact) for fact in ("na", "wavelength_um"))
        known = [float(v) for v in (na, wavelength_um) if v is not None and np.isfinite(float(v)) and float(v) > 0]
        if len(known) < 2:
            return 1.5
        pixel_um = math.sqrt(self._pixel_um[0] * self._pixel_um[1])
        # The width of a Gaussian like the core of an Airy pattern, and as far as calcium spreads meanwhile.
        return calcium_sigma_px(0.21 * known[1] / known[0] / pixel_um, pixel_um)


def _said(place: tuple[int, int]) -> dict[str, Any]:
    return {"position": place[0], "tile": place[1]}


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan
