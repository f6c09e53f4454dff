"""Bursts: frames at the camera's own rate."""

from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, plan

from parfocal.devices import BurstSettings
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._frame_run import end_safely, start_document
from parfocal.plans._parts import parts_of


@plan
def z_burst(
    microscope: Readable[Any],
    half_range_um: float = 5.0,
    step_um: float = 0.5,
    *,
    n_frames: int | None = None,
    channel: str = "",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take a stack at the camera's own rate, z moved by the hardware; or `n_frames` at one plane.

    There are no events: one array of frames, and beside it `z_um` and `t_s` of each.

    Parameters
    ----------
    microscope : Microscope
        What to image with. For a stack its driver must move z itself (`can_sequence_z`).
    half_range_um, step_um : float
        As in `z_stack`.
    n_frames : int, optional
        Take so many frames where z stands, instead of a stack.
    channel : str
        Light channel; empty: the one that is chosen.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        The run's uid.
    """
    parts = parts_of(microscope)
    camera = parts.camera
    if camera is None or not hasattr(camera, "burst"):
        raise BadInputError(f"z_burst: {parts.name} has no camera that can take bursts")
    home_um = (yield from stubs.position_of(parts.z)) if parts.z is not None else 0.0
    z: Any = parts.z
    planes: list[float] | None = None
    if n_frames is None:
        if not camera.facts.can_sequence_z:
            raise BadInputError(f"z_burst: {parts.name} cannot move z by itself; use z_stack, or give n_frames")
        if not (half_range_um >= 0 and step_um > 0):
            raise BadInputError(f"z_burst: +-{half_range_um:g} um by {step_um:g} um: a step above 0 was expected")
        count = int(np.floor(2 * half_range_um / step_um + 1e-9)) + 1
        planes = [home_um + (i - (count - 1) / 2) * step_um for i in range(count)]
        for end in (planes[0], planes[-1]):
            if hasattr(z, "check_value"):
                z.check_value(end)
    settings = BurstSettings(n_frames if n_frames is not None else len(planes or []), planes)
    start = start_document(
        parts,
        "z_burst",
        {"half_range_um": half_range_um, "step_um": step_um, "n_frames": n_frames},
        num_points=settings.n_frames,
        shape=[settings.n_frames],
        dimensions=[(["time"], "primary")],
        about={"burst": True},
        md={"detectors": [camera.name], "motors": [z.name] if planes is not None else []} | (md or {}),
    )

    def run() -> MsgGenerator[str]:
        uid = yield from bps.open_run(start)
        yield from stubs.light_on(parts.light, channel)
        yield from bps.declare_stream(camera.burst, name="primary", collect=True)
        yield from bps.checkpoint()
        yield from bps.prepare(camera.burst, settings, wait=True)
        yield from bps.kickoff(camera.burst, wait=True)
        yield from bps.collect_while_completing(
            [camera.burst], [camera.burst], flush_period=0.25, stream_name="primary"
        )
        yield from bps.checkpoint()
        yield from bps.close_run()
        return uid

    return (yield from end_safely(parts, run(), home_um, staged=(camera,)))
