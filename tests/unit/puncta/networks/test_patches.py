"""Patches: what the network sees has noise of one, whatever the camera, and holds what it is asked."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta.networks import PatchRecipe, draw_patch, patch_batch, recipe_at
from parfocal.puncta.networks._normalise import local_background, no_frame, seen_frame
from parfocal.puncta.networks._patch_draws import recorded_counts
from parfocal.puncta.networks._patch_kernel import add_gaussians, add_radial
from parfocal.puncta.networks._profiles import spot_profiles


@pytest.mark.parametrize("background", [5.0, 50.0, 500.0])
@pytest.mark.parametrize("camera", [CameraModel(100.0, 2.2, 1.4), CameraModel(100.0, 6.7, 0.25, em_gain=300.0)])
def test_a_frame_is_seen_with_noise_of_one_whatever_the_camera_and_the_light(background, camera):
    rng = np.random.default_rng(1)
    excess = camera.excess_noise
    variance = np.float32((camera.read_noise_e / excess) ** 2)
    counts = recorded_counts(rng, np.full((96, 96), background), excess, variance)
    seen = seen_frame(counts * excess * camera.gain_adu_per_e + camera.offset_adu, camera)
    assert 4 * seen.planes[0].std() == pytest.approx(1.0, abs=0.08)
    assert abs(4 * seen.planes[0].mean()) < 0.4
    assert np.exp2(4 * seen.planes[1] + 5).mean() == pytest.approx(
        background / excess + variance + 0.375, rel=0.25
    )


def test_no_frame_has_a_part_in_how_another_is_seen():
    rng = np.random.default_rng(2)
    frames = rng.poisson(30.0, (2, 64, 64)).astype(np.uint16)
    camera = CameraModel(0.0, 1.0, 1.0)
    alone = seen_frame(frames[0], camera).planes
    frames[1] = 60000
    np.testing.assert_array_equal(seen_frame(frames[0], camera).planes, alone)


def test_the_background_follows_a_slope_and_takes_no_notice_of_puncta():
    slope = np.linspace(20.0, 80.0, 192, dtype=np.float32)
    image = np.broadcast_to(slope, (192, 192)).copy()
    image[::16, ::16] += 5000
    found = local_background(image)
    middle = slice(48, 144)
    np.testing.assert_allclose(found[:, middle], np.broadcast_to(slope, (192, 192))[:, middle], atol=4.0)


def test_a_frame_that_is_no_picture_is_refused():
    with pytest.raises(BadInputError, match=r"expected real \[y, x\]"):
        seen_frame(np.zeros((2, 8, 8), np.uint16), CameraModel())


def test_spots_hold_the_photons_that_they_are_given():
    x, y, photons = np.array([15.3]), np.array([16.1]), np.array([1000.0])
    gaussian, airy = np.zeros((32, 32)), np.zeros((64, 64))
    add_gaussians(gaussian, x, y, photons, 1.0, 1.1)
    profiles = spot_profiles()
    add_radial(airy, x + 16, y + 16, photons, profiles.in_pixels(0, 1.0), profiles.per_px(1.0), 30)
    assert gaussian.sum() == pytest.approx(1000.0, rel=1e-4)
    assert airy.sum() == pytest.approx(1000.0, rel=0.02)  # rings beyond the window hold the rest
    at = np.arange(64)
    assert (airy.sum(axis=0) * at).sum() / airy.sum() == pytest.approx(31.3, abs=0.02)


def test_every_profile_has_energy_one_and_the_first_is_airys():
    density = spot_profiles().density
    v = np.arange(density.shape[1]) * 0.05
    for kind in density:
        assert np.trapezoid(kind * 2 * np.pi * v, v) == pytest.approx(1.0, abs=0.03)
    first_zero = v[np.argmax(density[0] < 1e-4 * density[0, 0])]
    assert first_zero == pytest.approx(3.83, abs=0.1)


def test_a_patch_holds_its_puncta_where_it_says():
    recipe = PatchRecipe(
        crop_px=48, density_per_1000_px=(2.0, 2.0), photons=(8000.0, 8000.0), background=(10.0, 10.0),
        sigma_px=(1.0, 1.0), empty_share=0.0, moving_share=0.0, steady_share=1.0, structured_share=0.0,
        emccd_share=0.0, no_neighbour_share=0.0,
    )  # fmt: skip
    patch = draw_patch(np.random.default_rng(5), recipe)
    middle = patch.planes[2]
    assert len(patch.puncta) > 1
    for x, y, log_photons, _ in patch.puncta:
        column, line = np.rint([x, y]).astype(int)
        assert middle[line, column] > 5.0
        assert 8000 / 5 < np.exp(log_photons) < 8000 * 5
    np.testing.assert_allclose(patch.background.mean(), 0.0, atol=0.3)


def test_the_seed_and_the_step_alone_decide():
    recipe = PatchRecipe(crop_px=16, most_puncta=8)
    first, again = patch_batch(recipe, 3, 7, 2), patch_batch(recipe, 3, 7, 2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], patch_batch(recipe, 3, 7, 3)[0])
    np.testing.assert_array_equal(patch_batch(recipe, 1, 7, 2, first=2)[0][0], first[0][2])


def test_two_channels_tell_which_puncta_have_calcium():
    recipe = PatchRecipe(crop_px=32, most_puncta=24, density_per_1000_px=(5.0, 5.0), empty_share=0.0)
    planes, puncta, counts, _ = patch_batch(recipe, 12, 3, 0, with_calcium=True)
    assert planes.shape == (12, 12, 32, 32)
    on = np.concatenate([rows[:n, 3] for rows, n in zip(puncta, counts, strict=True)])
    assert 0.05 < on.mean() < 0.7
    # In the calcium plane of the middle frame, puncta that are on are brighter than those that are not.
    bright = {True: [], False: []}
    for image, rows, n in zip(planes, puncta, counts, strict=True):
        for x, y, _, is_on in rows[:n]:
            at = np.rint([y, x]).astype(int).clip(0, 31)
            bright[bool(is_on)].append(image[6, at[0], at[1]])
    assert np.mean(bright[True]) > np.mean(bright[False]) + 0.3


def test_levels_go_from_few_bright_puncta_to_all_there_is():
    hardest = PatchRecipe()
    levels = [recipe_at(level, hardest) for level in range(3)]
    assert levels[2] == hardest
    densities = [level.density_per_1000_px[1] for level in levels]
    dimmest = [level.photons[0] for level in levels]
    assert densities == sorted(densities)
    assert dimmest == sorted(dimmest, reverse=True)


@pytest.mark.parametrize("changes", [{"crop_px": 20}, {"photons": (0.0, 5.0)}, {"sigma_px": (2.0, 1.0)}])
def test_a_recipe_that_cannot_be_drawn_is_refused(changes):
    with pytest.raises(BadInputError, match=next(iter(changes))):
        PatchRecipe(**changes)


def test_where_there_is_no_frame_the_level_says_so():
    assert (no_frame((4, 4))[1] < seen_frame(np.zeros((4, 4)), CameraModel(0.0, 1.0, 0.0)).planes[1]).all()
