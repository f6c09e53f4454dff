"""Where the sample is in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drift:
    """How far the sample has moved since frame 0.

    Parameters
    ----------
    y_um, x_um : float64[n_frames]
    residual_um : float
        Root mean square, per axis, of what measurements (shifts of pairs of segments, a fiducial in a frame) say
        beside this drift; NaN where nothing was measured. It tells how well they agree, and nothing of what
        happens within a segment.
    n_used, n_dropped : int
        Measurements (pairs of segments, or fiducials) that this drift rests on, and that were left out as wrong.
    method : str
        `correlation`, `fiducials`, `file` or `none`.
    """

    y_um: Floats
    x_um: Floats
    residual_um: float = float("nan")
    n_used: int = 0
    n_dropped: int = 0
    method: str = "none"

    def __post_init__(self) -> None:
        if self.y_um.shape != self.x_um.shape or self.y_um.ndim != 1 or not self.y_um.size:
            raise BadInputError(
                f"drift: {self.y_um.shape} values of y and {self.x_um.shape} of x, one of each was expected"
            )
        if not (np.isfinite(self.y_um).all() and np.isfinite(self.x_um).all()):
            raise BadInputError("drift: a value is no number, um were expected in every frame")

    @property
    def n_frames(self) -> int:
        """For how many frames it is known."""
        return self.y_um.size

    @property
    def reach_um(self) -> float:
        """Largest distance from where the sample was in frame 0."""
        return float(np.hypot(self.y_um, self.x_um).max())

    def at(self, frames: ArrayLike) -> tuple[Floats, Floats]:
        """Return (y, x) in some frames, um; beyond the first and the last it stands still."""
        where = np.clip(np.asarray(frames, np.int64), 0, self.n_frames - 1)
        return self.y_um[where], self.x_um[where]


def no_drift(n_frames: int) -> Drift:
    """Return the drift of a sample that stands still."""
    return Drift(np.zeros(max(1, n_frames)), np.zeros(max(1, n_frames)))


def corrected(localizations: Localizations, drift: Drift) -> Localizations:
    """Return localizations where they would be had the sample stayed where it was in frame 0.

    Examples
    --------
    >>> import numpy as np
    >>> spots = Localizations((0.1, 0.1), np.array([0, 1]), np.array([5.0, 6.0]), np.array([4.0, 4.0]), np.ones(2))
    >>> corrected(spots, Drift(np.zeros(2), np.array([0.0, 0.1]))).x_px.tolist()
    [5.0, 5.0]
    """
    y_um, x_um = drift.at(localizations.frame)
    pixel_y, pixel_x = localizations.pixel_size_um
    return replace(
        localizations, y_px=localizations.y_px - y_um / pixel_y, x_px=localizations.x_px - x_um / pixel_x
    )
