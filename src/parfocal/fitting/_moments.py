"""Second moments of a spot under a Gaussian window, and the error signal made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of spots, one row each.

    Attributes
    ----------
    x_px, y_px : ndarray of shape (n,)
        Centroid, px.
    covariance_px2 : ndarray of shape (n, 2, 2)
        Of light about it, [[xx, xy], [xy, yy]], px²; narrower than the spot's, by the window.
    light : ndarray of shape (n,)
        Sum above background within the ROI, in the unit of the images.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    covariance_px2: NDArray[np.float64]
    light: NDArray[np.float64]

    def along(self, theta_rad: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the variances along axes turned by theta as in `DefocusModel`, px²."""
        c, s = np.cos(theta_rad), np.sin(theta_rad)
        xx, xy, yy = self.covariance_px2[:, 0, 0], self.covariance_px2[:, 0, 1], self.covariance_px2[:, 1, 1]
        return c * c * xx - 2 * c * s * xy + s * s * yy, s * s * xx + 2 * c * s * xy + c * c * yy

    def quadrupole(self) -> NDArray[np.float64]:
        """Return (xx - yy, 2 xy), shape (n, 2), px²: where along the sweep's line each spot is."""
        c = self.covariance_px2
        return np.stack([c[:, 0, 0] - c[:, 1, 1], 2 * c[:, 0, 1]], axis=1)


def spot_moments(
    rois: ArrayLike, *, background_percentile: float | None = None, window_fraction: float = 0.2, rounds: int = 4
) -> Moments:
    """Measure centroid and covariance of one spot per ROI, with no model and no start value.

    Light above background counts by a round Gaussian window that follows the centroid; being round, it leaves
    the axes of an elliptical spot where they are.

    Parameters
    ----------
    rois : array_like of shape (n, side, side) or (side, side)
        Images, linear in light (ADU or photoelectrons).
    background_percentile : float, optional
        What is subtracted: this percentile of each ROI, the rest clipped at 0 (20 in Focus Feedback); by
        default the mean of the border ring, unclipped, which is unbiased where the spot is inside.
    window_fraction : float
        Standard deviation of the window over the side of the ROI.
    rounds : int
        How often the window is moved onto the centroid.

    Returns
    -------
    Moments
        NaN where a ROI holds no light above background.
    """
    stack = np.asarray(rois, dtype=np.float64)
    stack = stack[np.newaxis] if stack.ndim == 2 else stack
    if stack.ndim != 3 or min(stack.shape[1:]) < 5:
        raise BadInputError(
            f"spot moments: rois have shape {stack.shape}, expected (n, side, side), side 5 or more"
        )
    n, height, width = stack.shape
    if background_percentile is None:
        border = np.concatenate(
            [stack[:, 0], stack[:, -1], stack[:, 1:-1, 0], stack[:, 1:-1, -1]], axis=1
        )  # pixels of the outermost ring, each once
        light = stack - border.mean(axis=1)[:, None, None]
    else:
        floor = np.percentile(stack, background_percentile, axis=(1, 2))
        light = np.maximum(stack - floor[:, None, None], 0)
    row, column = np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
    x, y = np.full(n, (width - 1) / 2), np.full(n, (height - 1) / 2)
    spread = window_fraction * min(height, width)
    covariance = np.full((n, 2, 2), np.nan)
    for turn in range(rounds + 1):
        dx, dy = column - x[:, None], row - y[:, None]
        seen = light * np.exp(-0.5 * np.square(dy / spread))[:, :, None]
        seen = seen * np.exp(-0.5 * np.square(dx / spread))[:, None, :]
        total = seen.sum(axis=(1, 2))
        total = np.where(total > 0, total, np.nan)
        by_x, by_y = seen.sum(axis=1) / total[:, None], seen.sum(axis=2) / total[:, None]
        mean_x, mean_y = (by_x * dx).sum(1), (by_y * dy).sum(1)
        if turn < rounds:  # twice the step: a window as wide as the spot holds the centroid back by half
            x = np.clip(x + 2 * np.nan_to_num(mean_x), 0, width - 1)
            y = np.clip(y + 2 * np.nan_to_num(mean_y), 0, height - 1)
            continue
        covariance[:, 0, 0] = (by_x * dx * dx).sum(1) - mean_x**2
        covariance[:, 1, 1] = (by_y * dy * dy).sum(1) - mean_y**2
        cross = np.einsum("nij,ni,nj->n", seen, dy, dx) / total - mean_x * mean_y
        covariance[:, 0, 1] = covariance[:, 1, 0] = cross
    empty = ~np.isfinite(covariance).all(axis=(1, 2))
    x[empty] = y[empty] = np.nan
    return Moments(x, y, covariance, light.sum(axis=(1, 2)))


def moments_error(
    rois: ArrayLike, *, theta_rad: float = 0.0, background_percentile: float | None = None
) -> NDArray[np.float64]:
    """Return the error signal (vx - vy) / (vx + vy) of each ROI, -1 to 1: what `--no-gaussian-fit` measures.

    Close to tanh(ln(sigma_x / sigma_y)) of the spot, less what the window takes from both variances; no
    parametric fit is made.
    """
    vx, vy = spot_moments(rois, background_percentile=background_percentile).along(theta_rad)
    total = vx + vy
    return np.divide(vx - vy, total, out=np.full(total.shape, np.nan), where=total > 0)
