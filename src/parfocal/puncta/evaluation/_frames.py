"""Calcium frame by frame: is there signal at a punctum in a frame, and was it said."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta._localizations import Localizations
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.evaluation._matching import Matching
from parfocal.puncta.evaluation._tally import share

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class FrameTally:
    """Counts of punctum-frames, which add up over recordings.

    Parameters
    ----------
    n_told : int
        Localizations of which it was said whether there is signal.
    n_on : int
        Visible punctum-frames with signal, localized or not.
    n_on_found, n_quiet : int
        Localized ones with signal, and without.
    n_hits, n_alarms : int
        Of these two, those that were said to have signal.
    """

    n_told: int
    n_on: int
    n_on_found: int
    n_quiet: int
    n_hits: int
    n_alarms: int


@dataclass(frozen=True)
class FrameScore:
    """Punctum-frames beside the truth; NaN for what there is nothing of.

    Parameters
    ----------
    f1 : float
        A punctum that was not localized in a frame with signal was missed.
    sensitivity : float
        Share of punctum-frames with signal, of all visible ones, that were found to have it.
    specificity : float
        Share of localized punctum-frames without signal that were found to have none.
    f1_of_found : float
        F1 among localized punctum-frames alone: what is missed by the detector is not counted.
    n_on, n_quiet : int
        Punctum-frames with signal, and localized ones without.
    """

    f1: float
    sensitivity: float
    specificity: float
    f1_of_found: float
    n_on: int
    n_quiet: int

    def figures(self) -> dict[str, Any]:
        """Return the figures by name; None for what there is not."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


def frame_score(tally: FrameTally) -> FrameScore:
    """Return the score of counts."""
    said = tally.n_hits + tally.n_alarms
    return FrameScore(
        f1=share(2 * tally.n_hits, said + tally.n_on),
        sensitivity=share(tally.n_hits, tally.n_on),
        specificity=share(tally.n_quiet - tally.n_alarms, tally.n_quiet),
        f1_of_found=share(2 * tally.n_hits, said + tally.n_on_found),
        n_on=tally.n_on,
        n_quiet=tally.n_quiet,
    )


def count_frames(on: Flags, quiet: Flags, said: Flags, n_on: int, n_told: int) -> FrameTally:
    """Count localized punctum-frames, one value each: with signal, surely without, said to have it."""
    hits, alarms = int(np.sum(on & said)), int(np.sum(quiet & said))
    return FrameTally(n_told, n_on, int(on.sum()), int(quiet.sum()), hits, alarms)


def n_visible_on(on: Flags, truth: PunctaTruth, matching: Matching) -> int:
    """Return in how many rows of a truth `on` holds, of those that are visible and not ignored."""
    asked = on & truth.is_visible
    asked[matching.ignored_truth_row] = False
    return int(asked.sum())


def tally_probabilities(
    truth: PunctaTruth,
    found: Localizations,
    matching: Matching,
    *,
    threshold: float = 0.5,
    dff_levels: tuple[float, float] | None = None,
) -> FrameTally:
    """Count what `score_probabilities` judges; the parameters are its own."""
    told = np.isfinite(found.calcium_probability)
    if dff_levels is None:
        on, quiet = truth.is_calcium_on, ~truth.is_calcium_on
    else:
        on, quiet = truth.calcium > dff_levels[1], truth.calcium < dff_levels[0]
    real, got = matching.truth_row, matching.found_row
    # who was not asked about a punctum missed it, and raised no false alarm
    return count_frames(
        on[real],
        quiet[real] & told[got],
        told[got] & (found.calcium_probability[got] > threshold),
        n_visible_on(on, truth, matching),
        int(told.sum()),
    )


def score_probabilities(
    truth: PunctaTruth,
    found: Localizations,
    matching: Matching,
    *,
    threshold: float = 0.5,
    dff_levels: tuple[float, float] | None = None,
) -> FrameScore | None:
    """Judge what a network itself says of calcium, `calcium_probability`, frame by frame: no trace, no event.

    Parameters
    ----------
    truth, found, matching
        `matching` is of these localizations with this truth.
    threshold : float
        Above it there is signal. A network's card has shifted its probabilities so that it is one half.
    dff_levels : (float, float), optional
        Without calcium below the first dF/F0, with it above the second, neither between; by default what
        `is_calcium_on` says.

    Returns
    -------
    FrameScore or None
        None where no localization has a probability: no network looked at calcium, or it found nothing.
    """
    tally = tally_probabilities(truth, found, matching, threshold=threshold, dff_levels=dff_levels)
    return frame_score(tally) if tally.n_told else None
