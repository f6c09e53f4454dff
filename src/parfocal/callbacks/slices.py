"""Audit every slice of a run: blurred, moved, shaded, saturated; and keep what rules need to judge it again."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks._analysis import Analysis, RunAnalysis
from parfocal.callbacks._run_view import RunView
from parfocal.callbacks._slice_looks import (
    GRIDS,
    SCORES,
    AuditedFrame,
    Place,
    SliceParameters,
    beside_names,
    expected_of,
    frame_of,
    judge_one,
    judge_slices,
    row_of,
    said,
    stack_settings,
    which,
)
from parfocal.catalog import live_order
from parfocal.errors import BadInputError
from parfocal.frames import Frame
from parfocal.imaging import relative_entropy, sharpness, tile_grids
from parfocal.optics import CameraModel
from parfocal.slices import LookSettings, SliceLook, StackEvidence, StackJudge, look_at

_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}
_ARRAY: dict[str, Any] = {"dtype": "array", "dtype_numpy": "<f8"}

_WHICH: dict[str, dict[str, Any]] = {
    "slice_id": _TEXT,
    "position": _INTEGER,
    "time_point": _INTEGER,
    "tile": _INTEGER,
    "channel": _TEXT,
    "plane": _INTEGER,
}
_VERDICT: dict[str, dict[str, Any]] = {"accepted": _INTEGER, "reason": _TEXT, "score": _NUMBER}
_NUMBERS: dict[str, dict[str, Any]] = dict.fromkeys((*SliceLook.names(), *SCORES), _NUMBER)
_OPEN_STACKS = 8
_REMEMBERED = 100

__all__ = [
    "AuditedFrame",
    "Place",
    "SliceAudit",
    "SliceParameters",
    "evidence_of",
    "grids_of",
    "judge_slices",
    "stack_of",
    "stored_looks",
]


class SliceAudit(Analysis):
    """Judge every slice, as it comes and again when all are known.

    Streams of the derived run: `looks`, a row a frame, with a first verdict, all scores, and tile grids as
    arrays; and `slices`, a row a slice, with the verdict on its last attempt. Slices of single planes are compared
    with each other; planes of a stack with their neighbours (moved), and with the same plane of other stacks
    (shaded). `stored_looks`, `grids_of` and `evidence_of` give it all back without pixels, and `judge_slices`
    judges that again. The verdict is `good`, `bad_slices`, or `empty` where no field had anything in it.
    """

    name = "slice_audit"
    version = "1"

    def __init__(self, parameters: SliceParameters | None = None, **kwargs: Any) -> None:
        self.slices = parameters if parameters is not None else SliceParameters()
        super().__init__(self.slices, **kwargs)

    def open(self, run: RunView) -> RunAnalysis:
        """Return the audit of one run."""
        shape = run.descriptor["data_keys"][run.data_key]["shape"][-2:]
        n_threads = 1 if self.mode == "live" else None
        return _RunAudit(self.slices, run.camera_model(), run.axis_key("z"), (shape[0], shape[1]), n_threads)


@dataclass
class _RunAudit:
    parameters: SliceParameters
    camera_model: CameraModel | None
    z_key: str
    shape: tuple[int, int]
    n_threads: int | None
    # By seq_num, so that a repeated event replaces the one before it.
    _audited: dict[int, AuditedFrame] = field(default_factory=dict[int, AuditedFrame])
    _stacks: OrderedDict[Place, _OpenStack] = field(default_factory=lambda: OrderedDict[Place, _OpenStack]())
    _verdict: str = ""

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        n_tiles = [max(1, round(n / self.parameters.tile_px)) for n in self.shape]
        beside = dict.fromkeys(beside_names(self.parameters.stack_reach + 1), _NUMBER)
        grids = {f"grid_{name}": {**_ARRAY, "shape": n_tiles} for name in GRIDS}
        attempt = {"attempt": _INTEGER, "z_um": {**_NUMBER, "units": "um"}}
        return {
            "looks": {**_WHICH, **attempt, **_VERDICT, **_NUMBERS, **beside, **grids},
            "slices": {**_WHICH, "attempts": _INTEGER, "frame": _INTEGER, **_VERDICT, **_NUMBERS},
        }

    @property
    def verdict(self) -> str:
        return self._verdict

    def frame(self, frame: Frame) -> Iterator[tuple[str, Mapping[str, Any]]]:
        one = self._look(frame)
        self._audited[frame.seq_num] = one
        alike = [o for o in self._audited.values() if (o.plane, o.place.channel) == (one.plane, one.place.channel)]
        # Not by its neighbours yet: the stack says that when it is complete.
        is_stack = self._stacks[one.place].judge.n_planes > 1
        expected = expected_of(alike[-_REMEMBERED:], self.parameters)
        yield "looks", row_of(one, judge_one(one, expected, is_stack=is_stack, parameters=self.parameters))

    def finish(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        are_good: list[bool] = []
        for last, attempts, verdict in judge_slices(self._audited.values(), self.parameters):
            are_good.append(verdict.accepted)
            numbers = {**last.look.as_dict(), **{name: last.scores[name] for name in SCORES}}
            about = {**which(last), "attempts": attempts, "frame": last.frame}
            yield "slices", {**about, **said(verdict), **numbers}
        if all(one.look.content < self.parameters.empty_content for one in self._audited.values()):
            self._verdict = "empty"
        else:
            self._verdict = "good" if all(are_good) else "bad_slices"

    def _look(self, frame: Frame) -> AuditedFrame:
        told, model = frame.columns, self.camera_model
        place = Place(
            int(told.get("point_time_point", 0)),
            int(told.get("point_position", 0)),
            int(told.get("point_tile", 0)),
            str(told.get("point_channel", "")),
        )
        # Frames of a burst, or of a plan that names no planes, are one stack in the order that they came in.
        plane = int(told.get("point_plane", frame.seq_num - 1))
        stack = self._stack_at(place)
        correlated = stack.judge.see(frame.pixels, frame.seq_num, str(plane)).scores
        before, after = stack.judge.beside(plane)
        scored = sharpness(frame.pixels, model, n_threads=self.n_threads)
        scores = {
            "tenengrad": float(scored.debiased.tenengrad),
            "relative_entropy": float(relative_entropy(frame.pixels)),
            **correlated,
        }
        return AuditedFrame(
            place,
            plane,
            str(told.get("point_position_name", "")) or f"{place.position:02d}",
            int(told.get("point_attempt", 1)),
            frame.index,
            frame.seq_num,
            float(told.get(self.z_key, told.get("z_um", math.nan))),
            look_at(frame.pixels, LookSettings.of_camera(model)),
            scores,
            tuple(before),
            tuple(after),
            stack.grids(plane, frame.pixels, self.parameters.tile_px),
        )

    def _stack_at(self, place: Place) -> _OpenStack:
        """Return a place's stack; of places left behind no pixels are kept."""
        if place not in self._stacks:
            self._stacks[place] = _OpenStack(StackJudge(stack_settings(self.parameters)))
            for left in list(self._stacks.values())[-_OPEN_STACKS - 1 : -_OPEN_STACKS]:
                left.let_go()
        return self._stacks[place]


@dataclass
class _OpenStack:
    """A stack that is being taken: its judge, and the two latest of its frames."""

    judge: StackJudge
    _latest: dict[int, NDArray[np.generic]] = field(default_factory=dict[int, NDArray[np.generic]])

    def grids(self, plane: int, pixels: NDArray[np.generic], tile_px: int) -> dict[str, NDArray[np.float64]]:
        """Return a frame's tile grids; `ncc` is that with the plane before, NaN where that is not at hand."""
        previous = self._latest.get(plane - 1)
        found = tile_grids([pixels] if previous is None else [previous, pixels], tile_px)
        # A copy: the memory that frames come in is used again.
        self._latest.pop(plane, None)
        self._latest[plane] = np.array(pixels)
        for old in list(self._latest)[:-2]:
            del self._latest[old]
        nothing = np.full(found.entropy.shape[1:], np.nan)
        return {
            "ncc": nothing if previous is None else found.ncc[-1],
            "entropy": found.entropy[-1],
            "laplacian": found.laplacian[-1],
        }

    def let_go(self) -> None:
        """Keep no pixels."""
        self.judge.let_go()
        self._latest.clear()


# -- stored audits ----------------------------------------------------------------------------------


def stored_looks(run: Any) -> list[AuditedFrame]:
    """Return what an audit kept of every frame, from its derived run: pixels are not needed.

    Parameters
    ----------
    run : BlueskyRun
        A derived run of `slice_audit`, such as `catalog.analyses_of(uid)` gives.

    Raises
    ------
    BadInputError
        It is none.
    """
    about = run.metadata["start"].get("parfocal", {})
    if about.get("analysis") != SliceAudit.name:
        raise BadInputError(
            f"run {run.metadata['start']['uid'][:8]} is no derived run of {SliceAudit.name}; "
            "catalog.runs(analysis='slice_audit') lists those"
        )
    stream = {}
    rows: dict[int, AuditedFrame] = {}
    for name, doc in live_order(run.documents()):
        if name == "descriptor":
            stream[doc["uid"]] = doc["name"]
        elif name == "event" and stream[doc["descriptor"]] == "looks":
            rows[doc["data"]["raw_seq_num"]] = frame_of(doc["data"])
    return [rows[seq_num] for seq_num in sorted(rows)]


def stack_of(looks: Iterable[AuditedFrame], place: Place | None = None) -> list[AuditedFrame]:
    """Return the planes of one stack in order, of each the last attempt; by default those of the first place.

    Raises
    ------
    BadInputError
        There is nothing of that place.
    """
    frames = list(looks)
    wanted = place if place is not None else (frames[0].place if frames else None)
    last: dict[int, AuditedFrame] = {}
    for one in sorted(frames, key=lambda one: (one.attempt, one.seq_num)):
        if one.place == wanted:
            last[one.plane] = one
    if not last:
        raise BadInputError(f"no slice was audited at {wanted}")
    return [last[plane] for plane in sorted(last)]


def grids_of(run: Any, place: Place | None = None) -> dict[str, NDArray[np.float64]]:
    """Return the tile grids of one stack, from a derived run of `slice_audit`.

    Parameters
    ----------
    run : BlueskyRun
        The derived run.
    place : Place, optional
        Which stack; default: the first.

    Returns
    -------
    dict of str to ndarray of shape (n, ny, nx)
        `ncc` (with the plane before; NaN in the first), `entropy` (bits), `laplacian` (variance, ADU²).
    """
    stack = stack_of(stored_looks(run), place)
    return {name: np.stack([one.grids[name] for one in stack]) for name in GRIDS}


def evidence_of(run: Any, place: Place | None = None) -> StackEvidence:
    """Return one stack's evidence from a derived run of `slice_audit`, for every rule in `parfocal.slices`.

    Sharpness is `tenengrad`; `facts` hold `relative_entropy` and `min_tile_ncc`.
    """
    stack = stack_of(stored_looks(run), place)
    pairs = {1: np.full(max(len(stack) - 1, 0), np.nan), 2: np.full(max(len(stack) - 2, 0), np.nan)}
    numbers = {one.plane: k for k, one in enumerate(stack)}
    for one in sorted(stack, key=lambda one: one.seq_num):
        for gap, values in pairs.items():
            for first, value in ((one.plane - gap, one.before[gap - 1]), (one.plane, one.after[gap - 1])):
                if first in numbers and first + gap in numbers and math.isfinite(value):
                    values[numbers[first]] = value
    ncc = np.stack([one.grids["ncc"] for one in stack]).reshape(len(stack), -1)
    least = np.min(np.where(np.isfinite(ncc), ncc, np.inf), axis=1)
    return StackEvidence(
        sharpness=np.array([one.scores["tenengrad"] for one in stack]),
        score_name="tenengrad",
        adjacent=pairs[1],
        skip=pairs[2],
        z_um=np.array([one.z_um for one in stack]),
        facts={
            "relative_entropy": np.array([one.scores["relative_entropy"] for one in stack]),
            "min_tile_ncc": np.where(np.isfinite(least), least, np.nan),
        },
    )
