"""How good each section is, by its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd
from parfocal.slices.ledger import Metric, StageResult, Stamp
from parfocal.slices.sections._neighbours import LOW, Judged, Sampling, judge_by_neighbours, pair_of
from parfocal.slices.sections._pair_quality import PairQuality
from parfocal.slices.sections._quality_linumpy import linumpy_quality
from parfocal.slices.sections._source import SectionSource
from parfocal.slices.sections._thickness import CALIBRATION_NOTE, CalibrationSlices, detect_calibration_slices

STAGE = "assess"
_LEADING = 3
_SURE_Z = 5.0
_LEAST_SCATTER = 0.02  # of the median


def assess_quality(
    source: SectionSource,
    *,
    min_quality: float | Literal["auto"] = 0.0,
    sample_depth: int = 5,
    roi_size: int = 0,
    max_shift_px: int = 64,
    exclude_first: int | Literal["auto"] = "auto",
    detect_calibration: bool = False,
    calibration_thickness_ratio: float = 1.5,
    compat: Literal["linumpy"] | None = None,
) -> StageResult:
    """Score each section against its neighbours: 0.5 SSIM + 0.3 edge + 0.2 variance, 0 to 1.

    Some planes of each section are compared with the same planes of the section before and the one after, each
    neighbour on its own, after laying one on the other by whole pixels. Planes are scaled between their 0.5th and
    99.5th percentile. SSIM is the mean over the planes; edge the correlation of the Sobel magnitudes of the middle
    one; variance `exp(-abs(ln r))`, r the ratio of the variances of the pixels as they are.

    The better neighbour counts, so that one bad section does not condemn the good one beside it. Unless the two
    neighbours agree with each other, by 0.1 more in structure and edges than with this section, the sections
    beyond them are asked as well; and where all of those have scores below half of the median too, as in a run of
    bad ones, the nearest on either side that have not, up to 8 sections away. Calibration slices are no
    neighbours, and get 0.

    Parameters
    ----------
    source : SectionSource
        The sections, in order. Each is read once; those with low scores, and who is asked of them, again.
    min_quality : float or "auto"
        Sections with a lower score are not to be used; 0 leaves all in. "auto" sets it by the stack itself, 5
        robust standard deviations below the median of its scores: what score a good section has depends on its
        texture and on how far the next one is.
    sample_depth : int
        Planes compared; 0 for all.
    roi_size : int
        Side of the middle square that is looked at, px; 0 for all.
    max_shift_px : int
        Farthest that a section may lie off its neighbour; 0 does not register.
    exclude_first : int or "auto"
        How many leading slices are calibration slices; "auto" leaves out those that are thicker than the others,
        or unlike them (a score below half of the median and 5 robust standard deviations).
    detect_calibration : bool
        Look at thickness besides a number that was told.
    calibration_thickness_ratio : float
        See `detect_calibration_slices`.
    compat : "linumpy", optional
        The original's numbers: nothing registered, minimum to maximum, mean of both neighbours, a variance part
        that is near 0; a good section beside a bad one falls below 0.3.

    Returns
    -------
    StageResult
        Stamps `quality_score`, and `use` and `notes` of sections that are left out; numbers by section.

    Raises
    ------
    BadInputError
        No section, or a parameter out of range.
    """
    ids = source.slice_ids
    _check(ids, 0.0 if min_quality == "auto" else min_quality, sample_depth, roi_size, max_shift_px)
    depths = {sid: source.shape(sid)[0] for sid in ids}
    left_out = _calibration(depths, exclude_first, detect_calibration, calibration_thickness_ratio, compat)
    if compat is not None:
        numbers, judged = _as_linumpy(source, sample_depth, roi_size)
        messages = list(left_out.messages)
    else:
        kept = [sid for sid in ids if sid not in left_out.slice_ids]
        sampling = Sampling(source, depths, sample_depth, roi_size, max_shift_px)
        judged, pairs, has_data = judge_by_neighbours(sampling, kept)
        messages = list(left_out.messages)
        if exclude_first == "auto":
            left_out = _unlike(kept, judged, left_out)
            messages = list(left_out.messages)
        judged |= {sid: Judged(0.0) for sid in left_out.slice_ids}
        numbers = {sid: _numbers(sid, kept, judged[sid], pairs, depths, has_data) for sid in ids}
    if min_quality == "auto":
        scores = [judged[sid].score for sid in ids if sid not in left_out.slice_ids]
        min_quality, said = _by_the_stack(scores)
        messages.append(said)
    return _result(ids, judged, numbers, left_out.slice_ids, min_quality, messages, compat)


def _calibration(
    depths: Mapping[str, int],
    exclude_first: int | Literal["auto"],
    detect: bool,
    ratio: float,
    compat: Literal["linumpy"] | None,
) -> CalibrationSlices:
    if exclude_first == "auto" or (compat is not None and detect):
        return detect_calibration_slices(
            depths, exclude_first=exclude_first, thickness_ratio=ratio, compat=compat if detect else None
        )
    told = detect_calibration_slices(depths, exclude_first=exclude_first, thickness_ratio=ratio)
    if not detect:
        return told
    thick = detect_calibration_slices(depths, thickness_ratio=ratio)
    found = tuple(sid for sid in depths if sid in told.slice_ids or sid in thick.slice_ids)
    return CalibrationSlices(found, tuple(dict.fromkeys((*told.messages, *thick.messages))))


def _unlike(ids: Sequence[str], judged: Mapping[str, Judged], left_out: CalibrationSlices) -> CalibrationSlices:
    """Add leading sections that are like none of the others."""
    scores = np.array([judged[sid].score for sid in ids])
    if len(ids) < 2 * _LEADING or not np.isfinite(scores).all():
        return left_out
    rest = scores[_LEADING:]
    median = float(np.median(rest))
    limit = min(LOW * median, median - _SURE_Z * robust_sd(rest))
    found: list[str] = []
    for sid, score in zip(ids[:_LEADING], scores):
        if score >= limit:
            break
        found.append(sid)
    if not found:
        return left_out
    words = [
        f"{sid} left out as a calibration slice: like none of the others ({judged[sid].score:.3f}, "
        f"median {median:.3f})"
        for sid in found
    ]
    before = left_out.messages if left_out.slice_ids else ()
    return CalibrationSlices((*left_out.slice_ids, *found), (*before, *words))


def _by_the_stack(scores: Sequence[float]) -> tuple[float, str]:
    """Return the score below which a section is unlike the others of its stack, and how it came about."""
    known = np.array([score for score in scores if np.isfinite(score)])
    if known.size < 2 * _LEADING:
        return 0.0, f"min_quality auto: {known.size} scores tell nothing about each other; none is left out"
    median = float(np.median(known))
    # Sections of one scatter would condemn each other for nothing.
    spread = max(1.4826 * float(np.median(np.abs(known - median))), _LEAST_SCATTER * median)
    limit = max(0.0, median - _SURE_Z * spread)
    words = f"{_SURE_Z:g} robust standard deviations of {spread:.3f} below the median {median:.3f}"
    return limit, f"min_quality auto: {limit:.3f}, {words} of {known.size} sections"


def _numbers(
    sid: str,
    kept: Sequence[str],
    judged: Judged,
    pairs: Mapping[tuple[str, str], PairQuality],
    depths: Mapping[str, int],
    has_data: Mapping[str, bool],
) -> dict[str, Metric]:
    numbers: dict[str, Metric] = {"overall": _or_none(judged.score), "depth": depths[sid]}
    if sid not in kept:
        return numbers | {"is_calibration": True}
    i = kept.index(sid)
    numbers |= {"has_data": has_data[sid], "compared_with": judged.by, "blame": judged.blame}
    numbers["neighbours_agree"] = judged.agreement
    for name, j in (("before", i - 1), ("after", i + 1)):
        if 0 <= j < len(kept):
            pair = pairs[pair_of(kept, i, j)]
            numbers |= {
                f"ssim_{name}": pair.ssim,
                f"edge_{name}": pair.edge,
                f"variance_{name}": pair.variance,
                f"shift_{name}_dy_px": pair.dy_px,
                f"shift_{name}_dx_px": pair.dx_px,
            }
    if judged.by:
        best = pairs[pair_of(kept, i, kept.index(judged.by))]
        numbers |= {"ssim": best.ssim, "edge_score": best.edge, "variance_score": best.variance}
    return numbers


def _as_linumpy(
    source: SectionSource, sample_depth: int, roi_size: int
) -> tuple[dict[str, dict[str, Metric]], dict[str, Judged]]:
    ids = source.slice_ids
    numbers: dict[str, dict[str, Metric]] = {}
    for i, sid in enumerate(ids):
        before = source.volume(ids[i - 1]) if i > 0 else None
        after = source.volume(ids[i + 1]) if i + 1 < len(ids) else None
        numbers[sid] = dict(linumpy_quality(source.volume(sid), before, after, sample_depth, roi_size))
    return numbers, {sid: Judged(float(one["overall"] or 0.0)) for sid, one in numbers.items()}


def _result(
    ids: Sequence[str],
    judged: Mapping[str, Judged],
    numbers: Mapping[str, Mapping[str, Metric]],
    calibration: Sequence[str],
    min_quality: float,
    messages: Sequence[str],
    compat: str | None,
) -> StageResult:
    stamps: list[Stamp] = []
    low: list[str] = []
    for sid in ids:
        score = judged[sid].score
        stamps.append(Stamp(sid, "quality_score", _or_none(score)))
        if sid in calibration:
            stamps += [Stamp(sid, "use", False), Stamp(sid, "notes", CALIBRATION_NOTE, append=True)]
        elif score < min_quality:
            low.append(sid)
            note = f"low_quality (quality_score<{min_quality:.3g})"
            stamps += [Stamp(sid, "use", False), Stamp(sid, "notes", note, append=True)]
    said = list(messages)
    left = [sid for sid in ids if sid not in calibration and sid not in low]
    # Whether they are used is the ledger's to say: others may have left them out.
    said.append(f"nothing against ({len(left)}): {', '.join(left) or 'none'}")
    if low:
        said.append(f"low quality ({len(low)}), below {min_quality:.3g}: {', '.join(low)}")
    empty = [sid for sid in ids if sid not in calibration and numbers[sid].get("has_data") is False]
    if empty:
        said.append(f"no data ({len(empty)}): {', '.join(empty)}")
    alone = [sid for sid in ids if np.isnan(judged[sid].score)]
    if alone:
        said.append(f"{', '.join(alone)}: there is no section to compare with, so no score")
    if not left:
        raise BadInputError(_nothing_left(ids, judged, low, min_quality))
    return StageResult(STAGE, tuple(stamps), numbers, tuple(said))


def _nothing_left(ids: Sequence[str], judged: Mapping[str, Judged], low: Sequence[str], min_quality: float) -> str:
    if not low:
        return f"assess: all {len(ids)} sections are left out as calibration slices; lower exclude_first"
    worst, best = (f(judged[sid].score for sid in low) for f in (min, max))
    return (
        f"assess: none of {len(ids)} sections is left to use: {len(low)} score {worst:.3f} to {best:.3f}, below "
        f"min_quality {min_quality:.3g}; lower it, set it by the stack itself with auto, or 0 to only score"
    )


def _or_none(score: float) -> float | None:
    return score if np.isfinite(score) else None


def _check(ids: Sequence[str], min_quality: float, sample_depth: int, roi_size: int, max_shift_px: int) -> None:
    if not ids:
        raise BadInputError("assess: there is no section")
    if not 0 <= min_quality <= 1:
        raise BadInputError(f"min_quality: expected a score from 0 to 1, got {min_quality!r}")
    for name, value in (("sample_depth", sample_depth), ("roi_size", roi_size), ("max_shift_px", max_shift_px)):
        if value < 0:
            raise BadInputError(f"{name}: expected 0 or more, got {value!r}")
