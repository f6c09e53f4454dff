"""When an event began, between frames. Times are in frames; a frame's time is the middle of its exposure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]

_BEFORE, _AFTER = 6, 12


def half_rise(trace: Floats, begin: int, peak: int, noise: float, base: float = 0.0) -> tuple[float, float]:
    """Return the time at which a trace passes half of the way from `base` to its peak, and its standard error.

    Looked for backward from the first frame that may be the peak, within two standard deviations of it: a small
    hump before the event does not count, nor a dip after it. Between the two known frames around it a line is
    drawn. The error is that of the two values on the line's slope.
    """
    half = 0.5 * (trace[peak] + base)
    first = begin + int(np.argmax(trace[begin : peak + 1] >= max(half, trace[peak] - 2.0 * noise)))
    known = np.flatnonzero(np.isfinite(trace[: first + 1]))
    below = known[trace[known] < half]
    if not below.size:
        return float(begin), np.nan
    before = int(below[-1])
    after = int(known[known > before][0])
    step = trace[after] - trace[before]
    share = (half - trace[before]) / step
    # The half itself is uncertain by half of the noise at the peak.
    spread = np.sqrt((1 - share) ** 2 + share**2 + 0.25)
    return before + share * (after - before), float(noise * spread / step) * (after - before)


def fitted_onset(trace: Floats, begin: int, peak: int, end: int, noise: float) -> tuple[float, float]:
    """Return where a fitted rise begins, and its standard error; of half the rise where the fit does not settle.

    A rise 1 - exp(-t / rise) that decays as exp(-t / decay), averaged over the exposure of each frame. The error
    is that of the least-squares fit at the noise of the trace.
    """
    half, half_se = half_rise(trace, begin, peak, noise)
    window = np.arange(max(0, begin - _BEFORE), min(trace.size, max(end, peak) + 3, peak + _AFTER))
    window = window[np.isfinite(trace[window])]
    if window.size < 6:
        return half, half_se
    seen = trace[window]

    def left(p: Floats) -> Any:
        return (_response(window, p) - seen) / noise

    start = np.array([1.2 * trace[peak], half - 0.5, 0.5, max(1.0, 0.7 * (end - peak))])
    bounds = ([0.0, begin - _BEFORE, 0.02, 0.3], [20 * trace[peak], peak + 1.0, 20.0, 200.0])
    fit = least_squares(left, np.clip(start, *bounds), bounds=bounds, x_scale=[trace[peak], 1, 1, 5], max_nfev=60)
    information = fit.jac.T @ fit.jac
    if fit.status <= 0 or np.linalg.cond(information) > 1e12:
        return half, half_se
    onset_se = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    return (float(fit.x[1]), onset_se) if onset_se < 5.0 else (half, half_se)


def _response(frames: NDArray[np.int64], parameters: Floats) -> Floats:
    """Return the mean of amplitude * (exp(-t / decay) - exp(-t / both)) over each frame, from the onset on."""
    amplitude, onset, rise, decay = parameters
    both = 1.0 / (1.0 / rise + 1.0 / decay)
    since, until = (np.maximum(frames + side - onset, 0.0) for side in (-0.5, 0.5))
    slow = decay * (np.exp(-since / decay) - np.exp(-until / decay))
    fast = both * (np.exp(-since / both) - np.exp(-until / both))
    return amplitude * (slow - fast)
