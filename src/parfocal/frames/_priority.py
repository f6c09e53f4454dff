"""Threads that look on give way to those that acquire."""

from __future__ import annotations

import os
import sys
import threading


def give_way(niceness: int = 10) -> None:
    """Lower the priority of the calling thread, so that it takes only what acquisition leaves of the cores.

    Linux alone schedules each thread by its own niceness; elsewhere nothing is done.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
