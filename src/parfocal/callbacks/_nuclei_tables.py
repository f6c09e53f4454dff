"""The table of objects of all stacks of a run, nuclei followed over its time points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from parfocal.callbacks._slice_looks import Place
from parfocal.files import read_ome_zarr
from parfocal.segmentation import Segmentation
from parfocal.segmentation.backends import ObjectTable
from parfocal.segmentation.tracks import track_objects
from parfocal.segmentation.uncertainty import ObjectDoubts

Where = tuple[int, int, int]
"""Time point, position, tile."""


@dataclass(frozen=True)
class MeasuredStack:
    """What stays of a stack: small, its labels are on disk."""

    place: Place
    found: Segmentation
    objects: ObjectTable
    doubts: ObjectDoubts
    path: Path
    first_z_um: float


def as_columns(place: Place) -> dict[str, Any]:
    """Return the columns that say which stack."""
    return {
        "position": place.position,
        "time_point": place.time_point,
        "tile": place.tile,
        "channel": place.channel,
    }


def objects_table(measured: Mapping[Where, MeasuredStack]) -> pa.Table:
    """Return one row an object of every stack."""
    tracks = _tracks(measured)
    channels = sorted({name for one in measured.values() for name in one.objects.mean})
    parts: list[pa.Table] = []
    for where, one in sorted(measured.items()):
        columns: dict[str, Any] = {
            **{name: [value] * len(one.objects) for name, value in as_columns(one.place).items()},
            **one.objects.columns(),
        }
        for name in channels:  # of a channel that this stack lacks: nothing
            for number in ("mean", "sd", "max"):
                columns.setdefault(f"{number}_{name}", np.full(len(one.objects), np.nan))
        row = {int(object_id): k for k, object_id in enumerate(one.doubts.ids)}
        order = [row[int(object_id)] for object_id in one.objects.ids]
        columns["doubt"] = one.doubts.score[order]
        columns["reasons"] = ["; ".join(one.doubts.reasons[k]) for k in order]
        known = tracks.get(where, {})
        columns["track"] = np.array([known.get(int(i), 0) for i in one.objects.ids], np.int64)
        columns["z_um"] = columns["z_um"] + one.first_z_um
        parts.append(pa.table(columns))
    return pa.concat_tables(parts, promote_options="default")


class _StoredLabels(Sequence[NDArray[np.int32]]):
    """Label volumes that are read when they are looked at: a long time-lapse need not fit into memory."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return read_ome_zarr(self._paths[index])[0]


def _tracks(measured: Mapping[Where, MeasuredStack]) -> dict[Where, dict[int, int]]:
    """Return the track of each object, by stack and id: nuclei of one place, followed over its time points."""
    tracks: dict[Where, dict[int, int]] = {}
    places = sorted({(position, tile) for _, position, tile in measured})
    for position, tile in places:
        times = sorted(t for t, p, g in measured if (p, g) == (position, tile))
        stacks = [measured[time, position, tile] for time in times]
        shapes = {one.found.voxel_size_um for one in stacks}
        if len(times) < 2 or len(shapes) > 1:  # taken again in another way: not a sequence
            continue
        followed = track_objects(_StoredLabels([one.path for one in stacks]), stacks[0].found.voxel_size_um)
        for k, when in enumerate(times):
            tracks[when, position, tile] = followed.of(k)
    return tracks
