"""From pixels to focus: simulated defocus, and real stacks where they are at hand."""

from pathlib import Path

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.files import open_stack
from parfocal.focus import score_stack
from parfocal.imaging import FocusScoreSet
from parfocal.optics import CameraModel

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")


def defocused(z_um, focus_um, photons=300.0, seed=0, n=128):
    """Spots blurred by s(z) = s0 sqrt(1 + ((z - focus) / d)²), with noise; none of our optics."""
    rng = np.random.default_rng(seed)
    spots = np.zeros((n, n))
    spots.flat[rng.integers(0, n * n, 120)] = rng.uniform(5, 50, 120) * photons
    spectrum = np.fft.rfft2(spots)
    squared = np.fft.fftfreq(n)[:, None] ** 2 + np.fft.rfftfreq(n)[None] ** 2
    for z in z_um:
        variance = 1.3**2 * (1 + (z - focus_um) ** 2)
        image = np.fft.irfft2(spectrum * np.exp(-2 * np.pi**2 * variance * squared), s=(n, n)) + photons / 10
        yield (100 + rng.poisson(np.clip(image, 0, None)) + rng.normal(0, 1.6, (n, n))).astype(np.float32)


@pytest.mark.parametrize("score", FocusScoreSet.names())
def test_every_score_finds_the_focus_of_a_noisy_stack(score):
    z = np.arange(-4, 4.01, 0.5)
    scores = score_stack(defocused(z, 0.17), z, CameraModel())
    found = scores.best_plane(score)
    assert found.found
    assert found.z_um == pytest.approx(0.17, abs=0.03)


def test_the_error_bars_of_image_stacks_hold():
    z = np.arange(-3, 3.01, 0.5)
    inside = 0
    for seed in range(40):
        focus = 0.5 * (seed / 40 - 0.5)
        found = score_stack(defocused(z, focus, 100, seed, 96), z, CameraModel()).best_plane("brenner")
        inside += abs(found.z_um - focus) < 2 * found.sigma_z_um
    assert inside >= 32  # 2 sigma: 95 % of 40 is 38


def test_planes_without_positions_are_counted():
    scores = score_stack(list(defocused(np.arange(-3, 3.1, 0.5), 0.0)))
    assert scores.z_um[:3] == (0.0, 1.0, 2.0)
    assert scores.best_plane().z_um == pytest.approx(6.0, abs=0.1)


def test_unknown_scores_and_unequal_lengths_are_refused():
    planes = np.random.default_rng(0).normal(100, 3, (3, 20, 20))
    with pytest.raises(BadInputError, match="tenengrad"):
        score_stack(planes).values("sharpnes")
    with pytest.raises(BadInputError, match="kind"):
        score_stack(planes).values(kind="cooked")
    with pytest.raises(BadInputError, match="3 planes and 2 z"):
        score_stack(planes, [0, 1])
    with pytest.raises(BadInputError, match="0 planes"):
        score_stack([])


@real_data
@pytest.mark.parametrize("site", [0, 1])
@pytest.mark.parametrize("score", FocusScoreSet.names())
def test_both_imagexpress_sites_are_sharpest_at_step_5(site, score):
    stack = open_stack(DATA / "B_focus/imagexpress_E07")
    assert stack.z_um is not None
    scores = score_stack((stack.plane(p=site, z=z) for z in range(10)), stack.z_um[site])
    found = scores.best_plane(score)
    assert found.found
    assert found.index == 4
    assert 9336.5 < found.z_um < 9341
    if score == "laplacian_variance":
        values = scores.values(score)
        assert values[4] > 100 * max(values[0], values[9])


@real_data
def test_low_contrast_bacteria_are_found_by_the_scores_that_noise_spares():
    stack = open_stack(DATA / "B_focus/ecoli_ch2_tzyx.tif")
    planes = stack.read()[0]
    for score in ("tenengrad", "normalized_variance", "mean_abs_log"):
        found = score_stack(planes).best_plane(score)
        assert found.found, score
        assert 3 <= found.index <= 5, score


@real_data
def test_a_stack_that_ends_before_focus_is_said_to_end_there():
    stack = open_stack(DATA / "B_focus/yeast_brightfield_tz.ome.tif")
    for planes in stack.read():
        assert score_stack(planes, np.arange(7) * 0.3).best_plane().peak_at_edge


@real_data
@pytest.mark.parametrize(
    ("path", "step_um", "low", "high"),
    [
        ("A_beads/bead_field_no_astigmatism.tif", 0.3, 16, 18),
        ("A_beads/pyme_beads1_no_astig.tif", 0.05, 29, 32),
        ("A_beads/pyotf_psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif", 0.3, 11, 13),
    ],
)
def test_all_scores_agree_on_the_focus_of_real_beads(path, step_um, low, high):
    planes = open_stack(DATA / path).read()
    scores = score_stack(planes, np.arange(len(planes)) * step_um)
    for score in FocusScoreSet.names():
        found = scores.best_plane(score)
        assert found.found, score
        assert low <= found.z_um / step_um <= high, score


@real_data
def test_the_astigmatic_beads_are_roundest_where_tenengrad_peaks_and_the_laplacian_sees_only_noise():
    planes = open_stack(DATA / "A_beads/astig_beads_field.tif").read()
    scores = score_stack(planes, np.arange(len(planes), dtype=float))
    assert 31 < scores.best_plane("tenengrad").z_um < 35
    assert scores.best_plane("laplacian_variance").reason == "noise"
