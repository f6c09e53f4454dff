"""Chunks as files: whole or not there, the same bytes either way, by the way that is quicker here."""

import errno
import os

import numpy as np
import pytest
import tensorstore as ts
import zarr

from parfocal.errors import HardwareError
from parfocal.frames import FrameWriter, _chunk_files
from parfocal.frames._chunk_files import ChunkFiles

SHAPE = (256, 256)
direct_only = pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system cannot write past its cache")


@pytest.fixture(autouse=True)
def nothing_measured_yet(monkeypatch):
    monkeypatch.setattr(_chunk_files, "_ways", {})


@pytest.fixture
def frames():
    return np.random.default_rng(1).integers(0, 4096, (12, *SHAPE), dtype=np.uint16)


def ways_of(files):
    return files._ways


def force(files, direct):
    """Make one way look quicker, for good."""
    ways = ways_of(files)
    for way in (False, True):
        ways.seconds[way].clear()
        ways.seconds[way].extend([0.0 if way is direct else 1e9] * _chunk_files._REMEMBERED)


@pytest.mark.parametrize("direct", [False, pytest.param(True, marks=direct_only)])
def test_a_chunk_reads_the_same_whichever_way_it_was_written(tmp_path, frames, direct):
    writer = FrameWriter(tmp_path / "run.ome.zarr", SHAPE, frames.dtype)
    for index, frame in enumerate(frames):
        force(writer.pixels._files, direct)
        writer.write(index, frame)
    writer.close(len(frames))
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(writer.path / "0")}}
    assert np.array_equal(zarr.open_array(writer.path / "0")[:], frames)
    assert np.array_equal(ts.open(spec).result().read().result(), frames)


def test_both_ways_are_tried_and_the_quicker_one_is_used(tmp_path, frames):
    files = ChunkFiles(tmp_path, frames[0].nbytes)
    ways = ways_of(files)
    if not ways.can_direct:
        pytest.skip("this disk cannot be written past the cache")
    for index, frame in enumerate(frames[: 2 * _chunk_files._TRIALS]):
        files.write(f"c.{index}", frame)
    assert [len(ways.seconds[way]) for way in (False, True)] == [_chunk_files._TRIALS] * 2
    for quicker in (True, False):
        force(files, quicker)
        ways.written = 0
        chosen = [ways.next_is_direct() for _ in range(_chunk_files._TRY_OTHER_EVERY)]
        assert chosen == [quicker] * (_chunk_files._TRY_OTHER_EVERY - 1) + [not quicker], (
            "and now and again the other"
        )


@direct_only
def test_a_disk_that_cannot_be_written_past_the_cache_is_written_through_it(tmp_path, frames, monkeypatch):
    opened, real = [], os.open

    def refuse(path, flags, *mode, **more):
        opened.append(bool(flags & os.O_DIRECT))
        if opened[-1]:
            raise OSError(errno.EINVAL, "Invalid argument", path)
        return real(path, flags, *mode, **more)

    files = ChunkFiles(tmp_path, frames[0].nbytes)
    monkeypatch.setattr(os, "open", refuse)
    for index, frame in enumerate(frames):
        files.write(f"c.{index}", frame)
    monkeypatch.undo()
    assert sum(opened) == 1, "it is asked once"
    assert all((tmp_path / f"c.{index}").read_bytes() == frame.tobytes() for index, frame in enumerate(frames))


@pytest.mark.parametrize("shape", [(30, 30), (333, 257)])
def test_frames_that_no_disk_takes_in_whole_blocks_go_through_the_cache(tmp_path, shape):
    files = ChunkFiles(tmp_path, 2 * shape[0] * shape[1])
    frame = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    files.write("c.0", frame)
    assert not ways_of(files).can_direct
    assert (tmp_path / "c.0").read_bytes() == frame.tobytes()


def test_a_view_is_written_as_it_looks(tmp_path, frames):
    files = ChunkFiles(tmp_path, frames[0].nbytes)
    for direct in (False, ways_of(files).can_direct):
        force(files, direct)
        files.write("c.0", frames[0].T)
        assert (tmp_path / "c.0").read_bytes() == frames[0].T.tobytes()


@pytest.mark.parametrize("way", [False, True])
def test_what_the_disk_refuses_leaves_the_chunk_as_it_was(tmp_path, frames, monkeypatch, way):
    writer = FrameWriter(tmp_path / "run.ome.zarr", SHAPE, frames.dtype)
    files = writer.pixels._files
    force(files, way and ways_of(files).can_direct)
    writer.write(0, frames[0])
    written = []

    def full(descriptor, data):
        written.append(len(data))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(HardwareError, match=r"frame 0 could not be written .*: the disk is full") as error:
        writer.write(0, frames[1])
    monkeypatch.undo()
    assert written
    assert "\n" not in str(error.value)
    assert (writer.path / "0" / "c.0.0.0").read_bytes() == frames[0].tobytes()
    assert {path.name for path in (writer.path / "0").iterdir()} == {"zarr.json", "c.0.0.0"}


def test_a_disk_that_takes_a_part_at_a_time_gets_all_of_it(tmp_path, frames, monkeypatch):
    files, real = ChunkFiles(tmp_path, frames[0].nbytes), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:8192]))
    for index in range(2):
        files.write(f"c.{index}", frames[index])
    monkeypatch.undo()
    assert [(tmp_path / f"c.{k}").read_bytes() == frames[k].tobytes() for k in range(2)] == [True, True]


def test_an_error_of_a_write_under_way_is_told_when_it_is_waited_for(tmp_path, frames, monkeypatch):
    writer = FrameWriter(tmp_path / "burst.ome.zarr", SHAPE, frames.dtype)

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    waiting = writer.pixels.write_later(0, frames)
    with pytest.raises(HardwareError, match="the disk is full"):
        waiting()
    monkeypatch.undo()
    writer.pixels.write_later(0, frames)()
    writer.close(len(frames))
    assert np.array_equal(zarr.open_array(writer.path / "0")[:], frames)


def test_what_is_kept_or_squeezed_is_still_tensorstores(tmp_path):
    for codec, fsync in (("zstd", False), ("none", True)):
        writer = FrameWriter(tmp_path / f"{codec}.ome.zarr", SHAPE, np.dtype(np.uint16), codec=codec, fsync=fsync)
        assert writer.pixels._files is None
        writer.write(0, np.full(SHAPE, 9, np.uint16))
        writer.close(1)
        assert (zarr.open_array(writer.path / "0")[:] == 9).all()
