"""What a network is taught to say of labels."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.segmentation.flows import flow_errors, flow_targets


def ball(shape, centre, radius, scale=(1, 1, 1)):
    grid = np.indices(shape, float)
    return sum(((g - c) / s) ** 2 for g, c, s in zip(grid, centre, scale[-len(shape) :])) <= radius**2


def ring(shape=(60, 60), inner=10, outer=20, gap=False):
    y, x = np.indices(shape) - np.array(shape)[:, None, None] / 2
    labels = ((y**2 + x**2 <= outer**2) & (y**2 + x**2 >= inner**2)).astype(np.int32)
    if gap:
        labels[(x > 0) & (abs(y) < 4)] = 0
    return labels


def arrivals(labels, flow, steps=400):
    """Follow the flow from every voxel, at nearest voxels, half a step at a time; return where it ends."""
    at = np.argwhere(labels).astype(float).T
    for _ in range(steps):
        cell = tuple(np.clip(np.rint(a).astype(int), 0, n - 1) for a, n in zip(at, labels.shape))
        at += 0.5 * flow[(slice(None), *cell)]
    return at


def test_every_voxel_points_at_the_centroid_with_length_one():
    labels = ball((15, 21, 21), (7, 10, 9), 6).astype(np.int32)
    flow, foreground, _ = flow_targets(labels)
    assert flow.shape == (3, 15, 21, 21)
    assert flow.dtype == foreground.dtype == np.float32
    way = np.array([7, 10, 9])[:, None] - np.argwhere(labels).T
    far = np.linalg.norm(way, axis=0) > 1
    inside = flow[:, labels > 0]
    np.testing.assert_allclose(np.linalg.norm(inside, axis=0)[far], 1, atol=1e-5)
    np.testing.assert_allclose(
        inside[:, far], (way / np.maximum(1, np.linalg.norm(way, axis=0)))[:, far], atol=1e-5
    )
    assert not flow[:, labels == 0].any()
    assert not flow[:, 7, 10, 9].any()
    np.testing.assert_array_equal(foreground, labels > 0)


def test_boundary_is_the_outermost_layer_and_parts_two_that_touch_but_not_the_edge_of_the_image():
    labels = np.zeros((6, 10), np.int32)
    labels[:, 2:5], labels[:, 5:8] = 1, 2
    _, _, boundary = flow_targets(labels)
    assert boundary[:, [2, 4, 5, 7]].all()
    assert not boundary[:, [0, 1, 3, 6, 8, 9]].any()


@pytest.mark.parametrize("gap", [False, True])
def test_a_concave_object_is_led_round_its_corners_to_one_place(gap):
    labels = ring(gap=gap)
    flow, _, _ = flow_targets(labels)
    ends = arrivals(labels, flow)
    assert np.ptp(ends, axis=1).max() < 3
    straight, _, _ = flow_targets(labels, way="straight")
    assert np.ptp(arrivals(labels, straight), axis=1).max() > 3, "the test is of something that straight ways fail"


def test_heat_and_the_straight_way_agree_in_a_round_object():
    labels = ball((25, 25), (12, 12), 10).astype(np.int32)
    flow, _, _ = flow_targets(labels)
    heat, _, _ = flow_targets(labels, way="heat")
    np.testing.assert_array_equal(flow, flow_targets(labels, way="straight")[0])
    assert (flow * heat).sum(0)[labels > 0].mean() > 0.97


def test_flat_voxels_change_where_heat_leads_but_not_a_straight_way():
    labels = np.zeros((9, 41, 41), np.int32)
    labels[2:7] = ring((41, 41), 8, 16, gap=True)
    cubes, flat = flow_targets(labels)[0], flow_targets(labels, (4.0, 1.0, 1.0))[0]
    assert abs(flat[0]).mean() < abs(cubes[0]).mean() / 2, "across thick planes heat falls more slowly by plane"
    round_one = ball((15, 21, 21), (7, 10, 9), 6).astype(np.int32)
    np.testing.assert_array_equal(flow_targets(round_one)[0], flow_targets(round_one, (4.0, 1.0, 1.0))[0])


def test_an_object_in_two_pieces_has_vectors_in_both():
    labels = np.zeros((20, 40), np.int32)
    labels[5:15, 3:12] = labels[5:15, 28:37] = 7
    flow, _, _ = flow_targets(labels)
    still = (labels > 0) & ~flow.any(0)
    assert still.sum() == 1, "the centre alone"


def test_sparse_and_large_ids_cost_nothing_but_their_place():
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8], labels[10:18, 10:18] = 70_000, 3
    flow, _, _ = flow_targets(labels)
    assert np.hypot(*flow[:, 2, 2]) == pytest.approx(1)
    errors = flow_errors(labels, flow)
    assert errors.shape == (70_000,)
    assert errors[2] == errors[-1] == 0
    assert np.isnan(errors).sum() == 69_998


def test_flow_error_is_0_for_agreement_1_for_silence_and_4_for_the_opposite():
    labels = ball((15, 21, 21), (7, 10, 9), 6).astype(np.int32)
    flow, _, _ = flow_targets(labels)
    assert flow_errors(labels, flow)[0] == 0
    assert flow_errors(labels, 0 * flow)[0] == pytest.approx(1, abs=0.02)
    assert flow_errors(labels, -flow)[0] == pytest.approx(4, abs=0.05)


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(0)
    labels = np.kron(rng.permutation(180).reshape(3, 6, 10), np.ones((4, 5, 4), int)).astype(np.int32)
    for one, many in zip(flow_targets(labels, n_threads=1), flow_targets(labels, n_threads=3)):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize(
    ("labels", "voxel"),
    [
        (np.zeros(5, int), None),
        (np.zeros((5, 5)), None),
        (np.zeros((0, 5), int), None),
        (np.zeros((5, 5), int), (1, 1, 1)),
        (np.zeros((5, 5), int), (1, 0)),
        (np.full((5, 5), 2**40), None),
    ],
)
def test_what_are_no_labels_is_refused(labels, voxel):
    with pytest.raises(BadInputError, match=r"flow targets: .*expected"):
        flow_targets(labels, voxel)
