"""What the stage could not vouch for, asked of the images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import Shift, phase_shift
from parfocal.slices.ledger import Metric, StageResult, Stamp
from parfocal.slices.sections._rehoming import Rehoming, steps_of, with_steps
from parfocal.slices.sections._source import SectionSource

STAGE = "verify-rehoming"
_SMALLEST_PX = 16


def verify_by_image(
    found: Rehoming,
    source: SectionSource,
    *,
    min_ncc: float = 0.3,
    max_discrepancy_px: float = 0.0,
    max_shift_mm: float = 0.5,
    upsample: int = 10,
) -> Rehoming:
    """Measure the steps that are not reliable by phase correlation of the sections, and use what is sure.

    The maximum projections of the central 20 % of both sections are compared twice, as they lie in their arrays
    and as the step would lay them, and the better correlation over the overlap counts. Where it reaches `min_ncc`
    (and the step it gives is not too far from the stage's) it replaces the step, and `rehoming_reliable` becomes
    true; `rehomed` as well where the two differ by more than `max_shift_mm`.

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
    upsample : int
        Parts of a pixel that the shift is found to.

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
    steps = steps_of(found.shifts)
    reliable = found.reliable.copy()
    stamps: list[Stamp] = []
    numbers: dict[str, dict[str, Metric]] = {}
    said: list[str] = []
    for row in np.flatnonzero(~found.reliable):
        fixed_id, moving_id = found.shifts.fixed_id[row], found.shifts.moving_id[row]
        by_stage = steps[row] / mm_per_px
        seen = _measured(_projection(source, fixed_id), _projection(source, moving_id), by_stage, upsample)
        by_image = np.array([seen.dx_px, seen.dy_px])
        far = float(np.abs(by_image - by_stage).max())
        sure = bool(np.isfinite(seen.ncc) and seen.ncc >= min_ncc)
        sure = sure and (max_discrepancy_px <= 0 or far <= max_discrepancy_px)
        numbers[moving_id] = {
            "fixed_id": fixed_id,
            "image_x_shift_px": seen.dx_px,
            "image_y_shift_px": seen.dy_px,
            "image_ncc": seen.ncc if np.isfinite(seen.ncc) else None,
            "discrepancy_px": far,
            "accepted": sure,
        }
        image, motor = (f"{x:+.1f}, {y:+.1f}" for x, y in (by_image, by_stage))
        words = f"{image} px (x, y) where the stage says {motor}, ncc {seen.ncc:.2f}"
        said.append(f"{fixed_id} to {moving_id}: {'' if sure else 'not verified, '}{words}")
        if not sure:
            continue
        stamps.append(Stamp(moving_id, "rehoming_reliable", True))
        if float(np.hypot(*((by_image - by_stage) * mm_per_px))) > max_shift_mm:
            stamps.append(Stamp(moving_id, "rehomed", True))
        stamps.append(Stamp(moving_id, "notes", "rehoming verified by image", append=True))
        steps[row] = by_image * mm_per_px
        reliable[row] = True
    if not said:
        said.append("every step is reliable: no image was asked")
    stage = StageResult(STAGE, tuple(stamps), numbers, tuple(said))
    return replace(found, shifts=with_steps(found.shifts, steps), reliable=reliable, stage=stage)


def _projection(source: SectionSource, slice_id: str) -> NDArray[np.float32]:
    volume = source.volume(slice_id)
    depth = volume.shape[0]
    half = max(1, round(0.2 * depth)) / 2
    first = max(0, int(depth / 2 - half))
    return volume[first : max(first + 1, int(np.ceil(depth / 2 + half)))].max(axis=0).astype(np.float32)


def _measured(
    fixed: NDArray[np.float32], moving: NDArray[np.float32], by_stage_px: NDArray[np.float64], upsample: int
) -> Shift:
    """Return the better of two searches: from where the arrays lie, and from where the stage says."""
    height, width = (min(a, b) for a, b in zip(fixed.shape, moving.shape))
    best = phase_shift(fixed, moving, upsample=upsample)
    dx, dy = (int(v) for v in np.rint(by_stage_px))
    if min(height - abs(dy), width - abs(dx)) < _SMALLEST_PX:
        return best
    other = phase_shift(
        fixed[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)],
        moving[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)],
        upsample=upsample,
    )
    if np.isfinite(other.ncc) and not best.ncc >= other.ncc:
        return Shift(other.dy_px + dy, other.dx_px + dx, other.ncc)
    return best
