"""Where frames, labels and tracks of a run stand in a viewer."""

import numpy as np
import pytest

from parfocal.gui._frame_layers import frames_of
from parfocal.gui._grid import PlaneArray, TakenFrame, grid_of
from parfocal.gui._track_layers import longest, spread, track_layers


def stacks(n_times=3, n_planes=4, step_um=-0.5, interval_s=2.0):
    return [
        TakenFrame(k, (0, 0, t, z), z_um=10.0 + step_um * z, t_s=100.0 + interval_s * t + 0.1 * z)
        for k, (t, z) in enumerate(np.ndindex(n_times, n_planes))
    ]


def test_axes_are_those_along_which_frames_differ_with_measured_steps():
    grid = grid_of(stacks())
    assert grid.axis_labels == ("time_point", "plane", "y", "x")
    assert grid.scale((0.1, 0.1)) == pytest.approx((2.0, 0.5, 0.1, 0.1))
    assert grid.units == ("s", "um", "um", "um")
    # the stack went down: the viewer's z grows as the stage reports it
    assert grid.translate == pytest.approx((0.0, 8.5, 0.0, 0.0))
    assert grid.at((0, 0, 1, 0)) == (1, 3)
    assert grid.place_at((1, 3)) == (0, 0, 1, 0)
    assert grid.planes_of(0, 0, 2) == [0, 1, 2, 3]


def test_an_axis_without_measured_values_counts():
    grid = grid_of(TakenFrame(k, (k, 0, 0, 0)) for k in range(3))
    assert [(axis.name, axis.step, axis.unit) for axis in grid.axes] == [("position", 1.0, "pixel")]
    assert grid_of([TakenFrame(0, (0, 0, 0, 0))]).axes == ()
    flat = grid_of(TakenFrame(k, (0, 0, 0, k), z_um=5.0) for k in range(3))
    assert flat.axes[0].unit == "pixel"


@pytest.mark.parametrize(
    "key",
    [
        0, -1, (slice(None), 2), (Ellipsis, 3), (1, Ellipsis, slice(2, 5), slice(None, None, 2)),
        (slice(None, None, -1), 0, 4), ([0, 2], slice(1, 3)), (1, 2, 3, 4), Ellipsis,
    ],
)  # fmt: skip
def test_a_plane_array_is_indexed_as_one_of_numpy(key):
    whole = np.arange(3 * 4 * 6 * 7, dtype=np.uint16).reshape(3, 4, 6, 7)
    lazy = PlaneArray(whole.shape, whole.dtype, lambda where: whole[where])
    np.testing.assert_array_equal(lazy[key], whole[key])
    assert lazy[key].dtype == whole.dtype


def test_only_the_planes_that_are_looked_at_are_read():
    read = []
    lazy = PlaneArray((1000, 1000, 5, 5), np.dtype("u2"), lambda where: read.append(where))
    assert not lazy[3, 7:9].any(), "a plane that is not there is black"
    assert read == [(3, 7), (3, 8)]
    with pytest.raises(IndexError, match="1000"):
        lazy[1000, 0]


def events_of(rows, stream="primary"):
    keys = {"camera": {"external": "STREAM:", "shape": [1, 6, 7], "dtype_numpy": "<u2"}}
    configuration = {"camera": {"data": {"camera_pixel_size_um": [0.2, 0.1]}}}
    documents = [
        ("start", {"uid": "r", "parfocal": {"axes": {"z": "stage_z"}}}),
        ("descriptor", {"uid": "d", "name": stream, "data_keys": keys, "configuration": configuration}),
        ("stream_resource", {"uid": "s", "data_key": "camera", "uri": "file://localhost/nowhere/0"}),
        ("stream_datum", {"descriptor": "d", "stream_resource": "s", "indices": {"start": 0, "stop": len(rows)}}),
    ]
    for k, row in enumerate(rows):
        documents.append(("event", {"descriptor": "d", "seq_num": k + 1, "time": 10.0 + k, "data": row}))
    return documents


def test_frames_know_their_place_from_the_events():
    rows = [
        {"camera_frame": k, "stage_z": 0.5 * k, "point_plane": k, "point_channel": "red", "point_attempt": 1}
        for k in range(3)
    ]
    rows.append({**rows[1], "camera_frame": 3, "point_attempt": 2})
    (found,) = frames_of(events_of(rows))
    assert (found.shape_px, found.pixel_um, found.dtype) == ((6, 7), (0.2, 0.1), np.dtype("u2"))
    assert found.channels == ["red"]
    assert found.grid.shape == (3,)
    assert found.frames[3].place == found.frames[1].place
    assert found.frames[3].attempt == 2


def test_frames_of_another_plan_follow_one_another():
    (found,) = frames_of(events_of([{"camera_frame": k} for k in range(4)]))
    assert found.grid.axis_labels == ("time_point", "y", "x")
    assert found.grid.scale((1, 1)) == (1.0, 1, 1)


def test_frames_of_a_burst_stand_along_the_planes():
    documents = events_of([])
    documents[3][1]["indices"]["stop"] = 5
    (found,) = frames_of(documents)
    assert found.grid.axis_labels == ("plane", "y", "x")
    assert found.grid.shape == (5,)


def test_thinning_keeps_whole_tracks_the_longest_first():
    track = np.array([0] * 2 + [1] * 5 + [2] * 3)
    assert set(track[longest(track, 8)]) == {1, 2}
    assert set(track[longest(track, 1)]) == {1}, "at least one"
    assert longest(track, 10).all()
    np.testing.assert_array_equal(spread(10, 4), [0, 3, 6, 9])
    np.testing.assert_array_equal(spread(3, 4), [0, 1, 2])


def test_tracks_of_two_places_are_two_layers_each_with_its_own_family():
    grid = grid_of(TakenFrame(k, (k // 4, 0, k % 4, 0), t_s=float(k % 4)) for k in range(8))
    rows = {
        "track": np.array([1, 0, 0, 1, 0, 1]),
        "position": np.array([0, 0, 0, 0, 1, 1]),
        "tile": np.zeros(6, int),
        "at_0": np.array([0, 0, 0, 0, 1, 1.0]),
        "at_1": np.array([3, 1, 0, 2, 0, 1.0]),
        "at_2": np.arange(6.0),
        "at_3": np.arange(6.0),
        "dff": np.arange(6.0),
    }
    one, other = track_layers("tracks", grid, (0.1, 0.1), rows, {(0, 0): {1: [0, 7]}}, metadata={})
    np.testing.assert_array_equal(one.data[:, :2], [[0, 0], [0, 1], [1, 2], [1, 3]])
    np.testing.assert_array_equal(one.options["features"]["dff"], [2, 1, 3, 0])
    assert (one.options["graph"], other.options["graph"]) == ({1: [0]}, {})
    assert (one.place, other.place) == ((0, 0), (1, 0))
    assert one.options["scale"] == pytest.approx((1.0, 0.1, 0.1))
