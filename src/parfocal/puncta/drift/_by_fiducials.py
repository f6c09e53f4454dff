"""Drift from spots that stay on and stay put, such as beads on the glass."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.linking import link_points
from parfocal.puncta._localizations import Localizations
from parfocal.puncta.drift._drift import Drift

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FiducialSettings:
    """Which spots are fiducials.

    Parameters
    ----------
    max_step_um : float
        Farthest that one goes from a frame to the next.
    min_share : float
        Of the frames that it must be seen in.
    max_missing_frames : int
        That it may be missing in a row.
    max_residual : float
        One that scatters about the common drift by more than so many times the median one is left out.
    smooth_frames : float
        Sigma of a Gaussian that the drift is smoothed by; 0 for none.
    """

    max_step_um: float = 0.2
    min_share: float = 0.8
    max_missing_frames: int = 5
    max_residual: float = 3.0
    smooth_frames: float = 0.0

    def __post_init__(self) -> None:
        if not (
            self.max_step_um > 0
            and 0 < self.min_share <= 1
            and self.max_missing_frames >= 0
            and self.max_residual > 1
            and self.smooth_frames >= 0
        ):
            raise BadInputError(
                f"drift: max_step_um={self.max_step_um:g}, min_share={self.min_share:g}, "
                f"max_missing_frames={self.max_missing_frames}, max_residual={self.max_residual:g}, "
                f"smooth_frames={self.smooth_frames:g}: a step above 0, a share of 0 to 1, 0 frames or more, "
                "a factor above 1 and 0 or more were expected"
            )


def drift_by_fiducials(
    localizations: Localizations,
    places_um: NDArray[np.float64] | None = None,
    settings: FiducialSettings | None = None,
    n_frames: int | None = None,
) -> Drift:
    """Return how spots that stay on move together.

    Each fiducial's position is its own place plus the drift of all: `y_kf = p_k + d_f + noise`, solved by weighted
    least squares (weights are inverse variances where localizations tell them). Fiducials that move by themselves
    are left out, and the rest is solved anew. Frames without any are interpolated.

    Parameters
    ----------
    localizations : Localizations
    places_um : float64[n, (y, x)], optional
        Where fiducials are when they are first seen, um; the nearest that stays on within a micrometer counts.
        Default: all spots that stay on.
    settings : FiducialSettings, optional
    n_frames : int, optional
        Of the recording. Default: to the last localization.

    Raises
    ------
    BadInputError
        No spot stays on, or none is where one was told.
    """
    told = settings or FiducialSettings()
    total = max(localizations.n_frames, n_frames or 0)
    rows = _followed(localizations, total, told)
    if places_um is not None:
        rows = _nearest(localizations, rows, np.atleast_2d(np.asarray(places_um, float)))
    if not rows:
        raise BadInputError(
            f"drift: no spot is seen in {told.min_share:.0%} of {total} frames, fiducials are such spots: "
            "give a smaller min_share, or correct by correlation"
        )
    places = np.full((2, len(rows), total), np.nan)
    weights = np.zeros((2, len(rows), total))
    pixel = localizations.pixel_size_um
    for k, mine in enumerate(rows):
        frames = localizations.frame[mine]
        places[:, k, frames] = localizations.y_um[mine], localizations.x_um[mine]
        se_um = np.array([localizations.y_se_px[mine] * pixel[0], localizations.x_se_px[mine] * pixel[1]])
        weights[:, k, frames] = np.where(np.isfinite(se_um) & (se_um > 0), se_um, 0.02) ** -2.0
    kept = np.ones(len(rows), bool)
    for _ in range(3):
        drift_um, residual = _common(places[:, kept], weights[:, kept])
        own = np.sqrt(np.nanmean(residual**2, axis=(0, 2)))
        # With two, nobody can say which of them moves.
        wrong = own > told.max_residual * np.median(own) if len(own) > 2 else np.zeros(len(own), bool)
        if not wrong.any():
            break
        kept[np.flatnonzero(kept)[wrong]] = False
    else:
        drift_um, residual = _common(places[:, kept], weights[:, kept])
    frames = np.arange(total)
    seen = np.isfinite(drift_um).all(0)
    whole = np.array([np.interp(frames, frames[seen], axis[seen]) for axis in drift_um])
    if told.smooth_frames:
        whole = ndimage.gaussian_filter1d(whole, told.smooth_frames, axis=1, mode="nearest")
    # Frame 0 alone is as noisy as any; the rest is told from it all the same, so that files agree.
    whole -= whole[:, :1]
    left_over = float(np.sqrt(np.nanmean(residual**2))) if kept.sum() > 1 else float("nan")
    return Drift(whole[0], whole[1], left_over, int(kept.sum()), int((~kept).sum()), "fiducials")


def _followed(localizations: Localizations, n_frames: int, told: FiducialSettings) -> list[NDArray[np.int64]]:
    """Return the rows of each spot that is seen in nearly every frame."""
    order = np.argsort(localizations.frame, kind="stable")
    bounds = np.searchsorted(localizations.frame[order], np.arange(n_frames + 1))
    places = np.column_stack([localizations.y_um, localizations.x_um])[order]
    frames = [places[a:b] for a, b in itertools.pairwise(bounds.tolist())]
    found = link_points(frames, told.max_step_um, told.max_missing_frames)
    lengths = np.bincount(found.track, minlength=found.n_tracks)
    return [order[found.track == one] for one in np.flatnonzero(lengths >= told.min_share * n_frames)]


def _nearest(
    localizations: Localizations, rows: list[NDArray[np.int64]], places_um: Floats
) -> list[NDArray[np.int64]]:
    firsts = np.array([[localizations.y_um[mine[0]], localizations.x_um[mine[0]]] for mine in rows]).reshape(-1, 2)
    chosen: list[int] = []
    for y_um, x_um in places_um:
        distance = np.hypot(firsts[:, 0] - y_um, firsts[:, 1] - x_um)
        if not distance.size or distance.min() > 1.0:
            raise BadInputError(
                f"drift: no spot stays on within 1 um of y {y_um:g}, x {x_um:g} um, a fiducial was expected there"
            )
        chosen.append(int(distance.argmin()))
    return [rows[k] for k in dict.fromkeys(chosen)]


def _common(places: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the common motion `[axis, frame]` and what each spot does beside it `[axis, spot, frame]`."""
    own = np.nanmean(places, axis=2)
    known = np.where(np.isfinite(places), places, 0.0)
    heavy = weights.sum(axis=1)
    motion = np.full((2, places.shape[2]), np.nan)
    for _ in range(20):  # alternating least squares: with few gaps it is there after two or three
        with np.errstate(invalid="ignore"):
            motion = (weights * (known - own[:, :, None])).sum(axis=1) / np.where(heavy > 0, heavy, np.nan)
        moved = np.where(np.isfinite(motion), motion, 0.0)
        better = (weights * (known - moved[:, None, :])).sum(axis=2) / weights.sum(axis=2)
        done = np.abs(better - own).max() < 1e-7
        own = better
        if done:
            break
    return motion, places - own[:, :, None] - motion[:, None, :]
