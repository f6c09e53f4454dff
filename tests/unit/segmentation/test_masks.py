"""Objects made of flows."""

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.segmentation import NetOutput
from parfocal.segmentation.flows import MaskSettings, find_masks, flow_targets, masks_from_output

OPEN = MaskSettings(max_flow_error=None, min_relative_volume=None, min_relative_contrast=None)


def balls(shape, seed=0, radius=(4.5, 9), tries=200, touching=True):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    grid = np.indices(shape)
    n = 0
    for _ in range(tries):
        centre, r = rng.uniform(0, shape), rng.uniform(*radius)
        ball = sum((g - c) ** 2 for g, c in zip(grid, centre)) < r * r
        taken = ball & (labels > 0)
        if taken.sum() <= (0.02 * ball.sum() if touching else 0) and ball.sum() > 60:
            n += 1
            labels[ball & (labels == 0)] = n
    return labels


def said_of(labels, strength=6.0, noise=0.0, seed=0):
    flow, foreground, boundary = flow_targets(labels)
    rng = np.random.default_rng(seed)
    if noise:  # as a network's: what is wrong is wrong over several voxels
        blurred = [ndimage.gaussian_filter(rng.normal(size=labels.shape), 1.5) for _ in range(labels.ndim)]
        flow = flow + noise * np.stack([b / b.std() for b in blurred]).astype(np.float32)
    return NetOutput(flow, strength * (2 * foreground - 1), strength * (2 * boundary - 1))


def ious(truth, found):
    table = np.zeros((truth.max() + 1, found.max() + 1))
    np.add.at(table, (truth.ravel(), found.ravel()), 1)
    union = table.sum(1)[:, None] + table.sum(0)[None] - table
    return (table / union)[1:, 1:]


@pytest.mark.parametrize("shape", [(96, 120), (24, 64, 64)])
def test_perfect_flows_give_every_object_back_to_the_voxel(shape):
    truth = balls(shape)
    found = masks_from_output(said_of(truth), OPEN)
    assert found.dtype == np.int32
    assert found.max() == truth.max() > 10
    assert ious(truth, found).max(1).min() > 0.99


@pytest.mark.parametrize("shape", [(96, 120), (24, 64, 64)])
def test_noisy_flows_give_nine_in_ten_objects(shape):
    truth = balls(shape)
    found = find_masks(said_of(truth, noise=0.3)).labels
    matched = (ious(truth, found) > 0.5).sum()
    assert matched >= 0.9 * truth.max()
    assert found.max() <= 1.1 * truth.max()


def test_a_ring_is_one_object_and_keeps_its_hole_open_where_another_object_is_in_it():
    y, x = np.indices((60, 60)) - 30
    r = np.hypot(y, x)
    truth = ((r > 10) & (r < 20)).astype(np.int32)
    truth[r < 6] = 2
    found = masks_from_output(said_of(truth), OPEN)
    assert ious(truth, found).max(1).min() > 0.95


def test_a_hole_within_an_object_is_filled_and_the_sea_between_objects_is_not():
    truth = balls((24, 64, 64), touching=False)
    said = said_of(truth)
    inside = np.argwhere(ndimage.binary_erosion(truth > 0, iterations=2))
    holes = inside[np.random.default_rng(1).choice(len(inside), 12, replace=False)]
    said.foreground[tuple(holes.T)] = -5
    found = masks_from_output(said, OPEN)
    assert found[tuple(holes.T)].all()
    assert ious(truth, found).max(1).min() > 0.95


def test_an_object_that_fills_most_of_the_volume_is_kept():
    truth = np.zeros((20, 20, 20), np.int32)
    truth[1:19, 1:19, 1:19] = 1
    assert (find_masks(said_of(truth)).labels == truth).all()


def test_two_seeds_that_run_into_each_other_are_parted_by_their_boundary():
    """A ridge of sinks through both, as a network says of two nuclei that it half takes for one."""
    labels = np.zeros((30, 60), np.int32)
    labels[8:22, 5:30], labels[8:22, 30:55] = 1, 2
    said = said_of(labels)
    y = np.arange(30)[:, None]
    flow = np.zeros_like(said.flow)
    flow[0] = np.where(labels > 0, np.clip(15 - y, -1, 1), 0)
    ridge = NetOutput(flow, said.foreground, np.full((30, 60), -6, np.float32))
    assert masks_from_output(ridge, OPEN).max() == 1
    parted = NetOutput(flow, said.foreground, said.boundary)
    found = masks_from_output(parted, OPEN)
    assert found.max() == 2
    assert ious(labels, found).max(1).min() > 0.9
    whole = masks_from_output(parted, MaskSettings(**{**vars(OPEN), "split_at_boundaries": False}))
    assert whole.max() == 1


def test_boundaries_never_lose_an_object_too_thin_to_have_an_inside():
    truth = np.zeros((40, 60), np.int32)
    truth[10:13, 5:55], truth[25:27, 5:55] = 1, 2
    assert masks_from_output(said_of(truth), OPEN).max() == 2


def test_what_is_dropped_is_told_with_its_reason_value_and_place():
    truth = np.zeros((24, 64, 96), np.int32)
    grid = np.indices(truth.shape)

    def ball(number, centre, r):
        truth[sum((g - c) ** 2 for g, c in zip(grid, centre)) < r * r] = number

    for number, (y, x) in enumerate([(12, 12), (12, 40), (12, 68), (44, 12)], 1):
        ball(number, (12, y, x), 8)
    ball(5, (12, 44, 40), 4.5)  # a crumb
    ball(6, (12, 44, 60), 8)  # dim
    ball(7, (12, 44, 84), 8)  # flows of noise
    said = said_of(truth)
    rng = np.random.default_rng(0)
    said.flow[:, truth == 7] *= 0.3
    image = 100.0 + 50.0 * ((truth > 0) & (truth != 6)) + 3 * (truth == 6) + rng.normal(0, 2, truth.shape)
    found = find_masks(said, image=image)
    assert found.labels.max() == found.flow_error.size == found.contrast.size == 4
    reasons = {d.reason: d for d in found.dropped}
    assert set(reasons) == {"relative volume", "relative contrast", "flow error"}
    assert reasons["relative volume"].centre_px == pytest.approx((12, 44, 40), abs=0.6)
    assert reasons["flow error"].value == pytest.approx(0.49, abs=0.03)
    assert "flow error 0.4" in str(reasons["flow error"])
    np.testing.assert_allclose(found.contrast, 50, atol=3)
    assert (find_masks(said, OPEN, image).labels > 0).sum() == pytest.approx((truth > 0).sum(), rel=0.01)


def test_an_object_of_which_the_network_is_nowhere_sure_is_dropped():
    truth = balls((24, 64, 64), touching=False)
    said = said_of(truth)
    said.foreground[truth == 3] = 0.4
    found = find_masks(said)
    assert found.labels.max() == truth.max() - 1
    assert not found.labels[truth == 3].any()
    assert [d.reason for d in found.dropped] == ["foreground"]
    np.testing.assert_allclose(found.foreground_logit, 6, atol=0.5)


def test_contrast_asks_nothing_of_gain_and_offset():
    truth = balls((24, 64, 64), touching=False)
    image = ndimage.gaussian_filter((truth > 0) * np.linspace(0, 1, 64) ** 2, 1)
    one = find_masks(said_of(truth), image=image)
    other = find_masks(said_of(truth), image=(3000 + 20_000 * image).astype(np.uint16))
    np.testing.assert_array_equal(one.labels, other.labels)
    assert any(d.reason == "relative contrast" for d in one.dropped)


def test_a_small_section_in_a_plane_is_not_held_against_the_large_ones():
    truth = np.zeros((60, 120), np.int32)
    truth[5:35, 5:35], truth[5:35, 40:70], truth[5:35, 75:105], truth[45:52, 20:27] = 1, 2, 3, 4
    assert find_masks(said_of(truth)).labels.max() == 4


def test_the_number_of_threads_changes_nothing_and_the_input_is_left_alone():
    truth = balls((24, 64, 64))
    said = said_of(truth, noise=0.3)
    before = said.flow.copy(), said.foreground.copy(), said.boundary.copy()
    one, many = masks_from_output(said, n_threads=1), masks_from_output(said, n_threads=3)
    np.testing.assert_array_equal(one, many)
    for a, b in zip(before, (said.flow, said.foreground, said.boundary)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(40, 50), (12, 40, 50), (1, 40, 50), (12, 1, 50)])
def test_nothing_is_found_in_nothing(shape):
    empty = NetOutput(
        np.zeros((len(shape), *shape), np.float32), np.full(shape, -3.0, np.float32), np.zeros(shape, np.float32)
    )
    assert not find_masks(empty, image=np.zeros(shape)).labels.any()


def test_a_volume_of_one_plane_is_segmented_as_that_plane():
    truth = balls((1, 96, 120), radius=(5, 9))
    flat = masks_from_output(said_of(truth[0]), OPEN)
    np.testing.assert_array_equal(masks_from_output(said_of(truth), OPEN)[0], flat)
    assert flat.max() > 10


def test_channels_that_do_not_belong_together_are_refused():
    good = said_of(balls((40, 50)))
    with pytest.raises(BadInputError, match=r"masks: flow is \(1, 40, 50\).*expected \(2, 40, 50\)"):
        find_masks(NetOutput(good.flow[:1], good.foreground, good.boundary))
    with pytest.raises(BadInputError, match=r"masks: image is \(3, 3\), expected"):
        find_masks(good, image=np.zeros((3, 3)))
    with pytest.raises(BadInputError, match="diameter_px"):
        MaskSettings(diameter_px=-1)
