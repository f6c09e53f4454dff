"""The unattended microscope: Redis, RE Manager, document proxy and supervisor of a data folder, as processes."""

from parfocal.queue._connect import ask, connect, running_queue, wait_until
from parfocal.queue._info import QueueInfo, find_queue, read_queue_file, write_queue_file
from parfocal.queue._night_state import (
    AnalysisView,
    CatalogView,
    FaultView,
    LockView,
    NightView,
    QueueView,
    RunView,
    VerdictView,
)
from parfocal.queue._night_view import asked, heard, looked, remembered
from parfocal.queue._night_watch import NightWatch
from parfocal.queue._profile import SHIPPED, find_profile, list_profiles, new_profile, shipped_profiles
from parfocal.queue._start import open_environment, start_queue
from parfocal.queue._start_supervisor import start_supervisor
from parfocal.queue._stop import stop_queue
from parfocal.queue._supervisor import supervise
from parfocal.queue._supervisor_policy import SupervisorPolicy

__all__ = [
    "SHIPPED",
    "AnalysisView",
    "CatalogView",
    "FaultView",
    "LockView",
    "NightView",
    "NightWatch",
    "QueueInfo",
    "QueueView",
    "RunView",
    "SupervisorPolicy",
    "VerdictView",
    "ask",
    "asked",
    "connect",
    "find_profile",
    "find_queue",
    "heard",
    "list_profiles",
    "looked",
    "new_profile",
    "open_environment",
    "read_queue_file",
    "remembered",
    "running_queue",
    "shipped_profiles",
    "start_queue",
    "start_supervisor",
    "stop_queue",
    "supervise",
    "wait_until",
    "write_queue_file",
]
