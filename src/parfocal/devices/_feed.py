"""Frames without end, for whoever wants them: a focus lock, a live view, a plan that takes single frames.

::

    with camera.feed.open() as frames:              # the camera runs while anybody has it open
        while locked:
            fed = frames.newest(timeout_s=1.0)      # or frames.next(...): every frame, in order
            step(fed.pixels, fed.t_s)               # fed.number tells which were passed over

The camera's owner thread takes one frame after the other and hands it to all readers; between two frames it
does what else was asked of it. A `trigger` or a burst meanwhile is served from the same frames, exposed after it
was asked for. Exposure and gain are changed between two frames; ROI and binning not before the last reader has
gone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from parfocal.devices._owner import Owner
from parfocal.errors import HardwareError
from parfocal.frames import CameraSettings, CapturedFrame, FrameSource, clock_s


@runtime_checkable
class KeepsTime(Protocol):
    """A source whose `t_s` are not of `clock_s`: a simulated one that does not run in real time."""

    def now_s(self) -> float:
        """Return the source's present time, on the clock of its frames."""
        ...


@dataclass(frozen=True)
class FedFrame:
    """One frame of a feed, and its number; to be read, not written: all readers have the same array.

    `number` counts from 0 when the camera began to run, frames that the camera lost included, so a gap between
    two numbers is what was lost or passed over. After a restart it goes on counting.
    """

    number: int
    frame: CapturedFrame

    @property
    def pixels(self) -> NDArray[np.generic]:
        """The frame's pixels `[y, x]`, read-only."""
        return self.frame.pixels

    @property
    def t_s(self) -> float:
        """The middle of the exposure, seconds since the Unix epoch."""
        return self.frame.t_s

    @property
    def dropped_before(self) -> int:
        """How many frames the camera lost just before this one."""
        return self.frame.dropped_before


class FeedReader:
    """One reader of a feed: keeps the latest `keep` frames until they are asked for.

    `overrun` counts the frames that were pushed out because nobody took them in time.
    """

    def __init__(self, keep: int, take: Callable[[FedFrame], None] | None) -> None:
        self.overrun = 0
        self._take = take
        self._waiting: deque[FedFrame] = deque(maxlen=keep)
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def next(self, timeout_s: float) -> FedFrame:
        """Return the oldest frame not yet taken; wait for one if there is none.

        Raises
        ------
        HardwareError
            No frame within `timeout_s`, or what ended the feed: `camera.feed.restart()` begins again.
        """
        with self._changed:
            self._wait(timeout_s)
            return self._waiting.popleft()

    def newest(self, timeout_s: float) -> FedFrame:
        """Return the newest frame not yet taken, and forget the older ones; wait for one if there is none."""
        with self._changed:
            self._wait(timeout_s)
            newest = self._waiting[-1]
            self._waiting.clear()
            return newest

    def _wait(self, timeout_s: float) -> None:
        self._changed.wait_for(lambda: self._waiting or self._error is not None, timeout_s)
        if self._waiting:
            return
        if self._error is not None:
            raise HardwareError(str(self._error)) from self._error
        raise HardwareError(f"camera feed: no frame within {timeout_s:g} s; check the camera and its trigger")

    # -- called by the feed, in the owner's thread

    def give(self, fed: FedFrame) -> None:
        """Hand over a frame; what a `take` raises ends this reader alone."""
        if self._take is not None:
            if self._error is None:
                try:
                    self._take(fed)
                except Exception as error:
                    self.fail(error)
            return
        with self._changed:
            self.overrun += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(fed)
            self._changed.notify_all()

    def fail(self, error: Exception | None) -> None:
        """Say why no more frames come; None: they come again."""
        with self._changed:
            self._error = error
            self._changed.notify_all()


class FrameFeed:
    """The endless frames of one camera. Methods may be called from any thread but the owner's.

    Parameters
    ----------
    source : FrameSource
        The driver.
    owner : Owner
        The thread that alone calls the driver.
    name : str
        Of the camera, for messages.
    timeout_s : callable
        Returns how long to wait for a frame.
    """

    def __init__(
        self,
        source: FrameSource,
        owner: Owner,
        name: str,
        timeout_s: Callable[[], float],
    ) -> None:
        self._source = source
        self._owner = owner
        self._name = name
        self._timeout_s = timeout_s
        self._readers: tuple[FeedReader, ...] = ()
        self._number = 0
        self._running = False

    @property
    def is_running(self) -> bool:
        """Whether the camera is running for this feed."""
        return self._running

    @contextmanager
    def open(self, keep: int = 64, take: Callable[[FedFrame], None] | None = None) -> Generator[FeedReader]:
        """Read the camera's frames; it runs from the first reader's coming to the last one's going.

        Parameters
        ----------
        keep : int
            How many frames wait for a slow reader; older ones are pushed out and counted in `overrun`.
        take : callable, optional
            Called with every frame in the owner's thread, in place of waiting there to be asked for. What it
            does holds the camera up: for a microscope that is simulated faster than real time, where a frame
            shall not be taken before the one before has had its effect. It must not call the feed.

        Raises
        ------
        HardwareError
            The camera cannot start.
        """
        reader = FeedReader(keep, take)
        self._owner.call(lambda: self._join(reader))
        try:
            yield reader
        finally:
            self._owner.call(lambda: self._leave(reader))

    def restart(self) -> None:
        """Start the camera again after an error ended the feed; the readers go on reading.

        Raises
        ------
        HardwareError
            It still cannot start.
        """
        self._owner.call(self._restart)

    # -- in the owner's thread ----------------------------------------------------------------------

    def fetch(self) -> CapturedFrame:
        """Return the next frame, after handing it to all readers."""
        try:
            frame = self._source.next_frame(self._timeout_s())
        except Exception as error:
            self._end(error)
            raise
        frame.pixels.flags.writeable = False
        fed = FedFrame(self._number + frame.dropped_before, frame)
        self._number = fed.number + 1
        for reader in self._readers:
            reader.give(fed)
        return frame

    def fetch_since(self, asked_s: float, exposure_s: float) -> CapturedFrame:
        """Return the first frame whose exposure began at `asked_s` or later."""
        give_up_s = self.now_s() + self._timeout_s() + exposure_s
        while True:
            frame = self.fetch()
            # Half a millisecond: frame times are no better than that where the driver polls.
            if frame.t_s - exposure_s / 2 >= asked_s - 0.0005:
                return replace(frame, dropped_before=0)  # what was lost is older than the question
            if self.now_s() > give_up_s:
                raise HardwareError(f"{self._name}: no frame was exposed after it was asked for; check its clock")

    def apply(self, settings: CameraSettings) -> None:
        """Stop, change the settings, and run again, whatever became of it."""
        self._source.stop_sequence()
        try:
            self._source.apply(settings)
        finally:
            self._source.start_sequence(None)

    def now_s(self) -> float:
        """Return the present time on the clock of the source's frames."""
        return self._source.now_s() if isinstance(self._source, KeepsTime) else clock_s()

    def shut(self) -> None:
        """End the feed for good: the camera is going away."""
        if self._running:
            self._end(HardwareError(f"{self._name} was closed"))

    def _join(self, reader: FeedReader) -> None:
        if not self._running:
            self._start()
        self._readers = (*self._readers, reader)

    def _leave(self, reader: FeedReader) -> None:
        self._readers = tuple(r for r in self._readers if r is not reader)
        if not self._readers and self._running:
            self._running = False
            self._source.stop_sequence()

    def _restart(self) -> None:
        if self._running:
            return
        if not self._readers:
            raise HardwareError(f"{self._name}: nobody reads its feed, open it first")
        self._start()
        for reader in self._readers:
            reader.fail(None)

    def _start(self) -> None:
        self._source.start_sequence(None)
        self._running = True
        self._owner.submit(self._step)

    def _step(self) -> None:
        """Take one frame and queue up again, behind whatever else was asked of the owner meanwhile."""
        if not self._running:
            return
        try:
            self.fetch()
        except Exception:
            return  # the readers have been told
        self._owner.submit(self._step)

    def _end(self, error: Exception) -> None:
        self._running = False
        try:
            self._source.stop_sequence()
        except Exception as second:
            error.add_note(f"and it did not stop: {second}")
        for reader in self._readers:
            reader.fail(error)
