import numpy as np
import pytest
import tensorstore as ts

from parfocal.errors import BadInputError
from parfocal.frames import FrameRing, Frames, GrowingArray, _frames, path_of, uri_of


@pytest.fixture
def stored(tmp_path):
    """Six frames, each filled with its index; and their address."""
    array = GrowingArray(tmp_path / "0", (4, 3), np.dtype(np.uint16), (1, 4, 3), ("frame", "y", "x"))
    for index in range(6):
        array.write(index, np.full((4, 3), index, np.uint16))
    return uri_of(tmp_path / "0")


@pytest.fixture
def far_away(stored, monkeypatch):
    """The same frames where a request takes its time: what is read ahead is not the disk's."""
    bucket = {}

    def in_memory(uri):
        if uri not in bucket:
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path_of(uri))}}
            here = ts.open(spec, read=True, write=False).result()
            there = {"driver": "zarr3", "kvstore": {"driver": "memory"}}
            bucket[uri] = ts.open(there, create=True, dtype=here.dtype, shape=here.shape).result()
            bucket[uri].write(here.read().result()).result()
        return bucket[uri]

    monkeypatch.setattr(_frames, "_open", in_memory)
    return stored


@pytest.mark.parametrize("asked", [range(6), [3, 1, 1, 5], [5, 4, 3, 2, 1, 0], []])
def test_frames_that_are_expected_are_the_frames_that_are_asked_for(far_away, asked):
    frames = Frames(FrameRing(1))
    frames.expect(far_away, asked)
    assert len(frames._coming) == min(len(set(asked)), 4)
    assert [int(frames.get(far_away, index)[0, 0]) for index in asked] == list(asked)
    assert not frames._coming


def test_frames_are_right_whatever_was_expected(far_away):
    frames = Frames(FrameRing(1))
    frames.expect(far_away, [0, 1, 2, 3, 99])
    assert [int(frames.get(far_away, index)[0, 0]) for index in (4, 5, 0, 2)] == [4, 5, 0, 2]


def test_frames_of_this_disk_are_not_read_ahead(stored):
    frames = Frames(FrameRing(1))
    frames.expect(stored, range(6))
    assert not frames._coming
    assert int(frames.get(stored, 4)[0, 0]) == 4


def test_what_is_expected_and_is_not_there_is_said_to_whoever_asks(tmp_path):
    frames = Frames(FrameRing(1))
    frames.expect(uri_of(tmp_path / "gone"), range(3))
    with pytest.raises(BadInputError, match=r"frame 1 at .* cannot be read"):
        frames.get(uri_of(tmp_path / "gone"), 1)
