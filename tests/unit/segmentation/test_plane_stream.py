"""Planes pushed in, labels out: the same after the same plane, whoever is faster."""

import threading

import numpy as np
import pytest

from parfocal.segmentation import PlaneStream, Segmentation

VOXEL = (1.0, 0.5, 0.5)


class Backend:
    """Labels what is above 0; `late` planes are kept back."""

    name = "above"
    model_hash = None

    def __init__(self, late=0, fails_at=None):
        self.late = late
        self.fails_at = fails_at

    def segment_planes(self, planes, voxel_size_um):
        labels = []
        given = 0
        for number, plane in enumerate(planes):
            if number == self.fails_at:
                raise ValueError("a plane that cannot be read")
            labels.append((plane > 0).astype(np.int32))
            if len(labels) > given + self.late:
                yield labels[given]
                given += 1
        yield from labels[given:]
        return Segmentation(np.stack(labels), voxel_size_um, self.name)


def planes(n):
    return [np.full((3, 4), k) for k in range(n)]


def test_each_plane_comes_back_before_the_next_is_given():
    stream = PlaneStream(Backend(), VOXEL)
    assert [len(stream.add(plane)) for plane in planes(5)] == [1] * 5
    assert stream.finish().labels.shape == (5, 3, 4)


def test_a_backend_may_keep_planes_back():
    stream = PlaneStream(Backend(late=2), VOXEL)
    assert [len(stream.add(plane)) for plane in planes(5)] == [0, 0, 1, 1, 1]
    assert stream.finish().labels.shape == (5, 3, 4)


def test_what_the_backend_raises_reaches_who_adds_planes():
    stream = PlaneStream(Backend(fails_at=1), VOXEL)
    stream.add(planes(1)[0])
    with pytest.raises(ValueError, match="cannot be read"):
        stream.add(planes(1)[0])
    with pytest.raises(ValueError, match="cannot be read"):
        stream.finish()


def test_a_stream_that_ended_takes_no_plane_and_leaves_no_thread():
    stream = PlaneStream(Backend(), VOXEL)
    stream.add(planes(1)[0])
    stream.finish()
    with pytest.raises(RuntimeError, match="no plane can follow"):
        stream.add(planes(1)[0])
    closed = PlaneStream(Backend(), VOXEL)
    closed.close()
    closed._thread.join(5)
    assert not any(thread.name == "segment-above" for thread in threading.enumerate())
