"""Any imaging plan under the lock, by name: for a queue, which cannot hand a plan to a plan."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, plan

from parfocal.errors import BadInputError
from parfocal.plans._focus_lock import focus_locked
from parfocal.plans._mda import run_mda
from parfocal.plans._stacks import positions, tile_scan, time_lapse, z_stack

_PLANS: dict[str, Callable[..., MsgGenerator[Any]]] = {
    "positions": positions,
    "run_mda": run_mda,
    "tile_scan": tile_scan,
    "time_lapse": time_lapse,
    "z_stack": z_stack,
}


@plan
def run_locked(
    microscope: Readable[Any],
    name: str = "z_stack",
    arguments: dict[str, Any] | None = None,
    calibration: str = "",
    law: str = "kalman",
    measure: str = "direct",
    settings: dict[str, Any] | None = None,
    patience_s: float = 60.0,
) -> MsgGenerator[Any]:
    """Run an imaging plan with focus held, as `focus_locked` does.

    Parameters
    ----------
    microscope : Microscope
        With a calibrated `lock`.
    name : {"positions", "run_mda", "tile_scan", "time_lapse", "z_stack"}
        The plan.
    arguments : dict, optional
        Its arguments by name, but the microscope.
    calibration, law, measure, settings, patience_s
        As in `focus_locked`.

    Raises
    ------
    BadInputError
        There is no such plan or argument; nothing has moved.
    """
    if name not in _PLANS:
        raise BadInputError(f"run_locked: {name!r} is no plan for this, there are: {', '.join(sorted(_PLANS))}")
    try:  # asked first: a plan that cannot even be made warns when it is collected
        signature(_PLANS[name]).bind(microscope, **(arguments or {}))
    except TypeError as error:
        raise BadInputError(f"run_locked: {name} cannot be called so: {error}") from error
    return (
        yield from focus_locked(
            _PLANS[name](microscope, **(arguments or {})),
            microscope,
            calibration,
            law=law,
            measure=measure,
            settings=settings,
            patience_s=patience_s,
        )
    )
