"""From what judges say to what the ledger keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from parfocal.slices.ledger._stage import Stamp

if TYPE_CHECKING:  # the ledger stands below the verdicts, which import it with the rest of the room
    from parfocal.slices._verdict import Verdict


def stamps_of(verdicts: Mapping[str, Verdict], *, score_is_quality: bool = False) -> tuple[Stamp, ...]:
    """Return the stamps of verdicts: `use`, the reason as a note, the score where it is a quality.

    Parameters
    ----------
    verdicts : mapping of slice id to Verdict
        What was judged. Slices that the ledger does not have yet are added by it.
    score_is_quality : bool
        Whether scores are qualities in 0..1, to be stamped as `quality_score`. Others are raw metrics, which the
        ledger does not keep.

    Examples
    --------
    >>> from parfocal.slices import Verdict
    >>> for stamp in stamps_of({"03": Verdict(False, "blurred", 0.21)}, score_is_quality=True):
    ...     print(stamp.column, stamp.value)
    use False
    quality_score 0.21
    notes blurred
    """
    stamps: list[Stamp] = []
    for sid, verdict in verdicts.items():
        stamps.append(Stamp(sid, "use", verdict.accepted))
        if score_is_quality and math.isfinite(verdict.score):
            stamps.append(Stamp(sid, "quality_score", float(verdict.score)))
        if verdict.reason:
            stamps.append(Stamp(sid, "notes", verdict.reason, append=True))
    return tuple(stamps)
