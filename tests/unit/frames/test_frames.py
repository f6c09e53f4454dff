import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.frames import FrameRing, Frames, GrowingArray, uri_of


@pytest.fixture
def stored(tmp_path):
    """Six frames, each filled with its index; and their address."""
    array = GrowingArray(tmp_path / "0", (4, 3), np.dtype(np.uint16), (1, 4, 3), ("frame", "y", "x"))
    for index in range(6):
        array.write(index, np.full((4, 3), index, np.uint16))
    return uri_of(tmp_path / "0")


@pytest.mark.parametrize("asked", [range(6), [3, 1, 1, 5], [5, 4, 3, 2, 1, 0], []])
def test_frames_that_are_expected_are_the_frames_that_are_asked_for(stored, asked):
    frames = Frames(FrameRing(1))
    frames.expect(stored, asked)
    assert [int(frames.get(stored, index)[0, 0]) for index in asked] == list(asked)


def test_frames_are_right_whatever_was_expected(stored):
    frames = Frames(FrameRing(1))
    frames.expect(stored, [0, 1, 2, 3, 99])
    assert [int(frames.get(stored, index)[0, 0]) for index in (4, 5, 0, 2)] == [4, 5, 0, 2]


def test_what_is_expected_and_is_not_there_is_said_to_whoever_asks(tmp_path):
    frames = Frames(FrameRing(1))
    frames.expect(uri_of(tmp_path / "gone"), range(3))
    with pytest.raises(BadInputError, match=r"frame 1 at .* cannot be read"):
        frames.get(uri_of(tmp_path / "gone"), 1)
