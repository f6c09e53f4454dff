"""Affine registration finds what was planted."""

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import correlation_through, morph, register_affine, warp

SIDE = 256
CORNERS = np.array([[0, 0, SIDE - 1, SIDE - 1], [0, SIDE - 1, 0, SIDE - 1], [1, 1, 1, 1.0]])


def texture(seed=0, side=SIDE + 96):
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 3)
    return (image / image.std()).astype(np.float32)


def about_middle(linear, dy, dx):
    middle = np.full(2, (SIDE - 1) / 2)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = middle - linear @ middle + [dy, dx]
    return matrix


def turn(degrees):
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def pair(matrix, seed=0):
    """Return a fixed image, and a moving one in which `matrix @ p` shows what `p` shows in the fixed one."""
    whole, corner = texture(seed), np.eye(3)
    corner[:2, 2] = 48
    return whole[48 : 48 + SIDE, 48 : 48 + SIDE], warp(whole, corner @ np.linalg.inv(matrix), (SIDE, SIDE))


def off_px(found, planted):
    return np.abs((found @ CORNERS - planted @ CORNERS)[:2]).max()


@pytest.mark.parametrize(
    ("model", "linear"),
    [
        ("translation", np.eye(2)),
        ("rigid", turn(3.0)),
        ("affine", turn(-2.0) @ np.array([[1.03, 0.01], [0.0, 0.98]])),
    ],
)
def test_a_planted_transform_is_found_to_a_fiftieth_of_a_pixel_whatever_gain_and_offset(model, linear):
    planted = about_middle(linear, 3.3, -2.6)
    fixed, moving = pair(planted)
    fit = register_affine(fixed, 40 - 7 * -moving, model=model)
    assert off_px(fit.matrix, planted) < 0.02
    assert fit.ncc > 0.99
    assert fit.is_converged


def test_noise_costs_little():
    planted = about_middle(turn(1.0), 2.0, 1.0)
    fixed, moving = pair(planted)
    rng = np.random.default_rng(1)
    noisy = [image + rng.normal(size=image.shape).astype(np.float32) for image in (fixed, moving)]
    assert off_px(register_affine(*noisy).matrix, planted) < 0.3


def test_far_images_are_found_from_a_start_near_them():
    planted = about_middle(turn(1.0), 40.0, -30.0)
    fixed, moving = pair(planted)
    start = np.eye(3)
    start[:2, 2] = 41, -29
    assert off_px(register_affine(fixed, moving, start=start).matrix, planted) < 0.02


def test_the_number_of_threads_changes_nothing():
    fixed, moving = pair(about_middle(turn(2.0), 1.0, 1.0))
    one, two = (register_affine(fixed, moving, n_threads=n).matrix for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_a_flat_image_gives_no_correlation_and_no_crash():
    fixed, _ = pair(np.eye(3))
    assert not np.isfinite(register_affine(fixed, np.ones_like(fixed)).ncc)


def test_a_warp_by_whole_pixels_moves_them_unchanged():
    image, matrix = texture(), np.eye(3)
    matrix[:2, 2] = 3, -2
    moved = warp(image, matrix, fill=-1.0)
    np.testing.assert_array_equal(moved[:-3, 2:], image[3:, :-2])
    assert (moved[-3:] == -1).all()


def test_a_morph_begins_with_one_image_and_ends_with_the_other():
    one, other = texture(0, 64), texture(1, 64)
    np.testing.assert_allclose(morph(one, other, np.eye(3), np.eye(3), 0.0, (64, 64)), one, atol=1e-6)
    np.testing.assert_allclose(morph(one, other, np.eye(3), np.eye(3), 1.0, (64, 64)), other, atol=1e-6)


def test_where_one_image_is_missing_the_other_keeps_its_weight():
    one, matrix = np.full((32, 32), 100.0), np.eye(3)
    matrix[1, 2] = -16.0
    out = morph(one, one, np.eye(3), matrix, 0.25, (32, 32))
    np.testing.assert_allclose(out[:, :15], 75.0)
    np.testing.assert_allclose(out[:, 17:], 100.0)


def test_the_correlation_through_a_matrix_is_that_of_the_overlap():
    image, matrix = texture(), np.eye(3)
    matrix[:2, 2] = 5, 0
    r, overlap = correlation_through(image, np.roll(image, 5, axis=0), matrix)
    assert r == pytest.approx(1.0)
    assert overlap == pytest.approx(1 - 5 / len(image))


def test_what_is_no_image_is_refused():
    with pytest.raises(BadInputError, match="expected an image"):
        register_affine(np.zeros((3, 4, 5)), np.zeros((4, 5)))
