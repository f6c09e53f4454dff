"""A judge of density for plans: counts the spots of a frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.optics import CameraModel
from parfocal.puncta.density import DensityRange
from parfocal.slices import Verdict

CountSpots = Callable[[NDArray[np.generic]], int]
_NAMES = ("density_per_um2", "n_spots")


class DensityJudge:
    """Whether puncta lie as densely as wanted: a `RememberingJudge` for an `Auditor`.

    Parameters
    ----------
    wanted : DensityRange
    count_spots : callable
        Spots in a frame `[y, x]`.
    pixel_size_um : (float, float)
        (y, x).
    """

    def __init__(self, wanted: DensityRange, count_spots: CountSpots, pixel_size_um: tuple[float, float]) -> None:
        self.wanted = wanted
        self._count = count_spots
        self._pixel_um2 = float(pixel_size_um[0]) * float(pixel_size_um[1])
        self._lock = threading.Lock()
        self._said: dict[int, Verdict] = {}

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the numbers in its verdicts."""
        return _NAMES

    def as_dict(self) -> dict[str, Any]:
        """Return what a start document says of it."""
        return {"kind": "density", **vars(self.wanted)}

    def __call__(self, pixels: NDArray[np.generic], /) -> Verdict:
        """Judge a frame that nobody will ask about again."""
        n_spots = self._count(pixels)
        density = n_spots / (pixels.size * self._pixel_um2)
        wrong = self.wanted.says(density)
        low, high = self.wanted.low_per_um2, self.wanted.high_per_um2
        reason = f"{density:.3g} per um2, {wrong}: {low:g} to {high:g} are wanted" if wrong else ""
        scores: dict[str, float] = {"density_per_um2": density, "n_spots": float(n_spots)}
        return Verdict(not wrong, reason, density, scores=scores)

    def see(self, pixels: NDArray[np.generic], frame: int, slice_id: str) -> Verdict:
        """Judge a frame and remember it by its number."""
        said = self(pixels)
        with self._lock:
            self._said[frame] = said
        return said

    def again(self, frame: int) -> Verdict:
        """Return what was said of a frame."""
        with self._lock:
            return self._said.get(frame, Verdict(True, "not seen", is_provisional=True))


def density_judge(
    low_per_um2: float,
    high_per_um2: float,
    camera_model: CameraModel | None,
    pixel_size_um: tuple[float, float],
    threshold: str = "auto",
) -> DensityJudge:
    """Return a judge that counts with the classical detector, from plain values.

    Parameters
    ----------
    low_per_um2, high_per_um2 : float
        As dense as is wanted.
    camera_model, pixel_size_um
        Of the camera.
    threshold : str
        As in `parfocal.puncta.detection.LocalizeSettings`.

    Raises
    ------
    BadInputError
        The range is none, or the threshold cannot be read.
    """
    from parfocal.puncta.detection import LocalizeSettings

    wanted = DensityRange(float(low_per_um2), float(high_per_um2))
    count = partial(_count, camera_model or CameraModel(), LocalizeSettings(threshold=threshold))
    return DensityJudge(wanted, count, pixel_size_um)


def _count(camera_model: CameraModel, settings: Any, pixels: NDArray[np.generic]) -> int:
    from parfocal.puncta.detection import localize

    return len(localize(pixels, camera_model, settings, n_threads=1))
