"""How a run is closed that did not end well."""

import bluesky.plan_stubs as bps
from bluesky.utils import FailedStatus, MsgGenerator, RunEngineControlException
from ophyd.utils import LimitError

from parfocal.errors import HardwareError

FAILURES = (FailedStatus, HardwareError, TimeoutError, LimitError)
"""What a plan may go on after: hardware that did not do what it was told."""


def close_failed(error: BaseException) -> MsgGenerator[None]:
    """Close the run as failed, with the reason; the RunEngine's own word for it would be the exception's repr.

    A run that was aborted or stopped has not failed: it is left to the RunEngine, which knows which, and why.
    """
    if not isinstance(error, RunEngineControlException):
        yield from bps.close_run(exit_status="fail", reason=reason_of(error))


def reason_of(error: BaseException) -> str:
    """Say in one line what went wrong, from the status's own cause where there is one."""
    cause = error.__cause__ if isinstance(error, FailedStatus) and error.__cause__ else error
    text = str(cause).splitlines()
    return text[0] if text else type(cause).__name__
