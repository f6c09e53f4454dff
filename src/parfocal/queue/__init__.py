"""The unattended microscope: Redis, RE Manager, document proxy and supervisor of a data folder, as processes."""

from parfocal.queue._info import QueueInfo, find_queue, read_queue_file, write_queue_file

__all__ = ["QueueInfo", "find_queue", "read_queue_file", "write_queue_file"]
