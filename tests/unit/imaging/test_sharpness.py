"""Every score against SciPy's own operators; floors against pure noise; invariances that a user relies on."""

import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import FocusScoreSet, sharpness
from parfocal.optics import CameraModel

QUADRATIC = ("laplacian_variance", "tenengrad", "brenner", "vollath_f4")


def textured(shape=(301, 1207), seed=0, level=400.0):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 1.2)
    return np.clip(level + 900 * smooth, 0, 4000)


def truth(image, sigma=1.5):
    """The six raw scores by SciPy and NumPy in float64, from their definitions."""
    f = np.asarray(image, np.float64)
    mean = f.mean()
    laplacian = ndimage.laplace(f)
    gx, gy = ndimage.sobel(f, axis=1), ndimage.sobel(f, axis=0)
    inner = (slice(1, -1), slice(1, -1))
    radius = math.ceil(4 * sigma)
    margin = 1 + 6 * -(-radius // 6)
    smoothed = ndimage.gaussian_filter(laplacian, sigma, radius=radius)
    across, down = f[1:-1, 2:] - f[1:-1, :-2], f[2:, 1:-1] - f[:-2, 1:-1]
    g = f[1:-1] - mean
    return FocusScoreSet(
        laplacian_variance=laplacian[inner].var(),
        tenengrad=(gx[inner] ** 2 + gy[inner] ** 2).mean(),
        brenner=0.5 * ((across**2).mean() + (down**2).mean()),
        normalized_variance=f.var() / mean**2,
        vollath_f4=(g[:, :-2] * g[:, 1:-1]).mean() - (g[:, :-2] * g[:, 2:]).mean(),
        mean_abs_log=np.abs(smoothed[margin:-margin, margin:-margin]).mean(),
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float16", "float32", "float64", ">u2"])
def test_every_score_equals_its_definition_for_every_pixel_type(dtype):
    image = textured()
    if dtype == "uint8":
        image = image / 16
    if dtype == "int16":
        image = image - 300  # negative pixels
    image = image.astype(dtype)
    np.testing.assert_allclose(sharpness(image).raw.as_tuple(), truth(image).as_tuple(), rtol=2e-5)


@pytest.mark.parametrize("shape", [(15, 15), (16, 700), (600, 17), (257, 511), (513, 1025)])
def test_band_and_tile_borders_leave_no_trace(shape):
    image = textured(shape, seed=3).astype(np.uint16)
    np.testing.assert_allclose(sharpness(image).raw.as_tuple(), truth(image).as_tuple(), rtol=2e-5)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0, 3.3])
def test_the_log_scale_can_be_chosen(sigma):
    image = textured((120, 130)).astype(np.float32)
    measured = sharpness(image, log_sigma_px=sigma).raw.mean_abs_log
    assert measured == pytest.approx(truth(image, sigma).mean_abs_log, rel=2e-5)


def test_the_discrete_log_agrees_with_the_sampled_one_of_scipy():
    image = ndimage.gaussian_filter(textured((256, 256)), 1.5)
    sampled = np.abs(ndimage.gaussian_laplace(image, 1.5)[7:-7, 7:-7]).mean()
    assert sharpness(image).raw.mean_abs_log == pytest.approx(sampled, rel=0.05)


def test_a_large_mean_costs_no_precision():
    rng = np.random.default_rng(1)
    faint = rng.normal(0, 2, (200, 200))
    image = faint + 1e6
    np.testing.assert_allclose(sharpness(image).raw.laplacian_variance, truth(faint).laplacian_variance, rtol=1e-5)


@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_the_number_of_threads_changes_no_bit(n_threads):
    image = textured((1500, 600)).astype(np.uint16)
    assert sharpness(image, n_threads=n_threads) == sharpness(image)


def test_two_threads_may_score_at_once():
    images = [textured((700, 600), seed).astype(np.uint16) for seed in range(4)]
    alone = [sharpness(image) for image in images]
    together = [None] * 4

    def score(i):
        together[i] = sharpness(images[i])

    threads = [threading.Thread(target=score, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_can_score():
    code = (
        "import os, numpy as np\n"
        "from parfocal.imaging import sharpness\n"
        "image = np.arange(600 * 600, dtype=np.float32).reshape(600, 600) % 251\n"
        "expected = sharpness(image, n_threads=2)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if sharpness(image, n_threads=2) == expected else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(("noise", "model"), [("immerkaer", None), ("model", CameraModel(100.0, 2.0, 1.6))])
def test_on_pure_noise_the_debiased_scores_scatter_around_nothing(noise, model):
    model_of_frames = CameraModel(100.0, 2.0, 1.6)
    rng = np.random.default_rng(5)
    raw, debiased = [], []
    for _ in range(40):
        electrons = rng.poisson(50, (160, 160)) + rng.normal(0, 1.6, (160, 160))
        score = sharpness((100 + 2.0 * electrons).astype(np.float32), model, noise)
        raw.append(score.raw.as_tuple())
        debiased.append(score.debiased.as_tuple())
    mean, error = np.mean(debiased, axis=0), np.std(debiased, axis=0) / math.sqrt(40)
    by_name = dict(zip(FocusScoreSet.names(), zip(mean, error, np.mean(raw, axis=0))))
    for name, (value, standard_error, floor) in by_name.items():
        if name == "mean_abs_log":  # a signed root of a small difference: not normal, but small
            assert abs(value) < 0.1 * floor
        else:
            assert abs(value) < 4 * standard_error, name
    assert by_name["laplacian_variance"][2] == pytest.approx(
        20 * model_of_frames.noise_variance_adu2(200), rel=0.01
    )


def test_the_noise_floor_of_log_is_that_of_white_noise():
    image = np.random.default_rng(0).normal(100, 3, (1000, 1000))
    score = sharpness(image, CameraModel(0.0, 1.0, 0.0), noise="none").raw.mean_abs_log
    taps = np.exp(-0.5 * (np.arange(-6, 7) / 1.5) ** 2)
    impulse = np.zeros((31, 31))
    impulse[9:22, 9:22] = np.outer(taps, taps) / taps.sum() ** 2
    assert score == pytest.approx(math.sqrt(2 / math.pi) * 3 * np.linalg.norm(ndimage.laplace(impulse)), rel=0.01)


def test_noise_alone_moves_the_raw_score_but_not_the_debiased_one():
    rng = np.random.default_rng(2)
    clean = ndimage.gaussian_filter(textured((512, 512)), 1.0)
    model = CameraModel(100.0, 1.0, 1.6)
    exact = sharpness(clean, CameraModel(0.0), "none").raw
    noisy = sharpness(100 + rng.poisson(clean), model)
    assert noisy.raw.laplacian_variance > 2 * exact.laplacian_variance
    for name in FocusScoreSet.names():
        assert getattr(noisy.debiased, name) == pytest.approx(getattr(exact, name), rel=0.1), name


def test_gain_and_exposure_leave_the_normalized_scores_alone():
    clean = textured((512, 512))
    dim = sharpness(100 + clean, CameraModel(100.0), "none")
    bright = sharpness(300 + 2.5 * 4 * clean, CameraModel(300.0, 2.5), "none")
    np.testing.assert_allclose(bright.normalized.as_tuple(), dim.normalized.as_tuple(), rtol=1e-4)
    assert bright.raw.laplacian_variance == pytest.approx(100 * dim.raw.laplacian_variance, rel=1e-4)


def test_the_camera_offset_changes_no_score():
    clean = textured((200, 200))
    a, b = (sharpness(clean + offset, CameraModel(offset), "none") for offset in (0.0, 512.0))
    np.testing.assert_allclose(a.raw.as_tuple(), b.raw.as_tuple(), rtol=1e-4)


def test_a_pixel_map_of_offsets_is_not_taken_for_texture():
    rng = np.random.default_rng(8)
    offsets = 100 + rng.normal(0, 5, (300, 300))
    clean = ndimage.gaussian_filter(textured((300, 300)), 2)
    mapped = sharpness(clean + offsets, CameraModel(offset_adu=offsets), "none")
    assert mapped.raw.laplacian_variance == pytest.approx(truth(clean).laplacian_variance, rel=1e-3)
    assert mapped.mean_adu == pytest.approx(clean.mean(), rel=1e-4)


@pytest.mark.parametrize("value", [0, 7, 4095, 65535])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_a_flat_image_scores_nothing(value, dtype):
    score = sharpness(np.full((100, 90), value / 3 if dtype != "uint16" else value, dtype), CameraModel(0.0))
    assert "flat" in score.flags
    for scores in (score.raw, score.debiased):
        assert all(v == 0 or (value == 0 and n == "normalized_variance") for n, v in vars(scores).items())


def test_a_dark_image_has_no_normalized_score_and_says_so():
    image = np.random.default_rng(0).normal(90, 2, (64, 64))
    score = sharpness(image, CameraModel(100.0))
    assert "mean_not_positive" in score.flags
    assert np.isnan(score.normalized.as_tuple()).all()
    assert score.raw.laplacian_variance > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (299, 10), (150, 333)])
def test_a_pixel_that_is_no_number_is_never_scored_over(bad, where):
    image = textured((300, 600)).astype(np.float32)
    image[where] = bad
    score = sharpness(image)
    assert score.flags == ("non_finite",)
    assert np.isnan(score.raw.as_tuple()).all()


def test_a_small_image_has_all_scores_but_the_log():
    score = sharpness(textured((9, 9)))
    assert "too_small_for_log" in score.flags
    assert math.isnan(score.raw.mean_abs_log)
    assert score.raw.tenengrad == pytest.approx(truth_tenengrad(textured((9, 9))), rel=1e-5)


def truth_tenengrad(image):
    gx, gy = ndimage.sobel(image, axis=1), ndimage.sobel(image, axis=0)
    return (gx**2 + gy**2)[1:-1, 1:-1].mean()


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((4, 8, 8)), {}, "shape"),
        (np.zeros((2, 8)), {}, "at least 3x3"),
        (np.zeros((8, 8), complex), {}, "complex128"),
        (np.zeros((8, 8)), {"noise": "model"}, "camera_model"),
        (np.zeros((8, 8)), {"log_sigma_px": 40.0}, "log_sigma_px"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(image, options, message):
    with pytest.raises(BadInputError, match=message) as caught:
        sharpness(image, **options)
    assert "\n" not in str(caught.value)


def test_blur_lowers_every_score():
    sharp = textured((300, 300))
    scores = [sharpness(ndimage.gaussian_filter(sharp, s), noise="none").raw.as_tuple() for s in (0.5, 1, 2, 4)]
    assert (np.diff(scores, axis=0) < 0).all()


def test_the_given_image_is_left_as_it_was():
    image = textured((64, 64)).astype(np.uint16)
    image.setflags(write=False)
    before = image.copy()
    sharpness(image, CameraModel(np.full((64, 64), 100.0)))
    np.testing.assert_array_equal(image, before)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(15, 40), st.integers(15, 40)), elements=st.integers(0, 65535)),
)
def test_any_16_bit_image_scores_as_defined(image):
    score = sharpness(image)
    if "flat" in score.flags or "mean_not_positive" in score.flags:
        return
    expected = truth(image)
    # VOL4 is a difference of products: what counts is its error relative to the variance that it is part of
    assert score.raw.vollath_f4 == pytest.approx(expected.vollath_f4, abs=1e-5 * (1 + float(image.max()) ** 2))
    for name in set(FocusScoreSet.names()) - {"vollath_f4"}:
        assert getattr(score.raw, name) == pytest.approx(getattr(expected, name), rel=1e-4, abs=1e-3), name
