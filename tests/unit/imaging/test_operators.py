"""Every operator of the table against its definition by SciPy; floors on noise; objects, tiles, hard cases."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import fft, ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import (
    OPERATORS,
    operator_scores,
    operator_scores_by_tile,
    operator_scores_per_object,
    sharpness,
)
from parfocal.optics import CameraModel

DATA = Path(__file__).parents[3] / "../shared/data/B_focus"
NEEDS_DATA = pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data: real stacks are not here")


def textured(shape=(150, 171), seed=0, sigma=1.2, level=600.0):
    return level + 300 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma) * 2


def windows(image):
    parts = [image]
    for axis in (0, 1):
        edges = np.linspace(0, image.shape[axis], round(image.shape[axis] / 20) + 1).round().astype(int)
        parts = [part.take(range(a, b), axis) for part in parts for a, b in pairwise(edges)]
    return parts


def definitions(image):
    """The operators that `sharpness` has not, by SciPy and NumPy in float64."""
    f = np.asarray(image, np.float64)
    height, width = f.shape
    mean = f.mean()
    inner = f[1:-1, 1:-1]
    bend = np.abs(2 * inner - f[1:-1, :-2] - f[1:-1, 2:]) + np.abs(2 * inner - f[:-2, 1:-1] - f[2:, 1:-1])
    gradient = np.hypot(ndimage.sobel(f, 0), ndimage.sobel(f, 1))[1:-1, 1:-1]
    g = f - mean

    c = np.abs(fft.dctn(f, norm="ortho"))
    c /= np.linalg.norm(c)
    y, x = np.mgrid[:height, :width]
    part = c[(y / (height / 3) + x / (width / 3)) < 1]

    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    index_radius = np.hypot(np.rint(fy * height), np.rint(fx * width))
    amplitude = np.abs(np.fft.fft2(f))
    of_nyquist = np.hypot(fy, fx) / 0.5
    power = np.abs(np.fft.fft2(g)) ** 2
    ring = np.floor(index_radius).astype(int) + 1
    radii = np.arange(2, int(min(height, width) / 8))
    sums = [power[ring == r].sum() for r in radii]
    ratio = np.array([w.var() / w.mean() for w in windows(f)])
    return {
        "modified_laplacian": bend.mean(),
        "tenengrad_variance": gradient.var(),
        "variance_over_mean": f.var() / mean,
        "vollath_f5": (g[1:-1, :-2] * g[1:-1, 1:-1])[:, : width - 2].mean(),
        "dct_entropy": -(part * np.log(part)).sum() / (height * width / 18),
        "high_frequency_ratio": amplitude[index_radius > min(height, width) / 4].sum() / amplitude.sum(),
        "band_power": (power / f.size)[(of_nyquist >= 0.025) & (of_nyquist <= 0.14)].mean(),
        "power_slope": np.polyfit(np.log(radii), np.log(sums), 1)[0],
        "local_focus": ratio.var() / np.median(ratio),
    }


@pytest.mark.parametrize("shape", [(150, 171), (128, 96), (301, 64)])
@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_every_operator_equals_its_definition(shape, dtype):
    image = textured(shape).astype(dtype)
    measured = operator_scores(image).raw
    truth = definitions(image)
    for name, value in truth.items():
        assert measured[name] == pytest.approx(value, rel=1e-4), name
    six = vars(sharpness(image).raw)
    assert {name: measured[name] for name in six} == six
    assert set(six) | set(truth) | {"relative_entropy"} == set(OPERATORS)


def test_the_whole_frame_and_a_mask_of_all_of_it_agree():
    image = textured().astype(np.uint16)
    whole, masked = operator_scores(image), operator_scores(image, mask=np.ones(image.shape, int))
    for kind in ("raw", "debiased", "normalized"):
        a, b = getattr(whole, kind), getattr(masked, kind)
        for name in set(OPERATORS) - {"relative_entropy"}:
            assert a[name] == pytest.approx(b[name], rel=1e-4), name
    assert whole.noise_sd_adu == pytest.approx(masked.noise_sd_adu, rel=1e-5)


def grains(sigma):
    """Forty bright grains of 9 px on a dim ground in a mask, blurred, with noise of 3 ADU."""
    rng = np.random.default_rng(0)
    scene = np.zeros((256, 256))
    scene[tuple(rng.integers(50, 200, (2, 40)))] = 1
    mask = ndimage.binary_dilation(scene, iterations=12)
    scene = 80 + 900 * ndimage.grey_dilation(scene * rng.uniform(0.5, 1, scene.shape), footprint=np.ones((9, 9)))
    return ndimage.gaussian_filter(scene, sigma) + rng.normal(0, 3, mask.shape), mask


@pytest.mark.parametrize(
    "name", sorted(set(OPERATORS) - {"relative_entropy"})
)  # its own tests: objects, not grains
def test_blur_lowers_every_operator(name):
    camera = CameraModel(0.0, 1e-3, 3e3)  # 3 ADU of read noise, next to no shot noise
    for masked in [False] if name == "high_frequency_ratio" else [False, True]:  # a mask's edge is high frequency
        values = []
        for sigma in (0.7, 2.5, 7):
            frame, mask = grains(sigma)
            scores = operator_scores(frame, [name], camera, mask=mask if masked else None)
            values.append(scores.debiased[name])
        assert values[0] > values[1] > values[2], masked


def test_the_reference_page_has_a_row_for_every_operator():
    page = (Path(__file__).parents[3] / "docs/reference/focus-operators.md").read_text()
    for operator in OPERATORS.values():
        cells = (f"`{operator.name}`", operator.abbreviation, operator.formula.replace("|", "\\|"), operator.floor)
        assert f"| {' | '.join(cells)} | {operator.power} |" in page, operator.name


def test_names_may_be_abbreviated_and_come_back_in_full():
    scores = operator_scores(textured(), ["LAPV", "vol5", "dct_entropy", "LAPV"])
    assert tuple(scores.raw) == ("laplacian_variance", "vollath_f5", "dct_entropy")
    assert len({o.abbreviation.lower() for o in OPERATORS.values()}) == len(OPERATORS)
    assert tuple(operator_scores(textured(), "TENG").raw) == ("tenengrad",)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("noise", "model"), [("immerkaer", None), ("model", CameraModel(100.0, 2.0, 1.6))])
def test_on_pure_noise_nothing_is_left_above_the_floor(noise, model, masked):
    rng = np.random.default_rng(5)
    mask = np.zeros((160, 160), bool)
    mask[10:150, 20:140] = True
    raw, debiased = {}, {}
    for _ in range(12):
        electrons = rng.poisson(50, mask.shape) + rng.normal(0, 1.6, mask.shape)
        scores = operator_scores(100 + 2 * electrons, None, model, noise, mask if masked else None)
        for name in OPERATORS:
            raw.setdefault(name, []).append(scores.raw[name])
            debiased.setdefault(name, []).append(scores.debiased[name])
    for name, operator in OPERATORS.items():
        if operator.floor == "-":
            continue
        floor = np.mean(raw[name]) if operator.floor != "0" else 4 * (50 + 1.6**2)
        # an absolute value leaves the signed root of a small difference; a band has few frequencies
        share = 0.15 if "quadrature" in operator.floor else 0.1 if name == "band_power" else 0.02
        assert abs(np.mean(debiased[name])) < share * floor, name


def test_gain_and_exposure_leave_the_normalized_operators_alone():
    clean = textured((160, 160))
    dim = operator_scores(100 + clean, None, CameraModel(100.0), "none").normalized
    bright = operator_scores(300 + 10 * clean, None, CameraModel(300.0, 2.5), "none").normalized
    for name in OPERATORS:
        assert bright[name] == pytest.approx(dim[name], rel=1e-3), name


def two_objects():
    labels = np.zeros((180, 240), np.int32)
    labels[20:160, 20:100] = 5
    labels[20:160, 130:220] = 12
    rng = np.random.default_rng(4)
    grain = ndimage.gaussian_filter(rng.normal(size=labels.shape), 1.2) * 4
    blurred = ndimage.gaussian_filter(grain, 4)
    image = np.where(labels == 5, 800 + 200 * grain, np.where(labels == 12, 500 + 200 * blurred, 60))
    return image + rng.normal(0, 2, labels.shape), labels


def test_each_object_has_its_own_row_equal_to_that_of_its_mask():
    image, labels = two_objects()
    rows = operator_scores_per_object(image, labels)
    assert list(rows) == [5, 12]
    for label, row in rows.items():
        alone = operator_scores(image, mask=labels == label)
        assert row.n_px == (labels == label).sum()
        for name in set(OPERATORS) - {"relative_entropy"}:  # whose background keeps clear of both
            assert row.raw[name] == pytest.approx(alone.raw[name], rel=1e-6), name
    for name in ("laplacian_variance", "mean_abs_log", "vollath_f4", "dct_entropy", "relative_entropy"):
        assert rows[5].debiased[name] > rows[12].debiased[name], name


def test_nothing_outside_an_object_changes_its_scores():
    image, labels = two_objects()
    mask = labels == 5
    names = sorted(set(OPERATORS) - {"relative_entropy"})
    spoilt = np.where(mask, image, np.random.default_rng(0).uniform(0, 6e4, image.shape))
    spoilt[170, 10] = np.nan
    before, after = (operator_scores(frame, names, mask=mask) for frame in (image, spoilt))
    for name in names:
        assert after.raw[name] == pytest.approx(before.raw[name], rel=1e-3), name
    assert "non_finite" not in after.flags


def test_an_object_of_a_rectangle_scores_as_its_crop_does():
    image, labels = two_objects()
    masked = operator_scores(image, mask=labels == 5).raw
    cropped = operator_scores(image[20:160, 20:100]).raw
    for name in set(OPERATORS) - {"relative_entropy"}:
        assert masked[name] == pytest.approx(cropped[name], rel=1e-4), name


def test_tiles_are_scored_as_frames_of_their_own():
    image, _ = two_objects()
    tiles = operator_scores_by_tile(image, ["LAPV", "DCTS"], tile_px=60)
    assert (len(tiles), len(tiles[0])) == (3, 4)
    assert tiles[1][2] == operator_scores(image[60:120, 120:180], ["LAPV", "DCTS"])
    offsets = np.full(image.shape, 50.0)
    mapped = operator_scores_by_tile(image, ["LAPV"], 60, CameraModel(offset_adu=offsets), "none")
    assert mapped[0][3].mean_adu == pytest.approx(image[:60, 180:].mean() - 50, rel=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("value", [7, 0.1, 65535])
def test_a_flat_frame_scores_nothing_and_is_never_the_sharpest(masked, value):
    mask = np.ones((90, 100), int) if masked else None
    scores = operator_scores(np.full((90, 100), value), mask=mask)
    assert scores.flags == ("flat",)
    for kind in (scores.raw, scores.debiased, scores.normalized):
        for name, score in kind.items():
            assert math.isnan(score) if name in ("power_slope", "relative_entropy") else score == 0, name


def test_a_dark_object_has_no_normalized_score_and_says_so():
    image = np.random.default_rng(0).normal(90, 2, (96, 96))
    for mask in (None, np.ones(image.shape)):
        scores = operator_scores(image, camera_model=CameraModel(100.0), mask=mask)
        assert scores.flags[0] == "mean_not_positive"
        for name, operator in OPERATORS.items():
            if operator.power or name == "normalized_variance":
                assert math.isnan(scores.normalized[name]), name
        assert scores.raw["laplacian_variance"] > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pixel_that_is_no_number_is_never_scored_over(bad):
    image, labels = two_objects()
    image[50, 50] = bad
    assert operator_scores(image).flags == ("non_finite",)
    rows = operator_scores_per_object(image, labels)
    assert rows[5].flags == ("non_finite",)
    assert all(math.isnan(value) for value in rows[5].raw.values())
    assert all(math.isfinite(value) for value in rows[12].raw.values())


def test_an_object_too_small_for_an_operator_says_for_which():
    image, _ = two_objects()
    mask = np.zeros(image.shape, bool)
    mask[30:36, 30:36] = True
    scores = operator_scores(image, mask=mask)
    for name in ("mean_abs_log", "power_slope", "local_focus", "relative_entropy"):
        assert math.isnan(scores.raw[name])
        assert f"too_small_for_{name}" in scores.flags
    assert scores.raw["tenengrad"] > 0
    one_pixel = operator_scores(image, ["LAPV", "NVAR"], mask=np.arange(image.size).reshape(image.shape) == 500)
    assert one_pixel.flags == ("flat",)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operator_scores(np.zeros((9, 9)), ["LAPX"]), "'LAPX' is unknown"),
        (lambda: operator_scores(np.zeros((9, 9)), mask=np.zeros((9, 9))), "mask is empty"),
        (lambda: operator_scores(np.zeros((9, 9)), mask=np.zeros((9, 8))), "mask has shape"),
        (lambda: operator_scores(np.zeros((9, 9)), noise="model", mask=np.ones((9, 9))), "camera_model"),
        (lambda: operator_scores(np.zeros((2, 9))), "at least 3x3"),
        (lambda: operator_scores_per_object(np.zeros((9, 9)), np.zeros((9, 9))), "expected integers"),
        (lambda: operator_scores_by_tile(np.zeros((9, 9)), tile_px=3), "tile_px is 3"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(call, message):
    with pytest.raises(BadInputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@NEEDS_DATA
@pytest.mark.parametrize("site", ["s1", "s2"])
def test_on_real_nuclei_all_operators_but_one_find_the_plane_within_one(site):
    folder = DATA / "imagexpress_E07"
    planes = [tifffile.imread(next((folder / f"ZStep_{z}").glob(f"*_{site}_*.tif"))) for z in range(1, 11)]
    scores = [operator_scores(plane) for plane in planes]
    found = {name: 1 + int(np.nanargmax([one.debiased[name] for one in scores])) for name in OPERATORS}
    # noise that is not normally distributed is high frequency too: the darkest plane has the largest share of it
    assert {name for name, plane in found.items() if abs(plane - 5) > 1} == {"high_frequency_ratio"}
