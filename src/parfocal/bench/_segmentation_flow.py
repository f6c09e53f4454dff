"""Rows of `segmentation`: objects from flows, beside Cellpose's `compute_masks`, from the flows of the truth."""

from __future__ import annotations

import contextlib
import io
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._peers import interleaved
from parfocal.bench._table import Row
from parfocal.bench.peers._serve import median_seconds
from parfocal.errors import BadInputError
from parfocal.segmentation import NetOutput
from parfocal.segmentation.flows import find_masks, flow_targets
from parfocal.segmentation.measures import compare

SHAPE = (32, 96, 96)
_CELLPOSE_FLOW = 5.0
"""Cellpose's flows are this long."""


def flow_rows(rounds: int = 7) -> list[Row]:
    """Measure `find_masks`, its filters on, beside Cellpose's 3D dynamics, turn by turn, on simulated nuclei.

    Both are given the flow that the truth asks for: their own kind of it (`flow_targets`, `masks_to_flows`). Both
    take one thread: torch's is set, ours told. That ours finds every object is checked first, as half the objects
    would take half the time; the row says what theirs finds.
    """
    labels = round_nuclei()
    flow, foreground, boundary = flow_targets(labels)
    output = NetOutput(flow, 10 * foreground - 5, 10 * boundary - 5)
    image = (labels > 0).astype(np.float32)
    cellpose = _Cellpose(labels)
    found = compare(labels, find_masks(output, image=image, n_threads=1).labels).ap(0.5)
    theirs = compare(labels, cellpose.masks()).ap(0.5)
    if found < 1.0:
        raise BadInputError(f"bench: AP@0.5 from the truth's flows is {found:.3f}, expected 1")
    ours_s, theirs_s = interleaved(
        lambda: median_seconds(lambda: find_masks(output, image=image, n_threads=1), 3),
        lambda: median_seconds(cellpose.masks, 1),
        rounds=rounds,
    )
    targets_s, theirs_targets_s = interleaved(
        lambda: median_seconds(lambda: flow_targets(labels), 3),
        lambda: median_seconds(cellpose.flows, 1),
        rounds=max(2, rounds // 3),
    )
    peer = f"cellpose {version('cellpose')}"
    scene = f"{'x'.join(map(str, SHAPE))}, {int(labels.max())} simulated nuclei, one thread"
    return [
        Row.compared(
            "segmentation/flow-to-mask-vs-cellpose",
            ours_s,
            theirs_s,
            peer_name=f"{peer} compute_masks(do_3D), {scene}, AP@0.5 {found:.2f} and {theirs:.2f}",
            unit="s",
            goal=5.0,
        ),
        Row.compared(
            "segmentation/mask-to-flow-vs-cellpose",
            targets_s,
            theirs_targets_s,
            peer_name=f"{peer} masks_to_flows, {scene}",
            unit="s",
            goal=5.0,
        ),
    ]


def round_nuclei(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> NDArray[np.int32]:
    """Return labels of balls of radius 4.5 to 9 voxels that nearly touch, cut by the edge of the volume."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    grid = np.indices(shape, np.float32)
    balls: list[NDArray[np.float64]] = []
    for _ in range(4000):
        ball = np.array([*(rng.uniform(3.0, side - 4.0) for side in shape), rng.uniform(4.5, 9.0)])
        if all(np.linalg.norm(ball[:3] - b[:3]) > ball[3] + b[3] + 1.0 for b in balls):
            balls.append(ball)
            distance = np.sqrt(((grid - ball[:3].reshape(3, 1, 1, 1)) ** 2).sum(0))
            labels[distance < ball[3]] = len(balls)
    return labels


class _Cellpose:
    """Cellpose's way from labels to flows and back; what it prints goes nowhere."""

    def __init__(self, labels: NDArray[np.int32]) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import torch
            from cellpose import dynamics
        torch.set_num_threads(1)
        self._dynamics: Any = dynamics
        self._device = torch.device("cpu")
        self._labels = labels
        self._flow = (np.asarray(self.flows()) * _CELLPOSE_FLOW).astype(np.float32)
        self._probability = (10.0 * (labels > 0) - 5.0).astype(np.float32)

    def flows(self) -> Any:
        return self._dynamics.masks_to_flows(self._labels, device=self._device)

    def masks(self) -> NDArray[np.int32]:
        found: Any = self._dynamics.compute_masks(
            self._flow, self._probability, do_3D=True, device=self._device, max_size_fraction=1.0
        )
        return np.asarray(found[0] if isinstance(found, tuple) else found, np.int32)
