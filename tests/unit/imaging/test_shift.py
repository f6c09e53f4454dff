"""Known shifts are found: whole and broken, past hot pixels, shading, noise and unequal frames."""

import math

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import phase_shift

SCENE = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(420, 440)), 2) * 1000 + 500


def moved(dy, dx, shape=(256, 280)):
    """A window on the scene such that it has to be moved by (dy, dx) to lie on the window of (0, 0)."""
    y, x = 80 + dy, 80 + dx
    return SCENE[y : y + shape[0], x : x + shape[1]]


@pytest.mark.parametrize("shift", [(0, 0), (7, -11), (-40, 3), (1, 79), (-64, -70)])
def test_a_whole_shift_is_found_exactly(shift):
    found = phase_shift(moved(0, 0), moved(*shift))
    assert (found.dy_px, found.dx_px) == shift
    assert found.ncc == pytest.approx(1.0, abs=1e-6)


def test_the_shift_is_what_lays_the_second_frame_on_the_first():
    fixed, moving = moved(0, 0), moved(5, -9)
    found = phase_shift(fixed, moving)
    laid = ndimage.shift(moving, (found.dy_px, found.dx_px), order=0)
    np.testing.assert_array_equal(laid[20:-20, 20:-20], fixed[20:-20, 20:-20])
    back = phase_shift(moving, fixed)
    assert (back.dy_px, back.dx_px) == (-found.dy_px, -found.dx_px)


@pytest.mark.parametrize("shift", [(0.3, -0.4), (3.37, -2.61), (-12.5, 0.05)])
def test_a_broken_shift_is_found_to_a_fiftieth_of_a_pixel(shift):
    moving = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(SCENE), (-shift[0], -shift[1]))).real
    found = phase_shift(moved(0, 0), moving[80:336, 80:360], upsample=100)
    assert found.dy_px == pytest.approx(shift[0], abs=0.02)
    assert found.dx_px == pytest.approx(shift[1], abs=0.02)
    assert found.ncc > 0.999


def test_upsampling_gives_multiples_of_its_step():
    found = phase_shift(moved(0, 0), moved(4, 4), upsample=10)
    assert (found.dy_px, found.dx_px) == (4.0, 4.0)


def test_hot_pixels_at_one_place_of_both_frames_do_not_hide_the_shift():
    fixed, moving = moved(0, 0).copy(), moved(6, -5).copy()
    for frame in (fixed, moving):
        frame[100, 120] = frame[10, 10] = 65535
        frame[200, 33] = -30000
    found = phase_shift(fixed, moving)
    assert (found.dy_px, found.dx_px) == (6, -5)
    assert found.ncc > 0.999  # nor do they count in it


def test_one_hot_pixel_of_a_faint_frame_does_no_harm():
    fixed, moving = (moved(0, 0) / 50).astype(np.uint16), (moved(2, 3) / 50).astype(np.uint16)
    moving[50, 60] = 65535
    found = phase_shift(fixed, moving)
    assert (found.dy_px, found.dx_px) == (2, 3)


def test_noise_is_seen_through():
    rng = np.random.default_rng(1)
    sd = SCENE.std()
    frames = [frame + 1.5 * sd * rng.normal(size=frame.shape) for frame in (moved(0, 0), moved(9, 4))]
    found = phase_shift(*frames)
    assert (found.dy_px, found.dx_px) == (9, 4)
    assert found.ncc < 0.6


def test_frames_of_unequal_shape_are_compared_over_what_both_have():
    found = phase_shift(moved(0, 0), moved(3, -8)[:201, :277])
    assert (found.dy_px, found.dx_px) == (3, -8)


def test_no_shift_past_the_bound_is_given():
    for upsample in (1, 10):
        found = phase_shift(moved(0, 0), moved(30, 0), max_shift_px=8.5, upsample=upsample)
        assert abs(found.dy_px) <= 8.5
        assert abs(found.dx_px) <= 8.5
        assert found.ncc < 0.9
    found = phase_shift(moved(0, 0), moved(8, -8), max_shift_px=8)
    assert (found.dy_px, found.dx_px) == (8, -8)


def test_a_flat_frame_has_no_shift_and_says_so():
    found = phase_shift(moved(0, 0), np.full((256, 280), 3.0))
    assert (found.dy_px, found.dx_px) == (0, 0)
    assert math.isnan(found.ncc)
    assert math.isnan(phase_shift(np.full((20, 20), np.nan), np.ones((20, 20))).ncc)


def test_pixels_that_are_no_numbers_do_no_harm():
    moving = moved(7, 7).copy()
    moving[40:60, 50:52] = np.nan
    found = phase_shift(moved(0, 0), moving)
    assert (found.dy_px, found.dx_px) == (7, 7)
    assert found.ncc > 0.9


def test_a_shift_knows_its_length():
    assert phase_shift(moved(0, 0), moved(-6, 8)).length_px == 10


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((4, 8)), np.zeros((8, 8))), {}, "at least 8x8"),
        ((np.zeros((8, 8)), np.zeros((8, 8))), {"upsample": 0}, "upsample is 0"),
        ((np.zeros((8, 8)), np.zeros((8, 8))), {"max_shift_px": -1}, "max_shift_px -1"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, options, message):
    with pytest.raises(BadInputError, match=message):
        phase_shift(*arguments, **options)
