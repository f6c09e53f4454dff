"""Each section registered to the one before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType

from parfocal.errors import BadInputError
from parfocal.slices.ledger import SliceLedger, StageResult, Stamp
from parfocal.slices.sections._register_pair import (
    PairRegistration,
    RegisterSettings,
    register_pair,
    verification,
    verified_pair,
)
from parfocal.slices.sections._shifts import ShiftTable
from parfocal.slices.sections._source import SectionSource

Positions = Mapping[str, tuple[float, float]]
"""Where sections lie, (y, x) px in the common frame, by slice id."""

_NOWHERE: Positions = MappingProxyType({})


@dataclass(frozen=True)
class Registration:
    """What `register` found.

    Attributes
    ----------
    pairs : tuple of PairRegistration
        One for each two neighbours, in the order of the sections.
    result : StageResult
        For the ledger and the report.
    """

    pairs: tuple[PairRegistration, ...]
    result: StageResult = field(default_factory=lambda: StageResult("register"))

    def by_moving(self) -> dict[str, PairRegistration]:
        """Return the pairs by the id of their moving section."""
        return {pair.moving_id: pair for pair in self.pairs}


def unreliable_slices(ledger: SliceLedger | None, shifts: ShiftTable | None) -> frozenset[str]:
    """Return the sections whose step an image must tell: by the ledger, or by the shifts where it says nothing."""
    rows = {} if ledger is None else ledger.rows
    doubted = {i for i, row in rows.items() if row.get("rehoming_reliable") is False}
    if shifts is not None and shifts.reliable is not None:
        told = {i for i, good in zip(shifts.moving_id, shifts.reliable) if not good}
        doubted |= {i for i in told if rows.get(i, {}).get("rehoming_reliable") is None}
    return frozenset(doubted)


def register(
    source: SectionSource,
    slice_ids: Sequence[str] | None = None,
    *,
    positions_px: Positions = _NOWHERE,
    interpolated: Collection[str] = (),
    unreliable: Collection[str] = (),
    settings: RegisterSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Registration:
    """Register every section to the one before it.

    Sections that are left out of `slice_ids` are bridged: the two on either side are registered to each other.
    One whose step the stage could not vouch for (`unreliable_slices`) is verified by `verified_pair`: where the
    image is to be believed the ledger is told so, and `step_y_px`, `step_x_px` are the step to use.

    Parameters
    ----------
    source : SectionSource
        The sections.
    slice_ids : sequence of str, optional
        Which, in order; all by default.
    positions_px : mapping of slice id to (y, x)
        Where they are known to lie in the common frame, px; all at the origin by default.
    interpolated : collection of str
        Sections that were made, not measured: whatever is registered with one gets confidence 0.
    unreliable : collection of str
        Sections whose step is to be verified.
    progress : callable, optional
        Called with each moving section's id when it is done.

    Raises
    ------
    BadInputError
        A section is not there, or fewer than two are asked for.
    """
    how = settings or RegisterSettings()
    ids = tuple(source.slice_ids if slice_ids is None else slice_ids)
    if len(ids) < 2:
        raise BadInputError(f"register: {len(ids)} section(s), expected two or more")
    pairs: list[PairRegistration] = []
    before = source.volume(ids[0])
    for fixed_id, moving_id in pairwise(ids):
        after = source.volume(moving_id)
        (fy, fx), (my, mx) = (positions_px.get(i, (0.0, 0.0)) for i in (fixed_id, moving_id))
        by = verified_pair if moving_id in unreliable else register_pair
        pair = by(before, after, ids=(fixed_id, moving_id), step_px=(my - fy, mx - fx), settings=how)
        made = [i for i in (fixed_id, moving_id) if i in interpolated]
        if made:
            pair = _distrusted(pair, f"slice {', '.join(made)} is interpolated")
        pairs.append(pair)
        before = after
        if progress is not None:
            progress(moving_id)
    return Registration(tuple(pairs), _result(pairs, unreliable, how))


def _distrusted(pair: PairRegistration, reason: str) -> PairRegistration:
    return replace(pair, confidence=0.0, action="skip", reason=reason, is_verified=False)


def _result(pairs: Sequence[PairRegistration], unreliable: Collection[str], how: RegisterSettings) -> StageResult:
    stamps: list[Stamp] = []
    messages: list[str] = []
    for pair in pairs:
        if pair.moving_id in unreliable:
            words, told = verification(pair)
            messages.append(words)
            stamps += told
        if pair.action != "full":
            taken = "only its rotation is used" if pair.action == "rotation" else "its transform is not used"
            messages.append(f"{pair.fixed_id} to {pair.moving_id}: {pair.reason}; {taken}")
    n_full = sum(pair.action == "full" for pair in pairs)
    messages.append(f"{n_full} of {len(pairs)} pairs registered with confidence {how.confidence_high:g} or more")
    return StageResult("register", tuple(stamps), {p.moving_id: p.metrics() for p in pairs}, tuple(messages))
