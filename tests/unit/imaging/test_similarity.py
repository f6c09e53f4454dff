"""SSIM against its definition, relative entropy against histograms by hand, tiles against planted motion."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import ncc, relative_entropy, ssim, tile_grids

DATA = Path(__file__).parents[3] / "../shared/data/B_focus"


def texture(shape=(200, 230), seed=0, sigma=2.0):
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return image / image.std()


def ssim_by_definition(a, b, data_range):
    """As scikit-image defines it, by SciPy's filters in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean = lambda image: ndimage.uniform_filter(image, 7)  # noqa: E731
    ma, mb = mean(a), mean(b)
    to_sample = 49 / 48
    va, vb, vab = (to_sample * (mean(u * v) - mean(u) * mean(v)) for u, v in ((a, a), (b, b), (a, b)))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    s = ((2 * ma * mb + c1) * (2 * vab + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return s[3:-3, 3:-3].mean()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7, 7), (9, 300), (150, 131)])
def test_ssim_equals_its_definition(dtype, shape):
    rng = np.random.default_rng(4)
    a = (100 + 25 * texture(shape)).clip(0, 255).astype(dtype)
    b = (a + 20 * rng.normal(size=shape)).clip(0, 255).astype(dtype)
    assert ssim(a, b, data_range=255) == pytest.approx(ssim_by_definition(a, b, 255), abs=1e-9)
    span = float(max(a.max(), b.max())) - float(min(a.min(), b.min()))
    assert ssim(a, b) == pytest.approx(ssim_by_definition(a, b, span), abs=1e-9)


def test_ssim_of_scaled_frames_is_that_of_their_scale():
    a, b = texture(), texture(seed=1)
    a, b = ((x - x.min()) / (x.max() - x.min()) for x in (a, b))
    assert ssim(a, b, 1.0) == pytest.approx(ssim_by_definition(a, b, 1.0), abs=1e-9)
    assert ssim(1000 * a, 1000 * b) == pytest.approx(ssim(a, b), abs=1e-9)


def test_equal_frames_are_wholly_similar_and_a_nan_is_never_scored_over():
    a = texture()
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert ssim(np.full((9, 9), 5), np.full((9, 9), 5)) == 1.0
    b = a.copy()
    b[100, 100] = np.nan
    assert math.isnan(ssim(a, b))


def test_blur_and_shift_lower_ssim():
    a = texture()
    assert 1 > ssim(a, ndimage.gaussian_filter(a, 1)) > ssim(a, ndimage.gaussian_filter(a, 3))
    assert ssim(a, np.roll(a, 1, 1)) > ssim(a, np.roll(a, 5, 1))


def test_relative_entropy_is_the_difference_of_two_histograms():
    rng = np.random.default_rng(0)
    frame = np.full((256, 256), 0, np.uint8)
    mask = np.zeros(frame.shape, bool)
    mask[40:104, 40:168] = True
    frame[mask] = np.tile(np.arange(256, dtype=np.uint8), 32)  # all levels: 8 bits
    frame[~mask] = rng.integers(0, 2, (~mask).sum()) * 255  # two levels: 1 bit
    assert relative_entropy(frame, mask) == pytest.approx(7.0, abs=0.01)
    assert relative_entropy(frame, ~mask, margin_px=0) == pytest.approx(-7.0, abs=0.01)


def test_the_halo_of_an_object_is_no_background():
    rng = np.random.default_rng(0)
    mask = np.zeros((200, 200), bool)
    mask[60:140, 60:140] = True
    outer = ndimage.distance_transform_edt(~mask)
    frame = np.where(mask, rng.uniform(100, 200, mask.shape), 0) + rng.uniform(0, 5, mask.shape)
    haloed = frame + np.where((outer > 0) & (outer <= 8), rng.uniform(0, 200, mask.shape), 0)
    with_halo = relative_entropy(haloed, mask, margin_px=0)
    assert relative_entropy(haloed, mask, margin_px=10) == pytest.approx(relative_entropy(frame, mask), abs=0.2)
    assert with_halo < relative_entropy(haloed, mask) - 0.5


def test_blur_lowers_relative_entropy_with_a_mask_and_without():
    rng = np.random.default_rng(1)
    mask = np.zeros((256, 256), bool)
    mask[80:180, 70:190] = True
    scene = np.where(mask, 800 + 300 * texture(mask.shape, 2, 1.5), 60)
    frames = [ndimage.gaussian_filter(scene, s) + rng.normal(0, 8, mask.shape) for s in (0, 3, 8)]
    for given in (mask, None):
        values = [relative_entropy(frame, given) for frame in frames]
        assert values[0] > values[1] > values[2]


def test_where_object_or_background_is_missing_there_is_no_relative_entropy():
    image = texture()
    assert math.isnan(relative_entropy(np.full((64, 64), 9)))
    assert math.isnan(relative_entropy(image, np.zeros(image.shape, bool)))
    assert math.isnan(relative_entropy(image, np.ones(image.shape, bool)))


def moving_stack(n=6, shape=(256, 384)):
    """One scene in mild noise; its tile (0, 2) shows something else in frame 3."""
    rng = np.random.default_rng(7)
    scene = texture(shape, 3, 3)
    frames = np.stack([scene + 0.2 * rng.normal(size=shape) for _ in range(n)])
    frames[3, :128, 256:] = texture((128, 128), 9, 3)
    return (100 * frames + 1000).astype(np.uint16)


def test_tiles_show_what_moved_and_where():
    grids = tile_grids(moving_stack())
    assert grids.ncc.shape == (5, 2, 3)
    assert grids.entropy.shape == grids.laplacian.shape == (6, 2, 3)
    bad = np.argwhere(grids.ncc < 0.9)
    np.testing.assert_array_equal(bad, [[2, 0, 2], [3, 0, 2]])
    summary = grids.summary()
    assert summary.bad_tile_share == pytest.approx(2 / 30)
    assert summary.min_ncc == grids.ncc.min()
    assert summary.p05_ncc == np.percentile(grids.ncc, 5)
    assert summary.median_ncc > 0.95
    assert summary.longest_bad_run == 2
    assert summary.bad_pair_share == pytest.approx(0.4)
    assert summary.spatial_sd > 0.2


def test_a_mask_may_join_later():
    frames = moving_stack()
    grids = tile_grids(frames)
    still, moved = np.zeros((2, 256, 384), bool)
    still[:, :200] = True
    moved[20:100, 270:350] = True
    assert grids.summary(still).bad_tile_share == 0
    assert grids.summary(still).longest_bad_run == 0
    assert grids.summary(moved).n_tiles == 1
    assert grids.summary(moved).longest_bad_run == 2
    np.testing.assert_array_equal(np.isfinite(grids.within(moved).ncc[0]), [[0, 0, 1], [0, 0, 0]])
    # a corner that covers less than a tenth of a tile does not bring it in
    touching = moved.copy()
    touching[128:168, 270:300] = True
    assert grids.cover(touching)[1, 2] == pytest.approx(40 * 30 / 128**2)
    assert grids.summary(touching).n_tiles == 1
    assert grids.summary(touching, min_cover=0.05).n_tiles == 2
    with pytest.raises(BadInputError, match="covers no tile"):
        grids.summary(np.zeros((256, 384)))


def test_a_tile_without_variance_is_nan_and_counts_as_bad():
    frames = moving_stack()
    frames[1, 128:, :128] = 77
    grids = tile_grids(frames)
    assert np.isnan(grids.entropy[1, 1, 0])
    assert np.isnan(grids.laplacian[1, 1, 0])
    np.testing.assert_array_equal(np.isnan(grids.ncc[:, 1, 0]), [True, True, False, False, False])
    only_there = np.zeros((256, 384), bool)
    only_there[128:, :128] = True
    summary = grids.summary(only_there)
    assert summary.longest_bad_run == 2
    assert summary.bad_pair_share == pytest.approx(0.4)


def test_tiles_take_in_the_whole_frame_and_agree_with_whole_frame_numbers():
    rng = np.random.default_rng(2)
    frames = 500 + 50 * texture((300, 100)) + rng.normal(0, 5, (3, 300, 100))
    grids = tile_grids(frames, sigma_px=0, background_sigma_px=math.inf)
    assert grids.ncc.shape == (2, 2, 1)
    assert (grids.y_edges_px.tolist(), grids.x_edges_px.tolist()) == ([0, 150, 300], [0, 100])
    assert grids.ncc[0, 1, 0] == pytest.approx(ncc(frames[0, 150:], frames[1, 150:]), abs=1e-6)
    laplacian = ndimage.laplace(frames[2])[1:150, 1:-1]
    assert grids.laplacian[2, 0, 0] == pytest.approx(laplacian.var(), rel=1e-4)


def test_one_frame_has_tiles_but_no_pairs():
    summary = tile_grids(moving_stack()[:1]).summary()
    assert math.isnan(summary.min_ncc)
    assert math.isnan(summary.bad_pair_share)
    assert summary.longest_bad_run == 0


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data: real stacks are not here")
def test_a_really_moving_worm_is_seen_and_its_registration_too():
    raw, registered = (
        tifffile.imread(DATA / f"pc12_motion_{n}.tif") for n in ("unregistered", "registered_rigid")
    )
    before, after = (tile_grids(stack[:, 30:-30, 30:-30], tile_px=64).summary() for stack in (raw, registered))
    assert after.median_ncc > before.median_ncc + 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ssim(np.zeros((6, 9)), np.zeros((6, 9))), "at least 7x7"),
        (lambda: ssim(np.zeros((9, 9)), np.zeros((9, 8))), "same"),
        (lambda: ssim(np.zeros((9, 9)), np.ones((9, 9)), 0), "data_range is 0"),
        (lambda: relative_entropy(np.zeros((9, 9)), np.zeros(9)), "mask has shape"),
        (lambda: relative_entropy(np.zeros((9, 9)), margin_px=-1), "margin_px is -1"),
        (lambda: tile_grids(np.zeros((2, 30, 30)), tile_px=4), "tile_px is 4"),
        (lambda: tile_grids([]), "0 frames"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(call, message):
    with pytest.raises(BadInputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
