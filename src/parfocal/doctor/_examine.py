"""All checks, in the order in which one thing rests on another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from parfocal.catalog import DataFolder
from parfocal.doctor._catalog import check_database, check_frames, check_logs, check_server
from parfocal.doctor._check import Check, looked_at
from parfocal.doctor._clock import check_clock, check_future
from parfocal.doctor._disk_rate import check_disk_rate
from parfocal.doctor._drivers import check_drivers
from parfocal.doctor._folders import check_folder, check_private, check_space
from parfocal.doctor._machine import check_gpu, check_memory, check_processor, check_versions
from parfocal.doctor._pixel_size import check_pixel_size
from parfocal.doctor._profile import check_profile, drivers_of, frame_shape_of
from parfocal.doctor._queue import check_queue

_USUAL_PX = (2048, 2048)


def examine(
    data: DataFolder | None = None,
    *,
    profile: Path | None = None,
    open_devices: bool = False,
    frame_px: tuple[int, int] | None = None,
    wanted_hz: float | None = None,
) -> Iterator[Check]:
    """Look at everything, and yield what was found as it comes.

    Nothing is started, moved, or left behind: frames are written for a second and removed.

    Parameters
    ----------
    data : DataFolder, optional
        Default: `$PARFOCAL_DATA`, else the user's own.
    profile : Path, optional
        A profile's folder: its files are looked at, and the drivers that it needs become a must.
    open_devices : bool
        Whether to open the profile's devices too.
    frame_px : (int, int), optional
        Of a frame, y and x. Default: as the profile says, else 2048x2048.
    wanted_hz : float, optional
        Frames per second that the disk has to take.
    """
    folder = data if data is not None else DataFolder()
    needed = drivers_of(profile) if profile is not None else set[str]()
    shape_px = frame_px or (frame_shape_of(profile) if profile is not None else None) or _USUAL_PX
    looks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("machine: processor", check_processor),
        ("machine: memory", check_memory),
        ("machine: versions", check_versions),
        ("machine: GPU", check_gpu),
        ("clock: set", check_clock),
        ("folders: data", partial(check_folder, folder)),
        ("folders: private", partial(check_private, folder)),
        ("folders: space", partial(check_space, folder)),
        ("clock: files", partial(check_future, folder.root)),
        ("disk: rate", partial(check_disk_rate, folder, shape_px, wanted_hz)),
        ("catalog: server", partial(check_server, folder)),
        ("catalog: database", partial(check_database, folder)),
        ("catalog: logs", partial(check_logs, folder)),
        ("catalog: frames", partial(check_frames, folder)),
        ("queue: manager", partial(check_queue, folder)),
        ("drivers: all", partial(check_drivers, needed)),
    ]
    if profile is not None:
        looks.append(("profile: files", partial(check_profile, profile, open_devices=open_devices)))
    looks.append(("profile: pixel size", partial(check_pixel_size, folder, profile)))
    for name, look in looks:
        yield from looked_at(name, look)
