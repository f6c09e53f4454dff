"""What finds puncta in the frames of one place, batch by batch: the classical detector, or a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.optics import CameraModel
from parfocal.puncta import Localizations, join_localizations, no_localizations
from parfocal.puncta.detection import LocalizeSettings, localize_frames

Pixels = NDArray[np.generic]


class Detector(Protocol):
    """Finds the puncta of a series; frames count from 0.

    `n_behind` frames, the newest, are told of only when more have come, or at the end.
    """

    n_behind: ClassVar[int]

    def add(self, frames: list[Pixels]) -> Localizations:
        """Take frames; return the puncta of those that are told of now."""
        ...

    def finish(self) -> Localizations:
        """Return the puncta of frames that are still behind."""
        ...


@dataclass
class ClassicalDetector:
    """Wavelet, maxima, fits; each frame is looked at alone."""

    camera_model: CameraModel
    settings: LocalizeSettings
    pixel_size_um: tuple[float, float]
    n_threads: int | None = None
    n_behind: ClassVar[int] = 0
    _n_taken: int = 0

    def add(self, frames: list[Pixels]) -> Localizations:
        """Return the puncta of the frames."""
        found = localize_frames(
            frames,
            self.camera_model,
            self.settings,
            self.pixel_size_um,
            first_frame=self._n_taken,
            n_threads=self.n_threads,
        )
        self._n_taken += len(frames)
        return join_localizations([no_localizations(self.pixel_size_um), *found])

    def finish(self) -> Localizations:
        """Return none."""
        return no_localizations(self.pixel_size_um)


class NetworkDetector:
    """A network, that sees each frame with both its neighbours: the newest frame has to wait for the next."""

    n_behind: ClassVar[int] = 1

    def __init__(
        self,
        net: Any,
        camera_model: CameraModel,
        pixel_size_um: tuple[float, float],
        *,
        is_refitted: bool,
        excess_noise: float | None = None,
    ) -> None:
        from parfocal.puncta.networks import LiveLocalizer

        self._live = LiveLocalizer(
            net,
            camera_model=camera_model,
            pixel_size_um=pixel_size_um,
            excess_noise=excess_noise,
            refit="crowds" if is_refitted else "none",
        )

    def add(self, frames: list[Pixels]) -> Localizations:
        """Return the puncta of the frames before the newest."""
        return self._live.add(frames)

    def finish(self) -> Localizations:
        """Return the puncta of the newest."""
        return self._live.finish()
