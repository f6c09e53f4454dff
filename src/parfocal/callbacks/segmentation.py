"""Nuclei of every stack while it is taken: labels, a table of objects, and which of them to doubt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from parfocal.callbacks._analysis import Analysis, Row, RunAnalysis
from parfocal.callbacks._derived_run import TableRows, WrittenVolume
from parfocal.callbacks._nuclei_parameters import (
    NucleiParameters,
    as_used,
    make_as_used,
    make_backend,
    needs_store,
)
from parfocal.callbacks._nuclei_stack import NucleiStack, PlaneTaken, warm_up
from parfocal.callbacks._nuclei_tables import MeasuredStack, Where, as_columns, objects_table
from parfocal.callbacks._run_view import RunView
from parfocal.callbacks._slice_looks import Place
from parfocal.callbacks._volume_judge import VolumeJudge
from parfocal.errors import BadInputError
from parfocal.files import write_ome_zarr
from parfocal.frames import Frame, Frames
from parfocal.segmentation import Backend, CertaintyLimits, Segmentation
from parfocal.segmentation.backends import USUAL_MODELS, default_backend, measure_objects
from parfocal.segmentation.uncertainty import most_uncertain, object_doubts

_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}
_PLACE = {"position": _INTEGER, "time_point": _INTEGER, "tile": _INTEGER, "channel": _TEXT}
_PREPARED = ("watershed", *USUAL_MODELS)
_COLUMNS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "planes": {
        **_PLACE,
        "plane": _INTEGER,
        "frame": _INTEGER,
        "z_um": {**_NUMBER, "units": "um"},
        "n_objects": _INTEGER,
        "labels_after_s": {**_NUMBER, "units": "s"},
    },
    "stacks": {
        **_PLACE,
        "labels": _TEXT,
        "n_planes": _INTEGER,
        "n_objects": _INTEGER,
        "n_links": _INTEGER,
        "n_weak_links": _INTEGER,
        "step_um": {**_NUMBER, "units": "um"},
        "pixel_y_um": {**_NUMBER, "units": "um"},
        "pixel_x_um": {**_NUMBER, "units": "um"},
        "backend": _TEXT,
        "model_hash": _TEXT,
        "restoration": _TEXT,
        "restoration_asked": _TEXT,
        "restoration_why": _TEXT,
        "snr": _NUMBER,
        "blur_px": {**_NUMBER, "units": "px"},
        "mean_doubt": _NUMBER,
        "uncertain": _TEXT,
        "remarks": _TEXT,
        "labels_after_s": {**_NUMBER, "units": "s"},
    },
}


class Nuclei(Analysis):
    """Segment each stack in 3D while it is taken.

    Streams of the derived run: `planes`, a row a plane when it has labels; `stacks`, a row a stack when it is
    complete (backend, model's hash, restoration, number of objects, the most uncertain); and `labels_0`,
    `labels_1` ..., the label volume of each stack as OME-Zarr. The table `objects` has a row an object: centroid
    in um, volume, intensities of every channel, doubt with its reasons, track over time. The verdict is `empty`,
    or how many objects there are.

    Who wants to see labels as they come subscribes a listener to the rows of `planes`, such as `nuclei_lines`.
    Live, the kernels are compiled and the network is loaded before the first run, or the first stack would be over
    before its first labels: `drain` waits for that too.
    """

    name = "nuclei"
    version = "2"

    def __init__(
        self, parameters: NucleiParameters | None = None, *, models: Path | str | None = None, **kwargs: Any
    ) -> None:
        self._told = parameters if parameters is not None else NucleiParameters()
        self._models = models
        if not needs_store(self._told):
            make_backend(self._told, None)  # what cannot be had is said here, not at the first run
        super().__init__(self._told, **kwargs)

    @property
    def models(self) -> Path:
        """Folder of models: that of the data folder, unless told."""
        return Path(self._models) if self._models is not None else self.frames_root.parent / "models"

    def hash_for(self, run_uid: str, stream: str, data_key: str) -> str:
        """Return the hash by which the result is known; it depends on the model that is promoted now."""
        self.parameters = as_used(self._told, self.models)
        return super().hash_for(run_uid, stream, data_key)

    def open(self, run: RunView) -> RunAnalysis:
        """Return the segmentation of one run."""
        now = datetime.now()
        folder = self.frames_root / f"{now:%Y/%m/%d}" / f"{self.name}_{now:%H%M%S}_{uuid4().hex[:8]}"
        self.parameters = how = as_used(self._told, self.models)
        make = partial(make_as_used, how, self._told.model, self.models)
        return _RunNuclei(how, run, self.frames, folder, make, is_live=self.mode == "live")

    def prepare(self) -> None:
        """Label a stack of three small planes, so that what takes long the first time is over."""
        if self.mode == "live" and (self._told.backend or default_backend()) in _PREPARED:
            # By the model that is shipped: which one is promoted is known when a run begins.
            warm_up(make_backend(replace(self._told, model=""), None))


@dataclass
class _RunNuclei:
    parameters: NucleiParameters
    run: RunView
    frames: Frames
    folder: Path
    make_backend: Callable[[], Backend]
    is_live: bool = False
    _channel: str | None = None
    _current: NucleiStack | None = None
    _left: dict[Where, NucleiStack] = field(default_factory=dict[Where, NucleiStack])
    _tables: dict[Where, MeasuredStack] = field(default_factory=dict[Where, MeasuredStack])
    _n_volumes: int = 0

    def __post_init__(self) -> None:
        self._channel = self.parameters.channel or None
        self._z_key = self.run.axis_key("z")
        pixel = np.broadcast_to(np.asarray(self.run.configuration("pixel_size_um", 1.0), float), (2,))
        self._pixel_um = (float(pixel[0]), float(pixel[1]))
        self._step_um = float(self.run.start.get("plan_args", {}).get("step_um", math.nan))
        self._camera = camera = self.run.camera_model()
        self._offset_adu = float(np.mean(camera.offset_adu)) if camera is not None else 0.0

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return _COLUMNS

    @property
    def verdict(self) -> str:
        n_objects = sum(len(one.objects) for one in self._tables.values())
        return f"{n_objects} nuclei" if n_objects else "empty"

    def frame(self, frame: Frame) -> Iterator[tuple[str, Row]]:
        told = frame.columns
        where = (
            int(told.get("point_time_point", 0)),
            int(told.get("point_position", 0)),
            int(told.get("point_tile", 0)),
        )
        channel = str(told.get("point_channel", ""))
        if self._channel is None:
            self._channel = channel
        taken = PlaneTaken(
            int(told.get("point_plane", frame.seq_num - 1)),
            int(told.get("point_attempt", 1)),
            frame.uri,
            frame.index,
            float(told.get(self._z_key, told.get("z_um", math.nan))),
            # A stored frame was taken long ago: what counts is how long its labels take from now on.
            frame.time_s if self.is_live else time.time(),
        )
        stack = self._current
        if stack is None or _where(stack) != where:
            if stack is not None:
                yield from self._complete(stack)
            # A stack that is taken up again is labelled anew when it is left.
            stack = self._left.pop(where, None) or self._new_stack(where)
            self._current = stack
        if channel != self._channel:
            stack.add_other(channel, taken)
            return
        for one, n_objects in stack.add(frame, taken):
            about = {"plane": one.plane, "frame": one.index, "z_um": one.z_um, "n_objects": n_objects}
            about["labels_after_s"] = max(time.time() - one.taken_s, 0.0)
            yield "planes", {**as_columns(stack.place), **about}

    def finish(self) -> Iterator[tuple[str, Row]]:
        if self._current is not None:
            yield from self._complete(self._current)
        if self._tables:
            yield "objects", TableRows(objects_table(self._tables))

    def _new_stack(self, where: Where) -> NucleiStack:
        place = Place(*where, channel=self._channel or "")
        mode = self.parameters.restoration
        return NucleiStack(place, self._pixel_um, self._step_um, self.make_backend, mode, self._camera)

    def _complete(self, stack: NucleiStack) -> Iterator[tuple[str, Row]]:
        where = _where(stack)
        if not stack.planes:
            return
        found, images = stack.finish(self.frames)
        self._left[where] = stack
        name = f"labels_{self._n_volumes}"
        self._n_volumes += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        path = write_ome_zarr(
            self.folder / f"{name}.ome.zarr",
            found.labels,
            found.voxel_size_um,
            attributes={"parfocal": {"image-label": True, "model_hash": found.model_hash or ""}},
        )
        yield name, WrittenVolume(path)  # who looks on has them before they are measured
        labels_after_s = max(time.time() - max(one.taken_s for one in stack.planes.values()), 0.0)
        objects = measure_objects(found, images, offset=self._offset_adu)
        raw = images[stack.place.channel or "image"]
        doubts = object_doubts(found, raw)
        z_um = [one.z_um for one in stack.in_order if math.isfinite(one.z_um)]
        # Labels and what the network said are on disk or done with: what stays is small.
        kept = replace(found, labels=np.empty((0, 0, 0), np.int32), output=None, links=())
        self._tables[where] = MeasuredStack(stack.place, kept, objects, doubts, path, z_um[0] if z_um else 0.0)
        named = most_uncertain(doubts, self.parameters.n_uncertain)
        yield (
            "stacks",
            {
                **as_columns(stack.place),
                "labels": name,
                "n_planes": len(stack.planes),
                "n_objects": len(objects),
                "n_links": len(found.links),
                "n_weak_links": sum(link.weak for link in found.links),
                "step_um": found.voxel_size_um[0],
                "pixel_y_um": found.voxel_size_um[1],
                "pixel_x_um": found.voxel_size_um[2],
                "backend": found.backend,
                "model_hash": found.model_hash or "",
                **_restoration(found),
                "mean_doubt": float(np.mean(doubts.score)) if len(objects) else math.nan,
                "uncertain": " ".join(str(int(one)) for one in named),
                "remarks": "; ".join(found.remarks),
                "labels_after_s": labels_after_s,
            },
        )


def _where(stack: NucleiStack) -> Where:
    return stack.place.time_point, stack.place.position, stack.place.tile


def _restoration(found: Segmentation) -> dict[str, Any]:
    """Return the columns that say what the pixels went through and why; NaN where nobody measured."""
    told = {} if found.restoration_record is None else found.restoration_record.as_dict()
    known = {name: math.nan if told.get(name) is None else told[name] for name in ("snr", "blur_px")}
    return {
        "restoration": found.restoration,
        "restoration_asked": told.get("asked", "none"),
        "restoration_why": told.get("why", ""),
        **known,
    }


def volume_judge(
    backend: str = "",
    model: str = "",
    diameter_um: float = 0.0,
    max_uncertain: float = 0.1,
    limits: Mapping[str, float] | None = None,
    models: Path | str | None = None,
) -> VolumeJudge:
    """Return a judge of volumes, from plain values; see `parfocal.plans.acquire_until_certain`.

    Raises
    ------
    BadInputError
        There is no such backend, model or limit.
    """
    told = NucleiParameters(backend=backend, model=model, diameter_um=diameter_um)
    unknown = sorted(set(limits or {}) - set(CertaintyLimits.__dataclass_fields__))
    if unknown:
        raise BadInputError(
            f"limits: no signal {unknown[0]!r}, there are: {', '.join(CertaintyLimits.__dataclass_fields__)}"
        )
    make = partial(make_backend, told, models)
    make()  # a backend that cannot be had is said here, not after the first plane
    return VolumeJudge(make, max_uncertain, CertaintyLimits(**(limits or {})))
