import numpy as np
import pytest
from scipy.special import j1, jn_zeros

from parfocal.errors import BadInputError
from parfocal.optics import Objective, noll_to_nm, otf_plane, psf_stack, zernike_polynomial

WATER = Objective(1.2, 1.33, 0.6, (0.108, 0.108))
TINY_PIXELS = Objective(1.2, 1.33, 0.6, (0.01, 0.01))


def test_noll_indices_are_those_of_the_paper():
    table = [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0)]
    table += [(4, 2), (4, -2), (4, 4), (4, -4), (5, 1), (5, -1), (5, 3), (5, -3), (5, 5), (5, -5), (6, 0)]
    assert [noll_to_nm(j) for j in range(1, 23)] == table


def test_zernike_polynomials_are_orthonormal_on_the_disc():
    # Gauss-Legendre in rho^2 and an even grid in theta integrate these products exactly.
    nodes, weights = np.polynomial.legendre.leggauss(12)
    rho = np.sqrt((nodes + 1) / 2)[:, None]
    theta = np.arange(32)[None, :] * 2 * np.pi / 32
    terms = np.array([zernike_polynomial(j, *np.broadcast_arrays(rho, theta)) for j in range(1, 23)])
    gram = np.einsum("irt,jrt,r->ij", terms, terms, weights) / 64
    np.testing.assert_allclose(gram, np.eye(22), atol=1e-10)


def test_in_focus_spot_is_the_airy_pattern():
    spot = psf_stack(TINY_PIXELS, {}, [0.0], 201)[0]
    v = 2 * np.pi * 1.2 / 0.6 * 0.01 * np.abs(np.arange(-100, 101))
    v[100] = 1e-9
    airy = np.pi * (1.2 / 0.6) ** 2 * 0.01**2 * (2 * j1(v) / v) ** 2
    assert np.abs(spot[100] - airy).max() < 1.5e-3 * airy.max()
    assert np.abs(spot[:, 100] - airy).max() < 1.5e-3 * airy.max()


def test_first_dark_ring_is_at_the_zero_of_j1():
    spot = psf_stack(TINY_PIXELS, {}, [0.0], 101, oversampling=1)[0][50, 50:]
    expected_um = jn_zeros(1, 1)[0] * 0.6 / (2 * np.pi * 1.2)
    assert np.argmin(spot[:45]) * 0.01 == pytest.approx(expected_um, abs=0.01)


def test_no_light_is_lost_or_made_with_defocus_and_aberrations():
    window = psf_stack(WATER, {6: 0.15, 8: 0.05, 11: 0.1}, [-0.8, 0.0, 0.8], 301)
    # Beyond 16 um the Airy pattern keeps 2 / (pi v), v = 2 pi NA r / wavelength, of its light.
    tail = 2 / (np.pi * 2 * np.pi * 2 * 150 * 0.108)
    np.testing.assert_allclose(window.sum(axis=(1, 2)), 1.0, atol=2 * tail)


def test_pixel_values_are_the_light_in_the_pixel():
    fine = psf_stack(Objective(1.2, 1.33, 0.6, (0.012, 0.012)), {6: 0.1}, [0.3], 9 * 21)[0]
    binned = fine.reshape(21, 9, 21, 9).sum(axis=(1, 3))
    coarse = psf_stack(WATER, {6: 0.1}, [0.3], 21)[0]
    assert np.abs(coarse - binned).max() < 2e-3 * coarse.max()


def test_oversampled_stack_holds_the_plain_one():
    fine = psf_stack(WATER, {6: 0.1}, [0.3], 21, oversampling=3)[0]
    plain = psf_stack(WATER, {6: 0.1}, [0.3], 21, centre_px=(0, 0))[0]
    assert np.abs(fine[31 % 3 :: 3, 31 % 3 :: 3][:21, :21] - plain).max() < 2e-3 * plain.max()


def test_axial_width_is_that_of_the_exact_defocus_integral():
    z = np.linspace(-1.5, 1.5, 41)
    on_axis = psf_stack(Objective(1.2, 1.33, 0.6, (0.02, 0.02)), {}, z, 1)[:, 0, 0]
    rho = (np.arange(4000) + 0.5) / 4000
    k_z = 2 * np.pi / 0.6 * np.sqrt(1.33**2 - (1.2 * rho) ** 2)
    truth = np.abs((np.exp(1j * np.outer(z, k_z)) * rho).mean(axis=1) * 2) ** 2
    np.testing.assert_allclose(on_axis / on_axis.max(), truth, atol=3e-3)


def test_low_na_axial_width_is_the_textbook_formula():
    dry = Objective(0.2, 1.0, 0.5, (0.2, 0.2))
    z = np.linspace(-15, 15, 121)
    on_axis = psf_stack(dry, {}, z, 1)[:, 0, 0]
    above = z[on_axis > on_axis.max() / 2]
    # sinc^2 of the paraxial phase z NA^2 / (4 n) in waves falls to half at 0.443 on each side.
    assert above[-1] - above[0] == pytest.approx(2 * 0.443 * 4 * 0.5 / (2 * 0.2**2), rel=0.05)


def test_spot_without_aberrations_is_the_same_on_both_sides_of_focus():
    below, above = psf_stack(WATER, {}, [-0.7, 0.7], 41)
    np.testing.assert_allclose(below, above, atol=1e-12)
    np.testing.assert_allclose(above, above.T, atol=1e-12)


def test_astigmatic_spots_either_side_of_focus_are_mirror_images():
    below, above = psf_stack(WATER, {6: 0.12}, [-0.6, 0.6], 41)
    np.testing.assert_allclose(below, above.T, atol=1e-12)
    assert not np.allclose(below, above, atol=1e-3)


def test_positive_vertical_astigmatism_narrows_x_beyond_the_focal_plane():
    spot = psf_stack(WATER, {6: 0.12}, [0.5], 25)[0]
    offset = np.arange(25) - 12
    assert (spot * offset**2).sum() < 0.6 * (spot * offset[:, None] ** 2).sum()


def test_oblique_astigmatism_is_the_vertical_one_turned_by_45_degrees():
    spot = psf_stack(TINY_PIXELS, {5: 0.12}, [0.5], 101)[0]
    vertical = psf_stack(TINY_PIXELS, {6: 0.12}, [0.5], 101)[0]
    diagonal = np.array([spot[50 + k, 50 + k] for k in range(-35, 36)])
    along_x = np.interp(np.arange(-35, 36) * np.sqrt(2), np.arange(-50, 51), vertical[50])
    np.testing.assert_allclose(diagonal, along_x, atol=3e-3 * spot.max())


def test_defocus_does_not_move_the_spot_sideways():
    stack = psf_stack(WATER, {}, [-0.4, 0.4], 31)
    offset = np.arange(31) - 15
    for spot in stack:
        assert abs((spot * offset).sum()) < 1e-3


def test_moved_emitter_gives_the_exactly_moved_image():
    plain = psf_stack(WATER, {6: 0.1, 8: 0.1}, [0.2], 33)[0]
    moved = psf_stack(WATER, {6: 0.1, 8: 0.1}, [0.2], 33, centre_px=(2.0, -3.0))[0]
    np.testing.assert_allclose(moved[4:28, 4:28], plain[2:26, 7:31], atol=1e-12)


def test_what_cannot_be_is_refused_in_one_line():
    with pytest.raises(BadInputError, match="below the immersion index"):
        Objective(na=1.4, immersion_index=1.33)
    with pytest.raises(BadInputError, match="Noll index"):
        psf_stack(WATER, {0: 0.1}, [0.0], 9)
    with pytest.raises(BadInputError, match="size_px"):
        psf_stack(WATER, {}, [0.0], 0)
    with pytest.raises(BadInputError, match="grid step"):
        otf_plane(WATER, {}, 0.0, (64, 64), (0.2, 0.2))
