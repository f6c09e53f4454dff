"""Doubtful objects are named, with reasons; those to look at first differ from each other."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.segmentation import NetOutput, PlaneLink, Segmentation
from parfocal.segmentation.flows import flow_targets
from parfocal.segmentation.uncertainty import DoubtWeights, heatmap, most_uncertain, object_doubts

VOXEL_UM = (1.0, 1.0, 1.0)


def balls(n=3, radius=6.0, shape=(20, 66, 66)):
    """Nine equal balls, ids 1 to 9, away from all borders."""
    z, y, x = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for row in range(n):
        for column in range(n):
            inside = (z - 9.5) ** 2 + (y - 12 - 20 * row) ** 2 + (x - 12 - 20 * column) ** 2 < radius**2
            labels[inside] = n * row + column + 1
    return labels


@pytest.fixture(scope="module")
def labels():
    return balls()


@pytest.fixture(scope="module")
def segmentation(labels):
    """A network that is sure of everything and right."""
    flow, foreground, _ = flow_targets(labels)
    logit = np.where(labels > 0, 8, -8).astype(np.float32)
    assert foreground.shape == labels.shape
    return Segmentation(labels, VOXEL_UM, "test", output=NetOutput(flow, logit, logit))


def doubted(doubts, object_id):
    return doubts.reasons[int(np.flatnonzero(doubts.ids == object_id)[0])]


def test_where_all_are_equal_nobody_is_doubted(segmentation):
    doubts = object_doubts(segmentation)
    assert doubts.ids.tolist() == list(range(1, 10))
    assert doubts.score.max() < 0.35  # balls differ a little where they lie differently on the grid
    assert all(not reasons for reasons in doubts.reasons)


def test_flow_that_does_not_fit_is_a_reason(segmentation, labels):
    flow = segmentation.output.flow.copy()
    flow[:, labels == 5] *= -1
    doubts = object_doubts(replace(segmentation, output=replace(segmentation.output, flow=flow)))
    assert doubts.signals["flow"][4] == pytest.approx(4, rel=0.05)
    assert doubts.ids[np.argmax(doubts.score)] == 5
    assert "flow does not fit" in doubted(doubts, 5)[0]


def test_an_unsure_edge_and_unsure_voxels_are_reasons(segmentation, labels):
    logit = segmentation.output.foreground.copy()
    logit[labels == 3] = 0.2
    doubts = object_doubts(replace(segmentation, output=replace(segmentation.output, foreground=logit)))
    assert doubts.signals["logits"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    # half of the band lies inside, where the entropy of 0.2 is 0.993 bit, the rest outside, where it is nearly 0
    assert 0.35 < doubts.signals["boundary"][2] < 0.6
    assert doubts.signals["boundary"][0] < 0.01
    said = " ".join(doubted(doubts, 3))
    assert "the edge is unsure" in said
    assert "100% of its voxels could as well be background" in said


def test_the_entropy_of_an_edge_is_that_of_its_logits():
    labels = np.zeros((1, 20, 20), np.int32)
    labels[0, 5:15, 5:15] = 1
    logit = np.full(labels.shape, 1.5, np.float32)
    output = NetOutput(np.zeros((2, *labels.shape), np.float32), logit, logit)
    chance = 1 / (1 + np.exp(-1.5))
    entropy = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
    doubts = object_doubts(Segmentation(labels, VOXEL_UM, "test", output=output))
    assert doubts.signals["boundary"][0] == pytest.approx(entropy, rel=1e-5)


def test_two_balls_taken_for_one_are_dented_and_large(labels):
    merged = labels.copy()
    merged[merged == 2] = 1
    doubts = object_doubts(Segmentation(merged, VOXEL_UM, "test"))
    assert doubts.ids.tolist() == [1, 3, 4, 5, 6, 7, 8, 9]
    said = " ".join(doubted(doubts, 1))
    assert "dented or branched" in said
    assert "unusually large: 2 times" in said
    assert doubts.ids[np.argmax(doubts.score)] == 1


def test_solidity_is_volume_over_that_of_the_hull():
    labels = np.zeros((8, 30, 30), np.int32)
    labels[1:7, 2:12, 2:12] = 1  # a box is its own hull
    labels[1:7, 15:25, 2:8] = 2  # an L of two boxes
    labels[1:7, 20:25, 2:14] = 2
    plane = labels[3:4]
    for volume in (labels, plane):
        doubts = object_doubts(Segmentation(volume, VOXEL_UM, "test"))
        full = 6 * 10 + 6 * 5
        hull = full + 0.5 * 6 * 5
        # both are as far from the median of two
        assert doubts.signals["shape"] == pytest.approx([(1 - full / hull) / 2] * 2, abs=1e-4)


def test_a_shape_is_the_same_in_any_direction_and_a_voxel_is_solid():
    rng = np.random.default_rng(0)
    labels = np.zeros((16, 24, 24), np.int32)
    labels[2:12, 3:15, 3:15] = rng.random((10, 12, 12)) < 0.5
    labels[13, 20, 20] = 2
    from scipy.spatial import ConvexHull

    corners = np.argwhere(labels == 1)[:, None] + np.indices((2, 2, 2)).reshape(3, -1).T[None]
    solidity = (labels == 1).sum() / ConvexHull(corners.reshape(-1, 3)).volume
    for turned in (labels, labels.transpose(2, 1, 0), labels[:, ::-1]):
        doubts = object_doubts(Segmentation(np.ascontiguousarray(turned), VOXEL_UM, "test"))
        assert doubts.signals["shape"] == pytest.approx([(1 - solidity) / 2] * 2, abs=1e-5)


def test_weak_links_and_the_border_are_reasons(labels):
    good = (PlaneLink(i, 9, 10, 0.9, 0.95) for i in range(1, 10))
    links = (*good, PlaneLink(4, 10, 12, 0.35, 0.5, True))
    doubts = object_doubts(Segmentation(labels, VOXEL_UM, "test", links=links))
    assert doubts.ids[np.argmax(doubts.score)] == 4
    assert "linked weakly" in " ".join(doubted(doubts, 4))
    cut = Segmentation(np.ascontiguousarray(labels[:, 10:]), VOXEL_UM, "test")
    doubts = object_doubts(cut)
    assert doubts.signals["border"].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert "touches the border of the image" in doubted(doubts, 2)


def test_a_plane_touches_no_border_above_or_below(labels):
    doubts = object_doubts(Segmentation(np.ascontiguousarray(labels[9:10]), VOXEL_UM, "test"))
    assert not doubts.signals["border"].any()


@pytest.mark.parametrize("depth", [20, 1])
def test_what_flipped_images_show_differently_is_doubted(labels, depth):
    """A segmenter that misses what lies in one corner of what it is shown, whatever that is."""
    volume = np.ascontiguousarray(labels[9:10] if depth == 1 else labels)
    asked = []

    def relabel(image):
        asked.append(image.copy())
        found = np.asarray(image // 100_000, np.int32)
        found[..., :24, :24] = 0
        return found

    # the ids are in the image's own pixels, so that the segmenter is right but for the corner
    image = volume * 100_000 + np.arange(volume.size).reshape(volume.shape) % 99_991
    doubts = object_doubts(Segmentation(volume, VOXEL_UM, "test"), image, relabel=relabel)
    assert len(asked) == 7
    assert len({image.tobytes() for image in asked}) == 7
    doubt = doubts.signals["flips"].reshape(3, 3)
    corners = doubt[[0, 0, 2, 2], [0, 2, 0, 2]]
    assert (corners > 0.1).all()
    np.testing.assert_allclose(np.delete(doubt.ravel(), [0, 2, 6, 8]), 0, atol=1e-6)
    assert "mirrored" in " ".join(doubted(doubts, 3))


def test_flips_need_an_image_and_labels_of_its_shape(segmentation, labels):
    with pytest.raises(BadInputError, match="image is needed"):
        object_doubts(segmentation, relabel=lambda image: image)
    with pytest.raises(BadInputError, match="labels have shape"):
        object_doubts(Segmentation(labels[0], VOXEL_UM, "test"))


def test_ids_need_not_follow_each_other_and_nothing_is_no_error(segmentation, labels):
    sparse = np.where(labels == 7, 70_000, labels).astype(np.int32)
    doubts = object_doubts(replace(segmentation, labels=sparse))
    assert doubts.ids[-1] == 70_000
    assert heatmap(replace(segmentation, labels=sparse), doubts)[sparse == 70_000].max() == doubts.score[-1]
    empty = object_doubts(replace(segmentation, labels=np.zeros_like(labels)))
    assert empty.ids.size == 0
    assert most_uncertain(empty, 5).size == 0
    one = object_doubts(replace(segmentation, labels=(labels == 3).astype(np.int32)))
    assert one.score.tolist() == [0.0]


def test_weights_decide_what_counts(labels):
    merged = labels.copy()
    merged[merged == 2] = 1
    merged[:10][merged[:10] == 9] = 0  # half of a ball
    found = Segmentation(merged, VOXEL_UM, "test")
    names = ("flow", "boundary", "logits", "flips", "shape", "size", "links", "border")
    nothing = DoubtWeights(**dict.fromkeys(names, 0.0))
    assert not object_doubts(found, weights=nothing).score.any()
    by_shape = object_doubts(found, weights=replace(nothing, shape=1.0))
    assert by_shape.ids[np.argmax(by_shape.score)] == 1
    with pytest.raises(BadInputError, match="0 or more"):
        DoubtWeights(shape=-1.0)


def test_the_first_to_look_at_are_doubtful_and_not_all_alike():
    shape = (1, 400, 400)
    volume = np.zeros(shape, np.int32)
    for i in range(400):
        y, x = 20 * (i // 20) + 4, 20 * (i % 20) + 4
        side = 12 if i >= 8 else 3  # eight specks in a row, all as doubtful
        volume[0, y : y + side, x : x + side] = i + 1
    volume[0, 204:206, 204 : 204 + 12] = 0  # and one odd shape far off
    volume[0, 210:216, 210:220] = 0
    doubts = object_doubts(Segmentation(volume, VOXEL_UM, "test"))
    by_score = most_uncertain(doubts, 4, diversity=0.0)
    spread = most_uncertain(doubts, 4)
    assert len(set(spread.tolist())) == 4
    assert spread[0] == by_score[0]

    def apart(ids):
        rows = doubts.features[np.searchsorted(doubts.ids, ids)]
        return min(np.linalg.norm(rows[i] - rows[j]) for i in range(4) for j in range(i))

    assert apart(spread) > apart(by_score)
    assert doubts.score[np.searchsorted(doubts.ids, spread)].min() >= np.quantile(doubts.score, 0.85)
    assert most_uncertain(doubts, 1000).size == 400
    with pytest.raises(BadInputError, match="diversity"):
        most_uncertain(doubts, 3, diversity=2)


def test_a_heatmap_has_each_objects_score(segmentation, labels):
    doubts = object_doubts(segmentation)
    volume = heatmap(segmentation, doubts)
    assert volume.dtype == np.float32
    assert volume.shape == labels.shape
    assert not volume[labels == 0].any()
    for i, score in zip(doubts.ids, doubts.score):
        assert (volume[labels == i] == score).all()


def test_objects_of_unlinked_planes_have_no_shape(labels):
    doubts = object_doubts(Segmentation(labels, VOXEL_UM, "default", linked=False))
    assert "shape" not in doubts.signals
    assert "size" not in doubts.signals
