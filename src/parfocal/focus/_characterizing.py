"""From the frames of a `characterize_...` run to its result: one collector a kind, live and replayed the same.

Each takes frames with what the plan knew of them (`Probed`), and gives a `Characterization` in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.focus._characterization import Characterization
from parfocal.focus._characterizing_latency import LatencyCollector
from parfocal.focus._characterizing_pixel_size import PixelSizeCollector
from parfocal.focus._characterizing_stage import StageCollector
from parfocal.focus._probed import Probed, Trace
from parfocal.optics import PhotonTransfer


class Characterizing(Protocol):
    """Takes the frames of one run; see `characterizing`."""

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        """Take a frame, what is known of it, the middle of its exposure, and the readback's trace of a step."""
        ...

    def result(self) -> Characterization:
        """Return what all of them say."""
        ...


def characterizing(kind: str, about: Mapping[str, Any], settings: Mapping[str, Any]) -> Characterizing:
    """Return what collects the frames of a kind.

    Parameters
    ----------
    kind : {"camera", "stage", "latency", "pixel_size"}
        What is measured.
    about : mapping
        What it holds for.
    settings : mapping
        As the start document has them: `saturation_adu` and `excess_noise` of a camera, `half_step_um` and
        `beyond_focus_signal` of a stage, `tolerance_um`.

    Raises
    ------
    BadInputError
        There is no such kind.
    """
    if kind == "camera":
        return CameraCollector(
            about,
            PhotonTransfer(float(settings["saturation_adu"]), float(settings["excess_noise"])),
            str(settings.get("light", "")),
        )
    if kind == "stage":
        return StageCollector(
            about,
            float(settings["half_step_um"]),
            float(settings["tolerance_um"]),
            str(settings.get("beyond_focus_signal", "")),
        )
    if kind == "latency":
        return LatencyCollector(about, float(settings["half_step_um"]))
    if kind == "pixel_size":
        return PixelSizeCollector(about, float(settings["told_pixel_size_um"]))
    raise BadInputError(f"characterize: kind is {kind!r}, expected camera, stage, latency or pixel_size")


@dataclass
class CameraCollector:
    """Collects dark frames and levels of light; see `characterizing`."""

    about: Mapping[str, Any]
    transfer: PhotonTransfer
    light: str = ""

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        part = "dark" if told.part == "dark" else "flat"
        self.transfer.add(frame, part, told.level, told.number, told.exposure_s, told.light)

    def result(self) -> Characterization:
        found = self.transfer.result()
        rows = tuple(found.curve())
        return Characterization("camera", self.about, found.numbers(), rows, found.issues, found.maps())
