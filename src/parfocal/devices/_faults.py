"""Faults on demand: what is asked for, and who can do it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, get_args

from parfocal.devices._columns import Columns
from parfocal.devices._status import PlainStatus
from parfocal.errors import BadInputError

Fault = Literal["camera_timeout", "frame_lost", "stage_stall", "lost_focus", "bead_gone", "light_out", "none"]
"""What can go wrong on demand; `none` takes back what is to come, and mends what is out of order."""

FAULTS: tuple[str, ...] = get_args(Fault)
_LASTING = ("lost_focus", "bead_gone", "light_out")


@dataclass(frozen=True)
class FaultOrder:
    """A fault that is asked for.

    Parameters
    ----------
    fault : str
        One of `FAULTS`. `camera_timeout`: a frame never comes. `frame_lost`: a frame is lost on its way.
        `stage_stall`: a move stops short and never arrives. `lost_focus`: the focal plane jumps by `by_um`, and no
        encoder tells. `bead_gone`: the lock's bead is no longer seen. `light_out`: no light, though the shutter
        is open.
    after_frames : int
        So many frames of `camera` still come as they should; 0: it happens at once, to what comes next.
    n_times : int
        Frames or moves in a row that fail; or how often what lasts comes again, after a pause as long as itself.
    duration_s : float
        How long `lost_focus`, `bead_gone` and `light_out` last; 0: until `none`.
    by_um : float
        How far the focus jumps, um.
    axis : {"x", "y", "z"}
        Which axis stalls.
    camera : {"camera", "focus_camera"}
        Whose frames are counted, and fail.

    Raises
    ------
    BadInputError
        Something makes no sense; the message names it.
    """

    fault: Fault
    after_frames: int = 0
    n_times: int = 1
    duration_s: float = 10.0
    by_um: float = 8.0
    axis: Literal["x", "y", "z"] = "z"
    camera: Literal["camera", "focus_camera"] = "camera"

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise BadInputError(f"fault is {self.fault!r}, expected one of {', '.join(FAULTS)}")
        if self.after_frames < 0 or self.n_times < 1:
            raise BadInputError(
                f"fault {self.fault}: after_frames={self.after_frames}, n_times={self.n_times}; "
                "0 frames or more, and 1 time or more, were expected"
            )
        if not (self.duration_s >= 0 and math.isfinite(self.duration_s) and math.isfinite(self.by_um)):
            raise BadInputError(
                f"fault {self.fault}: duration_s={self.duration_s}, by_um={self.by_um}; numbers were expected, "
                "and a time of 0 s or more"
            )
        if self.lasts and self.duration_s == 0 and self.n_times > 1:
            raise BadInputError(
                f"fault {self.fault}: what lasts until it is mended happens once; n_times is {self.n_times}"
            )
        if self.axis not in ("x", "y", "z") or self.camera not in ("camera", "focus_camera"):
            raise BadInputError(
                f"fault {self.fault}: axis is {self.axis!r}, camera {self.camera!r}; x, y or z, and camera or "
                "focus_camera, were expected"
            )

    @property
    def lasts(self) -> bool:
        """Whether it is a state, with a duration, and not an event."""
        return self.fault in _LASTING


class FaultInjector(Protocol):
    """Whoever can make hardware fail: that of a simulated world."""

    def inject(self, order: FaultOrder, /) -> None:
        """Let it happen; `BadInputError` where this bench has no such part."""
        ...


class FaultSwitch(Columns):
    """A Movable that makes hardware fail when it is set, and a Readable of what was asked for.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    inject : callable
        Gets the order; raises where it cannot be.
    """

    def __init__(self, name: str, inject: Callable[[FaultOrder], None]) -> None:
        super().__init__(name, asdict(FaultOrder("none")))
        self._inject = inject

    def set(self, values: Mapping[str, Any]) -> PlainStatus:
        """Let a fault happen: what `FaultOrder` takes, by name."""
        status = PlainStatus(self)
        try:
            order = FaultOrder(**values)
            self._inject(order)
        except Exception as error:
            status.set_exception(error)
            return status
        self.note(**asdict(order))
        status.set_finished()
        return status
