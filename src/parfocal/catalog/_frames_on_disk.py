"""What is on disk of a Zarr array that a killed process was writing."""

from __future__ import annotations

import json
from typing import Any

import tensorstore

from parfocal.frames import path_of


def frames_on_disk(uri: str) -> int | None:
    """Return how many frames a Zarr v3 array holds, up to the last one that was written.

    None where this cannot be seen from outside: several frames share a chunk, as in 1-D companions of a
    burst, or the array is not a local Zarr v3 one.
    """
    metadata = _metadata(uri)
    if metadata is None or metadata["chunk_grid"]["configuration"]["chunk_shape"][0] != 1:
        return None
    separator = metadata["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
    array = path_of(uri)
    if separator == "/":
        written = [int(chunk.name) for chunk in (array / "c").glob("*") if any(chunk.iterdir())]
    else:
        written = [int(chunk.name.split(separator)[1]) for chunk in array.glob(f"c{separator}*")]
    return max(written, default=-1) + 1


def trim_frames(uri: str, n_frames: int) -> bool:
    """Shorten the first axis of a local Zarr v3 array to `n_frames`; return whether it was longer."""
    metadata = _metadata(uri)
    if metadata is None or metadata["shape"][0] <= n_frames:
        return False
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path_of(uri))}}
    store = tensorstore.open(spec, write=True).result()
    store.resize(exclusive_max=[n_frames, *metadata["shape"][1:]], shrink_only=True).result()
    return True


def _metadata(uri: str) -> dict[str, Any] | None:
    try:
        metadata = json.loads((path_of(uri) / "zarr.json").read_text())
    except (OSError, ValueError):
        return None
    return metadata if metadata.get("node_type") == "array" else None
