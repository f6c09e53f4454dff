"""Sections aligned by where the stage was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.slices.ledger import SliceLedger, StageResult
from parfocal.slices.sections._build import BuiltVolume, build_volume, slots_by_id
from parfocal.slices.sections._chosen import Chosen, choose, positions_px
from parfocal.slices.sections._planes import moved_at_centre, translation, turn_deg
from parfocal.slices.sections._shifts import ShiftTable
from parfocal.slices.sections._source import SectionSource

_log = logging.getLogger("parfocal.slices")


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
    chosen = choose(source, made, ledger)
    at_mm, at_px = positions_px(shifts, chosen.ids, source.voxel_size_um, chosen.made_ids)
    matrices = {i: translation(-at_px[i][0], -at_px[i][1])[None] for i in chosen.everyone}
    return written("align", chosen, matrices, at_mm, path, sub_pixel, keep_gaps, overwrite, progress)


def written(
    stage: str,
    chosen: Chosen,
    matrices: Mapping[str, NDArray[np.float64]],
    at_mm: Mapping[str, tuple[float, float]],
    path: Path,
    sub_pixel: bool,
    keep_gaps: bool,
    overwrite: bool,
    progress: Callable[[str], None] | None,
) -> Aligned:
    """Write a volume of chosen sections, each by its matrices, and tell of each where it is."""
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


def _beyond(matrix: NDArray[np.float64], shape: tuple[int, int, int]) -> dict[str, float]:
    """Return how far a section is turned, and where its middle goes."""
    dy, dx = moved_at_centre(np.linalg.inv(matrix), (shape[1], shape[2]))
    return {"rotation_deg": -turn_deg(matrix), "centre_dy_px": dy, "centre_dx_px": dx}
