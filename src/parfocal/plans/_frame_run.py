"""A run of frames: what its start document says in every plan, and an end that leaves everything safe."""

from collections.abc import Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator

from parfocal.plans import stubs
from parfocal.plans._failures import close_failed
from parfocal.plans._parts import Parts


def start_document(
    parts: Parts,
    plan_name: str,
    plan_args: dict[str, Any],
    *,
    num_points: int,
    shape: list[int],
    dimensions: list[Any],
    about: dict[str, Any],
    md: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what a plan says before it starts.

    Parameters
    ----------
    parts : Parts
        The instrument.
    plan_name, plan_args
        The plan, and how it was called.
    num_points, shape, dimensions
        How many frames are meant to be taken, in which order, along which fields.
    about : dict
        What only this plan has to say, under `parfocal`.
    md : dict, optional
        What the user has to say; it goes before all of it.
    """
    return {
        "plan_name": plan_name,
        "plan_args": plan_args,
        "detectors": [d.name for d in parts.detectors],
        "motors": [a.name for a in parts.axes.values()],
        "num_points": num_points,
        "shape": shape,
        "hints": {"dimensions": dimensions},
        "instrument": parts.name,
        "parfocal": {
            "axes": {name: axis.name for name, axis in parts.axes.items()},
            "camera": parts.camera.name if parts.camera is not None else parts.detectors[0].name,
            **about,
        },
    } | (md or {})


def end_safely(
    parts: Parts, run: MsgGenerator[str], home_z_um: float, staged: Sequence[Any] | None = None
) -> MsgGenerator[str]:
    """Run with everything staged; whatever happens, put the light out and z back.

    A run that fails is closed with its reason. `staged`: detectors and axes, where nothing else is told.
    """

    def make_safe() -> MsgGenerator[None]:
        yield from stubs.light_off(parts.light)
        if parts.z is not None:
            yield from bps.mv(parts.z, home_z_um)

    devices = (*parts.detectors, *parts.axes.values()) if staged is None else staged
    told = bpp.contingency_wrapper(run, except_plan=close_failed, auto_raise=True)
    whole = bpp.stage_wrapper(told, [device for device in devices if hasattr(device, "stage")])
    return (yield from bpp.finalize_wrapper(whole, make_safe))
