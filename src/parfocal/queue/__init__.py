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
from parfocal.queue._plan_file import ON_FAILURE, OnFailure, PlanFileError, check_items, read_plan_file
from parfocal.queue._profile import (
    SHIPPED,
    allowed_by_profile,
    find_profile,
    list_profiles,
    new_profile,
    shipped_profiles,
)
from parfocal.queue._redis import redis_answers
from parfocal.queue._start import open_environment, start_queue
from parfocal.queue._start_supervisor import start_supervisor
from parfocal.queue._status import QueueStatus, client_settings, queue_status
from parfocal.queue._stop import end_running_plan, stop_queue
from parfocal.queue._supervisor import supervise
from parfocal.queue._supervisor_policy import SupervisorPolicy

__all__ = [
    "ON_FAILURE",
    "SHIPPED",
    "AnalysisView",
    "CatalogView",
    "FaultView",
    "LockView",
    "NightView",
    "NightWatch",
    "OnFailure",
    "PlanFileError",
    "QueueInfo",
    "QueueStatus",
    "QueueView",
    "RunView",
    "SupervisorPolicy",
    "VerdictView",
    "allowed_by_profile",
    "ask",
    "asked",
    "check_items",
    "client_settings",
    "connect",
    "end_running_plan",
    "find_profile",
    "find_queue",
    "heard",
    "list_profiles",
    "looked",
    "new_profile",
    "open_environment",
    "queue_status",
    "read_plan_file",
    "read_queue_file",
    "redis_answers",
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
