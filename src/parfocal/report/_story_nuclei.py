"""Nuclei that were found in a stack: one plane of it with the outlines of its labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.report._plot import Floats
from parfocal.report._story_reading import Array, Reading, columns_of, stream_of
from parfocal.report._story_slices import as_grey, frame_places, grey_range

_MOST_STACKS = 4
_PLACE = ("position", "time_point", "tile", "channel")
_SIDE_PX = 768


@dataclass(frozen=True, eq=False)
class NucleiStory:
    """One stack.

    Attributes
    ----------
    derived_uid : str
        Of the run of `nuclei`.
    stack : dict
        Its row of stream `stacks`: where, by what, how many.
    plane, z_um : int, float
        Which plane is shown: the one with most nuclei.
    pixels : ndarray of shape (y, x), uint8
    pixel_size_um : (float, float)
        y, x; of the pixels shown.
    outlines : dict of int to (x, y)
        Borders of each label in that plane, um from the centre of the first pixel, broken by NaN.
    uncertain : frozenset of int
        Labels to look at first.
    n_stacks : int
        How many stacks the run has; at most four are told.
    """

    derived_uid: str
    stack: dict[str, Any]
    plane: int
    z_um: float
    pixels: NDArray[np.uint8]
    pixel_size_um: tuple[float, float]
    outlines: dict[int, tuple[Floats, Floats]]
    uncertain: frozenset[int]
    n_stacks: int


def read_nuclei(reading: Reading, derived: Iterable[Any]) -> tuple[NucleiStory, ...]:
    """Return the stacks of the newest run of `nuclei` that counts; none where there is none."""
    runs = [run for run in derived if run.metadata["start"]["parfocal"]["analysis"] == "nuclei"]
    if not runs or "stacks" not in runs[-1]:
        return ()
    run = runs[-1]
    stacks = _rows(run, "stacks")
    # A stack's first plane waits for the second, which tells the step: one cut off before that has no such row.
    planes = _rows(run, "planes") if "planes" in run else []
    told: list[NucleiStory] = []
    for stack in stacks[:_MOST_STACKS]:
        labels = Array(stream_of(run, str(stack["labels"]))["volume"])
        here = [row for row in planes if all(row[key] == stack[key] for key in _PLACE)]
        here = here or _planes_taken(reading, stack, labels)
        if here:
            here.sort(key=lambda row: int(row["plane"]))
            told.append(_story(reading, run, stack, labels, here, len(stacks)))
        else:
            reading.remarks.append(
                f"run {reading.name}: {stack['n_objects']} nuclei at position {stack['position']}, time point "
                f"{stack['time_point']} are counted, but not drawn: which frames they are in is not told"
            )
    return tuple(told)


def _planes_taken(reading: Reading, stack: dict[str, Any], labels: Array) -> list[dict[str, Any]]:
    """Return a row a plane by what the raw run says of its frames; none where that is another number of planes."""
    columns, places = reading.columns(reading.camera_stream), frame_places(reading)
    frames = columns.get(f"{reading.data_key}_frame")
    if frames is None:
        return []
    is_here = np.ones(frames.size, bool)
    for key in _PLACE:
        of_frame = columns.get(f"point_{key}")
        is_here &= of_frame == stack[key] if of_frame is not None else not stack[key]
    plane = columns.get("point_plane", np.arange(frames.size))
    last = dict(zip(plane[is_here].tolist(), frames[is_here].tolist()))  # of several attempts the last
    if len(last) != int(stack["n_planes"]):
        return []
    return [
        {
            "plane": p,
            "frame": last[p],
            "z_um": places[int(last[p])][1],
            "n_objects": np.unique(found[found > 0]).size,
        }
        for k, p in enumerate(sorted(last))
        for found in [labels.read(k)]
    ]


def _story(
    reading: Reading, run: Any, stack: dict[str, Any], volume: Array, planes: list[dict[str, Any]], n_stacks: int
) -> NucleiStory:
    counts = np.array([int(row["n_objects"]) for row in planes])
    best = np.flatnonzero(counts == counts.max())
    k = int(best[best.size // 2])  # of several with most, the middle one
    labels = volume.read(k).astype(np.int64)
    raw = reading.frames.read(int(planes[k]["frame"])).astype(np.float32)
    size_y_um, size_x_um = float(stack["pixel_y_um"]), float(stack["pixel_x_um"])
    outlines = {
        int(i): (x * size_x_um, y * size_y_um)
        for i in np.unique(labels[labels > 0])
        for x, y in [outline_of(labels == i)]
    }
    step = max(1, -(-max(raw.shape) // _SIDE_PX))
    pixels = as_grey(raw[::step, ::step], *grey_range([raw]))
    uncertain = frozenset(int(i) for i in str(stack.get("uncertain") or "").split())
    return NucleiStory(
        str(run.metadata["start"]["uid"]),
        stack,
        int(planes[k]["plane"]),
        float(planes[k]["z_um"]),
        pixels,
        (size_y_um * step, size_x_um * step),
        outlines,
        uncertain,
        n_stacks,
    )


def _rows(run: Any, stream: str) -> list[dict[str, Any]]:
    columns = columns_of(run, stream)
    return [dict(zip(columns, row)) for row in zip(*(column.tolist() for column in columns.values()))]


def outline_of(mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the border of a region along the edges of its pixels: x and y in px, stretches broken by NaN.

    Edges in a row are one stretch. Pixel centres are whole numbers, so edges lie at halves.
    """
    padded = np.pad(mask, 1)
    x: list[float] = []
    y: list[float] = []
    for across in (False, True):
        grid = padded.T if across else padded
        edges = grid[1:] != grid[:-1]  # between rows r and r + 1 of the padded grid
        for row in np.flatnonzero(edges.any(axis=1)):
            change = np.diff(np.concatenate([[False], edges[row], [False]]).astype(np.int8))
            for first, last in zip(np.flatnonzero(change > 0), np.flatnonzero(change < 0)):
                along, fixed = [float(first) - 1.5, float(last) - 1.5, np.nan], [float(row) - 0.5] * 2 + [np.nan]
                x += fixed if across else along
                y += along if across else fixed
    return np.array(x), np.array(y)
