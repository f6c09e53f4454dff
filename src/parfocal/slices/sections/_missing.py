"""Every missing section of a source made or refused, and how well that may be expected to go."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import MappingProxyType

import numpy as np

from parfocal.errors import BadInputError
from parfocal.files import write_ome_zarr
from parfocal.imaging import ssim
from parfocal.slices.ledger import Metric, SliceLedger, StageResult, Stamp, write_fragment
from parfocal.slices.sections._chosen import chosen_slices, positions_px
from parfocal.slices.sections._folder import slice_id_of
from parfocal.slices.sections._interpolate import (
    REASONS,
    InterpolateSettings,
    Interpolation,
    interpolate_section,
)
from parfocal.slices.sections._register import Positions
from parfocal.slices.sections._shifts import ShiftTable
from parfocal.slices.sections._source import SectionSource

_NOWHERE: Positions = MappingProxyType({})


@dataclass(frozen=True)
class MissingSection:
    """A section that is missing between two that are there: the k-th, from 0, of n in a row."""

    slice_id: str
    before_id: str
    after_id: str
    k: int = 0
    n: int = 1


@dataclass(frozen=True)
class HeldOut:
    """A section that is there, predicted from its neighbours as if it were missing.

    Attributes
    ----------
    slice_id : str
        Which.
    ssim : float
        Structural similarity of the predicted middle plane with the real one; NaN where it was refused.
    reason : str
        Why it was refused; empty otherwise.
    """

    slice_id: str
    ssim: float
    reason: str = ""


@dataclass(frozen=True)
class Interpolated:
    """What became of the missing sections.

    Attributes
    ----------
    folder : Path
        Where the volumes and the fragments are.
    made, refused : tuple of str
        Ids.
    held_out : tuple of HeldOut
        The check on sections that are there.
    expected_ssim : float
        Median of those that were not refused; NaN where there is none.
    result : StageResult
        Stamps, numbers and messages.
    """

    folder: Path
    made: tuple[str, ...]
    refused: tuple[str, ...]
    held_out: tuple[HeldOut, ...]
    expected_ssim: float
    result: StageResult


def missing_sections(used: Sequence[str]) -> tuple[MissingSection, ...]:
    """Return the numbers that no used section has, between the first and the last.

    Raises
    ------
    BadInputError
        An id is no number.
    """
    bad = [i for i in used if not i.isdecimal()]
    if bad:
        raise BadInputError(f"interpolate: slice {bad[0]!r} is no number; which ones are missing cannot be told")
    ids = sorted(used, key=int)
    found: list[MissingSection] = []
    for before, after in pairwise(ids):
        n = int(after) - int(before) - 1
        found += [MissingSection(slice_id_of(int(before) + 1 + k), before, after, k, n) for k in range(n)]
    return tuple(found)


def interpolate_missing(
    source: SectionSource,
    ledger: SliceLedger,
    shifts: ShiftTable | None = None,
    *,
    folder: Path,
    settings: InterpolateSettings | None = None,
    allow_multiple: bool = False,
    n_held_out: int = 3,
    progress: Callable[[str], None] | None = None,
) -> Interpolated:
    """Make the sections that are missing between used ones, each from its neighbours, or refuse with a reason.

    A section is asked for by `use = false` (or by having no row), with both neighbours there. Several in a row are
    only made with `allow_multiple`, and say so in their notes. Each leaves a fragment
    `slice_z<id>_manifest.csv`, its numbers are in the result for `write_metrics`; those made leave a volume
    `slice_z<id>_interpolated.ome.zarr`.

    Parameters
    ----------
    source : SectionSource
        The sections.
    ledger : SliceLedger
        Who is used.
    shifts : ShiftTable, optional
        Steps between sections; the neighbours are seen from where the missing section lies by them.
    folder : Path
        Where results go; made where it is not there.
    settings : InterpolateSettings, optional
        Method and gates.
    allow_multiple : bool
        Consent to make several in a row.
    n_held_out : int
        Sections that are there to predict as if they were missing, spread over the stack; 0 for none.
    progress : callable, optional
        Called with each id when it is done.
    """
    how = settings or InterpolateSettings()
    used, _ = chosen_slices(source, ledger)
    asked = missing_sections(used)
    at = _NOWHERE
    if shifts is not None:
        _, at = positions_px(shifts, used, source.voxel_size_um, [one.slice_id for one in asked])
    folder.mkdir(parents=True, exist_ok=True)
    stamps: list[Stamp] = []
    metrics: dict[str, Mapping[str, Metric]] = {}
    messages: list[str] = []
    made: list[str] = []
    refused: list[str] = []
    doable = [one for one in asked if one.n == 1 or allow_multiple]
    held = held_out_check(source, used, how, n_held_out, at) if doable else ()
    similar = [one.ssim for one in held if math.isfinite(one.ssim)]
    expected = median(similar) if similar else math.nan
    for one in asked:
        if one not in doable:
            if one.k == 0:
                last = slice_id_of(int(one.slice_id) + one.n - 1)
                messages.append(f"{one.slice_id} to {last}: {one.n} missing in a row, left as a gap")
            continue
        outcome = _one(source, one, how, at)
        numbers: dict[str, Metric] = {
            **outcome.metrics,
            "method": outcome.method,
            "fallback_reason": outcome.reason or None,
            "expected_ssim": expected,
            "missing_in_a_row": one.n,
        }
        _keep(folder, one.slice_id, outcome, source.voxel_size_um)
        stamps += _stamps(one, outcome, one.slice_id in ledger.rows)
        metrics[one.slice_id] = numbers
        (refused if outcome.failed else made).append(one.slice_id)
        if outcome.failed:
            messages.append(f"{one.slice_id}: stays a gap, {outcome.reason}: {REASONS[outcome.reason]}")
        else:
            messages.append(f"{one.slice_id}: interpolated by {outcome.method}")
        if progress is not None:
            progress(one.slice_id)
    if held:
        said = f"median SSIM {expected:.2f}" if similar else "all refused"
        messages.append(f"held-out check on {', '.join(one.slice_id for one in held)}: {said}")
    result = StageResult("interpolate", tuple(stamps), metrics, tuple(messages))
    return Interpolated(folder, tuple(made), tuple(refused), held, expected, result)


def held_out_check(
    source: SectionSource,
    used: Sequence[str],
    settings: InterpolateSettings | None = None,
    n: int = 3,
    positions: Positions = _NOWHERE,
) -> tuple[HeldOut, ...]:
    """Predict sections that are there from their neighbours, and compare: what may be expected of this sample.

    Parameters
    ----------
    used : sequence of str
        Sections that count; those with both neighbours among them are tried.
    n : int
        How many, spread evenly.
    positions : mapping of slice id to (y, x)
        Where they lie, px.
    """
    there = set(used)
    inner = [i for i in used if i.isdecimal() and {slice_id_of(int(i) - 1), slice_id_of(int(i) + 1)} <= there]
    if not inner or n < 1:
        return ()
    chosen = [inner[k] for k in sorted({round(v) for v in np.linspace(0, len(inner) - 1, min(n, len(inner)))})]
    found: list[HeldOut] = []
    for i in chosen:
        one = MissingSection(i, slice_id_of(int(i) - 1), slice_id_of(int(i) + 1))
        truth = source.volume(i)
        outcome = _one(source, one, settings or InterpolateSettings(), positions)
        if outcome.volume is None:
            found.append(HeldOut(i, math.nan, outcome.reason))
            continue
        z, (height, width) = outcome.volume.shape[0] // 2, np.minimum(outcome.volume.shape[1:], truth.shape[1:])
        real = truth[min(z, truth.shape[0] - 1), :height, :width]
        found.append(HeldOut(i, ssim(real, outcome.volume[z, :height, :width])))
    return tuple(found)


def _one(source: SectionSource, one: MissingSection, how: InterpolateSettings, at: Positions) -> Interpolation:
    here = at.get(one.slice_id, (0.0, 0.0))
    (by, bx), (ay, ax) = (at.get(i, (0.0, 0.0)) for i in (one.before_id, one.after_id))
    return interpolate_section(
        source.volume(one.before_id),
        source.volume(one.after_id),
        how,
        before_px=(by - here[0], bx - here[1]),
        after_px=(ay - here[0], ax - here[1]),
        part=(one.k, one.n),
    )


def _stamps(one: MissingSection, outcome: Interpolation, is_known: bool) -> list[Stamp]:
    cells: dict[str, bool | str | None] = {} if is_known else {"use": False}
    cells |= {
        "interpolated": not outcome.failed,
        "interpolation_failed": outcome.failed,
        "interpolation_method_used": None if outcome.failed else outcome.method,
        "interpolation_fallback_reason": outcome.reason or None,
    }
    stamps = [Stamp(one.slice_id, column, value) for column, value in cells.items()]
    if one.n > 1:
        note = f"one of {one.n} missing in a row"
        stamps.append(Stamp(one.slice_id, "notes", note, append=True))
    return stamps


def _keep(
    folder: Path,
    slice_id: str,
    outcome: Interpolation,
    voxel_size_um: tuple[float, float, float],
) -> None:
    name = f"slice_z{slice_id}_interpolated.ome.zarr"
    if outcome.volume is None:
        shutil.rmtree(
            folder / name, ignore_errors=True
        )  # of an earlier run: what is refused now must not be there
    else:
        write_ome_zarr(
            folder / name,
            outcome.volume,
            voxel_size_um,
            overwrite=True,
            attributes={"parfocal": {"interpolated": True, "method": outcome.method}},
        )
    write_fragment(
        folder,
        slice_id,
        method=outcome.method,
        method_used="" if outcome.failed else outcome.method,
        fallback_reason=outcome.reason,
        interpolation_failed=outcome.failed,
        output_path="" if outcome.failed else name,
    )
