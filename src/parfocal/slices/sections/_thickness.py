"""Calibration slices: the first ones of an acquisition, when they are thicker than the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd

_LEADING = 3
_SURE_Z = 5.0
_LEAST_SCATTER = 0.02  # of the median: depths are whole planes

CALIBRATION_NOTE = "calibration_slice"


@dataclass(frozen=True)
class CalibrationSlices:
    """Which leading slices are calibration slices.

    Attributes
    ----------
    slice_ids : tuple of str
        Which, in order.
    messages : tuple of str
        Why, in words; never empty, so that nothing is left out, or kept, without a word.
    """

    slice_ids: tuple[str, ...]
    messages: tuple[str, ...]


def detect_calibration_slices(
    depths: Mapping[str, int],
    *,
    exclude_first: int | Literal["auto"] = "auto",
    thickness_ratio: float = 1.5,
    compat: Literal["linumpy"] | None = None,
) -> CalibrationSlices:
    """Return the leading slices that are calibration slices.

    A leading slice is one when it is deeper than `thickness_ratio` times the median of the slices after the
    first three (of all, where there are fewer than three of those), and by more than 5 robust standard deviations
    of their depths; the search ends at the first that is not.

    Parameters
    ----------
    depths : mapping of slice id to number of planes
        In the order of acquisition.
    exclude_first : int or "auto"
        How many leading slices are calibration slices; "auto" looks at thickness.
    thickness_ratio : float
        See above.
    compat : "linumpy", optional
        The original's rule: deeper than the ratio times the median of all, among the first three, in a row or
        not. It is applied besides `exclude_first`.

    Raises
    ------
    BadInputError
        There is no slice, a depth below 1, a ratio of 1 or less, or a negative number.
    """
    ids = list(depths)
    if not ids:
        raise BadInputError("calibration slices: there is no slice")
    flat = [sid for sid in ids if depths[sid] < 1]
    if flat:
        raise BadInputError(f"slice {flat[0]}: {depths[flat[0]]} planes; expected 1 or more")
    if not thickness_ratio > 1:
        raise BadInputError(f"calibration_thickness_ratio: expected more than 1, got {thickness_ratio!r}")
    if exclude_first != "auto" and exclude_first < 0:
        raise BadInputError(f"exclude_first: expected 0 or more, or auto, got {exclude_first!r}")
    told: list[str] = [] if exclude_first == "auto" else ids[:exclude_first]
    if compat is not None:
        median = float(np.median(list(depths.values())))
        thick = [sid for sid in ids[:_LEADING] if depths[sid] > thickness_ratio * median]
        return _said([sid for sid in ids if sid in told or sid in thick], depths, median, told)
    if exclude_first != "auto":
        return _said(told, depths, float(np.median(list(depths.values()))), told)
    others = np.array(
        [depths[sid] for sid in ids[_LEADING:]] if len(ids) >= 2 * _LEADING else list(depths.values())
    )
    median = float(np.median(others))
    scatter = max(robust_sd(others), _LEAST_SCATTER * median)
    thick = []
    for sid in ids[:_LEADING]:
        if depths[sid] <= max(thickness_ratio * median, median + _SURE_Z * scatter):
            break
        thick.append(sid)
    return _said(thick, depths, median, told)


def _said(found: list[str], depths: Mapping[str, int], median: float, told: list[str]) -> CalibrationSlices:
    if not found:
        return CalibrationSlices(
            (), (f"no leading slice left out as a calibration slice (median {median:g} planes)",)
        )
    words = [
        f"{sid} left out as a calibration slice: "
        + ("told to" if sid in told else f"{depths[sid]} planes where the median is {median:g}")
        for sid in found
    ]
    return CalibrationSlices(tuple(found), tuple(words))
