"""What a sweep teaches beyond the model: a smooth monotone curve from estimated z to stage z."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.fitting._defocus_model import ZCorrection

_MAX_DEGREE = 9
_NODES = 129
_LEAST_SLOPE = 0.3


def learn_correction(
    model_um: NDArray[np.float64], se_um: NDArray[np.float64], stage_um: NDArray[np.float64]
) -> ZCorrection | None:
    """Fit stage z minus estimated z by a polynomial whose degree AICc chooses.

    Parameters
    ----------
    model_um, se_um : ndarray of shape (n,)
        Direct-z estimates of the sweep and their standard errors, um.
    stage_um : ndarray of shape (n,)
        Where the stage was, from focus, um.

    Returns
    -------
    ZCorrection or None
        None with fewer than 8 samples, or where no polynomial leaves stage z growing with estimated z.
    """
    good = np.isfinite(model_um) & np.isfinite(se_um) & np.isfinite(stage_um) & (se_um > 0)
    z, se, stage = model_um[good], se_um[good], stage_um[good]
    if z.size < 8 or np.ptp(z) <= 0:
        return None
    low, high = float(z.min()), float(z.max())
    nodes = np.linspace(low, high, _NODES)
    off = stage - z
    best: NDArray[np.float64] | None = None
    lowest = np.inf
    for degree in range(min(_MAX_DEGREE, z.size // 4) + 1):
        curve, misfit = _polynomial(z, off, se, degree, (low, high))
        corrected = nodes + curve(nodes)
        if (np.diff(corrected) < _LEAST_SLOPE * np.diff(nodes)).any():
            continue
        k = degree + 2
        if z.size - k - 1 <= 0:
            break
        aicc = z.size * np.log(max(misfit, 1e-12) / z.size) + 2 * k + 2 * k * (k + 1) / (z.size - k - 1)
        if aicc < lowest:
            best, lowest = corrected, aicc
    if best is None:
        return None
    return ZCorrection(tuple(nodes.tolist()), tuple(best.tolist()))


def _polynomial(
    z: NDArray[np.float64],
    off: NDArray[np.float64],
    se: NDArray[np.float64],
    degree: int,
    domain: tuple[float, float],
) -> tuple[np.polynomial.Legendre, float]:
    """Return the curve and its weighted sum of squares; a few wild frames do not pull it."""
    weight = 1 / np.hypot(se, 1e-3)  # an encoder is not better than a nanometre
    curve = np.polynomial.Legendre.fit(z, off, degree, domain=domain, w=weight)
    left = (off - curve(z)) * weight
    limit = 4 * max(1.0, 1.4826 * float(np.median(np.abs(left))))
    kept = np.abs(left) <= limit
    if kept.sum() > degree + 3 and not kept.all():
        curve = np.polynomial.Legendre.fit(z[kept], off[kept], degree, domain=domain, w=weight[kept])
        left = (off - curve(z)) * weight
    return curve, float(np.sum(np.square(np.clip(left, -limit, limit))))
