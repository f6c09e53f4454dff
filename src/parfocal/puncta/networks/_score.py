"""How good a network is on patches that it has not seen, while it trains and when it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta.networks._decode import DecodeSettings, decode

TOLERANCE_PX = 2.0


@dataclass(frozen=True)
class PatchScore:
    """What came of patches.

    Attributes
    ----------
    precision, recall, jaccard : float
        Of puncta matched one to one within 2 px.
    rmse_px : float
        Of the matched, sqrt(mean(dx² + dy²)).
    efficiency : float
        100 - sqrt((100 - 100 jaccard)² + (100 rmse_px)²): the score that trainings are compared by. For pixels of
        100 nm it is that of the SMLM challenge of 2016.
    within_one_sigma : float
        Share of the matched puncta's errors along x or y that are below the sigma stated.
    photons_ratio : float
        Median of found over true.
    false_per_1000_px : float
        In patches without puncta; NaN where there is none.
    calcium_f1, calcium_iou : float
        Of the matched puncta, called on against on; NaN where there is no calcium decoder.
    n : int
        True puncta.
    """

    precision: float
    recall: float
    jaccard: float
    rmse_px: float
    efficiency: float
    within_one_sigma: float
    photons_ratio: float
    false_per_1000_px: float
    calcium_f1: float
    calcium_iou: float
    n: int


def score_patches(
    output: NDArray[Any],
    puncta: NDArray[Any],
    counts: NDArray[Any],
    settings: DecodeSettings | None = None,
    *,
    calcium_logit: float = 0.0,
) -> PatchScore:
    """Return how well the network's answers `[n, planes, y, x]` tell the puncta of patches."""
    n_true = n_found = n_matched = n_empty = n_false = 0
    errors: list[NDArray[np.float64]] = []
    calcium: list[NDArray[np.float64]] = []
    for planes, rows, count in zip(output, puncta, counts, strict=True):
        found, true = decode(planes, settings), rows[:count]
        n_true, n_found = n_true + len(true), n_found + len(found)
        if not len(true):
            n_empty, n_false = n_empty + 1, n_false + len(found)
        k, m = matched(found[:, 1], found[:, 0], true[:, 0], true[:, 1], TOLERANCE_PX)
        n_matched += len(k)
        dx, dy = found[k, 1] - true[m, 0], found[k, 0] - true[m, 1]
        errors.append(np.stack([dx, dy, found[k, 5], found[k, 6], found[k, 3] - true[m, 2]], axis=1))
        calcium.append(np.stack([found[k, 8] > calcium_logit, true[m, 3] > 0.5], axis=1).astype(float))
    dx, dy, sigma_x, sigma_y, logs = np.concatenate(errors).T if errors else np.empty((5, 0))
    precision, recall = n_matched / max(1, n_found), n_matched / max(1, n_true)
    jaccard = n_matched / max(1, n_true + n_found - n_matched)
    rmse = float(np.sqrt(np.mean(dx**2 + dy**2))) if n_matched else math.nan
    said, on = np.concatenate(calcium).T
    both, either = float((said * on).sum()), float(np.maximum(said, on).sum())
    f1 = 2 * both / max(1.0, float(said.sum() + on.sum()))
    has_calcium = output.shape[1] > 8
    pixels = output.shape[2] * output.shape[3]
    return PatchScore(
        precision=precision,
        recall=recall,
        jaccard=jaccard,
        rmse_px=rmse,
        efficiency=100 - math.hypot(100 * (1 - jaccard), 100 * rmse) if n_matched else 0.0,
        within_one_sigma=float(np.mean(np.abs(np.stack([dx / sigma_x, dy / sigma_y])) < 1))
        if n_matched
        else math.nan,
        photons_ratio=float(np.exp(np.median(logs))) if n_matched else math.nan,
        false_per_1000_px=1000 * n_false / (n_empty * pixels) if n_empty else math.nan,
        calcium_f1=f1 if has_calcium else math.nan,
        calcium_iou=both / max(1.0, either) if has_calcium else math.nan,
        n=n_true,
    )


def sigma_scale(output: NDArray[Any], puncta: NDArray[Any], counts: NDArray[Any]) -> float:
    """Return what stated sigmas have to be multiplied by so that 68.3 % of errors are within one."""
    ratios: list[NDArray[np.float64]] = [np.empty(0)]
    for planes, rows, count in zip(output, puncta, counts, strict=True):
        found, true = decode(planes), rows[:count]
        k, m = matched(found[:, 1], found[:, 0], true[:, 0], true[:, 1], TOLERANCE_PX)
        ratios += [np.abs(found[k, 1] - true[m, 0]) / found[k, 5], np.abs(found[k, 0] - true[m, 1]) / found[k, 6]]
    joined = np.concatenate(ratios)
    return float(np.quantile(joined, 0.683)) if joined.size >= 20 else 1.0


def calcium_threshold(output: NDArray[Any], puncta: NDArray[Any], counts: NDArray[Any]) -> float:
    """Return the calcium logit at puncta from which as many are missed as are found in vain."""
    logits, on = np.empty(0), np.empty(0, bool)
    for planes, rows, count in zip(output, puncta, counts, strict=True):
        found, true = decode(planes), rows[:count]
        k, m = matched(found[:, 1], found[:, 0], true[:, 0], true[:, 1], TOLERANCE_PX)
        logits, on = np.append(logits, found[k, 8]), np.append(on, true[m, 3] > 0.5)
    if not on.any():
        return 0.0
    # As many are called on as are on: then what is missed and what is found in vain are equally many.
    return float(np.sort(logits)[-int(on.sum())])


def matched(
    x: NDArray[Any], y: NDArray[Any], true_x: NDArray[Any], true_y: NDArray[Any], tolerance_px: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which are matched, one to one, at the least sum of distances within the tolerance."""
    from scipy.optimize import linear_sum_assignment

    distance = np.hypot(x[:, None] - true_x, y[:, None] - true_y)
    # Beyond the tolerance a pair costs more than any number of pairs within it.
    cost = np.where(distance <= tolerance_px, distance, 1e6)
    rows, columns = linear_sum_assignment(cost)
    near = distance[rows, columns] <= tolerance_px
    return rows[near], columns[near]
