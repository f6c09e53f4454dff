"""Light that comes and goes: calcium events at puncta, as a function of place, time and seed alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics._points import PunctaField
from parfocal.optics._samples import Box, Floats, PointEvents

_BIN_S = 8.0
_GONE_DECAYS = 8.0


@dataclass(frozen=True)
class CalciumField:
    """Calcium that rises at the puncta of a `PunctaField`.

    Time is cut into spans, and what a cell's puncta do in one is drawn from a generator seeded with (cell, span):
    the same time always has the same events, whatever was looked at before. The first onset is after time 0.

    Parameters
    ----------
    puncta : PunctaField
    events_per_s : float
        Of each punctum.
    photons_per_s : float
        Median, detected at the peak; log-normal with `spread`.
    rise_s, decay_s : float
        See `pulse_mean`.
    sigma_um : float
        Gaussian spread of the light: calcium diffuses, and the spot is wider than the PSF.
    """

    puncta: PunctaField
    events_per_s: float = 0.08
    photons_per_s: float = 1e5
    spread: float = 0.3
    rise_s: float = 0.08
    decay_s: float = 0.6
    sigma_um: float = 0.35

    def __post_init__(self) -> None:
        if min(self.rise_s, self.decay_s, self.sigma_um) <= 0 or min(self.events_per_s, self.photons_per_s) < 0:
            raise BadInputError("calcium field: times and sigma_um must be above 0, rates and photons 0 or more")

    @property
    def lasts_s(self) -> float:
        """How long after its onset an event is gone; see `EventLayer`."""
        return self.rise_s + _GONE_DECAYS * self.decay_s

    def share(self, begin_s: Floats, length_s: float) -> Floats:
        """Return the mean of events over an exposure; see `EventLayer`."""
        return pulse_mean(begin_s, length_s, self.rise_s, self.decay_s)

    def events_in(self, box: Box, begin_s: float, end_s: float) -> PointEvents:
        """Return the events inside the box; see `EventLayer`."""
        positions: list[Floats] = [np.empty((0, 3))]
        onsets: list[Floats] = [np.empty(0)]
        photons: list[Floats] = [np.empty(0)]
        for seed, places, _ in self.puncta.cells_in(box):
            for span in range(max(0, math.floor(begin_s / _BIN_S)), math.floor(end_s / _BIN_S) + 1):
                rng = np.random.default_rng([seed, span])
                who = np.repeat(np.arange(len(places)), rng.poisson(self.events_per_s * _BIN_S, len(places)))
                onset = (span + rng.random(who.size)) * _BIN_S
                peak = self.photons_per_s * np.exp(rng.normal(0, self.spread, who.size))
                asked = (onset >= begin_s) & (onset <= end_s)
                asked &= box.contains(places[who, 1], places[who, 2])
                positions.append(places[who[asked]])
                onsets.append(onset[asked])
                photons.append(peak[asked])
        onset = np.concatenate(onsets)
        order = np.argsort(onset, kind="stable")
        return PointEvents(np.concatenate(positions)[order], onset[order], np.concatenate(photons)[order])


def pulse_mean(begin_s: Floats, length_s: float, rise_s: float, decay_s: float) -> Floats:
    """Return the mean of a pulse over an exposure that begins `begin_s` after its onset.

    The pulse is (1 - exp(-t / rise)) exp(-t / decay) from t = 0 on, made 1 at its peak; the mean is exact.
    """
    slow, fast = decay_s, rise_s * decay_s / (rise_s + decay_s)
    peak_s = rise_s * np.log1p(decay_s / rise_s)
    height = (1 - np.exp(-peak_s / rise_s)) * np.exp(-peak_s / decay_s)

    def area(t_s: Floats) -> Floats:
        t = np.maximum(t_s, 0)
        return slow * -np.expm1(-t / slow) + fast * np.expm1(-t / fast)

    return (area(begin_s + length_s) - area(begin_s)) / (length_s * height)


def cloud(sigma_um: float, n: int = 16) -> NDArray[np.float64]:
    """Return points `[n, (y, x)]`, um, that stand for a Gaussian: even in probability, a golden angle apart."""
    radius = sigma_um * np.sqrt(-2 * np.log1p(-(np.arange(n) + 0.5) / n))
    angle = np.arange(n) * math.pi * (3 - math.sqrt(5))
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
