"""What the generator of synthetic nuclei promises to whoever trains on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.segmentation.generator import (
    SCENES,
    Imaging,
    NucleiRecipe,
    drawn_labels,
    field_recipe,
    hard_recipe,
    nuclei_patch,
    nuclei_plane,
    nuclei_volume,
    of_scene,
    seen_labels,
)

CLEAR = Imaging(
    sigma_z_px=(0.6, 0.8), sigma_xy_px=(0.5, 0.7), haze=(0.0, 0.0), background=(0.01, 0.02), decay=(0.0, 0.0),
    z_step=(1.0, 1.0), dead_plane=0.0, dim_planes=0.0, plane_jitter=(0.0, 0.0), peak_photons=(300.0, 400.0),
    read_noise_e=(0.0, 1.0), correlated=0.0, saturated=0.0,
)  # fmt: skip


def test_a_seed_gives_the_same_volume_to_the_bit_and_another_one_another():
    first, again, other = nuclei_volume(5), nuclei_volume(5), nuclei_volume(6)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


def test_nuclei_are_where_the_labels_are():
    """Most of a nucleus is brighter than what surrounds it, and the labelled part holds the light."""
    for seed in range(4):
        patch = nuclei_patch(seed, of_scene("culture", imaging=CLEAR))
        ids = np.arange(1, patch.labels.max() + 1)
        inside = ndimage.mean(patch.image, patch.labels, ids)
        outside = np.median(patch.image[patch.labels == 0])
        assert ids.size > 1
        assert np.mean(inside > outside + 20) > 0.95


def test_ids_run_from_one_without_a_gap():
    for seed, scene in enumerate(SCENES):
        labels = nuclei_volume(seed, of_scene(scene)).labels
        assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))


def test_an_empty_volume_has_light_and_no_nucleus():
    for seed in range(5):
        patch = nuclei_patch(seed, of_scene("empty"))
        assert patch.labels.max() == 0
        assert patch.image.std() > 0


def test_planes_lie_as_far_apart_as_the_voxel_size_says():
    recipe = of_scene("tissue", imaging=replace(CLEAR, z_step=(3.0, 3.0)), grid_um=0.4)
    sample = nuclei_volume(1, recipe)
    assert sample.image.shape == sample.labels.shape
    assert sample.voxel_size_um == pytest.approx((1.2, 0.4, 0.4))
    assert 10 <= sample.image.shape[0] <= 11
    assert nuclei_patch(1, recipe).image.shape == (32, 64, 64)


def test_a_dead_plane_is_dark_and_stays_labelled():
    recipe = of_scene("tissue", imaging=replace(CLEAR, dead_plane=1.0))
    patch = nuclei_patch(3, recipe)
    light = patch.clean.mean((1, 2)) - patch.clean.min()
    dead = int(np.argmin(light))
    assert light[dead] < 0.4 * np.median(light)
    assert patch.labels[dead].max() > 0


def test_elongated_nuclei_are_longer_than_the_others():
    def aspect(scene: str) -> float:
        ratios: list[float] = []
        for seed in range(5):
            labels = nuclei_patch(seed, of_scene(scene, imaging=CLEAR)).labels
            for k, box in enumerate(ndimage.find_objects(labels), start=1):
                points = np.argwhere((labels[box] == k).any(0))  # from above: how flat all of them are aside
                if len(points) > 40:
                    spread = np.linalg.eigvalsh(np.cov(points.T))
                    ratios.append(float(np.sqrt(spread[-1] / spread[0])))
        return float(np.median(ratios))

    assert aspect("elongated") > 1.15 * aspect("embryo")


def test_mitotic_plates_outshine_the_other_nuclei():
    patch = nuclei_patch(2, of_scene("mitotic", imaging=CLEAR))
    means = ndimage.mean(patch.clean - patch.clean.min(), patch.labels, np.arange(1, patch.labels.max() + 1))
    assert means.max() > 2 * np.percentile(means, 25)


def test_crowded_nuclei_touch():
    labels = nuclei_plane(4, replace(field_recipe(), shares={"crowded": 1.0})).labels
    left, right = labels[:, :-1], labels[:, 1:]
    touching = (left != right) & (left > 0) & (right > 0)
    assert np.unique(left[touching]).size > 5


def test_noise_is_all_that_a_noisy_image_has_more_than_its_clean_twin():
    imaging = Imaging(peak_photons=(20.0, 40.0), saturated=0.0, gain_adu=(1.0, 1.0), offset_adu=(100.0, 200.0))
    patch = nuclei_plane(11, replace(field_recipe(), imaging=imaging))
    noise = patch.image - patch.clean
    assert abs(float(noise.mean())) < 0.3
    assert float(noise.std()) > 0.5


def test_hard_volumes_are_noisier_than_usual_ones():
    def noise(recipe: NucleiRecipe) -> float:
        patches = [nuclei_patch(seed, recipe) for seed in range(8)]
        return float(np.median([np.std(p.image - p.clean) / (np.ptp(p.clean) + 1) for p in patches]))

    assert noise(hard_recipe()) > noise(NucleiRecipe())


def _ball(radius_px: float, size: int = 48, at_x: float | None = None) -> np.ndarray:
    z, y, x = np.ogrid[:size, :size, :size]
    middle = (size - 1) / 2
    centre_x = middle if at_x is None else at_x
    return (z - middle) ** 2 + (y - middle) ** 2 + (x - centre_x) ** 2 < radius_px**2


def _lengths(inside: np.ndarray) -> tuple[int, ...]:
    return tuple(int(np.ptp(where)) + 1 for where in np.nonzero(inside))


def test_without_blur_a_nucleus_is_seen_where_it_is():
    labels = nuclei_patch(3, of_scene("tissue", outline="true")).labels
    assert np.array_equal(seen_labels(labels, (0.0, 0.0, 0.0)), labels)


def test_a_nucleus_under_a_long_blur_is_seen_longer_along_it_and_not_wider():
    ball = _ball(7.0).astype(np.int32)
    sharp, long = (_lengths(seen_labels(ball, (sigma, 0.7, 0.7)) > 0) for sigma in (0.7, 6.0))
    assert max(abs(a - b) for a, b in zip(sharp, _lengths(ball > 0), strict=True)) <= 2
    assert long[0] > 1.5 * sharp[0]
    assert max(abs(long[k] - sharp[k]) for k in (1, 2)) <= 2


def test_the_outline_is_midway_between_nothing_and_the_mean_within():
    ball = _ball(8.0)
    seen = seen_labels(ball.astype(np.int32), (3.0, 1.0, 1.0)) > 0
    light = ndimage.gaussian_filter(ball.astype(float), (3.0, 1.0, 1.0), mode="nearest", truncate=2.5)
    rim = seen & ~ndimage.binary_erosion(seen)
    beyond = ndimage.binary_dilation(seen) & ~seen
    level = 0.5 * light[seen].mean()
    assert light[rim].min() > 0.97 * level
    assert light[beyond].max() < 1.03 * level


def test_where_two_nuclei_touch_each_is_seen_on_its_side():
    labels = np.where(_ball(7.0, at_x=17.0), 1, 0)
    labels = np.where(_ball(7.0, at_x=30.0) & (labels == 0), 2, labels).astype(np.int32)
    seen = seen_labels(labels, (4.0, 1.0, 1.0))
    x = np.arange(48)[None, None]
    assert np.all(seen[np.broadcast_to(x < 22, seen.shape)] != 2)
    assert np.all(seen[np.broadcast_to(x > 25, seen.shape)] != 1)


def test_drawn_plane_by_plane_a_nucleus_ends_where_it_can_no_longer_be_seen():
    ball, sigma = _ball(7.0), (4.0, 1.0, 1.0)
    drawn = drawn_labels(ball.astype(np.int32), sigma) > 0
    light = ndimage.gaussian_filter(ball.astype(float), sigma, mode="nearest", truncate=2.5)
    brightest = light.max(axis=(1, 2))
    shows = brightest >= 0.1 * brightest.max()
    assert np.array_equal(drawn.any(axis=(1, 2)), shows)
    assert shows.sum() > _lengths(seen_labels(ball.astype(np.int32), sigma) > 0)[0] + 4


def test_in_each_plane_it_is_drawn_midway_between_nothing_and_its_mean_there():
    ball, sigma = _ball(8.0), (3.0, 1.0, 1.0)
    drawn = drawn_labels(ball.astype(np.int32), sigma) > 0
    light = ndimage.gaussian_filter(ball.astype(float), sigma, mode="nearest", truncate=2.5)
    for inside, plane in zip(drawn, light, strict=True):
        if inside.any():
            level = 0.5 * plane[inside].mean()
            assert plane[inside].min() > 0.95 * level
            assert plane[~inside].max() < 1.05 * level


def test_of_two_nuclei_above_each_other_each_voxel_is_the_brighter_ones():
    z = np.arange(48)[:, None, None]
    both = np.where(_ball(6.0), np.where(z < 24, 1, 2), 0).astype(np.int32)
    drawn = drawn_labels(both, (3.0, 1.0, 1.0))
    assert set(np.unique(drawn[z.ravel() < 23])) == {0, 1}
    assert set(np.unique(drawn[z.ravel() > 24])) == {0, 2}


@pytest.mark.parametrize("outline", ["drawn", "seen"])
def test_what_labels_say_changes_no_pixel(outline: Any):
    told, true = (nuclei_patch(4, of_scene("embryo", outline=kind)) for kind in (outline, "true"))
    assert np.array_equal(told.image, true.image)
    assert (told.labels > 0).sum() > (true.labels > 0).sum() > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shares": {"marble": 1.0}}, "marble"),
        ({"shape_zyx": (4, 8, 8)}, "shape_zyx"),
        ({"grid_um": 0.0}, "grid_um"),
    ],
)
def test_a_recipe_that_cannot_be_drawn_is_refused_in_one_line(changes: dict[str, object], said: str):
    with pytest.raises(BadInputError, match=said) as refused:
        NucleiRecipe(**changes)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(refused.value)
