"""Spots of a frame whose widths are alike lend each other what each alone does not show; others are left alone."""

import numpy as np
import pytest

from parfocal.fitting import spot_image
from parfocal.optics import CameraModel
from parfocal.puncta.detection import LocalizeSettings, localize

CAMERA = CameraModel(100.0, 2.0, 1.5)
AT = np.array([(y, x) for y in range(12, 240, 15) for x in range(12, 240, 15)])


def frame(widths_px, photons, background, seed=0, more=()):
    """Return a frame of spots on a grid, and where they are."""
    rng = np.random.default_rng(seed)
    places = AT[: len(widths_px)] + rng.uniform(-0.5, 0.5, (len(widths_px), 2))
    mean = np.full((252, 252), float(background))
    for (y, x), width in [*zip(places, widths_px), *more]:
        j, i = round(y), round(x)
        mean[j - 8 : j + 9, i - 8 : i + 9] += spot_image((17, 17), x - i + 8, y - j + 8, width, width, photons)
    electrons = rng.poisson(mean) + rng.normal(0, 1.5, mean.shape)
    return np.round(100 + 2.0 * electrons).astype(np.uint16), places


def both_ways(raw, **told):
    return [localize(raw, CAMERA, LocalizeSettings(widths=widths, **told)) for widths in ("own", "alike")]


def errors_px(found, places):
    """Return errors of both axes and what was stated of them, of what is near a place."""
    apart = np.hypot(found.y_px[:, None] - places[:, 0], found.x_px[:, None] - places[:, 1])
    rows, at = np.flatnonzero(apart.min(axis=1) < 1.5), apart.argmin(axis=1)
    off = [found.y_px - places[at, 0], found.x_px - places[at, 1]]
    return np.concatenate([e[rows] for e in off]), np.concatenate([found.y_se_px[rows], found.x_se_px[rows]])


@pytest.fixture(scope="module")
def dim():
    """Dim spots of one width, in several frames, found both ways."""
    return [(both_ways(raw), at) for raw, at in (frame(np.full(256, 0.72), 200, 100, seed) for seed in range(12))]


def test_dim_spots_are_placed_better_by_a_common_width(dim):
    own, alike = (np.concatenate([errors_px(found[k], at)[0] for found, at in dim]) for k in (0, 1))
    assert np.sqrt(np.mean(alike**2)) < 0.97 * np.sqrt(np.mean(own**2))


def test_what_is_stated_of_dim_places_is_so(dim):
    off, stated = (np.concatenate(part) for part in zip(*[errors_px(found[1], at) for found, at in dim]))
    assert (np.abs(off) < stated).mean() == pytest.approx(0.683, abs=0.025)


def test_their_light_and_width_are_what_each_ones_picture_says():
    own, alike = both_ways(frame(np.full(256, 0.72), 200, 100)[0], max_emitters=1)
    for name in ("photons", "sigma_x_px", "background", "misfit"):
        np.testing.assert_array_equal(getattr(alike, name), getattr(own, name))
    assert not np.array_equal(alike.x_px, own.x_px)


def test_what_is_asked_of_each_spot_holds_of_each():
    raw, _ = frame(np.full(256, 0.75), 250, 100)
    for found in both_ways(raw, min_photons=250.0, max_misfit=1.0, max_emitters=1):
        assert len(found) > 20
        assert found.photons.min() > 250
        assert found.misfit.max() <= 1


@pytest.mark.parametrize("photons", [600, 1000, 10000])
def test_spots_of_two_kinds_are_placed_as_well_and_as_truly_as_each_by_itself(photons):
    widths = np.tile([0.8, 0.8, 0.8, 1.8], 64)
    off, stated = [[], []], []
    for seed in range(4):
        raw, places = frame(widths, photons, 30, seed)
        found = both_ways(raw)
        for into, one in zip(off, found):
            into.append(errors_px(one, places)[0])
        stated.append(errors_px(found[1], places)[1])
    own, alike = (np.concatenate(part) for part in off)
    assert np.sqrt(np.mean(alike**2)) < 1.03 * np.sqrt(np.mean(own**2))
    assert (np.abs(alike) < np.concatenate(stated)).mean() > 0.64


@pytest.mark.parametrize("width_px", [1.3, 1.5])
def test_a_wide_spot_close_to_a_sharp_one_stays_one(width_px):
    wide = [((200.0, 20.0 + 24 * k), width_px) for k in range(8)]
    near = [*wide, *(((205.0, x), 1.0) for (_, x), _ in wide)]
    raw, places = frame(np.full(176, 1.0), 4000, 20, more=near)
    for found in both_ways(raw):
        assert len(found) == len(places) + len(near)


def test_few_spots_are_fitted_one_by_one():
    raw, _ = frame(np.full(12, 1.0), 500, 20)
    own, alike = both_ways(raw)
    np.testing.assert_array_equal(alike.x_px, own.x_px)
