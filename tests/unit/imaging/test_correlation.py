"""Correlations against NumPy's own; what a mask, a bin, a flat frame and a NaN do to them."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import adjacent_ncc, band_limited, correlation_matrix, ncc

DATA = Path(__file__).parents[3] / "../shared/data/B_focus"


def stack(n=6, shape=(90, 110), seed=0, noise=0.7):
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=(shape[0] + n, shape[1])), 3)
    texture /= texture.std()
    return np.stack([texture[i : i + shape[0]] + noise * rng.normal(size=shape) for i in range(n)])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64", ">u2"])
def test_a_correlation_is_that_of_pearson_for_every_pixel_type(dtype):
    frames = (stack() * 20 + 100).clip(0, 255).astype(dtype)
    truth = np.corrcoef(frames.reshape(6, -1).astype(float))
    assert ncc(frames[0], frames[3]) == pytest.approx(truth[0, 3], abs=1e-6)
    np.testing.assert_allclose(adjacent_ncc(frames), np.diag(truth, 1), atol=1e-6)
    np.testing.assert_allclose(adjacent_ncc(frames, gap=2), np.diag(truth, 2), atol=1e-6)
    np.testing.assert_allclose(correlation_matrix(frames), truth, atol=3e-6)


def test_a_large_mean_costs_no_precision():
    frames = stack()
    truth = np.corrcoef(frames.reshape(6, -1))
    np.testing.assert_allclose(correlation_matrix(frames + 1e6), truth, atol=3e-6)
    assert ncc(frames[0] + 1e6, frames[1] - 1e6) == pytest.approx(truth[0, 1], abs=1e-6)


def test_only_pixels_of_the_mask_count():
    frames = stack()
    mask = np.zeros(frames[0].shape, int)
    mask[20:50, 30:80] = 7
    truth = np.corrcoef(frames[:, mask == 7])
    spoilt = frames.copy()
    spoilt[:, mask == 0] = np.random.default_rng(1).normal(size=(6, (mask == 0).sum())) * 1e3
    spoilt[2, 0, 0] = np.nan
    assert ncc(spoilt[0], spoilt[1], mask) == pytest.approx(truth[0, 1], abs=1e-6)
    np.testing.assert_allclose(adjacent_ncc(spoilt, mask=mask), np.diag(truth, 1), atol=1e-6)
    np.testing.assert_allclose(correlation_matrix(spoilt, mask=mask), truth, atol=3e-6)


def test_bins_are_means_and_count_only_wholly_inside_the_mask():
    frames = stack(shape=(91, 110))
    binned = frames[:, :88, :108].reshape(6, 22, 4, 27, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(correlation_matrix(frames, bin_px=4), np.corrcoef(binned.reshape(6, -1)), atol=3e-6)
    mask = np.zeros(frames[0].shape, bool)
    mask[4:42, 8:60] = True  # rows 40 and 41 fill no bin
    truth = np.corrcoef(binned[:, 1:10, 2:15].reshape(6, -1))
    np.testing.assert_allclose(correlation_matrix(frames, 4, mask), truth, atol=3e-6)


def test_binning_hides_noise_and_keeps_the_order_of_frames():
    frames = stack(n=12, shape=(256, 256), noise=1.0)
    full, binned = correlation_matrix(frames), correlation_matrix(frames, bin_px=4)
    assert (binned[full < 0.999] > full[full < 0.999]).all()
    off = ~np.eye(12, dtype=bool)
    assert np.corrcoef(full[off], binned[off])[0, 1] > 0.99


def test_a_flat_frame_has_no_correlation_and_spoils_no_other():
    frames = stack()
    frames[2] = 1234.5
    assert math.isnan(ncc(frames[1], frames[2]))
    np.testing.assert_array_equal(np.isnan(adjacent_ncc(frames)), [False, True, True, False, False])
    matrix = correlation_matrix(frames)
    assert np.isnan(matrix[2]).all()
    assert np.isnan(matrix[:, 2]).all()
    rest = [0, 1, 3, 4, 5]
    truth = np.corrcoef(frames[rest].reshape(5, -1))
    np.testing.assert_allclose(matrix[np.ix_(rest, rest)], truth, atol=3e-6)


def test_pixels_that_are_no_numbers_are_left_out():
    frames = stack()
    known = np.ones(frames[0].shape, bool)
    known[3, 4] = known[50, 60] = False
    frames[0, 3, 4], frames[4, 50, 60] = np.nan, np.inf
    truth = np.corrcoef(frames[:, known])
    np.testing.assert_allclose(correlation_matrix(frames), truth, atol=3e-6)
    assert ncc(frames[0], frames[4]) == pytest.approx(truth[0, 4], abs=1e-6)
    frames[1] = np.nan
    assert np.isnan(correlation_matrix(frames)[1]).all()
    assert np.isfinite(correlation_matrix(frames)[0, 3])


def test_one_frame_correlates_with_itself_and_a_gap_past_the_end_gives_nothing():
    frames = stack(n=1)
    np.testing.assert_array_equal(correlation_matrix(frames), [[1.0]])
    assert adjacent_ncc(frames).size == 0
    assert adjacent_ncc(stack(n=3), gap=5).size == 0


def test_band_limiting_brings_back_what_noise_and_shading_hid():
    shape = (256, 256)
    lamp = 15 * np.exp(-2 * (np.mgrid[-1:1:256j, -1:1:256j] ** 2).sum(axis=0))
    rng = np.random.default_rng(3)
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    texture /= texture.std()
    a, b = (texture + 2 * rng.normal(size=shape) for _ in range(2))
    assert ncc(a, b) < 0.3
    assert ncc(band_limited(a), band_limited(b)) > 0.9
    other = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    other /= other.std()
    assert ncc(texture + lamp, other + lamp) > 0.9
    assert ncc(band_limited(texture + lamp), band_limited(other + lamp)) < 0.4


def test_a_band_is_the_difference_of_two_gaussians():
    image = stack(shape=(200, 220))[0]
    inner = (slice(40, -40), slice(40, -40))
    truth = ndimage.gaussian_filter(image, 2) - ndimage.gaussian_filter(image, 12)
    measured = band_limited(image, 2, 12)
    assert (measured - truth)[inner].std() < 0.05 * truth[inner].std()
    np.testing.assert_allclose(
        band_limited(image, 2, math.inf), ndimage.gaussian_filter(image, 2) - image.mean(), atol=1e-5
    )


def test_a_band_of_a_stack_is_that_of_its_frames_and_a_constant_has_none():
    frames = stack(shape=(40, 50))
    np.testing.assert_array_equal(band_limited(frames)[3], band_limited(frames[3]))
    np.testing.assert_allclose(band_limited(np.full((50, 60), 700, np.uint16)), 0, atol=1e-3)


def test_a_dead_pixel_leaves_no_mark_on_its_neighbours():
    image = stack(shape=(100, 100))[0]
    clean = band_limited(image)
    image[50, 50] = np.nan
    measured = band_limited(image)
    assert np.isnan(measured).sum() == 1
    assert np.nanmax(np.abs(measured - clean)) < 0.2 * clean.std()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ncc(np.zeros((4, 4)), np.zeros((4, 5))), "same"),
        (lambda: ncc(np.zeros((4, 4)), np.zeros((4, 4)), np.ones(3)), "mask has shape"),
        (lambda: adjacent_ncc(np.zeros((3, 4, 4)), gap=0), "gap is 0"),
        (lambda: adjacent_ncc([]), "0 frames"),
        (lambda: correlation_matrix([np.zeros((4, 4)), np.zeros((5, 4))]), "frame 1"),
        (lambda: correlation_matrix(np.zeros((3, 4, 4)), bin_px=5), "bin_px is 5"),
        (lambda: band_limited(np.zeros((8, 8)), 4, 3), "sigma_px is 4"),
        (lambda: band_limited(np.zeros(8)), "expected real numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(call, message):
    with pytest.raises(BadInputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data: real stacks are not here")
def test_neighbours_in_a_real_noisy_stack_are_alike_only_when_band_limited():
    planes = tifffile.imread(DATA / "ecoli_ch2_tzyx.tif")[0]
    assert adjacent_ncc(planes).max() < 0.3
    assert adjacent_ncc(band_limited(planes)).min() > 0.5


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data: real stacks are not here")
def test_binning_real_frames_changes_who_is_alike_only_next_to_the_threshold():
    folder = DATA / "imagexpress_E07"
    planes = np.stack([tifffile.imread(next((folder / f"ZStep_{z}").glob("*_s1_*.tif"))) for z in range(1, 11)])
    planes = band_limited(planes)
    full, binned = correlation_matrix(planes), correlation_matrix(planes, bin_px=4)
    changed = (full >= 0.95) != (binned >= 0.95)
    assert changed.sum() <= 4  # two pairs of 45
    assert np.abs(full[changed] - 0.95).max(initial=0) < 0.01
