"""Several beads as one: offsets of each, and a vote that an odd one does not sway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd


@dataclass(frozen=True, eq=False)
class Vote:
    """What several beads say together.

    Attributes
    ----------
    z_um : float
        Weighted mean of the beads that agree, um; NaN without any.
    z_se_um : float
        Its standard error, um: sigma / sqrt(M) for M alike, widened where they disagree by more.
    is_used : ndarray of shape (m,), bool
        False for beads without a z and for those rejected.
    """

    z_um: float
    z_se_um: float
    is_used: NDArray[np.bool_]


def bead_offsets(z_um: ArrayLike, z_se_um: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how much higher each bead is measured than all together, and its standard error, um.

    Parameters
    ----------
    z_um, z_se_um : array_like of shape (n_frames, m)
        Estimates of m beads in the same frames; NaN where there is none.

    Returns
    -------
    offset_um, offset_se_um : ndarray of shape (m,)
        Mean 0 over the beads that were seen. They absorb the beads' heights and the tilt of the field.
    """
    z, se = _pair(z_um, z_se_um)
    weight = np.where(np.isfinite(z) & (se > 0), 1 / np.square(se), 0.0)
    if z.ndim != 2 or not (weight > 0).any():
        raise BadInputError(f"bead offsets: z has shape {z.shape}, expected (n_frames, m) with numbers in it")
    value = np.where(weight > 0, z, 0.0)
    offset = np.zeros(z.shape[1])
    seen = weight.sum(0) > 0
    for _ in range(100):  # beads and frames by turns: a bead missing in some frames does not shift the rest
        frame = np.sum(weight * (value - offset), 1) / np.maximum(weight.sum(1), 1e-300)
        step = np.sum(weight * (value - offset - frame[:, None]), 0) / np.maximum(weight.sum(0), 1e-300)
        offset += step
        offset -= offset[seen].mean()
        if np.abs(step).max() < 1e-9:
            break
    offset = np.where(seen, offset, np.nan)
    return offset, np.where(seen, 1 / np.sqrt(np.maximum(weight.sum(0), 1e-300)), np.nan)


def vote_z(
    z_um: ArrayLike, z_se_um: ArrayLike, offset_um: ArrayLike | None = None, *, reject_sigma: float = 3.5
) -> Vote:
    """Combine the estimates of several beads in one frame.

    A bead counts by 1 / se². Beads further than `reject_sigma` from the weighted median of all, in units of
    their own standard error (or of the scaled median deviation, where the beads disagree by more than the
    light explains), are left out; with fewer than three none is, since two cannot say which is wrong.

    Parameters
    ----------
    z_um, z_se_um : array_like of shape (m,)
        Estimates with standard errors, um; NaN where a bead was not seen.
    offset_um : array_like of shape (m,), optional
        From `bead_offsets`; taken off first.
    reject_sigma : float
        Limit of rejection.

    Returns
    -------
    Vote
    """
    z, se = _pair(z_um, z_se_um)
    z = z - (0.0 if offset_um is None else np.asarray(offset_um, dtype=np.float64))
    used = np.isfinite(z) & (se > 0) & np.isfinite(se)
    if not used.any():
        return Vote(float("nan"), float("nan"), used)
    if used.sum() >= 3:
        middle = _weighted_median(z[used], 1 / np.square(se[used]))
        off = np.abs(z - middle) / np.where(used, se, 1.0)
        scale = max(1.0, robust_sd(off[used], centre=0.0))
        used &= off <= reject_sigma * scale
    weight = 1 / np.square(se[used])
    mean = float(np.average(z[used], weights=weight))
    spread = 1.0
    if used.sum() >= 3:
        spread = max(1.0, float(np.sum(weight * np.square(z[used] - mean))) / (int(used.sum()) - 1))
    return Vote(mean, float(np.sqrt(spread / weight.sum())), used)


def _pair(z_um: ArrayLike, z_se_um: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    z, se = np.asarray(z_um, dtype=np.float64), np.asarray(z_se_um, dtype=np.float64)
    if z.shape != se.shape:
        raise BadInputError(f"beads: z_um has shape {z.shape} and z_se_um {se.shape}; expected the same")
    return z, se


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(0.5 * weights.sum(), share, values[order]))
