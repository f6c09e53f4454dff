"""Several recordings judged as one: pairs and counts add up, ratios are never averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta.evaluation._evaluate import PunctaEvaluation, PunctaTally, evaluation_of
from parfocal.puncta.evaluation._matching import Matching
from parfocal.puncta.evaluation._tally import add_up, add_up_known

Ints = NDArray[np.int64]


def pool_evaluations(evaluations: Sequence[PunctaEvaluation]) -> PunctaEvaluation:
    """Return the figures of all recordings as if they were one.

    A recording with many puncta counts for more than one with few: errors are those of all pairs, shares are of
    all that was counted. A wobble is the mean over pairs of what was taken off. What was measured in some
    recordings only is of those.

    Parameters
    ----------
    evaluations : sequence of PunctaEvaluation
        At least one, all with the same tolerance; they may be pooled ones.

    Raises
    ------
    BadInputError
        There is none, or tolerances differ.
    """
    if not evaluations:
        raise BadInputError("pool evaluations: there is none, expected at least one")
    tolerances = sorted({one.matching.tolerance_nm for one in evaluations})
    if len(tolerances) > 1:
        raise BadInputError(f"pool evaluations: tolerances are {tolerances} nm, expected one")
    tallies = [one.tally for one in evaluations]
    tally = PunctaTally(
        precision=add_up([t.precision for t in tallies]),
        bound=add_up_known([t.bound for t in tallies]),
        empty=add_up_known([t.empty for t in tallies]),
        tracks=add_up_known([t.tracks for t in tallies]),
        events=add_up_known([t.events for t in tallies]),
        network=add_up_known([t.network for t in tallies]),
        speed=add_up_known([t.speed for t in tallies]),
    )
    n_rows = [sum(one.n_rows[k] for one in evaluations) for k in (0, 1)]
    return evaluation_of(_joined(evaluations), tally, (n_rows[0], n_rows[1]))


def worst_first(evaluations: Sequence[PunctaEvaluation]) -> list[int]:
    """Return places of evaluations, those first that missed or made up the largest share; then by error."""

    def how_good(place: int) -> tuple[float, float]:
        matching = evaluations[place].matching
        jaccard, rmse_nm = matching.jaccard, matching.rmse_nm
        return 1.0 if math.isnan(jaccard) else jaccard, 0.0 if math.isnan(rmse_nm) else -rmse_nm

    return sorted(range(len(evaluations)), key=how_good)


def _joined(evaluations: Sequence[PunctaEvaluation]) -> Matching:
    parts = [one.matching for one in evaluations]
    begins = np.cumsum([(0, 0), *(one.n_rows for one in evaluations)], axis=0)[:-1]

    def rows(name: str, table: int) -> Ints:
        return np.concatenate([getattr(m, name) + begin for m, begin in zip(parts, begins[:, table])])

    weights = np.array([m.n_matched for m in parts], np.float64)
    if not weights.any():
        weights[:] = 1.0
    wobble = np.average([m.wobble_nm for m in parts], axis=0, weights=weights)
    return Matching(
        rows("truth_row", 0),
        rows("found_row", 1),
        rows("missed_row", 0),
        rows("false_row", 1),
        rows("ignored_truth_row", 0),
        rows("ignored_found_row", 1),
        np.concatenate([m.dx_nm for m in parts]),
        np.concatenate([m.dy_nm for m in parts]),
        np.concatenate([m.dz_nm for m in parts]),
        (float(wobble[0]), float(wobble[1])),
        parts[0].tolerance_nm,
    )
