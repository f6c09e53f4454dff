"""Rules that look at how frames fit their neighbours: motion, and motion with sharpness."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.slices.selection._decide import (
    checked_fraction,
    decide,
    joined,
    not_applicable,
    scored_reasons,
)
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._motion import (
    LIMITS,
    Blame,
    Blamed,
    Limit,
    blame_both,
    blame_by_skip,
    excursions,
    pair_limits,
)
from parfocal.slices.selection._sharpness_rules import mad_sharpness, peak_relative

Sharp = Literal["peak_relative", "mad_sharpness"]


def motion(
    evidence: StackEvidence,
    *,
    limit: Limit = "dip",
    floor: float = 0.85,
    k: float = 3.0,
    min_drop: float = 0.08,
    blame: Blame = "skip",
) -> Selection:
    """Leave out frames that moved: their correlation with a neighbour dips.

    Parameters
    ----------
    evidence : StackEvidence
        Its `adjacent` must be of band-limited frames: noise lowers the correlation of raw ones.
    limit : {"dip", "floor", "mean_sd", "mad", "either", "both"}
        What counts as a bad pair: `floor`; mean - `k` SD; median - `k` 1.4826 MAD; below either or below both of
        floor and MAD; or a dip, `k` robust SD below what the pairs on both sides lead to expect. Fewer than three
        pairs: the floor. With "dip", a frame whose neighbours fit each other better than it is bad, too.
    floor : float
        The lowest correlation of a good pair.
    k : float
        Number of standard deviations.
    min_drop : float
        Statistical limits are at least so far below their centre.
    blame : {"skip", "both"}
        "both": a bad pair counts against both its frames. "skip": only against those that the frames before and
        after fit each other without; see the explanation of the rules.

    Notes
    -----
    A pair whose correlation is not defined (a flat frame) is bad.
    """
    parameters: dict[str, Any] = {
        "limit": limit,
        "floor": floor,
        "k": k,
        "min_drop": min_drop,
        "blame": blame,
    }
    if limit not in LIMITS:
        raise BadInputError(f"motion: limit {limit!r} is unknown; expected one of {', '.join(LIMITS)}")
    if blame not in ("skip", "both"):
        raise BadInputError(f"motion: blame {blame!r} is unknown; expected skip or both")
    if evidence.n_frames < 2:
        return not_applicable("motion", parameters, evidence, "a single frame has no neighbour")
    blamed, threshold = moved_frames(evidence, limit, floor, k, min_drop, blame)
    reasons = [blamed.reasons.get(i, "") for i in range(evidence.n_frames)]
    return decide("motion", parameters, reasons, threshold, blamed.notes)


def moved_frames(
    evidence: StackEvidence,
    limit: Limit,
    floor: float,
    k: float,
    min_drop: float,
    blame: Blame,
    among: NDArray[np.bool_] | None = None,
) -> tuple[Blamed, float]:
    """Return the frames to blame for motion and the limit of a pair; only pairs with both frames `among`.

    Raises
    ------
    BadInputError
        The evidence holds another number of correlations than its frames have pairs, or a limit can hold for none.
    """
    n = evidence.n_frames
    if evidence.adjacent.size != max(0, n - 1) or evidence.skip.size != max(0, n - 2):
        raise BadInputError(
            f"motion: {n} frames with {evidence.adjacent.size} correlations of neighbours and "
            f"{evidence.skip.size} across one frame; expected one and two fewer than frames"
        )
    checked_fraction("motion", "floor", floor, -1.0)
    if not (k > 0 and min_drop >= 0):
        raise BadInputError(f"motion: k is {k:g} and min_drop {min_drop:g}, expected above 0 and 0 or more")
    limits = pair_limits(evidence.adjacent, limit, floor, k, min_drop)
    bad = ~(evidence.adjacent >= limits.limit)
    if limit == "dip" and n > 2:
        for frame in excursions(evidence, min_drop / 2):
            bad[[frame - 1, frame]] = True
    if among is not None:
        bad &= among[:-1] & among[1:]
    blamed = blame_both(evidence, bad) if blame == "both" else blame_by_skip(evidence, bad, limits.limit)
    return blamed, limits.threshold


def hybrid(
    evidence: StackEvidence,
    *,
    sharp: Sharp = "peak_relative",
    alpha: float = 0.7,
    sharp_k: float = 2.0,
    limit: Limit = "dip",
    floor: float = 0.85,
    k: float = 3.0,
    min_drop: float = 0.08,
    blame: Blame = "skip",
) -> Selection:
    """Leave out frames that are blurred or moved.

    Where that leaves nothing, the sharp frames stay, and where there are none either, all; a note says so.

    Parameters
    ----------
    evidence : StackEvidence
        What is known of the frames.
    sharp : {"peak_relative", "mad_sharpness"}
        What "blurred" means, with `alpha` or `sharp_k`.
    limit, floor, k, min_drop, blame
        As in `motion`.
    """
    parameters: dict[str, Any] = {
        "sharp": sharp,
        "alpha": alpha,
        "sharp_k": sharp_k,
        "limit": limit,
        "floor": floor,
        "k": k,
        "min_drop": min_drop,
        "blame": blame,
    }
    if sharp not in ("peak_relative", "mad_sharpness"):
        raise BadInputError(f"hybrid: sharp {sharp!r} is unknown; expected peak_relative or mad_sharpness")
    focused = (
        peak_relative(evidence, alpha=alpha) if sharp == "peak_relative" else mad_sharpness(evidence, k=sharp_k)
    )
    steady = motion(evidence, limit=limit, floor=floor, k=k, min_drop=min_drop, blame=blame)
    notes = [note for part in (focused, steady) for note in part.notes if not note.startswith("nothing survived")]
    reasons = joined(focused.reasons, steady.reasons)
    if all(reasons):
        reasons, note = _fallen_back(evidence, focused)
        notes.append(note)
    return decide("hybrid", parameters, reasons, focused.threshold, notes)


def _fallen_back(evidence: StackEvidence, focused: Selection) -> tuple[list[str], str]:
    if focused.keep.any():
        return list(
            focused.reasons
        ), "fell back: every sharp frame has moved; the sharp ones are kept all the same"
    if np.isfinite(evidence.sharpness).any():
        return scored_reasons(evidence), "fell back: no frame is sharp and steady; all are kept"
    return [""] * evidence.n_frames, "fell back: no frame could be judged; all are kept"
