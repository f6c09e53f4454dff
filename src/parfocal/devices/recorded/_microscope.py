"""A microscope that shows a recorded stack: z picks the plane, x and y the site, repeats the time point.

::

    stack = open_stack("embryo.tif")
    microscope = RecordedMicroscope(stack)
    microscope.stage     a StageDriver: axes x, y, z
    microscope.light     its channels: the recorded ones
    microscope.camera    a FrameSource: the plane where the stage stands

One view, `(time, position, channel, z)`, is shared by both. Where the recording has time points, a plane that
has been shown at the present one and is asked for again begins the next one: passes of a z-stack, or frames
of a time-lapse without z, walk through the recorded times, and after the last one begin again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.recorded._camera import RecordedCamera
from parfocal.devices.recorded._stage import RecordedStage
from parfocal.devices.recorded._view import RecordedView
from parfocal.errors import BadInputError
from parfocal.files import Stack


class RecordedLight:
    """The light of a recorded microscope: choosing a channel brings the recorded one into view."""

    def __init__(self, view: RecordedView) -> None:
        self._view = view
        n = view.stack.size("C")
        named = view.stack.channels
        self._channels = tuple(named) if len(set(named)) == n else tuple(f"c{i}" for i in range(n))
        self._is_on = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels: as recorded, else c0, c1 ..."""
        return self._channels

    @property
    def channel(self) -> str:
        """The channel in view."""
        return self._channels[self._view.index("C")]

    @property
    def is_on(self) -> bool:
        """Whether light was asked for; a recording is lit either way."""
        return self._is_on

    def set_channel(self, channel: str, /) -> None:
        """Bring a channel into view."""
        if channel not in self._channels:
            raise BadInputError(f"no channel {channel!r} was recorded, there are {', '.join(self._channels)}")
        self._view.look("C", self._channels.index(channel))

    def set_on(self, on: bool, /) -> None:
        """Remember whether light was asked for."""
        self._is_on = on


class RecordedMicroscope:
    """A stage and a camera over one recorded stack.

    Parameters
    ----------
    stack : Stack
        From `parfocal.files.open_stack`.
    advance_time : bool
        Begin the next recorded time point when a plane is asked for again; else `time_index` alone moves it.
    """

    def __init__(self, stack: Stack, *, advance_time: bool = True) -> None:
        self.stack = stack
        self.view = RecordedView(stack, advance_time)
        self.stage = RecordedStage(self.view)
        self.camera = RecordedCamera(self.view)
        self.light = RecordedLight(self.view)

    @property
    def time_index(self) -> int:
        """The time point in view, 0-based; may be set."""
        return self.view.index("T")

    @time_index.setter
    def time_index(self, index: int) -> None:
        self.view.look("T", index)

    @property
    def position_index(self) -> int:
        """The site in view, 0-based; may be set."""
        return self.view.index("P")

    @position_index.setter
    def position_index(self, index: int) -> None:
        self.view.look("P", index)

    @property
    def channel(self) -> int:
        """The channel in view, 0-based; may be set."""
        return self.view.index("C")

    @channel.setter
    def channel(self, index: int) -> None:
        self.view.look("C", index)

    @property
    def z_positions_um(self) -> NDArray[np.float64]:
        """The z of every plane of the site in view, um: what a plan visits to see the whole stack."""
        return self.view.planes_z_um()
