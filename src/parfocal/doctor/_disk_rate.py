"""How fast frames reach the disk, by the very path that a camera's frames take."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from parfocal.catalog import DataFolder
from parfocal.doctor._check import Check
from parfocal.errors import HardwareError
from parfocal.frames import FrameWriter

_LOOK_S = 1.0
_MOST_FRAMES = 200
_ROOM = 4
_SLOW_MB_PER_S = 100.0


def check_disk_rate(
    folder: DataFolder, shape_px: tuple[int, int] = (2048, 2048), wanted_hz: float | None = None
) -> Iterator[Check]:
    """Write frames of noise for a second, and remove them.

    Parameters
    ----------
    folder : DataFolder
        Written to only where it is there.
    shape_px : (int, int)
        Of a frame, y and x; 16 bit.
    wanted_hz : float, optional
        Frames per second that a camera gives. Default: what makes 100 MB/s.
    """
    root = folder.frames if folder.frames.is_dir() else folder.root
    if not root.is_dir():
        return
    size_mb = shape_px[0] * shape_px[1] * 2 / 1e6
    n_frames = _MOST_FRAMES
    if shutil.disk_usage(root).free < _ROOM * n_frames * size_mb * 1e6:
        found = f"not measured: {_ROOM * n_frames * size_mb / 1e3:.1f} GB of room would be needed"
        yield Check("disk: rate", "warn", found, "free some, and ask again")
        return
    name = f"{shape_px[0]}x{shape_px[1]}"
    try:
        times_s = measured_writes(root, shape_px, n_frames, _LOOK_S)
    except (HardwareError, OSError) as error:
        advice = "mend the disk, or choose another with --data"
        yield Check("disk: rate", "fail", f"a frame of {name} was refused: {error}", advice)
        return
    rate_hz = len(times_s) / times_s.sum()
    found = (
        f"{rate_hz:,.0f} frames/s of {name} ({rate_hz * size_mb:,.0f} MB/s), slowest of {len(times_s)} "
        f"{1e3 * times_s.max():.0f} ms"
    )
    needed_hz = wanted_hz if wanted_hz is not None else _SLOW_MB_PER_S / size_mb
    slow = rate_hz < needed_hz
    advice = f"{needed_hz:,.0f} frames/s are wanted: take a faster disk, binning, or a region" if slow else ""
    yield Check("disk: rate", "warn" if slow else "ok", found, advice)


def measured_writes(root: Path, shape_px: tuple[int, int], most: int, longest_s: float) -> NDArray[np.float64]:
    """Return how long each frame took until it was committed, s, as a camera's status waits for it."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 4096, (2, *shape_px), dtype=np.uint16)  # noise, which no file system can shorten
    place = Path(mkdtemp(prefix=".doctor-", dir=root))
    try:
        writer = FrameWriter(place / "frames.ome.zarr", shape_px, np.dtype(np.uint16))
        writer.write(0, frames[0])  # makes the folder
        times_s: list[float] = []
        began_s = time.perf_counter()
        while len(times_s) < most and time.perf_counter() - began_s < longest_s:
            before_s = time.perf_counter()
            writer.write(1 + len(times_s), frames[len(times_s) % 2])
            times_s.append(time.perf_counter() - before_s)
        return np.array(times_s)
    finally:
        shutil.rmtree(place, ignore_errors=True)
