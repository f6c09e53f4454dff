"""Frames on disk: what is said to be written can be read, by anyone, and nothing else is accepted."""

import json

import numpy as np
import pytest
import zarr

from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import FrameRing, Frames, FrameWriter, path_of, uri_of


def frame(value, shape=(8, 6), dtype=np.uint16):
    return np.full(shape, value, dtype=dtype)


@pytest.fixture
def writer(tmp_path):
    return FrameWriter(tmp_path / "a b.ome.zarr", (8, 6), np.dtype(np.uint16), pixel_size_um=(0.2, 0.1))


def test_a_written_frame_is_on_disk_when_write_returns(writer):
    writer.write(0, frame(7))
    assert np.array_equal(Frames(FrameRing()).read(writer.location.uri, 0), frame(7))


def test_a_black_frame_is_written_too(writer):
    writer.write(0, frame(0))
    assert (writer.path / "0" / "c.0.0.0").exists()


def test_zarr_python_reads_the_trimmed_array_and_its_names(writer):
    for i in range(5):
        writer.write(i, frame(i))
    writer.close(4)
    array = zarr.open_array(writer.path / "0", mode="r")
    assert array.shape == (4, 8, 6)
    assert array.metadata.dimension_names == ("frame", "y", "x")
    assert [int(array[i, 0, 0]) for i in range(4)] == [0, 1, 2, 3]
    assert not (writer.path / "0" / "c.4.0.0").exists(), "a trimmed frame leaves no chunk behind"


def test_trimming_leaves_no_tile_of_a_large_frame_behind(tmp_path):
    writer = FrameWriter(tmp_path / "large.ome.zarr", (2100, 4100), np.dtype(np.uint16))
    for i in range(3):
        writer.write(i, frame(i + 1, (2100, 4100)))
    writer.close(1)
    chunks = {path.name for path in (writer.path / "0").glob("c.*")}
    assert chunks == {f"c.0.{y}.{x}" for y in range(2) for x in range(3)}
    assert (zarr.open_array(writer.path / "0")[0] == 1).all()


def test_trimming_keeps_the_chunk_that_holds_both_kept_and_trimmed_numbers(tmp_path):
    writer = FrameWriter(tmp_path / "burst.ome.zarr", (4, 4), np.dtype(np.uint8), companions=("t_s",))
    writer.pixels.write_many(0, np.ones((600, 4, 4), np.uint8))
    writer.companions["t_s"].write_many(0, np.arange(600.0))
    writer.close(300)
    assert np.array_equal(zarr.open_array(writer.path / "t_s")[:], np.arange(300.0))
    assert sorted(path.name for path in (writer.path / "t_s").glob("c.*")) == ["c.0", "c.1"]
    assert len(list((writer.path / "0").glob("c.*"))) == 300


def test_the_group_is_ome_zarr_before_the_first_frame(writer):
    ome = json.loads((writer.path / "zarr.json").read_text())["attributes"]["ome"]
    assert ome["version"] == "0.5"
    scale = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == [1.0, 0.2, 0.1]
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["frame", "y", "x"]


def test_the_array_grows_past_its_block_and_keeps_every_frame(tmp_path):
    writer = FrameWriter(tmp_path / "grow.ome.zarr", (2, 2), np.dtype(np.uint8))
    for i in range(1100):
        writer.write(i, frame(i % 251, (2, 2), np.uint8))
    writer.close(1100)
    assert np.array_equal(zarr.open_array(writer.path / "0")[:, 1, 1], np.arange(1100) % 251)


@pytest.mark.parametrize("wrong", [frame(1, (8, 5)), frame(1, (1, 1)), frame(1, dtype=np.uint8)])
def test_a_frame_of_another_shape_or_dtype_is_refused_and_changes_nothing(writer, wrong):
    writer.write(0, frame(3))
    with pytest.raises(HardwareError, match=r"expected uint16 \(8, 6\)"):
        writer.write(1, wrong)
    writer.close(writer.pixels.length)
    assert zarr.open_array(writer.path / "0").shape == (1, 8, 6)


def test_an_overwritten_frame_reads_as_the_last_one(writer):
    writer.write(0, frame(1))
    writer.write(0, frame(2))
    assert Frames(FrameRing()).read(writer.location.uri, 0)[0, 0] == 2


def test_an_empty_group_is_removed(writer):
    writer.close(0)
    assert not writer.path.exists()


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    class Full:
        def __getitem__(self, key):
            raise OSError("RESOURCE_EXHAUSTED: No space left on device [source locations='x']\nmore")

    writer = FrameWriter(tmp_path / "packed.ome.zarr", (8, 6), np.dtype(np.uint16), codec="zstd")
    monkeypatch.setattr(writer.pixels, "_store", Full())
    with pytest.raises(HardwareError, match="the disk is full") as error:
        writer.write(0, frame(1))
    assert "\n" not in str(error.value)


def test_a_file_where_the_folder_should_be_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HardwareError, match="file, not a folder"):
        FrameWriter(tmp_path / "file" / "x.ome.zarr", (2, 2), np.dtype(np.uint8))


def test_large_frames_are_cut_into_tiles(tmp_path):
    writer = FrameWriter(tmp_path / "big.ome.zarr", (4096, 4096), np.dtype(np.uint16))
    assert writer.chunk == (1, 2048, 2048)


def test_uris_go_there_and_back(tmp_path):
    path = tmp_path / "with space & ü"
    assert path_of(uri_of(path)) == path
    with pytest.raises(BadInputError, match="file://"):
        path_of("s3://bucket/x")


def test_an_open_reader_sees_frames_that_came_later(tmp_path):
    writer = FrameWriter(tmp_path / "live.ome.zarr", (2, 2), np.dtype(np.uint8))
    frames = Frames(FrameRing())
    writer.write(0, frame(1, (2, 2), np.uint8))
    assert frames.read(writer.location.uri, 0)[0, 0] == 1
    for i in range(1, 1200):
        writer.write(i, frame(9, (2, 2), np.uint8))
    assert frames.read(writer.location.uri, 1199)[0, 0] == 9


def test_a_missing_frame_is_named(writer):
    writer.write(0, frame(1))
    writer.close(1)
    with pytest.raises(BadInputError, match=r"frame 5 .* does not exist: it holds 1 frames"):
        Frames(FrameRing()).get(writer.location.uri, 5)
    with pytest.raises(BadInputError, match="cannot be read"):
        Frames(FrameRing()).get(writer.location.uri + "x", 0)


def test_frames_not_on_this_machine_come_from_the_remote(writer):
    frames = Frames(FrameRing(), remote=lambda uri, index: frame(index))
    assert frames.get("file://localhost/of/another/machine/0", 4)[0, 0] == 4


def test_the_ring_forgets_the_oldest_and_replaces_the_overwritten():
    ring = FrameRing(max_bytes=3 * 96)
    for i in range(4):
        ring.put("u", i, frame(i))
    ring.put("u", 3, frame(30))
    assert ring.get("u", 0) is None
    assert ring.get("u", 3)[0, 0] == 30
    assert len(ring) == 3


def test_what_the_ring_hands_out_cannot_be_changed():
    ring = FrameRing()
    ring.put("u", 0, frame(1))
    with pytest.raises(ValueError, match="read-only"):
        ring.get("u", 0)[0, 0] = 5
