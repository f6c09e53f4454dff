"""The angle of the astigmatism from a whole sweep, with no degeneracy at focus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd


@dataclass(frozen=True)
class ThetaLine:
    """Angle of the astigmatic axes and how well the sweep tells it.

    Attributes
    ----------
    theta_rad : float
        In (-pi/4, pi/4], axes as in `DefocusModel`.
    theta_se_rad : float
        Standard error, from the scatter across the line.
    offset : float
        How far the line passes the origin, over its half length: 0 for pure astigmatism of the lens.
    offset_se : float
        Standard error of `offset`.
    n_used : int
        Spots that counted.
    """

    theta_rad: float
    theta_se_rad: float
    offset: float
    offset_se: float
    n_used: int


def theta_line(quadrupole_px2: ArrayLike) -> ThetaLine:
    """Find the angle of the astigmatic axes from the quadrupoles of a sweep.

    With C the covariance of a spot, Q = (Cxx - Cyy, 2 Cxy) runs along a line through the origin as z goes
    through focus. The line's direction is the principal axis of the second-moment matrix of Q about 0 (not
    about its mean). It is twice the angle of the axes, with its sign turned by our handedness; theta itself
    is defined up to a right angle, so a mean of fitted angles would mean nothing. A line that misses the
    origin shows astigmatism of the field or coma beside that of the lens.

    Parameters
    ----------
    quadrupole_px2 : array_like of shape (n, 2)
        From `Moments.quadrupole`; rows that are not finite are left out.

    Returns
    -------
    ThetaLine

    Raises
    ------
    BadInputError
        Fewer than 3 finite rows.
    """
    q = np.asarray(quadrupole_px2, dtype=np.float64)
    q = q[np.isfinite(q).all(axis=1)] if q.ndim == 2 and q.shape[1] == 2 else q[:0]
    if len(q) < 3:
        raise BadInputError(f"theta: {len(q)} finite quadrupoles, expected an array of (n, 2) with 3 or more")
    for _ in range(3):
        phi, along, across = _axis(q)
        off = np.abs(across - np.median(across))
        keep = off <= 6 * max(robust_sd(across), 1e-12)
        if keep.all() or keep.sum() < 3:
            break
        q = q[keep]
    phi, along, across = _axis(q)
    theta = _folded(-phi / 2)
    n = len(q)
    energy = float(along @ along)
    # noise grows with defocus, where Q is long and counts most: so the product of both tells, not their means
    turn = float(np.sqrt(np.sum(np.square(along * across)) * n / max(n - 1, 1)))
    theta_se = 0.5 * turn / energy if energy > 0 else np.pi / 4
    design = np.stack([np.ones(n), along], axis=1)
    solve = np.linalg.pinv(design)
    intercept, slope = solve @ across
    left = across - intercept - slope * along
    intercept_se = float(np.linalg.norm(solve[0]) * np.sqrt(left @ left / max(n - 2, 1)))
    half = float(np.ptp(along)) / 2
    length = half if half > 0 else 1.0
    return ThetaLine(theta, min(theta_se, np.pi / 4), abs(float(intercept)) / length, intercept_se / length, n)


def _axis(q: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the principal direction and the parts of Q along and across it."""
    _, vectors = np.linalg.eigh(q.T @ q)
    direction = vectors[:, -1]
    across = np.array([-direction[1], direction[0]])
    return float(np.arctan2(direction[1], direction[0])), q @ direction, q @ across


def _folded(theta_rad: float) -> float:
    """Return the angle modulo a right angle, in (-pi/4, pi/4]."""
    folded = (theta_rad + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return float(np.pi / 4 if folded <= -np.pi / 4 else folded)
