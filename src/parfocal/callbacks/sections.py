"""Stages of a serial-section reconstruction as an analysis: sections of a run in, decisions for a ledger out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from parfocal.callbacks._analysis import Analysis, RunAnalysis
from parfocal.callbacks._derived_run import WrittenVolume
from parfocal.callbacks._run_view import RunView
from parfocal.callbacks._section_frames import (
    SectionFrame,
    SectionFrames,
    chosen_planes,
    named_sections,
    stage_steps,
    z_step_um,
)
from parfocal.callbacks._section_parameters import SectionParameters
from parfocal.callbacks._section_stages import MadeVolume, StageChain
from parfocal.callbacks._slice_ledger import SECTION_STAGES, Attempt, Attempts
from parfocal.catalog import live_order
from parfocal.errors import BadInputError
from parfocal.files import open_ome_zarr
from parfocal.frames import Frame, Frames, path_of
from parfocal.slices import CANONICAL_COLUMNS, CellValue, Metric, StageResult
from parfocal.slices.ledger import SCORE_COLUMNS

_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}
_ID_KEYS = ("slice_id", "point_slice_id", "point_position_name")

__all__ = ["SectionParameters", "SectionStages", "metrics_of", "volumes_of"]


class SectionStages(Analysis):
    """Judge the sections of a run by the stages of `parfocal slices`, when all of them are taken.

    A section is what was imaged at one position (or time point): a z-stack, or a single plane; of several
    attempts the accepted one. What is kept while the run goes on is where each plane is; volumes are read when a
    stage asks for them. Streams of the derived run: `planes`, a row a plane, with the frame that it is; `stamps`,
    a row a decision; `metrics`, a row a stage and slice; `messages`; and `slices`, a row a slice with what the
    decisions come to, as in `slice_config.csv`. `ledger_of` gives it back as a `SliceLedger`, `metrics_of` the
    numbers. Stages that make volumes write them as OME-Zarr below `frames_root`, each a stream of its own, and
    tell of them in `volumes`; `volumes_of` finds them.

    The verdict is `all_used`, `some_excluded`, or `incomplete` where a stage could not be done: `messages` says
    why.

    Raises
    ------
    BadInputError
        The parameters name a stage that there is not.
    """

    name = SECTION_STAGES
    version = "1"

    def __init__(self, parameters: SectionParameters | None = None, **kwargs: Any) -> None:
        self.sections = parameters if parameters is not None else SectionParameters()
        self.sections.chosen()
        super().__init__(self.sections, **kwargs)

    def open(self, run: RunView) -> RunAnalysis:
        """Return the stages over one run."""
        now = datetime.now()
        folder = self.frames_root / f"{now:%Y/%m/%d}" / f"{self.name}_{now:%H%M%S}_{uuid4().hex[:8]}"
        return _RunSections(self.sections, run, self.frames, folder)


@dataclass
class _RunSections:
    parameters: SectionParameters
    run: RunView
    frames: Frames
    folder: Path
    # By section, plane and attempt, so that a repeated event replaces the one before it.
    _taken: dict[tuple[int, int, int], SectionFrame] = field(
        default_factory=dict[tuple[int, int, int], SectionFrame]
    )
    _channel: str | None = None
    _passed: int = 0
    _verdict: str = ""

    def __post_init__(self) -> None:
        if self.parameters.channel:
            self._channel = self.parameters.channel
        self._axes = {axis: self.run.axis_key(axis) for axis in "xyz"}

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        which = {"stage": _TEXT, "slice_id": _TEXT}
        return {
            "planes": {
                "slice_id": _TEXT,
                "plane": _INTEGER,
                "attempt": _INTEGER,
                "frame": _INTEGER,
                "z_um": {**_NUMBER, "units": "um"},
            },
            "stamps": {**which, "column": _TEXT, "value": _TEXT, "append": _INTEGER},
            "metrics": {**which, "json": _TEXT},
            "messages": {"stage": _TEXT, "message": _TEXT},
            "volumes": {
                **which,
                "stream": _TEXT,
                "n_planes": _INTEGER,
                **{f"voxel_{axis}_um": {**_NUMBER, "units": "um"} for axis in "zyx"},
            },
            "slices": {name: _NUMBER if name in SCORE_COLUMNS else _TEXT for name in CANONICAL_COLUMNS},
        }

    @property
    def verdict(self) -> str:
        return self._verdict

    def frame(self, frame: Frame) -> Iterator[tuple[str, Mapping[str, Any]]]:
        one = self._placed(frame)
        if one is None:
            self._passed += 1
        else:
            self._taken[one.section, one.plane, one.attempt] = one
        return iter(())

    def finish(self) -> Iterator[tuple[str, Mapping[str, Any] | WrittenVolume]]:
        if not self._taken:
            raise BadInputError(f"no frame is of channel {self._channel!r}, tile {self.parameters.tile} and so on")
        named, said = named_sections(self._taken.values())
        verdicts = {index: Attempt(*told) for index, told in self.run.verdicts.items()}
        chosen: dict[str, tuple[SectionFrame, ...]] = {}
        audited: dict[str, Attempts] = {}
        for slice_id, frames in named.items():
            chosen[slice_id], verdicts_on_it = chosen_planes(frames, verdicts)
            if verdicts_on_it:
                audited[slice_id] = verdicts_on_it
        for slice_id, planes in chosen.items():
            for one in planes:
                about = {"plane": one.plane, "attempt": one.attempt, "frame": one.index, "z_um": one.z_um}
                yield "planes", {"slice_id": slice_id, **about}
        if self._passed:
            said.append(f"{self._passed} frames are of other time points, positions, tiles or channels")
        plan = str(self.run.start.get("plan_name") or "acquire")
        steps = stage_steps(chosen)
        chain = StageChain(self._source(chosen), self.parameters, audited, plan, self.folder, steps)
        yield from (("messages", {"stage": "gather", "message": message}) for message in said)
        for done in chain.results():
            yield from _rows(done.result)
            for made in done.made:
                yield "volumes", _volume_row(done.result.stage, made)
                yield made.stream, WrittenVolume(made.path)
        rows = chain.ledger.rows.values()
        for row in rows:
            yield "slices", {name: _cell(name, row.get(name)) for name in CANONICAL_COLUMNS}
        all_used = all(row["use"] is True and row["auto_excluded"] is not True for row in rows)
        self._verdict = "incomplete" if chain.not_done else "all_used" if all_used else "some_excluded"

    def _placed(self, frame: Frame) -> SectionFrame | None:
        """Return which plane of which section a frame is; None where it is of none that is looked at."""
        told, how = frame.columns, self.parameters
        position, time_point = int(told.get("point_position", 0)), int(told.get("point_time_point", 0))
        by_position = how.sections == "position"
        section, other = (position, time_point) if by_position else (time_point, position)
        channel = str(told.get("point_channel", ""))
        if self._channel is None:
            self._channel = channel
        if (other, int(told.get("point_tile", 0)), channel) != (how.other, how.tile, self._channel):
            return None
        name = next((str(told[key]) for key in _ID_KEYS if told.get(key)), "") if by_position else ""
        offsets = [
            float(told.get(key, math.nan)) - float(told.get(f"{key}_setpoint", math.nan))
            for key in (self._axes["x"], self._axes["y"])
        ]
        return SectionFrame(
            section,
            name,
            # Frames of a burst, or of a plan that names no planes, are one stack in the order that they came in.
            int(told.get("point_plane", frame.seq_num - 1)),
            int(told.get("point_attempt", 1)),
            frame.uri,
            frame.index,
            float(told.get(self._axes["z"], told.get("z_um", math.nan))),
            (offsets[0], offsets[1]),
        )

    def _source(self, chosen: Mapping[str, tuple[SectionFrame, ...]]) -> SectionFrames:
        shape = self.run.descriptor["data_keys"][self.run.data_key]["shape"][-2:]
        y_um, x_um = (float(v) for v in np.broadcast_to(self.run.configuration("pixel_size_um", 1.0), (2,)))
        voxel_um = (z_step_um(chosen.values()), y_um, x_um)
        return SectionFrames(self.frames, chosen, (int(shape[0]), int(shape[1])), voxel_um)


def _rows(result: StageResult) -> Iterator[tuple[str, Mapping[str, Any]]]:
    stage = result.stage
    for one in result.stamps:
        cell = {"column": one.column, "value": _as_text(one.column, one.value), "append": int(one.append)}
        yield "stamps", {"stage": stage, "slice_id": one.slice_id, **cell}
    for slice_id, numbers in result.metrics.items():
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in numbers.items()}
        text = json.dumps(finite, allow_nan=False, ensure_ascii=False)
        yield "metrics", {"stage": stage, "slice_id": slice_id, "json": text}
    for message in result.messages:
        yield "messages", {"stage": stage, "message": message}


def _volume_row(stage: str, made: MadeVolume) -> Mapping[str, Any]:
    found = open_ome_zarr(made.path)
    z_um, y_um, x_um = found.voxel_size_um
    voxel = {"voxel_z_um": z_um, "voxel_y_um": y_um, "voxel_x_um": x_um}
    return {
        "stage": stage,
        "slice_id": made.slice_id,
        "stream": made.stream,
        "n_planes": found.shape[0],
        **voxel,
    }


def _as_text(column: str, value: CellValue) -> str:
    """Return a value as the ledger reads it back: what it would have kept of the value itself."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(round(float(value), 3)) if column in SCORE_COLUMNS else str(value)


def _cell(column: str, value: CellValue) -> float | str:
    if column in SCORE_COLUMNS:
        return math.nan if value is None else float(value)
    return _as_text(column, value)


def metrics_of(run: Any) -> dict[str, dict[str, dict[str, Metric]]]:
    """Return the raw numbers of a derived run of `section_stages`: by slice id, stage and name.

    Raises
    ------
    BadInputError
        It is no such run.
    """
    start = run.metadata["start"]
    if start.get("parfocal", {}).get("analysis") != SectionStages.name or "metrics" not in run:
        raise BadInputError(f"run {start['uid'][:8]} holds no numbers of {SectionStages.name}")
    told = run["metrics"].read()
    found: dict[str, dict[str, dict[str, Metric]]] = {}
    columns = (np.asarray(told[key]).tolist() for key in ("slice_id", "stage", "json"))
    for slice_id, stage, text in zip(*columns, strict=True):
        found.setdefault(str(slice_id), {})[str(stage)] = json.loads(text)
    return found


def volumes_of(run: Any) -> dict[str, Path]:
    """Return where the volumes of a derived run of `section_stages` lie, by the name of their stream.

    These are OME-Zarr folders of this machine, for `open_ome_zarr`: `aligned`, `stacked`, `interpolated_05`,
    `rolled_03`. Through the catalog it is `run["aligned"]["volume"]`.

    Parameters
    ----------
    run : BlueskyRun, or iterable of documents
        The derived run; without such a stage, nothing is returned.
    """
    documents: Any = live_order(run.documents()) if hasattr(run, "documents") else run
    streams: dict[str, str] = {}
    uris: dict[str, str] = {}
    found: dict[str, Path] = {}
    for name, doc in documents:
        if name == "descriptor":
            streams[doc["uid"]] = doc["name"]
        elif name == "stream_resource":
            uris[doc["uid"]] = doc["uri"]
        elif name == "stream_datum":
            found[streams[doc["descriptor"]]] = path_of(uris[doc["stream_resource"]]).parent
    return found
