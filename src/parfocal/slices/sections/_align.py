"""Sections aligned by where the stage was, and stacked by what their images say."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from parfocal.errors import BadInputError
from parfocal.slices.ledger import SliceLedger, StageResult
from parfocal.slices.sections._build import BuiltVolume, build_volume, slots_by_id
from parfocal.slices.sections._planes import moved_at_centre, translation, turn_deg
from parfocal.slices.sections._register import Positions, Registration
from parfocal.slices.sections._register_pair import PairRegistration, RegisterSettings, register_pair
from parfocal.slices.sections._shifts import ShiftTable, cumulative_shifts
from parfocal.slices.sections._source import SectionSource

_log = logging.getLogger("parfocal.slices")
_FLOATS = NDArray[np.float64]


@dataclass(frozen=True)
class Aligned:
    """A volume of sections, and how it came to be.

    Attributes
    ----------
    volume : BuiltVolume
        What was written.
    positions_mm : mapping of slice id to (x, y)
        Where each section lies by the shifts, mm.
    result : StageResult
        Numbers a slice, and who is in and who is not.
    """

    volume: BuiltVolume
    positions_mm: Mapping[str, tuple[float, float]]
    result: StageResult


@dataclass(frozen=True)
class _Chosen:
    """Which sections go into a volume, and where they come from."""

    source: SectionSource
    made: SectionSource | None
    ids: tuple[str, ...]
    made_ids: tuple[str, ...]
    out: Mapping[str, str]

    @property
    def everyone(self) -> tuple[str, ...]:
        return _in_order((*self.ids, *self.made_ids))

    def of(self, slice_id: str) -> SectionSource:
        return self.made if self.made is not None and slice_id in self.made_ids else self.source


def chosen_slices(source: SectionSource, ledger: SliceLedger | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the measured sections to use, in the order of the source, and the others with the reason.

    Raises
    ------
    BadInputError
        None is left, or one that is to be used has no section.
    """
    there = tuple(source.slice_ids)
    if ledger is None:
        return there, {}
    used = set(ledger.filter_slices_to_use())
    missing = [i for i in ledger.rows if i in used and i not in there]
    if missing:
        raise BadInputError(
            f"slice {', '.join(missing)} is to be used, but there is no section of it: set use to false, or add it"
        )
    out = {i: _why_out(ledger, i) for i in (*there, *ledger.rows) if i not in used}
    ids = tuple(i for i in there if i in used)
    if not ids:
        raise BadInputError("no slice is left: no section here is marked as to be used")
    return ids, out


def positions_px(
    shifts: ShiftTable,
    slice_ids: Sequence[str],
    voxel_size_um: tuple[float, float, float],
    missing: Sequence[str] = (),
) -> tuple[dict[str, tuple[float, float]], Positions]:
    """Return where sections lie by the shifts: (x, y) in mm, and (y, x) in px of this voxel size.

    Parameters
    ----------
    slice_ids : sequence of str
        Sections that are there; the first is the origin.
    missing : sequence of str
        Sections that are not; one that the shifts do not have lies evenly between those beside it, by number.

    Raises
    ------
    BadInputError
        A section is not in the shifts, or there is no unbroken way to it.
    """
    known = set(shifts.slice_ids)
    asked = [*slice_ids, *(i for i in missing if i in known)]
    at_mm = cumulative_shifts(shifts, asked, unit="mm", origin=slice_ids[0]).by_id()
    unknown = [i for i in missing if i not in known]
    if unknown:
        order = sorted(at_mm, key=int)
        numbers, xy = [int(i) for i in order], np.array([at_mm[i] for i in order])
        for i in unknown:
            at_mm[i] = (
                float(np.interp(int(i), numbers, xy[:, 0])),
                float(np.interp(int(i), numbers, xy[:, 1])),
            )
    _, y_um, x_um = voxel_size_um
    return at_mm, {i: (1e3 * y / y_um, 1e3 * x / x_um) for i, (x, y) in at_mm.items()}


def align(
    source: SectionSource,
    shifts: ShiftTable,
    ledger: SliceLedger | None = None,
    *,
    path: Path,
    made: SectionSource | None = None,
    sub_pixel: bool = False,
    keep_gaps: bool = True,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Aligned:
    """Write the sections to use into one OME-Zarr volume, each where the shifts say, by its id.

    The shifts of sections that are left out count all the same: the way from 00 to 02 leads through 01.

    Parameters
    ----------
    source : SectionSource
        The sections.
    shifts : ShiftTable
        Steps between them.
    ledger : SliceLedger, optional
        Who is used (`use`); all by default.
    path : Path
        The volume to write.
    made : SectionSource, optional
        Sections that were interpolated; taken for those that the ledger calls `interpolated`.
    sub_pixel : bool
        Resample for shifts between pixels; by default whole pixels are copied as they are.
    keep_gaps : bool
        Keep the room of sections that are missing, so that z is true.
    overwrite : bool
        Replace a volume that is there.
    progress : callable, optional
        Called with each section's id when it is written.

    Raises
    ------
    BadInputError
        No section is left; one to use is missing, or is not in the shifts; the file is there already.
    """
    chosen = _choose(source, made, ledger)
    at_mm, at_px = positions_px(shifts, chosen.ids, source.voxel_size_um, chosen.made_ids)
    matrices = {i: translation(-at_px[i][0], -at_px[i][1])[None] for i in chosen.everyone}
    return _written("align", chosen, matrices, at_mm, path, sub_pixel, keep_gaps, overwrite, progress)


def stack(
    source: SectionSource,
    registration: Registration,
    shifts: ShiftTable | None = None,
    ledger: SliceLedger | None = None,
    *,
    path: Path,
    made: SectionSource | None = None,
    keep_gaps: bool = True,
    overwrite: bool = False,
    settings: RegisterSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Aligned:
    """Write the sections into one OME-Zarr volume, each where the shifts say and corrected by its image.

    The pairwise transforms add up from the first section on. A section that the ledger wants skipped
    (`force_skip_slices`: excluded as noisy) is placed by the shifts beside the one before it, its own transform
    ignored; the section after it is registered to the last one that counts. A section that was interpolated lies
    between its neighbours' corrections; one whose interpolation failed stays a gap.

    Parameters
    ----------
    source, shifts, ledger, path, made, keep_gaps, overwrite, progress
        See `align`; without shifts, every section begins at the origin.
    registration : Registration
        Pairwise transforms.
    settings : RegisterSettings, optional
        For the pairs that have to be registered anew.
    """
    chosen = _choose(source, made, ledger)
    everyone = chosen.everyone
    at_mm, at_px = dict.fromkeys(everyone, (0.0, 0.0)), dict.fromkeys(everyone, (0.0, 0.0))
    if shifts is not None:
        at_mm, at_px = positions_px(shifts, chosen.ids, source.voxel_size_um, chosen.made_ids)
    skipped = set(ledger.force_skip_slices()) if ledger is not None else set[str]()
    trusted = [i for i in chosen.ids if i not in skipped]
    steps = _steps(source, registration, trusted, at_px, settings or RegisterSettings())
    corrections = _corrections(everyone, trusted, chosen.made_ids, steps)
    matrices = {
        i: translation(-at_px[i][0], -at_px[i][1]) @ _between(*corrections[i], chosen.of(i).shape(i)[0])
        for i in everyone
    }
    return _written("stack", chosen, matrices, at_mm, path, True, keep_gaps, overwrite, progress)


def _steps(
    source: SectionSource,
    registration: Registration,
    trusted: Sequence[str],
    at_px: Positions,
    how: RegisterSettings,
) -> dict[str, _FLOATS]:
    """Return each trusted section's correction against the one before it, in the common frame."""
    known = registration.by_moving()
    steps: dict[str, _FLOATS] = {}
    for fixed, moving in pairwise(trusted):
        pair = known.get(moving)
        if pair is None or pair.fixed_id != fixed:
            (fy, fx), (my, mx) = at_px[fixed], at_px[moving]
            pair = register_pair(
                source.volume(fixed),
                source.volume(moving),
                ids=(fixed, moving),
                step_px=(my - fy, mx - fx),
                settings=how,
            )
        (y, x), (my, mx) = at_px[fixed], at_px[moving]
        # less the positions of now, which may be better than those it was registered from
        residual = translation(my - y, mx - x) @ pair.matrix
        steps[moving] = translation(y, x) @ _taken(pair, residual, source.shape(fixed)) @ translation(-y, -x)
    return steps


def _taken(pair: PairRegistration, residual: _FLOATS, shape: tuple[int, int, int]) -> _FLOATS:
    """Return what is used of a pair's transform: all, its rotation about the middle of the section, or nothing."""
    if pair.action == "full":
        return residual
    if pair.action == "skip":
        return np.eye(3)
    turn = math.radians(turn_deg(residual))
    rotation = np.eye(3)
    rotation[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    middle = translation(0.5 * (shape[1] - 1), 0.5 * (shape[2] - 1))
    return middle @ rotation @ np.linalg.inv(middle)


def _corrections(
    everyone: Sequence[str], trusted: Sequence[str], made: Collection[str], steps: Mapping[str, _FLOATS]
) -> dict[str, tuple[_FLOATS, _FLOATS]]:
    """Return each section's correction at its first and at its last plane."""
    at: dict[str, _FLOATS] = {}
    now = np.eye(3)
    for i in trusted:
        now = steps.get(i, np.eye(3)) @ now
        at[i] = now
    found: dict[str, tuple[_FLOATS, _FLOATS]] = {}
    before = np.eye(3)
    for k, i in enumerate(everyone):
        before = at.get(i, before)
        after = before
        if i in made:  # it leads from the section before it to the one after it
            after = next((at[j] for j in everyone[k + 1 :] if j in at), before)
        found[i] = (before, after)
    return found


def _between(start: _FLOATS, end: _FLOATS, n: int) -> _FLOATS:
    """Return matrices that lead evenly from one to the other over n planes; one where they are the same."""
    if np.allclose(start, end, rtol=0, atol=1e-9):
        return start[None]
    power = np.real(linalg.logm(end @ np.linalg.inv(start)))
    alphas = np.linspace(0, 1, n) if n > 1 else np.array([0.5])
    return np.array([linalg.expm(a * power) @ start for a in alphas])


def _choose(source: SectionSource, made: SectionSource | None, ledger: SliceLedger | None) -> _Chosen:
    ids, out = chosen_slices(source, ledger)
    made_ids: tuple[str, ...] = ()
    if made is not None:
        made_ids = tuple(
            i
            for i in made.slice_ids
            if i not in ids and (ledger is None or ledger.rows.get(i, {}).get("interpolated") is True)
        )
    return _Chosen(source, made, ids, made_ids, {i: why for i, why in out.items() if i not in made_ids})


def _in_order(ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(ids, key=int)) if all(i.isdecimal() for i in ids) else tuple(ids)


def _why_out(ledger: SliceLedger, slice_id: str) -> str:
    row = ledger.rows.get(slice_id)
    if row is None:
        return "not in the ledger"
    if row.get("interpolation_failed") is True:
        return f"interpolation refused: {row.get('interpolation_fallback_reason') or 'no reason given'}"
    return str(row.get("notes") or row.get("auto_exclude_reason") or "use is false")


def _written(
    stage: str,
    chosen: _Chosen,
    matrices: Mapping[str, _FLOATS],
    at_mm: Mapping[str, tuple[float, float]],
    path: Path,
    sub_pixel: bool,
    keep_gaps: bool,
    overwrite: bool,
    progress: Callable[[str], None] | None,
) -> Aligned:
    everyone = chosen.everyone
    slots = slots_by_id(
        {i: chosen.of(i).shape(i)[0] for i in everyone},
        matrices,
        gaps=chosen.out,
        interpolated=dict.fromkeys(chosen.made_ids, "interpolated from its neighbours"),
        keep_gaps=keep_gaps,
    )
    built = build_volume(
        path,
        {i: chosen.of(i) for i in everyone},
        slots,
        chosen.source.voxel_size_um,
        sub_pixel=sub_pixel,
        overwrite=overwrite,
        attributes={"stage": stage},
        progress=progress,
    )
    messages = [f"{stage}: included {', '.join(everyone)}"]
    if chosen.out:
        messages.append(f"{stage}: left out {', '.join(chosen.out)}")
    for message in messages:
        _log.info(message)
    metrics = {
        row["slice_id"]: {
            "state": row["state"],
            "z": row["z"],
            "n_planes": row["n_planes"],
            "offset_y_px": row["offset_y_px"],
            "offset_x_px": row["offset_x_px"],
            "x_mm": at_mm[row["slice_id"]][0],
            "y_mm": at_mm[row["slice_id"]][1],
            **_beyond(matrices[row["slice_id"]][0], chosen.of(row["slice_id"]).shape(row["slice_id"])),
        }
        for row in built.table()
        if row["state"] != "gap"
    }
    return Aligned(built, at_mm, StageResult(stage, (), metrics, tuple(messages)))


def _beyond(matrix: _FLOATS, shape: tuple[int, int, int]) -> dict[str, float]:
    """Return how far a section is turned, and where its middle goes."""
    dy, dx = moved_at_centre(np.linalg.inv(matrix), (shape[1], shape[2]))
    return {"rotation_deg": -turn_deg(matrix), "centre_dy_px": dy, "centre_dx_px": dx}
