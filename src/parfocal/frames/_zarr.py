"""Frames on disk: one growing OME-Zarr array per camera and run, written frame by frame.

`tensorstore` writes (Zarr v3, chunk = frame, codec explicit): it is several times quicker than zarr-python, and
its commit future says when the frame is on disk. What it does not do is refuse: it widens dtypes and broadcasts
shapes, so both are checked here. Frames that are one uncompressed chunk each are written by `ChunkFiles`: such a
chunk is the frame's own bytes, and tensorstore can only write them through the system's cache.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from parfocal.errors import BadInputError, HardwareError
from parfocal.frames._chunk_files import ChunkFiles

Codec = Literal["none", "blosc-lz4", "zstd"]
_MAX_CHUNK_BYTES = 16 * 2**20
_BLOCK_BYTES = 64 * 2**20
_WRITERS = 2
_CODECS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "blosc-lz4": [{"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}}],
    "zstd": [{"name": "zstd", "configuration": {"level": 1}}],
}


def uri_of(path: Path) -> str:
    """Return the `file://localhost/...` URI of a path, as documents carry it."""
    return "file://localhost" + quote(path.absolute().as_posix())


def path_of(uri: str) -> Path:
    """Return the local path of a `file:` URI; `BadInputError` for any other scheme."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise BadInputError(f"frames at {uri!r} are not on this machine: a file:// address was expected")
    return Path(unquote(parts.path))


def chunk_shape(shape: tuple[int, int], dtype: np.dtype[np.generic]) -> tuple[int, int, int]:
    """Return the chunk of one frame `[frame, y, x]`: the whole frame up to 16 MB, else 2048x2048 tiles."""
    if shape[0] * shape[1] * dtype.itemsize <= _MAX_CHUNK_BYTES:
        return (1, *shape)
    return (1, min(2048, shape[0]), min(2048, shape[1]))


@dataclass(frozen=True)
class ArrayLocation:
    """Where an array of frames lies and how it is cut, as a StreamResource tells it."""

    uri: str
    chunk_shape: tuple[int, ...]


class GrowingArray:
    """A Zarr v3 array that grows along its first axis in blocks and is trimmed when closed.

    Parameters
    ----------
    path : Path
        Folder of the array.
    item_shape : tuple of int
        Shape of one item: `(height, width)` for frames, `()` for numbers.
    dtype : numpy dtype
        What is stored; nothing else is accepted.
    chunk : tuple of int
        Chunk shape, the first axis included.
    dimension_names : tuple of str
        Names of the axes, the first one included.
    fsync : bool
        Whether a commit waits for the disk itself (survives a power cut) or for the operating system
        (survives the death of the process). The second is half the time.
    """

    def __init__(
        self,
        path: Path,
        item_shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        chunk: tuple[int, ...],
        dimension_names: tuple[str, ...],
        *,
        codec: Codec = "none",
        fsync: bool = False,
    ) -> None:
        self.path = path
        self.item_shape = item_shape
        self.dtype = np.dtype(dtype)
        self._chunk = chunk
        item_bytes = max(1, int(np.prod(item_shape, dtype=np.int64)) * self.dtype.itemsize)
        self._block = max(chunk[0], min(1024, _BLOCK_BYTES // item_bytes) // chunk[0] * chunk[0], 1)
        self._length = 0
        self._begun = 0  # one more than the highest index that anybody began to write
        self._capacity = self._block
        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        metadata = {
            "shape": [self._capacity, *item_shape],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
            # One flat folder of chunks: `/` would make two folders for every frame, a quarter of its cost.
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "data_type": self.dtype.name,
            "codecs": codecs + _CODECS[codec],
            "dimension_names": list(dimension_names),
        }
        spec: dict[str, Any] = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "metadata": metadata,
            # A black frame is a frame: without this its chunk would never reach the disk.
            "store_data_equal_to_fill_value": True,
        }
        context = ts.Context({"file_io_sync": fsync, "cache_pool": {"total_bytes_limit": 0}})
        try:
            self._store = ts.open(spec, create=True, context=context).result()
        except (ValueError, OSError) as error:
            raise HardwareError(f"cannot create frames at {path}: {_reason(error)}") from error
        plain = codec == "none" and not fsync and chunk == (1, *item_shape) and self.dtype.isnative
        self._files = ChunkFiles(path, item_bytes) if plain and item_shape else None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def length(self) -> int:
        """Number of items: one more than the highest index written."""
        return self._length

    def write(self, index: int, item: NDArray[np.generic]) -> None:
        """Write one item and return when it is committed; an index may be written again.

        Raises
        ------
        HardwareError
            The item has another shape or dtype, or the disk refused it (the message says which).
        """
        if self._files is None:
            self.write_later(index, item[np.newaxis])()
            return
        self._make_room(index, item[np.newaxis])
        try:
            self._write_file(index, item)
        except OSError as error:
            raise self._refusal(index, error) from error
        self._length = max(self._length, index + 1)

    def write_many(self, start: int, items: NDArray[np.generic]) -> None:
        """Write consecutive items `[n, ...]` from index `start` and return when they are committed."""
        self.write_later(start, items)()

    def write_later(self, start: int, items: NDArray[np.generic]) -> Callable[[], None]:
        """Begin to write consecutive items `[n, ...]`; call what is returned to wait until they are committed.

        The items must not change, ever: they are not copied. Raises as `write` does, now or when waited for.
        """
        stop = start + items.shape[0]
        self._make_room(start, items)
        try:
            done = self._begin(start, items)
        except (ValueError, OSError) as error:
            raise self._refusal(start, error) from error

        def wait() -> None:
            try:
                done()
            except (ValueError, OSError) as error:
                raise self._refusal(start, error) from error
            self._length = max(self._length, stop)

        return wait

    def _make_room(self, start: int, items: NDArray[np.generic]) -> None:
        """Refuse what does not fit, and grow to hold the rest."""
        if items.shape[1:] != self.item_shape or items.dtype != self.dtype:
            raise HardwareError(
                f"frame {start} refused: got {items.dtype} {items.shape[1:]}, "
                f"expected {self.dtype} {self.item_shape} as when the run began"
            )
        stop = start + items.shape[0]
        try:
            while stop > self._capacity:
                self._capacity += self._block
                self._store = self._store.resize(
                    exclusive_max=[self._capacity, *self.item_shape], expand_only=True
                ).result()
        except (ValueError, OSError) as error:
            raise self._refusal(start, error) from error
        self._begun = max(self._begun, stop)

    def _begin(self, start: int, items: NDArray[np.generic]) -> Callable[[], object]:
        """Begin to write; what is returned waits until it is done."""
        if self._files is None:
            future = self._store[start : start + items.shape[0]].write(
                items, can_reference_source_data_indefinitely=True
            )
            return future.result
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="frames")
        futures = [self._pool.submit(self._write_file, start + k, item) for k, item in enumerate(items)]
        return lambda: [future.result() for future in futures]

    def _write_file(self, index: int, item: NDArray[np.generic]) -> None:
        if self._files is not None:
            self._files.write(self._chunk_name((index, *(0 for _ in self.item_shape))), item)

    def _refusal(self, index: int, error: Exception) -> HardwareError:
        return HardwareError(f"frame {index} could not be written to {self.path}: {_reason(error)}")

    def trim(self, length: int | None = None) -> None:
        """Cut the array to `length` items (default: those written); what lies beyond is removed."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._length = self._capacity = self._length if length is None else length
        # Told to remove the chunks too, tensorstore reads the whole folder, frame by frame.
        self._store = self._store.resize(
            exclusive_max=[self._capacity, *self.item_shape], shrink_only=True, resize_metadata_only=True
        ).result()
        for index in self._chunks(self._length, self._begun):
            (self.path / self._chunk_name(index)).unlink(missing_ok=True)

    @staticmethod
    def _chunk_name(index: tuple[int, ...]) -> str:
        return "c." + ".".join(map(str, index))

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[int, ...]]:
        """Yield the places of the chunks that hold items from `start` on, up to `stop`, and none before."""
        along = (range(-(-n // size)) for n, size in zip(self.item_shape, self._chunk[1:], strict=True))
        return itertools.product(range(-(-start // self._chunk[0]), -(-stop // self._chunk[0])), *along)


class FrameWriter:
    """One OME-Zarr group per camera and run: pixels in `0`, and for bursts `z_um` and `t_s` beside them.

    The group's metadata is written before the first frame, so that whatever happens later the folder is a
    valid OME-Zarr.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        dtype: np.dtype[np.generic],
        *,
        pixel_size_um: tuple[float, float] = (1.0, 1.0),
        companions: tuple[str, ...] = (),
        codec: Codec = "none",
        fsync: bool = False,
    ) -> None:
        self.path = path
        self.chunk = chunk_shape(shape, np.dtype(dtype))
        try:
            path.mkdir(parents=True, exist_ok=True)
            # The folder is new and ours alone: nothing can be half-replaced, and a flush would cost a frame.
            (path / "zarr.json").write_text(json.dumps(_group_metadata(path.stem, pixel_size_um), indent=1))
        except OSError as error:
            raise HardwareError(f"cannot create frames at {path}: {_reason(error)}") from error
        self.pixels = GrowingArray(
            path / "0", shape, np.dtype(dtype), self.chunk, ("frame", "y", "x"), codec=codec, fsync=fsync
        )
        self.companions = {
            name: GrowingArray(path / name, (), np.dtype(np.float64), (256,), ("frame",), fsync=fsync)
            for name in companions
        }

    @property
    def location(self) -> ArrayLocation:
        """Where the pixels are."""
        return ArrayLocation(uri_of(self.path / "0"), self.chunk)

    def companion_location(self, name: str) -> ArrayLocation:
        """Where a companion array of a burst is."""
        return ArrayLocation(uri_of(self.path / name), (256,))

    def write(self, index: int, pixels: NDArray[np.generic]) -> None:
        """Write one frame and return when it is committed. See `GrowingArray.write`."""
        self.pixels.write(index, pixels)

    def close(self, n_frames: int) -> None:
        """Trim all arrays to the frames that count; a group that never got one is removed."""
        if n_frames == 0:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for array in (self.pixels, *self.companions.values()):
            array.trim(n_frames)


def _group_metadata(name: str, pixel_size_um: tuple[float, float]) -> dict[str, Any]:
    """OME-NGFF 0.5; the first axis is `frame` and claims to be nothing else."""
    axes = [
        {"name": "frame"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    transform = {"type": "scale", "scale": [1.0, *pixel_size_um]}
    dataset = {"path": "0", "coordinateTransformations": [transform]}
    multiscale = {"name": name, "axes": axes, "datasets": [dataset]}
    attributes = {"ome": {"version": "0.5", "multiscales": [multiscale]}}
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _reason(error: Exception) -> str:
    """Say in a few words why a write failed; tensorstore's own text runs over several lines."""
    text = str(error)
    if "No space left" in text:
        return "the disk is full; free some space and run again"
    if "Permission denied" in text or "Read-only" in text:
        return "the folder is not writable"
    if "Not a directory" in text:
        return "part of the path is a file, not a folder"
    if "File too large" in text:
        return "it is larger than this process may write (ulimit -f)"
    # Paths come first, and the reason last.
    return text.splitlines()[0].rpartition('": ')[2][:200]
