"""The wavelet filter by its definition, thresholds, and what they find where there is nothing."""

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.fitting import spot_image
from parfocal.optics import CameraModel, scmos_camera
from parfocal.puncta.detection import (
    LocalizeSettings,
    evaluate,
    find_candidates,
    guess_camera,
    localize,
    wavelet_filter,
)

CAMERA = CameraModel(100.0, 2.2, 1.6)


def by_definition(image):
    one = np.array([1, 4, 6, 4, 1]) / 16
    two = np.zeros(9)
    two[::2] = one

    def both_ways(pixels, taps):
        return ndimage.convolve1d(ndimage.convolve1d(pixels, taps, axis=0), taps, axis=1)

    padded = np.pad(image.astype(float), 12, mode="edge")
    first = both_ways(padded, one)
    second = both_ways(first, two)
    inside = slice(12, -12)
    return (padded - first)[inside, inside], (first - second)[inside, inside], second[inside, inside]


@pytest.mark.parametrize("shape", [(70, 83), (5, 200), (1, 1)])
def test_the_planes_are_those_of_the_definition_to_the_border(shape):
    image = np.random.default_rng(0).normal(size=shape)
    for ours, expected in zip(wavelet_filter(image), by_definition(image)):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_threads_do_not_change_the_planes():
    image = np.random.default_rng(0).normal(size=(150, 40))
    for one, many in zip(wavelet_filter(image, 1), wavelet_filter(image, 3)):
        np.testing.assert_array_equal(one, many)


def planes():
    rng = np.random.default_rng(1)
    pictures = {"Wave.F1": rng.normal(size=(9, 8)), "I1": rng.normal(5, 1, (9, 8))}
    return pictures, {name: (lambda p=p: p) for name, p in pictures.items()}


def test_expressions_are_arithmetic_over_the_planes():
    p, told = planes()
    f1, image = p["Wave.F1"], p["I1"]
    for text, expected in {
        "std(Wave.F1)": f1.std(),
        "1.5*std(Wave.F1)": 1.5 * f1.std(),
        " - 2 ^ 2 + 3e1/4 ": -4 + 7.5,
        "mean(abs(Wave.F1)) + 2*(max(I1) - min(I1)) / sum(I1)": np.abs(f1).mean()
        + 2 * np.ptp(image) / image.sum(),
        "median(I1 - Wave.F1)": np.median(image - f1),
        "2-3-4": -5,
    }.items():
        assert evaluate(text, told) == pytest.approx(expected), text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("std(Wave.F9)", r"no picture 'Wave\.F9'; there are Wave\.F1, I1"),
        ("exec(I1)", "no function 'exec'"),
        ("__import__('os')", r"not understood|no function"),
        ("std(Wave.F1", "its end was not expected"),
        ("2 3", "'3' was not expected"),
        ("", "its end was not expected"),
        ("1/0", "divides by 0"),
        ("sqrt(0-1)", "comes to no number"),
        ("(" * 60 + "1" + ")" * 60, "deep"),
        ("1+" * 400 + "1", "characters"),
    ],
)
def test_an_expression_that_is_none_is_refused(text, said):
    with pytest.raises(BadInputError, match=said):
        evaluate(text, planes()[1])


def test_a_wrong_expression_is_refused_when_it_is_set():
    with pytest.raises(BadInputError, match=r"no picture 'Wave\.F7'"):
        LocalizeSettings(threshold="std(Wave.F7)")


def test_local_maxima_may_be_asked_of_four_neighbours_or_of_eight():
    frame = np.zeros((20, 20))
    frame[8, 8], frame[10, 10] = 100.0, 70.0  # on a diagonal of the wavelet plane's hump
    frame[9, 9] = 40.0
    asked = {"threshold": "0.1", "border": "fit"}
    ideal = CameraModel(0.0, 1.0, 0.0)
    eight = find_candidates(frame, ideal, LocalizeSettings(neighbours=8, **asked))
    four = find_candidates(frame, ideal, LocalizeSettings(neighbours=4, **asked))
    assert {tuple(p) for p in eight} <= {tuple(p) for p in four}
    f2 = wavelet_filter(frame).f2
    for size, found in ((np.ones((3, 3)), eight), (ndimage.generate_binary_structure(2, 1), four)):
        top = (f2 == ndimage.maximum_filter(f2, footprint=size, mode="nearest")) & (f2 > 0.1)
        assert {tuple(p) for p in found} == set(zip(*np.nonzero(top)))


@pytest.mark.parametrize("background", [0.5, 5.0, 100.0])
def test_empty_frames_give_no_more_than_the_false_positives_asked_for(background):
    rng = np.random.default_rng(2)
    for camera in (CAMERA, scmos_camera((400, 400), 3)):
        electrons = rng.poisson(background, (400, 400)) + rng.normal(0, 1, (400, 400)) * camera.read_noise_e
        frame = np.round(camera.offset_adu + camera.gain_adu_per_e * electrons).astype(np.int32)
        found = find_candidates(frame, camera, LocalizeSettings(false_positives_per_1000_px=0.1))
        assert len(found) / 160 <= 0.1  # per 1000 px


def test_amplified_noise_is_no_spot():
    rng = np.random.default_rng(4)
    camera = CameraModel(100.0, 6.0, 0.2, em_gain=300.0)
    counts = rng.poisson(20.0, (400, 400))
    frame = np.round(100 + 6.0 * rng.gamma(np.maximum(counts, 1e-9))).astype(np.int32)
    assert len(find_candidates(frame, camera, LocalizeSettings(false_positives_per_1000_px=0.1))) / 160 <= 0.1
    unaware = LocalizeSettings(false_positives_per_1000_px=0.1, excess_noise=1.0)
    assert len(find_candidates(frame, camera, unaware)) / 160 > 1


def test_noise_that_neighbours_share_is_not_taken_for_less_than_it_is():
    """A frame alone shows too little of it; the next one shows it where spots are sought."""
    rng = np.random.default_rng(0)
    white = rng.normal(0, 6, (2, 200, 200))
    kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    shared = np.stack([np.asarray(ndimage.convolve(w, kernel, mode="wrap")) for w in white])
    first, second = np.round(300 + shared).astype(np.uint16)
    found = [len(localize(first, guess_camera(*told))) for told in ((first,), (first, second))]
    assert found[0] > 20
    assert found[1] <= 3


def test_what_moves_between_two_frames_is_not_taken_for_noise():
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(2):
        mean = np.full((120, 120), 50.0)
        for x, y in rng.uniform(6, 114, (60, 2)):
            mean += spot_image((120, 120), x, y, 1.1, 1.1, 900)
        frames.append(np.round(100 + 2 * rng.poisson(mean)).astype(np.uint16))
    alone, both = guess_camera(frames[0]), guess_camera(*frames)
    assert both.gain_adu_per_e == pytest.approx(alone.gain_adu_per_e)
