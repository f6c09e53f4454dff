"""A correction as the journal keeps it: what its line says, and its pixels."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.corrections._edits import Box
from parfocal.segmentation.corrections._kinds import Kind, Labels

SCHEMA = 1


@dataclass(frozen=True)
class Correction:
    """A line of the journal.

    Parameters
    ----------
    id : str
        Hash of what it says: pixels, labels before and after, place and run.
    kinds : tuple of Kind
        What was done, as told from the masks.
    source : str
        Uid of the raw run, or SHA-256 of a file's pixels.
    data_key, stream : str
        Of the images in the run; empty for a file.
    box : sequence of (start, stop)
        Where the crop lies in the volume.
    voxel_size_um : sequence of float
        Size of a voxel along each axis.
    ids_before, ids_after : tuple of int
        The objects that it took and gave.
    model_hash : str, optional
        Of the model whose labels were corrected.
    user : str
        Who, as told.
    weight : float
        How much it counts in training.
    made : str
        When, UTC, ISO 8601.
    note : str
        In the user's words.
    image_range : (float, float), optional
        What of the whole volume was 0 and 1 for the network (`networks.pixel_range`): a dim nucleus is dim in its
        volume, and no longer in a crop that is stretched by itself.
    labels_hash : str
        SHA-256 of the model's labels that were corrected (`labels_hash`); empty where not told.
    """

    id: str
    kinds: tuple[Kind, ...]
    source: str
    box: Box
    voxel_size_um: tuple[float, ...]
    ids_before: tuple[int, ...]
    ids_after: tuple[int, ...]
    data_key: str = ""
    stream: str = ""
    model_hash: str | None = None
    user: str = ""
    weight: float = 1.0
    made: str = ""
    note: str = ""
    image_range: tuple[float, float] | None = None
    labels_hash: str = ""


@dataclass(frozen=True)
class Crop:
    """The pixels of a correction.

    Parameters
    ----------
    image : real[...]
        Raw pixels, with a margin about the objects.
    before, after : int32[...]
        Labels of the same shape.
    """

    image: NDArray[np.generic]
    before: Labels
    after: Labels


def written(entry: Mapping[str, Any]) -> bytes:
    """Return an entry as a line of the journal, with its checksum."""
    body = json.dumps({"schema": SCHEMA, **entry}, separators=(",", ":"), sort_keys=True)
    return json.dumps({"crc": zlib.crc32(body.encode()), "entry": body}).encode() + b"\n"


def read_entry(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None where it is torn or damaged."""
    try:
        record = json.loads(line)
        body = record["entry"]
        if zlib.crc32(body.encode()) != record["crc"]:
            return None
        return cast("dict[str, Any]", json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_correction(entry: Mapping[str, Any]) -> Correction:
    """Return the correction of an entry; what a later version wrote beside it is passed over."""
    known = {name: value for name, value in entry.items() if name in Correction.__dataclass_fields__}
    read = Correction(**known)
    return replace(
        read,
        kinds=tuple(Kind(kind) for kind in read.kinds),
        box=tuple((int(start), int(stop)) for start, stop in read.box),
        voxel_size_um=tuple(read.voxel_size_um),
        ids_before=tuple(read.ids_before),
        ids_after=tuple(read.ids_after),
        image_range=None if read.image_range is None else (read.image_range[0], read.image_range[1]),
    )
