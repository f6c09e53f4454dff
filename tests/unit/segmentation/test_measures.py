"""Measures are what their definitions, and other people's code, say."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import variation_of_information

from parfocal.bench._peers import Peer
from parfocal.errors import BadInputError
from parfocal.segmentation.measures import compare, dice_3d, iou_3d, split_merge_errors, stability

PEERS = Path(__file__).parents[3] / ".venv-peers/bin/python"


def blobs(seed=0, shape=(12, 40, 40)):
    """A truth of boxes, and a prediction that moves, splits, merges, loses and invents some."""
    rng = np.random.default_rng(seed)
    truth, found = np.zeros((2, *shape), int)
    for label in range(1, 13):
        z, y, x = (int(v) for v in rng.integers((0, 0, 0), (8, 34, 34)))
        truth[z : z + 4, y : y + 6, x : x + 6] = label
        shift = rng.integers(-1, 2, 3)
        where = tuple(slice(max(a + d, 0), a + d + n) for a, d, n in zip((z, y, x), shift, (4, 6, 6)))
        if label % 5:
            found[where] = label + 20
    found[:, :6, :6] = 99
    half = found == 23
    half[:, : shape[1] // 2] = False
    found[half] = 50
    return truth, found


@pytest.mark.parametrize("seed", range(4))
def test_every_measure_is_what_its_definition_says(seed):
    truth, found = blobs(seed)
    c = compare(truth, found)
    a, b = np.unique(truth)[1:], np.unique(found)[1:]
    shared = np.array([[np.count_nonzero((truth == i) & (found == j)) for j in b] for i in a])
    of_a, of_b = (np.array([np.count_nonzero(x == i) for i in ids]) for x, ids in ((truth, a), (found, b)))
    iou = shared / (of_a[:, None] + of_b - shared)

    pairs = iou > 0.5  # unique by arithmetic
    tp = pairs.sum()
    assert c.ap(0.5000001) == pytest.approx(tp / (a.size + b.size - tp))
    assert c.f1 == pytest.approx(2 * tp / (a.size + b.size))
    assert (c.precision, c.recall) == (pytest.approx(tp / b.size), pytest.approx(tp / a.size))
    assert c.pq == pytest.approx(iou[pairs].sum() / (tp + 0.5 * (a.size + b.size - 2 * tp)))
    assert c.seg == pytest.approx((iou * (shared > 0.5 * of_a[:, None])).sum() / a.size)
    parts = (shared >= 0.1 * of_a[:, None]) & (shared >= 0.5 * of_b)
    assert c.splits == np.count_nonzero(parts.sum(1) >= 2)
    wholes = (shared >= 0.1 * of_b) & (shared >= 0.5 * of_a[:, None])
    assert c.merges == np.count_nonzero(wholes.sum(0) >= 2)
    best = iou.argmax(1)
    hit = iou.max(1) > 0
    above = shared[np.arange(a.size), best][hit].sum()
    below = (of_a + of_b[best] - shared[np.arange(a.size), best])[hit].sum() + of_a[~hit].sum()
    below += of_b[~np.isin(np.arange(b.size), best[hit])].sum()
    assert c.aji == pytest.approx(above / below)
    assert (c.voi_split, c.voi_merge) == pytest.approx(tuple(variation_of_information(truth, found)))


@pytest.mark.long  # importing Cellpose takes ten seconds and more
@pytest.mark.parametrize("seed", range(3))
def test_ap_is_the_one_of_cellpose(seed):
    metrics = pytest.importorskip("cellpose.metrics")
    truth, found = blobs(seed)
    relabelled = np.unique(found, return_inverse=True)[1].reshape(found.shape)
    thresholds = [0.1, 0.3, 0.5, 0.75, 0.9]
    theirs = metrics.average_precision([truth], [relabelled], threshold=thresholds)[0][0]
    assert [compare(truth, found).ap(tau) for tau in thresholds] == pytest.approx(theirs.tolist())


@pytest.mark.long  # a process of its own, in the peers' environment
@pytest.mark.parametrize("seed", range(3))
def test_matching_is_the_one_of_stardist(seed, tmp_path):
    try:
        peer = Peer("stardist_matching", python=PEERS)
    except (BadInputError, OSError) as error:
        pytest.skip(f"no peers: {error}")
    truth, found = blobs(seed)
    np.savez(tmp_path / "labels.npz", truth=truth, found=found)
    with peer:
        for tau in (0.1, 0.3, 0.5, 0.75):
            theirs = peer.call("run", path=str(tmp_path / "labels.npz"), tau=tau)
            ours = compare(truth, found).at(tau)
            assert (ours.tp, ours.fp, ours.fn) == (theirs["tp"], theirs["fp"], theirs["fn"])
            assert (ours.ap, ours.f1) == pytest.approx((theirs["accuracy"], theirs["f1"]))
            quality = compare(truth, found).pq if tau == 0.5 else None
            assert quality is None or quality == pytest.approx(theirs["panoptic_quality"])


def test_nothing_to_find_and_nothing_found_is_right():
    empty = np.zeros((3, 4, 4), int)
    c = compare(empty, empty)
    assert (c.ap(), c.f1, c.pq, c.seg, c.aji, iou_3d(empty, empty), dice_3d(empty, empty)) == (1.0,) * 7
    assert (c.splits, c.merges, c.voi) == (0, 0, 0.0)
    c = compare(empty, empty + 1)
    assert (c.ap(), c.f1, c.pq, c.seg, c.aji) == (0.0,) * 5


def test_a_pixel_that_leaks_is_no_error():
    truth = np.zeros((4, 10, 20), int)
    truth[:, 2:8, 2:8], truth[:, 2:8, 10:16] = 1, 2
    found = truth.copy()
    found[0, 2, 2] = 2
    assert split_merge_errors(truth, found) == (0, 0)
    assert split_merge_errors(truth, (truth > 0).astype(int)) == (0, 1)
    found = truth.copy()
    found[:2][truth[:2] == 1] = 3
    assert split_merge_errors(truth, found) == (1, 0)


def test_as_many_pairs_as_possible_before_the_best_pair():
    truth = np.array([1] * 10 + [2] * 10)
    found = np.array([1] * 4 + [2] * 10 + [0] * 6)
    c = compare(truth, found)
    assert c.at(0.2).tp == 2  # the best pair (2 with 1) alone would leave the others without


def test_masks_are_compared_by_voxels():
    a, b = np.zeros((2, 4, 4, 4), bool)
    a[:2], b[1:3] = True, True
    assert iou_3d(a, b) == pytest.approx(1 / 3)
    assert dice_3d(a, b) == pytest.approx(1 / 2)
    with pytest.raises(BadInputError, match="one shape"):
        iou_3d(a, b[:2])


def threshold(image):
    return ndimage.label(ndimage.gaussian_filter(image, 1) > 50)[0]


def test_what_is_clear_is_stable_and_what_is_noise_is_not():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 5, (64, 64))
    for y, x in rng.integers(8, 56, (6, 2)):
        image[y - 4 : y + 4, x - 4 : x + 4] = 100
    clear = stability(threshold, image)
    assert clear.kinds == ("noise", "flip", "shift") * 2
    assert (clear.count_cv, clear.mean_ap50) == (0.0, 1.0)
    assert clear.volume_cv < 0.05
    noise = stability(threshold, rng.normal(45, 20, (64, 64)))
    assert noise.volume_cv > 0.1
    assert noise.mean_ap50 < 0.8
    # a flip changes nothing of what has no direction
    assert all(ap == 1.0 for kind, ap in zip(noise.kinds, noise.ap50) if kind == "flip")


def test_measures_of_what_cannot_be_compared_are_refused():
    with pytest.raises(BadInputError, match="tau is 0"):
        compare([1], [1]).ap(0)
    with pytest.raises(BadInputError, match="one shape"):
        compare([1], [1, 2])
