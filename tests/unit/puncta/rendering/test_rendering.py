"""Images of localizations."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.puncta import Localizations
from parfocal.puncta.rendering import Renderer, RenderSettings, render, write_rendering

SHAPE = (24, 32)


def spots(x_px, y_px, se_px=None, frame=None, z_um=None):
    x_px = np.atleast_1d(np.asarray(x_px, float))
    n = len(x_px)
    told = {} if se_px is None else {"x_se_px": np.full(n, se_px), "y_se_px": np.full(n, se_px)}
    if z_um is not None:
        told["z_um"] = np.asarray(z_um, float)
    frames = np.zeros(n, np.int64) if frame is None else np.asarray(frame)
    return Localizations((0.1, 0.1), frames, x_px, np.atleast_1d(np.asarray(y_px, float)), np.full(n, 1e3), **told)


def many(n=400, seed=0, se_px=0.2):
    rng = np.random.default_rng(seed)
    return spots(rng.uniform(3, 28, n), rng.uniform(3, 20, n), se_px, rng.integers(0, 50, n))


def moments(image, zoom):
    """Centre and width of what is in an image, camera pixels."""
    y, x = ((np.arange(n) + 0.5) / zoom - 0.5 for n in image.shape)
    total = image.sum()
    centre = (image.sum(1) @ y / total, image.sum(0) @ x / total)
    spread = np.sqrt(image.sum(0) @ (x - centre[1]) ** 2 / total)
    return *centre, spread


@pytest.mark.parametrize("kind", ["gaussian", "histogram", "average_shifted"])
def test_every_localization_counts_once(kind):
    assert render(many(), SHAPE, 4, kind).sum() == pytest.approx(400, rel=1e-4)


@pytest.mark.parametrize("kind", ["gaussian", "histogram", "average_shifted"])
def test_a_spot_is_drawn_where_it_is_seen_on_the_camera(kind):
    y, x, _ = moments(render(spots(10.3, 7.7), SHAPE, 10, kind), 10)
    assert (y, x) == pytest.approx((7.7, 10.3), abs=0.051)


def test_a_gaussian_is_as_wide_as_the_precision_and_lies_exactly():
    y, x, width = moments(render(spots(10.31, 7.72, se_px=0.3), SHAPE, 10), 10)
    assert (y, x) == pytest.approx((7.72, 10.31), abs=1e-3)
    assert width == pytest.approx(np.hypot(0.3, 0.1 / np.sqrt(12)), rel=0.01)


def test_averaged_shifted_histograms_are_that():
    some, zoom, n = many(), 3, 3
    y, x = ((v + 0.5) * zoom for v in (some.y_px, some.x_px))
    height, width = (side * zoom for side in SHAPE)
    mean = np.zeros((height, width))
    for dy in range(n):
        for dx in range(n):
            edges = [np.arange(-2 * n + d, size + 2 * n, n) for d, size in ((dy, height), (dx, width))]
            counts, *_ = np.histogram2d(y, x, edges)
            fine = counts.repeat(n, 0).repeat(n, 1) / n**2
            top, left = 2 * n - dy, 2 * n - dx
            mean += fine[top : top + height, left : left + width] / n**2
    np.testing.assert_allclose(
        render(some, settings=RenderSettings("average_shifted", zoom, n), shape_px=SHAPE), mean, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["gaussian", "histogram", "average_shifted"])
def test_batches_add_up_to_the_whole(kind):
    some = many()
    renderer = Renderer(SHAPE, RenderSettings(kind, 4))
    for begin in range(0, len(some), 130):
        renderer.add(some.take(np.arange(begin, min(begin + 130, len(some)))))
    assert renderer.n_added == 400
    np.testing.assert_allclose(renderer.image, render(some, SHAPE, 4, kind), atol=1e-5)


def test_what_lies_outside_or_nowhere_is_no_harm():
    assert render(spots([-5.0, np.nan, 500.0], [3.0, 3.0, 3.0], 0.2), SHAPE).sum() == 0
    assert render(spots(-0.5, 5.0, 0.2), SHAPE).sum() == pytest.approx(0.5, abs=1e-3)  # half of it is inside


def test_colour_tells_time_and_brightness_still_density():
    some = spots([5.0, 20.0], [5.0, 5.0], 0.2, frame=[0, 99])
    settings = RenderSettings(color_by="time", color_range=(0, 99))
    red, green, blue = render(some, SHAPE, settings=settings)
    assert (red + green + blue).sum() == pytest.approx(2, rel=1e-3)
    half = red.shape[1] // 2
    assert blue[:, :half].sum() > 3 * blue[:, half:].sum()
    assert red[:, half:].sum() > 3 * red[:, :half].sum()


def test_a_spot_of_unknown_depth_is_grey():
    settings = RenderSettings(color_by="z", color_range=(-0.5, 0.5))
    red, green, blue = render(spots(5.0, 5.0, 0.2), SHAPE, settings=settings)
    np.testing.assert_allclose(red, green)
    np.testing.assert_allclose(red, blue)


def test_a_rendering_on_disk_knows_its_pixel(tmp_path):
    image = render(many(), SHAPE, 4)
    path = write_rendering(tmp_path / "image.ome.zarr", image, (0.1, 0.12), 4)
    pixels, voxel_um = read_ome_zarr(path)
    np.testing.assert_array_equal(pixels[0], image)
    assert voxel_um[1:] == pytest.approx((0.025, 0.03))


@pytest.mark.parametrize(
    "wrong", [{"kind": "cubic"}, {"zoom": 0}, {"color_by": "mood"}, {"color_by": "z", "color_range": (1.0, 1.0)}]
)
def test_settings_that_make_no_image_are_refused(wrong):
    with pytest.raises(BadInputError, match="render:"):
        RenderSettings(**wrong)
