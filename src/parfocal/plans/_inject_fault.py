"""Let a simulated microscope fail, to see what a night does about it."""

from dataclasses import asdict
from typing import Any, Literal

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, plan

from parfocal.devices import FaultOrder
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._failures import close_failed

_STREAM = "faults"


@plan
def inject_fault(
    microscope: Readable[Any],
    fault: Literal[
        "camera_timeout", "frame_lost", "stage_stall", "lost_focus", "bead_gone", "light_out", "none"
    ] = "camera_timeout",
    after_frames: int = 0,
    n_times: int = 1,
    duration_s: float = 10.0,
    by_um: float = 8.0,
    axis: Literal["x", "y", "z"] = "z",
    camera: Literal["camera", "focus_camera"] = "camera",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Let hardware of a simulated microscope fail in plans that follow, and record that it was asked for.

    One run with one event in stream `faults`, so that nobody takes the fault for one that came by itself.

    Parameters
    ----------
    microscope : Microscope
        A simulated one.
    fault : {"camera_timeout", "frame_lost", "stage_stall", "lost_focus", "bead_gone", "light_out", "none"}
        A frame that never comes; one that is lost on its way; a move that stops short; a focal plane that jumps,
        and no encoder tells; a lock without its bead; a lamp without light, though its shutter is open. `none`
        takes back what is still to come, and mends what is out of order.
    after_frames : int
        So many frames of the camera still come as they should; 0: it happens at once, to what comes next.
    n_times : int
        Frames or moves in a row that fail; or how often what lasts comes again, after a pause as long as itself.
    duration_s : float
        How long `lost_focus`, `bead_gone` and `light_out` last; 0: until `none`.
    by_um : float
        How far the focus jumps, um; a lock searches 2 um to either side.
    axis : {"x", "y", "z"}
        Which axis stalls.
    camera : {"camera", "focus_camera"}
        Whose frames are counted, and fail.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    HardwareError
        The hardware is not simulated; no run was opened.
    BadInputError
        Something about the fault makes no sense; no run was opened.
    """
    order = FaultOrder(fault, after_frames, n_times, duration_s, by_um, axis, camera)
    if not hasattr(microscope, "inject_fault"):
        raise BadInputError(f"{microscope!r} is no microscope; a Microscope was expected")
    device: Any = microscope
    device.need_faults()
    asked = asdict(order)
    about = {
        "plan_name": "inject_fault",
        "plan_args": asked,
        "detectors": [],
        "instrument": device.backend.name,
        "hints": {"dimensions": [(["time"], _STREAM)]},
    } | (md or {})

    def recorded() -> MsgGenerator[str]:
        uid = yield from bps.open_run(about)
        yield from stubs.move_all({device.faults: asked})
        yield from bps.create(name=_STREAM)
        yield from bps.read(device.faults)
        yield from bps.save()
        yield from bps.close_run()
        return uid

    return (yield from bpp.contingency_wrapper(recorded(), except_plan=close_failed))
