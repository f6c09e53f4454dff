"""Section volumes of a run: which frames they are made of, and their pixels when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks._slice_ledger import Attempt, Attempts, standing
from parfocal.errors import BadInputError
from parfocal.files import natural_key
from parfocal.frames import Frames
from parfocal.slices import ShiftTable
from parfocal.slices.ledger import as_slice_id


@dataclass(frozen=True)
class SectionFrame:
    """One frame of a section, without its pixels.

    `offset_um` is how far the stage says it stands from where it was sent (x, y), NaN where it does not say.
    """

    section: int
    name: str
    plane: int
    attempt: int
    uri: str
    index: int
    z_um: float
    offset_um: tuple[float, float]


@dataclass(frozen=True)
class SectionFrames:
    """Sections whose planes are frames of a run, read one volume at a time.

    A `SectionSource`: nothing is held in memory but where each plane is.
    """

    frames: Frames
    planes: Mapping[str, tuple[SectionFrame, ...]]
    frame_shape: tuple[int, int]
    voxel_size_um: tuple[float, float, float]

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """Ids in natural order."""
        return tuple(self.planes)

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Shape (z, y, x) of a section."""
        return len(self._planes(slice_id)), *self.frame_shape

    def volume(self, slice_id: str) -> NDArray[np.generic]:
        """Pixels `[z, y, x]` of a section, planes in their order."""
        return np.stack([self.frames.get(one.uri, one.index) for one in self._planes(slice_id)])

    def _planes(self, slice_id: str) -> tuple[SectionFrame, ...]:
        if slice_id not in self.planes:
            raise BadInputError(f"there is no section {slice_id}; there are {', '.join(self.planes)}")
        return self.planes[slice_id]


def named_sections(taken: Iterable[SectionFrame]) -> tuple[dict[str, list[SectionFrame]], list[str]]:
    """Return the frames of each section by its id, in natural order, and what a user should read about the ids.

    A section keeps its name where every one of them is a slice id and no two are the same; else all are numbered.
    """
    by_number: dict[int, list[SectionFrame]] = {}
    for one in taken:
        by_number.setdefault(one.section, []).append(one)
    ids: dict[int, str] = {}
    problem = ""
    for number, frames in by_number.items():
        try:
            ids[number] = as_slice_id(frames[0].name or number)
        except BadInputError as error:
            problem = problem or str(error)
    if not problem and len(set(ids.values())) < len(ids):
        problem = "two sections have one name"
    if problem:
        ids = {number: as_slice_id(number) for number in by_number}
    said = [f"sections are numbered by position: {problem}"] if problem else []
    ordered = sorted(by_number, key=lambda number: natural_key(ids[number]))
    return {ids[number]: by_number[number] for number in ordered}, said


def chosen_planes(
    frames: Iterable[SectionFrame], verdicts: Mapping[int, Attempt]
) -> tuple[tuple[SectionFrame, ...], Attempts]:
    """Return the frame of each plane that counts, in the order of planes, and the verdicts there were.

    Of several attempts the last accepted one counts, else the last.
    """
    by_plane: dict[int, dict[int, SectionFrame]] = {}
    for one in frames:
        by_plane.setdefault(one.plane, {})[one.attempt] = one
    chosen: list[SectionFrame] = []
    audited: Attempts = {}
    for plane, attempts in sorted(by_plane.items()):
        judged = {n: verdicts[one.index] for n, one in attempts.items() if one.index in verdicts}
        if judged:
            audited[plane] = judged
        chosen.append(attempts[standing(judged) if judged else max(attempts)])
    return tuple(chosen), audited


def z_step_um(planes: Iterable[tuple[SectionFrame, ...]]) -> float:
    """Return the distance of neighbouring planes, um; 1 where sections are single planes or z is not known."""
    steps = [abs(b.z_um - a.z_um) / (b.plane - a.plane) for section in planes for a, b in pairwise(section)]
    known = [step for step in steps if math.isfinite(step) and step > 0]
    return median(known) if known else 1.0


def stage_steps(sections: Mapping[str, tuple[SectionFrame, ...]]) -> ShiftTable | None:
    """Return how far the stage was off its way from each section to the next, mm; None where it does not say.

    The step of a pair is the readback less the setpoint of the one section, less that of the other: what a stage
    that lost its count, or was homed anew, adds to where it was sent.
    """
    off_mm: dict[str, tuple[float, float]] = {}
    for slice_id, planes in sections.items():
        x_um, y_um = (float(np.median([one.offset_um[axis] for one in planes])) for axis in (0, 1))
        if math.isfinite(x_um) and math.isfinite(y_um):
            off_mm[slice_id] = (x_um / 1e3, y_um / 1e3)
    ids = tuple(off_mm)
    if len(ids) < 2 or len(ids) < len(sections):
        return None
    steps = np.diff(np.array([off_mm[i] for i in ids], np.float64), axis=0)
    return ShiftTable(ids[:-1], ids[1:], steps[:, 0].copy(), steps[:, 1].copy())
