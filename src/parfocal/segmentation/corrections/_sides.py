"""Which corrections are learnt from, and which are held out for the gate: the journal's order alone decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from parfocal.errors import BadInputError
from parfocal.segmentation.corrections._journal import CorrectionJournal
from parfocal.segmentation.corrections._kinds import Kind
from parfocal.segmentation.corrections._marks import Mark, mark_of, same_object
from parfocal.segmentation.corrections._record import Correction

_LATEST = 0.75
"""So much of a held-out object may be owed while others of its kind are waited for."""
_ROUNDING = 1e-9


@dataclass
class _Object:
    """Corrections that touch the same voxels of a run."""

    kind: Kind
    is_held_out: bool
    marks: list[Mark] = field(default_factory=list[Mark])
    standing: set[str] = field(default_factory=set[str])


def held_out_ids(journal: CorrectionJournal, share: float) -> frozenset[str]:
    """Return the ids of all corrections, undone ones too, that are kept for the gate.

    The lines of the journal are followed from the first. Where a correction begins an object, it is decided then
    and there on which side the object is, by what stands at that line; later lines change nothing of it. So what
    was once taught never judges, and what judged is never taught: more corrections, or an undo, move none that
    was made. All corrections of an object are on its side; one that joins objects of both sides is taught.

    Parameters
    ----------
    journal : CorrectionJournal
        One journal; each is divided by itself.
    share : float
        Of the objects, 0 to 1: a quarter holds out the second, sixth, tenth... of objects of one kind.
    """
    objects: list[_Object] = []
    object_of: dict[str, _Object] = {}
    for made, stands in journal.steps():
        if not stands:
            object_of[made.id].standing.discard(made.id)
            continue
        if made.id not in object_of:
            object_of[made.id] = _object_of(made, journal, objects, share)
        object_of[made.id].standing.add(made.id)
    return frozenset(one for one, its in object_of.items() if its.is_held_out)


def is_held_out_next(kind: Kind, standing: Sequence[tuple[Kind, bool]], share: float) -> bool:
    """Say whether the next object is held out: it is owed by all that stand, and by those of its kind.

    Kinds take turns, so that what is often done in one order (delete, add, delete, add) is on both sides. Of seven
    objects or more, a quarter holds out two at least, and never less than a fifth.

    Parameters
    ----------
    kind : Kind
        Of the next object.
    standing : sequence of (Kind, bool)
        Of each object that stands: its kind, and whether it is held out.
    share : float
    """
    owed = share * (len(standing) + 1) - sum(held for _, held in standing)
    alike = [held for other, held in standing if other is kind]
    owed_of_kind = share * (len(alike) + 1) - sum(alike)
    return owed >= _LATEST - _ROUNDING or owed + owed_of_kind >= 1 - _ROUNDING


def _object_of(made: Correction, journal: CorrectionJournal, objects: list[_Object], share: float) -> _Object:
    """Return the object that a correction belongs to; a new one is added to `objects`."""
    mark = _mark(made, journal)
    same = [one for one in objects if mark and any(same_object(mark, other) for other in one.marks)]
    if same:
        its = min(same, key=lambda one: one.is_held_out)
    else:
        standing = [(one.kind, one.is_held_out) for one in objects if one.standing]
        its = _Object(made.kinds[0], is_held_out_next(made.kinds[0], standing, share))
        objects.append(its)
    if mark:
        its.marks.append(mark)
    return its


def _mark(made: Correction, journal: CorrectionJournal) -> Mark | None:
    try:
        return mark_of(made, journal.crop(made))
    except BadInputError:  # of one that was undone, perhaps: whoever needs its pixels says so
        return None
