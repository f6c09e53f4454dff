"""Which sections go into a volume, and where the shifts say that they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parfocal.errors import BadInputError
from parfocal.slices.ledger import SliceLedger
from parfocal.slices.sections._register import Positions
from parfocal.slices.sections._shifts import ShiftTable, cumulative_shifts
from parfocal.slices.sections._source import SectionSource


@dataclass(frozen=True)
class Chosen:
    """Which sections go into a volume, and where they come from."""

    source: SectionSource
    made: SectionSource | None
    ids: tuple[str, ...]
    made_ids: tuple[str, ...]
    out: Mapping[str, str]

    @property
    def everyone(self) -> tuple[str, ...]:
        """Ids of all, measured or made, in order."""
        return _in_order((*self.ids, *self.made_ids))

    def of(self, slice_id: str) -> SectionSource:
        """Return where a section comes from."""
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


def choose(source: SectionSource, made: SectionSource | None, ledger: SliceLedger | None) -> Chosen:
    """Return what goes into a volume: those to use, and those that were made for the others."""
    ids, out = chosen_slices(source, ledger)
    made_ids: tuple[str, ...] = ()
    if made is not None:
        made_ids = tuple(
            i
            for i in made.slice_ids
            if i not in ids and (ledger is None or ledger.rows.get(i, {}).get("interpolated") is True)
        )
    return Chosen(source, made, ids, made_ids, {i: why for i, why in out.items() if i not in made_ids})


def _in_order(ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(ids, key=int)) if all(i.isdecimal() for i in ids) else tuple(ids)


def _why_out(ledger: SliceLedger, slice_id: str) -> str:
    row = ledger.rows.get(slice_id)
    if row is None:
        return "not in the ledger"
    if row.get("interpolation_failed") is True:
        return f"interpolation refused: {row.get('interpolation_fallback_reason') or 'no reason given'}"
    return str(row.get("notes") or row.get("auto_exclude_reason") or "use is false")
