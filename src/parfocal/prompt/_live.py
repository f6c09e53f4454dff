"""Live table and plots, by bluesky's own BestEffortCallback."""

from __future__ import annotations

import sys
from typing import Any, Literal, get_args

from parfocal.errors import BadInputError

LiveView = Literal["", "table", "plots"]
"""Nothing; a line an event; the table and plots of what was measured."""


def as_live_view(told: str) -> LiveView:
    """Return a view by its name.

    Raises
    ------
    BadInputError
        There is no such view.
    """
    for view in get_args(LiveView):
        if told == view:
            return view
    raise BadInputError(f"live view {told!r}: table, plots, or nothing was expected")


def live_view(what: LiveView) -> Any:
    """Return a callback that shows runs while they are taken, None for nothing.

    A queue's worker has nobody to look at plots: there they are left out.
    """
    if not as_live_view(what):
        return None
    from bluesky.callbacks.best_effort import BestEffortCallback

    view = BestEffortCallback()
    view.disable_baseline()
    if what == "table" or is_worker():
        view.disable_plots()
    return view


def is_worker() -> bool:
    """Say whether this process is the worker of a queue; only bluesky-queueserver itself makes one."""
    queueserver = sys.modules.get("bluesky_queueserver")
    return queueserver is not None and bool(queueserver.is_re_worker_active())
