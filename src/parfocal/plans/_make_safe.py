"""Make the hardware safe after what could not clean up after itself."""

from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, RunEngineControlException, plan

from parfocal.catalog import Resting
from parfocal.devices import Columns
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import stubs
from parfocal.plans._failures import close_failed, reason_of

_SAFE: dict[str, Any] = {
    "z_before_um": float("nan"),
    "z_um": float("nan"),
    "z_restored": 0,
    "light_was_on": 0,
    "left_at_s": float("nan"),
    "problem": "",
}


@plan
def make_safe(
    microscope: Readable[Any], restore_z: bool = True, md: dict[str, Any] | None = None
) -> MsgGenerator[str]:
    """Release the lock, stop all stages, put the light out, and z back to where it was before what failed.

    Where z was stands in the data folder while a plan runs, so that it outlives a process that was killed. One
    event in stream `safe` says what was found and done. Each step is tried, whatever became of the one before.

    Parameters
    ----------
    microscope : Microscope
        What to make safe.
    restore_z : bool
        Move z; False leaves it where it stopped. It stays there too where the last plan ended safely.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    HardwareError
        It is not safe: a part of it did not do what it was told. Look at it.
    """
    if not hasattr(microscope, "xyz") or not hasattr(microscope, "lock"):
        raise BadInputError(f"make_safe: {microscope!r} has no stage and lock; a Microscope was expected")
    device: Any = microscope
    z, light, lock = device.xyz.z, device.light, device.lock
    left: Resting | None = getattr(device.resting, "left_behind", None)
    if left is not None:  # should this plan be killed too, the next one has to find what this one did
        device.resting.write(left)
    problems: list[str] = []
    told = Columns("safe", _SAFE)

    def attempt(step: MsgGenerator[Any]) -> MsgGenerator[None]:
        try:
            yield from step
        except RunEngineControlException:
            raise
        except Exception as error:  # whatever a driver throws: the next step is still to be tried
            problems.append(reason_of(error))

    def run() -> MsgGenerator[str]:
        about = {"plan_name": "make_safe", "plan_args": {"restore_z": restore_z}}
        uid = yield from bps.open_run(about | {"instrument": device.backend.name} | (md or {}))
        found = {"z_before_um": float(z.position), "light_was_on": int(light.on.get())}
        yield from attempt(stubs.light_off(light))  # before all else: it is what does harm by itself
        yield from attempt(bps.abs_set(lock, False, wait=True))
        for axis in (device.xyz.x, device.xyz.y, z):
            yield from attempt(bps.stop(axis))
        restored = 0
        if restore_z and left is not None and left.z_um is not None:
            n_before = len(problems)
            yield from attempt(bps.mv(z, left.z_um))
            restored = int(len(problems) == n_before)
        values = found | {"z_um": float(z.position), "z_restored": restored, "problem": "; ".join(problems)}
        if left is not None:
            values["left_at_s"] = left.written_s
        yield from stubs.record(told, values, stream="safe")
        if problems:
            raise HardwareError(f"make_safe: the microscope is not safe: {'; '.join(problems)}")
        yield from bps.close_run()
        return uid

    return (yield from bpp.contingency_wrapper(run(), except_plan=close_failed, auto_raise=True))


def keep_resting(plan: MsgGenerator[Any], microscope: Any) -> MsgGenerator[Any]:
    """Run a plan while the data folder says where z and the light were before it; for `RE.preprocessors`.

    The record is removed when the plan has ended well, or has left the microscope as it found it. It stays where
    the process is killed, and where a clean-up failed: then `make_safe` finds it.

    Parameters
    ----------
    plan : generator
        Any plan.
    microscope : Microscope
        With a `resting` file.
    """
    z_um, was_on = _where(microscope)
    microscope.resting.begin(Resting.of_this_process(z_um, was_on))
    try:
        result = yield from plan
    except (Exception, RunEngineControlException):
        if _is_as_before(microscope, z_um):
            microscope.resting.settle()
        raise
    microscope.resting.settle()
    return result


def _where(microscope: Any) -> tuple[float | None, bool]:
    """Return where z and the light are; a stage that does not answer keeps no plan from telling so itself."""
    try:
        return float(microscope.xyz.z.setpoint_um), bool(microscope.light.on.get())
    except Exception:
        return None, True


def _is_as_before(microscope: Any, z_um: float | None) -> bool:
    z = microscope.xyz.z
    try:
        off_um = abs(float(z.position) - z_um) if z_um is not None else float("inf")
        return off_um <= z.tolerance_um and not microscope.light.on.get() and not microscope.lock.is_engaged
    except Exception:
        return False
