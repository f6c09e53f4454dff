"""AUC, Kendall's tau and best cut of many bootstrap samples at once, from how often each value was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tallies:
    """How often each value of a metric occurs in each sample, by category; values ascend, higher is better.

    Attributes
    ----------
    values : ndarray of float64, shape (n_values,)
    counts : tuple of three ndarray of float64, shape (n_samples, n_values)
        Of bad, okay and great.
    """

    values: NDArray[np.float64]
    counts: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    def aucs(self, low: int = 0, high: int = 2) -> NDArray[np.float64]:
        """Return the chance that one of category `high` exceeds one of `low`, ties counting half."""
        of_low, of_high = self.counts[low], self.counts[high]
        below = np.cumsum(of_low, axis=1) - 0.5 * of_low
        pairs = of_low.sum(axis=1) * of_high.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return (of_high * below).sum(axis=1) / pairs

    def taus(self) -> NDArray[np.float64]:
        """Return Kendall's tau-b between value and category; NaN where all values are equal."""
        totals = np.stack([part.sum(axis=1) for part in self.counts])
        excess = np.zeros(totals.shape[1])
        for low, high in ((0, 1), (0, 2), (1, 2)):
            pairs = totals[low] * totals[high]
            excess += np.where(pairs > 0, pairs * (2 * np.nan_to_num(self.aucs(low, high)) - 1), 0.0)
        drawn = sum(self.counts, np.zeros_like(self.counts[0]))
        n = totals.sum(axis=0)
        of_all = n * (n - 1) / 2
        of_values = of_all - (drawn * (drawn - 1)).sum(axis=1) / 2
        of_levels = of_all - (totals * (totals - 1)).sum(axis=0) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(of_values > 0, excess / np.sqrt(of_values * of_levels), np.nan)

    def cuts(self) -> NDArray[np.float64]:
        """Return the cut of the highest balanced accuracy between bad and great; at or above it is great.

        It lies in the middle of a gap between values, of the widest where several do as well.
        """
        bad, _, great = self.counts
        present = (bad + great) > 0
        n_values = self.values.size
        # the next value that was drawn, for each
        at = np.where(present, np.arange(n_values), n_values)
        following = np.full((present.shape[0], n_values + 1), n_values)
        following[:, :-1] = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1]
        following = following[:, 1:]
        is_gap = present & (following < n_values)
        upper = self.values[np.minimum(following, n_values - 1)]
        right = np.cumsum(bad, axis=1) / bad.sum(axis=1, keepdims=True)
        right = right + 1 - np.cumsum(great, axis=1) / great.sum(axis=1, keepdims=True)
        right = np.where(is_gap, right, -1.0)
        is_best = is_gap & (right >= right.max(axis=1, keepdims=True) - 1e-12)
        widest = np.where(is_best, upper - self.values, -1.0).argmax(axis=1)
        rows = np.arange(present.shape[0])
        middle = (self.values[widest] + upper[rows, widest]) / 2
        return np.where(is_gap.any(axis=1), middle, self.values[present.argmax(axis=1)])


def tallies(samples: Sequence[NDArray[np.float64]]) -> Tallies:
    """Count the values of samples: one array of shape (n_samples, n_drawn) for bad, okay and great each."""
    values = np.unique(np.concatenate([part.ravel() for part in samples]))
    counts: list[NDArray[np.float64]] = []
    for part in samples:
        n_samples = part.shape[0]
        place = np.searchsorted(values, part) + values.size * np.arange(n_samples)[:, np.newaxis]
        told = np.bincount(place.ravel(), minlength=n_samples * values.size)
        counts.append(told.reshape(n_samples, values.size).astype(np.float64))
    return Tallies(values, (counts[0], counts[1], counts[2]))
