"""One stack of nuclei under way: planes go to the backend as they come, and stay known by their frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks._slice_looks import Place
from parfocal.frames import Frame, Frames
from parfocal.optics import CameraModel
from parfocal.segmentation import Backend, PlaneStream, Segmentation
from parfocal.segmentation.backends import measure_objects
from parfocal.segmentation.restoration import RestorationMode, restore_if_it_helps
from parfocal.segmentation.uncertainty import object_doubts


@dataclass(frozen=True)
class PlaneTaken:
    """Where a plane's pixels are.

    Attributes
    ----------
    plane : int
        Which of its stack.
    attempt : int
        Which attempt at it.
    uri, index : str, int
        The frame.
    z_um : float
        Where; NaN where that is not known.
    taken_s : float
        When, seconds since the Unix epoch: live, the time of its event; else, when it was read.
    """

    plane: int
    attempt: int
    uri: str
    index: int
    z_um: float
    taken_s: float


def warm_up(backend: Backend) -> None:
    """Label three small planes with a disc in each, so that kernels are compiled and the network is in memory."""
    y, x = np.ogrid[:96, :96]
    disc = 100.0 + 400.0 * ((y - 48) ** 2 + (x - 48) ** 2 < 150)
    rng = np.random.default_rng(0)
    planes = [rng.poisson(disc).astype(np.uint16) for _ in range(3)]
    stream = PlaneStream(backend, (1.0, 0.5, 0.5))
    for plane in planes:
        stream.add(plane)
    found = stream.finish()
    object_doubts(found, np.stack(planes))
    measure_objects(found, {"image": np.stack(planes)})


@dataclass
class NucleiStack:
    """A stack, from its first plane to its labels.

    ::

        first plane --> kept until the second tells the step
        each further --> PlaneStream --> labels of planes, as they are ready
        a plane again, or out of order --> the stream no longer holds: `finish` labels all anew
        restoration --> tried by `finish` on the whole stack, as on a file: only then is known whether it helps

    Attributes
    ----------
    place : Place
        Which stack; its channel is the one that shows nuclei.
    pixel_um : (float, float)
        y, x.
    step_um : float
        Told distance between planes, for where z is not known.
    restoration : str
        What is tried on the pixels, and kept where it helps.
    camera : CameraModel, optional
        Offset, gain and read noise, for restoration.
    """

    place: Place
    pixel_um: tuple[float, float]
    step_um: float
    make_backend: Callable[[], Backend]
    restoration: RestorationMode = "none"
    camera: CameraModel | None = None
    planes: dict[int, PlaneTaken] = field(default_factory=dict[int, PlaneTaken])
    others: dict[str, dict[int, PlaneTaken]] = field(default_factory=dict[str, dict[int, PlaneTaken]])
    _stream: PlaneStream | None = None
    _streamed: list[PlaneTaken] = field(default_factory=list[PlaneTaken])
    _first: NDArray[np.generic] | None = None
    _n_labelled: int = 0

    def add(self, frame: Frame, taken: PlaneTaken) -> list[tuple[PlaneTaken, int]]:
        """Take a plane; return the planes whose labels are ready, with how many objects each has."""
        in_order = taken.plane not in self.planes and (not self.planes or taken.plane > max(self.planes))
        self.planes[taken.plane] = taken
        if not in_order:
            self._drop_stream()
            return []
        if self._streamed and self._stream is None and self._first is None:
            return []  # it was given up
        self._streamed.append(taken)
        if len(self._streamed) == 1:
            self._first = np.array(frame.pixels)
            return []
        ready: list[NDArray[np.int32]] = []
        if self._stream is None:
            self._stream = PlaneStream(self.make_backend(), self.voxel_size_um)
            if self._first is not None:
                ready += self._stream.add(self._first)
            self._first = None
        # A copy: the memory that frames come in is used again.
        ready += self._stream.add(np.array(frame.pixels))
        done = self._streamed[self._n_labelled : self._n_labelled + len(ready)]
        self._n_labelled += len(ready)
        return [(one, int(np.unique(labels[labels > 0]).size)) for one, labels in zip(done, ready, strict=True)]

    def add_other(self, channel: str, taken: PlaneTaken) -> None:
        """Note a plane of a channel that only has its intensity measured."""
        self.others.setdefault(channel, {})[taken.plane] = taken

    @property
    def in_order(self) -> list[PlaneTaken]:
        """The planes, of each its last attempt, in the order that labels have them."""
        return [self.planes[plane] for plane in sorted(self.planes)]

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """Size of a voxel, z by the median step."""
        z_um = np.array([one.z_um for one in self.in_order])
        steps = np.abs(np.diff(z_um))
        steps = steps[np.isfinite(steps) & (steps > 0)]
        told = self.step_um if math.isfinite(self.step_um) and self.step_um > 0 else self.pixel_um[0]
        step = float(np.median(steps)) if steps.size else told
        return (round(step, 6), *self.pixel_um)

    def finish(self, frames: Frames) -> tuple[Segmentation, Mapping[str, NDArray[np.generic]]]:
        """Return the labels of the whole stack, and its raw pixels by channel."""
        pixels = self._read(self.planes, frames)
        if self._stream is not None:
            found, label = self._stream.finish(), self._by_planes
            self._stream = None
        else:
            found, label = self._whole(pixels), self._whole
        self._first = None
        if self.restoration != "none":
            raw = found
            found = restore_if_it_helps(
                pixels,
                lambda given: raw if given is pixels else label(given),  # the raw ones are labelled already
                self.restoration,
                camera_model=self.camera,
            ).segmentation
        found = replace(found, voxel_size_um=self.voxel_size_um)
        images: dict[str, NDArray[np.generic]] = {self.place.channel or "image": pixels}
        for channel, planes in self.others.items():
            if set(planes) == set(self.planes):
                images[channel] = self._read(planes, frames)
        return found, images

    def close(self) -> None:
        """Let the backend go."""
        self._drop_stream()

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._first = None, None

    def _whole(self, pixels: NDArray[np.generic]) -> Segmentation:
        return self.make_backend().segment_volume(pixels, self.voxel_size_um)

    def _by_planes(self, pixels: NDArray[np.generic]) -> Segmentation:
        """Label planes one by one, as those of the stream were."""
        stream = PlaneStream(self.make_backend(), self.voxel_size_um)
        for plane in pixels:
            stream.add(plane)
        return stream.finish()

    def _read(self, planes: Mapping[int, PlaneTaken], frames: Frames) -> NDArray[np.generic]:
        return np.stack([np.asarray(frames.get(planes[k].uri, planes[k].index)) for k in sorted(planes)])
