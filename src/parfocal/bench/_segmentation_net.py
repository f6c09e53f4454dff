"""How fast the 3D networks are on one thread of a CPU."""

from __future__ import annotations

import time

from parfocal.bench._table import Row
from parfocal.learning import UNetShape, build_unet, for_inference

_ID = "segmentation/unet3d-mvoxel-per-s"
_SHAPE_PX = (32, 96, 96)
_GOAL = 0.3
_WIDTHS = ((12, 24, 48), (16, 32, 64), (24, 48, 96), (32, 64, 128))
_SHIPPED = (24, 48, 96)


def net_rows(rounds: int = 5) -> list[Row]:
    """Measure 3D U-Nets of several widths on a volume of 32 x 96 x 96, one thread, against 0.3 Mvoxel/s.

    Time is the thread's own: what others do on the machine counts as little as it can. The row without widths
    is (24, 48, 96); `bfloat16` is the same in 16 bits.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [
            Row.limited(
                "segmentation/unet3d-mvoxel-per-s"
                + ("" if widths == _SHIPPED else "-" + "-".join(map(str, widths))),
                _mvoxel_per_s(widths, rounds=rounds),
                _GOAL,
                unit="Mvoxel/s",
                higher_is_better=True,
            )
            for widths in _WIDTHS
        ]
        return [
            *rows,
            Row.limited(
                f"{_ID}-bfloat16",
                _mvoxel_per_s(_SHIPPED, rounds=rounds, bfloat16=True),
                _GOAL,
                unit="Mvoxel/s",
                higher_is_better=True,
            ),
        ]
    finally:
        torch.set_num_threads(before)


def _mvoxel_per_s(widths: tuple[int, ...], *, rounds: int, bfloat16: bool = False) -> float:
    """Return how many million voxels a second of the thread's time gives, at best of several rounds."""
    import torch

    net = for_inference(build_unet(UNetShape(widths=widths)), bfloat16=bfloat16)
    volume = torch.randn(1, 1, *_SHAPE_PX, generator=torch.Generator().manual_seed(0))
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            began = time.thread_time()
            net(volume)
            times.append(time.thread_time() - began)
    return volume.numel() / 1e6 / min(times[1:])
