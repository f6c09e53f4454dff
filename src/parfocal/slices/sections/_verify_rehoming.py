"""What the stage could not vouch for, asked of the images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from parfocal.errors import BadInputError
from parfocal.slices.ledger import Metric, StageResult, Stamp
from parfocal.slices.sections._register_pair import (
    VERIFY_MIN_NCC,
    RegisterSettings,
    verification,
    verified_pair,
)
from parfocal.slices.sections._rehoming import Rehoming, steps_of, with_steps
from parfocal.slices.sections._source import SectionSource

STAGE = "verify-rehoming"


def verify_by_image(
    found: Rehoming,
    source: SectionSource,
    *,
    min_ncc: float = VERIFY_MIN_NCC,
    max_discrepancy_px: float = 0.0,
    max_shift_mm: float = 0.5,
) -> Rehoming:
    """Measure the steps that are not reliable on the images of the sections, and use what is sure.

    It is what `register` does for the same sections (`verified_pair`): the planes at the cut are registered, from
    where the stage says and from where the arrays lie. Where the better correlation reaches `min_ncc` (and the
    step it gives is not too far from the stage's) it replaces the step, and `rehoming_reliable` becomes true;
    `rehomed` as well where the two differ by more than `max_shift_mm`.

    Parameters
    ----------
    found : Rehoming
        What `detect_rehoming` gave.
    source : SectionSource
        The sections; its voxel size turns px into mm.
    min_ncc : float
        Least correlation to believe an image.
    max_discrepancy_px : float
        Farthest that the image may differ from the stage on either axis, px; 0 for any.
    max_shift_mm : float
        See above.

    Returns
    -------
    Rehoming
        With the steps replaced; its `stage` holds only what was verified.

    Raises
    ------
    BadInputError
        A section that is needed is not there, or the voxel size is not known.
    """
    _, y_um, x_um = source.voxel_size_um
    if not (np.isfinite([y_um, x_um]).all() and min(y_um, x_um) > 0):
        raise BadInputError(
            f"verify: the sections' voxel size is {source.voxel_size_um} um; expected y and x above 0"
        )
    mm_per_px = np.array([x_um, y_um]) / 1000
    how = RegisterSettings(verify_min_ncc=min_ncc)
    steps = steps_of(found.shifts)
    reliable = found.reliable.copy()
    stamps: list[Stamp] = []
    numbers: dict[str, dict[str, Metric]] = {}
    said: list[str] = []
    for row in np.flatnonzero(~found.reliable):
        fixed_id, moving_id = found.shifts.fixed_id[row], found.shifts.moving_id[row]
        x, y = steps[row] / mm_per_px
        pair = verified_pair(
            source.volume(fixed_id),
            source.volume(moving_id),
            ids=(fixed_id, moving_id),
            step_px=(float(y), float(x)),
            max_discrepancy_px=max_discrepancy_px,
            settings=how,
        )
        words, told = verification(pair)
        said.append(words)
        stamps += told
        numbers[moving_id] = pair.metrics()
        if not pair.is_verified:
            continue
        if float(np.hypot(*(np.array([pair.dx_px, pair.dy_px]) * mm_per_px))) > max_shift_mm:
            stamps.append(Stamp(moving_id, "rehomed", True))
        steps[row] = np.array([pair.step_x_px, pair.step_y_px]) * mm_per_px
        reliable[row] = True
    if not said:
        said.append("every step is reliable: no image was asked")
    stage = StageResult(STAGE, tuple(stamps), numbers, tuple(said))
    return replace(found, shifts=with_steps(found.shifts, steps, reliable), reliable=reliable, stage=stage)
