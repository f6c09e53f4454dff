"""Row of `segmentation`: how much memory a volume of 64x2048x2048 takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from parfocal.bench._segmentation_flow import round_nuclei
from parfocal.bench._table import Row
from parfocal.errors import BadInputError

SHAPE = (64, 2048, 2048)
VOXEL_UM = (0.5, 0.25, 0.25)
DIAMETER_UM = 9.75
LIMIT_GB = 4.0

_SCRIPT = """
import json, sys
from parfocal.bench._segmentation_memory import segmented_gb
print(json.dumps(segmented_gb(*sys.argv[1:])))
"""


def memory_rows(weights: str = "nuclei3d", shape: tuple[int, int, int] = SHAPE) -> list[Row]:
    """Measure the peak memory of `segment_tiled`, network and all, in a process of its own.

    A simulated volume on disk, of nuclei 39 px wide, so that the network sees 43x683x683 voxels; default blocks
    and two threads. What memory is needed for is a block, however many there are. The peak is the process's
    resident set as the system kept it: it holds what was mapped from the file too.
    """
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder:
        volume = Path(folder, "volume.npy")
        write_volume(volume, shape)
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(volume), str(Path(folder, "labels.ome.zarr")), weights],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BadInputError(f"bench: peak memory: {(done.stderr.strip().splitlines() or ['it ended'])[-1]}")
        gb, n_objects, seconds = json.loads(done.stdout.splitlines()[-1])
    name = f"{'x'.join(map(str, shape))}, {n_objects} nuclei in {seconds:.0f} s, at most"
    return [Row.limited("segmentation/peak-gb", gb, LIMIT_GB, unit="GB", name=name)]


def write_volume(path: Path, shape: tuple[int, int, int], seed: int = 0) -> None:
    """Write a simulated volume of nuclei 39 px wide, one block of them repeated, its noise repeated with it."""
    rng = np.random.default_rng(seed)
    inside = round_nuclei((64, 128, 128), seed) > 0
    block = rng.poisson(100.0 + 400.0 * inside.repeat(3, 1).repeat(3, 2)).astype(np.uint16)
    volume = open_memmap(path, "w+", np.uint16, shape)
    side = block.shape[1]
    for y in range(0, shape[1], side):
        for x in range(0, shape[2], side):
            part = volume[:, y : y + side, x : x + side]
            part[:] = block[: part.shape[0], : part.shape[1], : part.shape[2]]
    volume.flush()


def segmented_gb(volume: str, out: str, weights: str) -> tuple[float, int, float]:
    """Segment a volume in this process; return its peak resident set in GB, the number of nuclei and seconds."""
    import time

    from parfocal.segmentation.volumes import segment_tiled

    began = time.monotonic()
    found = segment_tiled(volume, out, weights, VOXEL_UM, diameter_um=DIAMETER_UM)
    return _peak_bytes() / 1e9, found.n_objects, time.monotonic() - began


def _peak_bytes() -> float:
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        told: Any = psutil.Process().memory_info()
        return float(told.peak_wset)
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024
