"""Puncta as a network tells them while frames come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations, join_localizations, no_localizations
from parfocal.puncta.networks._localize import Refit, as_localizations
from parfocal.puncta.networks._net import PunctaNet
from parfocal.puncta.networks._normalise import SeenFrame, seen_frame
from parfocal.puncta.networks._predict import Answer, AnswerStream, usual_batch
from parfocal.puncta.networks._refit import RefitSettings, Refitter


class LiveLocalizer:
    """What `localize_with_net` is for a movie, for frames that come a few at a time.

    A frame is seen with the one before it and the one after it, so that the newest is answered only when the next
    is there; over whatever borders frames come, the answers are those of the whole movie.

    Parameters
    ----------
    net : PunctaNet
        One that looks at puncta alone.
    camera_model, pixel_size_um, excess_noise, refit, refit_settings, batch
        As in `localize_with_net`.

    Raises
    ------
    BadInputError
        The network looks at calcium too.
    """

    def __init__(
        self,
        net: PunctaNet,
        *,
        camera_model: CameraModel,
        pixel_size_um: tuple[float, float],
        excess_noise: float | None = None,
        refit: Refit = "crowds",
        refit_settings: RefitSettings | None = None,
        batch: int | None = None,
    ) -> None:
        if net.shape.n_channels != 1:
            raise BadInputError(
                f"puncta network {net.name or 'given'}: looks at puncta and calcium; expected puncta alone"
            )
        self._net, self._refit, self._pixel_size_um, self._camera = net, refit, pixel_size_um, camera_model
        self._excess = camera_model.excess_noise if excess_noise is None else excess_noise
        self._refitter = Refitter(camera_model, refit_settings, excess_noise=self._excess)
        self._batch = batch or usual_batch(net)
        self._answers = AnswerStream(net)
        self._shape: tuple[int, ...] | None = None

    def add(self, frames: Sequence[NDArray[Any]]) -> Localizations:
        """Take frames `[y, x]` (ADU); return the puncta of those that wait, but for the newest's.

        Raises
        ------
        BadInputError
            Frames differ in shape.
        """
        return self._found(
            answer
            for first in range(0, len(frames), self._batch)
            for answer in self._answers.add([self._seen(frame) for frame in frames[first : first + self._batch]])
        )

    def finish(self) -> Localizations:
        """Return the puncta of the newest frame: after it none comes."""
        return self._found(self._answers.finish())

    def _seen(self, frame: NDArray[Any]) -> tuple[NDArray[Any], SeenFrame, NDArray[np.float32]]:
        if self._shape not in (None, frame.shape):
            raise BadInputError(f"frame of {frame.shape} px, expected {self._shape} as of those before it")
        self._shape = frame.shape
        seen = seen_frame(frame, self._camera, self._excess)
        return frame, seen, seen.planes

    def _found(self, answers: Iterable[Answer]) -> Localizations:
        parts = [no_localizations(self._pixel_size_um)]
        for answer in answers:
            found = as_localizations(answer, self._net, self._net.settings, self._pixel_size_um)
            if self._refit != "none":
                found = self._refitter.refitted(answer.frame, found, crowds=self._refit == "crowds")
            parts.append(found)
        return join_localizations(parts)
