"""Is this machine fit to run a microscope? Checks that say what was found and what to do."""

from parfocal.doctor._catalog import check_database, check_frames, check_logs, check_server
from parfocal.doctor._check import Check, State
from parfocal.doctor._clock import check_clock, check_future, is_synchronized
from parfocal.doctor._disk_rate import check_disk_rate
from parfocal.doctor._drivers import check_drivers
from parfocal.doctor._examine import examine
from parfocal.doctor._folders import check_folder, check_private, check_space
from parfocal.doctor._machine import check_gpu, check_memory, check_processor, check_versions
from parfocal.doctor._pixel_size import check_pixel_size
from parfocal.doctor._profile import check_profile
from parfocal.doctor._queue import check_queue, check_redis

__all__ = [
    "Check",
    "State",
    "check_clock",
    "check_database",
    "check_disk_rate",
    "check_drivers",
    "check_folder",
    "check_frames",
    "check_future",
    "check_gpu",
    "check_logs",
    "check_memory",
    "check_pixel_size",
    "check_private",
    "check_processor",
    "check_profile",
    "check_queue",
    "check_redis",
    "check_server",
    "check_space",
    "check_versions",
    "examine",
    "is_synchronized",
]
