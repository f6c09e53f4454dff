"""What an audit keeps of every frame, and the verdicts that follow from it: no pixels needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parfocal.slices import (
    JudgeSettings,
    SliceExpectations,
    SliceLook,
    StackSettings,
    Verdict,
    expectations_of,
    judge_look,
    moved_planes,
)

_LEAST_PLANES = 4


@dataclass(frozen=True)
class SliceParameters:
    """What the verdicts depend on: see `JudgeSettings` and `StackSettings`; `tile_px` is the side of a tile."""

    blur_k: float = 4.5
    motion_k: float = 5.0
    shading_k: float = 5.0
    empty_content: float = 2.0
    saturated_share: float = 0.01
    stack_k: float = 5.0
    stack_least_drop: float = 0.01
    stack_reach: int = 6
    tile_px: int = 128


class Place(NamedTuple):
    """Which stack: planes of one place belong together."""

    time_point: int
    position: int
    tile: int
    channel: str


@dataclass(frozen=True)
class AuditedFrame:
    """One row of stream `looks`.

    Attributes
    ----------
    place : Place
        Which stack.
    plane : int
        Which plane of it.
    slice_id : str
        What the plan called it; else position or plane.
    attempt, frame, seq_num : int
        Which attempt; index of the frame; number of its event.
    z_um : float
        Where; NaN where that is not known.
    look : SliceLook
        Numbers of the frame alone.
    scores : mapping
        `tenengrad` (less its noise floor), `relative_entropy`, `ncc` and `ncc_skip` (with the plane before, and
        the one before that; NaN where there is none).
    before, after : tuple of float
        Correlations with the planes before it, nearest first, and with those after it that were there already.
    grids : mapping of str to ndarray of shape (ny, nx)
        `ncc`, `entropy`, `laplacian`, tile by tile.
    """

    place: Place
    plane: int
    slice_id: str
    attempt: int
    frame: int
    seq_num: int
    z_um: float
    look: SliceLook
    scores: Mapping[str, float]
    before: tuple[float, ...]
    after: tuple[float, ...]
    grids: Mapping[str, NDArray[np.float64]]


SCORES = ("tenengrad", "relative_entropy", "ncc", "ncc_skip")
GRIDS = ("ncc", "entropy", "laplacian")


def row_of(frame: AuditedFrame, verdict: Verdict) -> dict[str, Any]:
    """Return the row of stream `looks`."""
    return {
        **which(frame),
        "attempt": frame.attempt,
        "z_um": frame.z_um,
        **said(verdict),
        **frame.look.as_dict(),
        **{name: frame.scores[name] for name in SCORES},
        **dict(zip(beside_names(len(frame.before)), (*frame.before, *frame.after), strict=True)),
        **{f"grid_{name}": frame.grids[name].tolist() for name in GRIDS},
    }


def frame_of(row: Mapping[str, Any]) -> AuditedFrame:
    """Return what a stored row of stream `looks` says."""
    return AuditedFrame(
        Place(int(row["time_point"]), int(row["position"]), int(row["tile"]), str(row["channel"])),
        int(row["plane"]),
        str(row["slice_id"]),
        int(row["attempt"]),
        int(row["raw_frame"]),
        int(row["raw_seq_num"]),
        float(row["z_um"]),
        SliceLook(**{name: float(row[name]) for name in SliceLook.names()}),
        {name: float(row[name]) for name in SCORES},
        _beside(row, "ncc_before"),
        _beside(row, "ncc_after"),
        {name: np.array([list(line) for line in row[f"grid_{name}"]], np.float64) for name in GRIDS},
    )


def beside_names(reach: int) -> list[str]:
    """Return the columns of the correlations with the planes before, nearest first, and then of those after."""
    return [f"ncc_{side}_{gap}" for side in ("before", "after") for gap in range(1, reach + 1)]


def _beside(row: Mapping[str, Any], side: str) -> tuple[float, ...]:
    if side in row:  # until version 0.1.0 an array
        return tuple(float(v) for v in row[side])
    gaps = sorted(int(key.removeprefix(f"{side}_")) for key in row if key.startswith(f"{side}_"))
    return tuple(float(row[f"{side}_{gap}"]) for gap in gaps)


def which(frame: AuditedFrame) -> dict[str, Any]:
    """Return the columns that say which slice a row is about."""
    return {
        "slice_id": frame.slice_id,
        "position": frame.place.position,
        "time_point": frame.place.time_point,
        "tile": frame.place.tile,
        "channel": frame.place.channel,
        "plane": frame.plane,
    }


def said(verdict: Verdict) -> dict[str, Any]:
    """Return the columns of a verdict."""
    return {"accepted": int(verdict.accepted), "reason": verdict.reason, "score": float(verdict.score)}


def judge_slices(
    frames: Iterable[AuditedFrame], parameters: SliceParameters = SliceParameters()
) -> Iterator[tuple[AuditedFrame, int, Verdict]]:
    """Judge each slice of a run by its last attempt.

    Slices of single planes are compared with each other; planes of a stack with their neighbours (moved), and with
    the same plane of other stacks (shaded, drawn out): that a plane away from the focus is blurred is no fault.

    Yields
    ------
    AuditedFrame, int, Verdict
        Last attempt, how many there were, and the verdict on it, in the order of first attempts.
    """
    taken = sorted(frames, key=lambda one: one.seq_num)
    by_slice: dict[tuple[Place, int], list[AuditedFrame]] = {}
    stacks: dict[Place, list[AuditedFrame]] = {}
    for one in taken:
        by_slice.setdefault((one.place, one.plane), []).append(one)
        stacks.setdefault(one.place, []).append(one)
    moved = {place: judge_planes(stack, parameters) for place, stack in stacks.items()}
    expected = {kind: expected_of(alike, parameters) for kind, alike in _by_kind(taken).items()}
    for (place, plane), attempts in by_slice.items():
        last = max(attempts, key=lambda one: (one.attempt, one.seq_num))
        by_look = judge_one(last, expected[_kind(last)], is_stack=bool(moved[place]), parameters=parameters)
        by_stack = moved[place].get(plane, by_look)
        yield last, len(attempts), by_stack if by_look.accepted and not by_stack.accepted else by_look


def judge_one(
    frame: AuditedFrame, expected: SliceExpectations | None, *, is_stack: bool, parameters: SliceParameters
) -> Verdict:
    """Judge a frame by its like."""
    settings = JudgeSettings(
        blur_k=parameters.blur_k,
        motion_k=parameters.motion_k,
        shading_k=parameters.shading_k,
        empty_content=parameters.empty_content,
        saturated_share=parameters.saturated_share,
    )
    return judge_look(frame.look, expected, replace(settings, blur_k=math.inf) if is_stack else settings)


def expected_of(frames: Sequence[AuditedFrame], parameters: SliceParameters) -> SliceExpectations | None:
    """Return what frames of one kind have in common; None where too few of them show anything."""
    looks = [one.look for one in frames if one.look.content >= parameters.empty_content]
    return expectations_of(looks) if len(looks) >= 3 else None


def judge_planes(frames: Sequence[AuditedFrame], parameters: SliceParameters) -> dict[int, Verdict]:
    """Judge the planes of one stack by their correlations, by plane; nothing where they are too few."""
    planes = sorted({one.plane for one in frames})
    if len(planes) < _LEAST_PLANES:
        return {}
    at = {plane: k for k, plane in enumerate(planes)}
    pairs: dict[tuple[int, int], float] = {}
    for one in frames:  # a later attempt replaces what was said of an earlier
        for gap, (before, after) in enumerate(zip(one.before, one.after, strict=True), 1):
            for other, value in ((one.plane - gap, before), (one.plane + gap, after)):
                if other in at and math.isfinite(value):
                    pairs[at[min(other, one.plane)], at[max(other, one.plane)]] = value
    moved, drop = moved_planes(pairs, len(planes), stack_settings(parameters))
    return {plane: Verdict(not moved[k], "moved" if moved[k] else "", float(drop[k])) for plane, k in at.items()}


def stack_settings(parameters: SliceParameters) -> StackSettings:
    """Return what counts as motion between planes."""
    return StackSettings(
        k=parameters.stack_k, least_drop=parameters.stack_least_drop, reach=parameters.stack_reach
    )


def _kind(frame: AuditedFrame) -> tuple[int, str]:
    return frame.plane, frame.place.channel


def _by_kind(frames: Iterable[AuditedFrame]) -> dict[tuple[int, str], list[AuditedFrame]]:
    found: dict[tuple[int, str], list[AuditedFrame]] = {}
    for one in frames:
        found.setdefault(_kind(one), []).append(one)
    return found
