"""A judge of volumes for plans: sees plane after plane, and says after the last whether nuclei are certain."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation import Backend, CertaintyLimits, PlaneStream, certainty_of
from parfocal.segmentation.uncertainty import object_doubts
from parfocal.slices import Verdict

_NAMES = ("n_objects", "n_uncertain", "uncertain_share")


class VolumeJudge:
    """Whether the nuclei of a volume are certain: a `RememberingJudge` for an `Auditor`.

    Planes are labelled as they come; until the last, the verdict is provisional.

    Parameters
    ----------
    make_backend : callable
        Makes the backend, once a volume.
    max_uncertain : float
        Largest share of uncertain objects with which a volume is accepted.
    limits : CertaintyLimits, optional
        From where an object is uncertain.
    """

    def __init__(
        self, make_backend: Callable[[], Backend], max_uncertain: float, limits: CertaintyLimits | None = None
    ) -> None:
        self._make_backend = make_backend
        self._max_uncertain = max_uncertain
        self._limits = limits or CertaintyLimits()
        self._lock = threading.Lock()
        self._stream: PlaneStream | None = None
        self._n_planes = self._n_seen = 0
        self._said: dict[int, Verdict] = {}

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the numbers in its verdicts."""
        return _NAMES

    def as_dict(self) -> dict[str, Any]:
        """Return what a start document says of it."""
        return {"kind": "volume", "max_uncertain": self._max_uncertain, **vars(self._limits)}

    def begin(self, n_planes: int, voxel_size_um: tuple[float, float, float]) -> None:
        """Expect a volume; one that was not complete is let go."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
            self._stream = PlaneStream(self._make_backend(), voxel_size_um)
            self._n_planes, self._n_seen = n_planes, 0

    def see(self, pixels: NDArray[np.generic], frame: int, slice_id: str) -> Verdict:
        """Take a plane; after the last, judge the volume."""
        with self._lock:
            said = self._see(np.array(pixels))
            self._said[frame] = said
            return said

    def again(self, frame: int) -> Verdict:
        """Return what was said."""
        return self._said.get(frame, Verdict(True, "not of a volume", is_provisional=True))

    def __call__(self, pixels: NDArray[np.generic], /) -> Verdict:
        """Take a plane that nobody will ask about again."""
        with self._lock:
            return self._see(np.array(pixels))

    def _see(self, pixels: NDArray[np.generic]) -> Verdict:
        if self._stream is None:
            return Verdict(True, "no volume was begun", is_provisional=True)
        self._stream.add(pixels)
        self._n_seen += 1
        if self._n_seen < self._n_planes:
            return Verdict(True, f"plane {self._n_seen} of {self._n_planes}", is_provisional=True)
        found, self._stream = self._stream.finish(), None
        certain = certainty_of(object_doubts(found), self._limits)
        words = f"{certain.n_uncertain} of {certain.n_objects} nuclei are uncertain"
        if certain.worst:
            words += f", most by {certain.worst}"
        return Verdict(
            certain.share <= self._max_uncertain,
            words,
            certain.share,
            scores=dict(
                zip(_NAMES, (float(certain.n_objects), float(certain.n_uncertain), certain.share), strict=True)
            ),
        )
