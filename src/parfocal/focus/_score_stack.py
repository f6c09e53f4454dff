"""Focus scores along a stack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.focus._best_plane import BestPlane, best_plane
from parfocal.imaging import FocusScoreSet, NoiseSource, Sharpness, sharpness
from parfocal.optics import CameraModel

DEFAULT_SCORE = "laplacian_variance"


@dataclass(frozen=True)
class StackScores:
    """Sharpness of every plane of a stack, in the order given."""

    z_um: tuple[float, ...]
    planes: tuple[Sharpness, ...]

    def values(self, score: str = DEFAULT_SCORE, kind: str = "debiased") -> NDArray[np.float64]:
        """Return one score along the stack.

        Parameters
        ----------
        score : str
            A name among `FocusScoreSet.names()`.
        kind : {"debiased", "normalized", "raw"}
            Which of a plane's score sets.

        Raises
        ------
        BadInputError
            There is no such score or kind; the message lists them.
        """
        if score not in FocusScoreSet.names():
            raise BadInputError(
                f"focus score {score!r} is unknown; expected one of {', '.join(FocusScoreSet.names())}"
            )
        if kind not in ("debiased", "normalized", "raw"):
            raise BadInputError(f"kind of score {kind!r} is unknown; expected debiased, normalized or raw")
        return np.array([getattr(getattr(plane, kind), score) for plane in self.planes], np.float64)

    def best_plane(self, score: str = DEFAULT_SCORE, kind: str = "debiased") -> BestPlane:
        """Return the focus by one score; see `parfocal.focus.best_plane`."""
        return best_plane(self.z_um, self.values(score, kind))


def score_stack(
    planes: Iterable[ArrayLike],
    z_um: ArrayLike | None = None,
    camera_model: CameraModel | None = None,
    noise: NoiseSource | None = None,
    log_sigma_px: float = 1.5,
) -> StackScores:
    """Score every plane of a stack.

    Parameters
    ----------
    planes : iterable of ndarray of shape (height, width)
        Planes in any order, for example a `[z, y, x]` array; taken one at a time.
    z_um : array_like of shape (n,), optional
        Position of each plane, um; 0, 1, 2... (plane numbers) where not given.
    camera_model, noise, log_sigma_px
        As in `parfocal.imaging.sharpness`.

    Raises
    ------
    BadInputError
        There is no plane, or another number of z than of planes.
    """
    scored = tuple(sharpness(plane, camera_model, noise, log_sigma_px) for plane in planes)
    positions = np.arange(len(scored), dtype=np.float64) if z_um is None else np.asarray(z_um, np.float64).ravel()
    if not scored or len(scored) != positions.size:
        raise BadInputError(
            f"score stack: {len(scored)} planes and {positions.size} z positions; expected as many"
        )
    return StackScores(tuple(float(z) for z in positions), scored)
