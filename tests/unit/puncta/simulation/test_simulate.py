"""What is in the frames is what the truth says, whatever the PSF and however they are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.optics import Drift
from parfocal.puncta.simulation import (
    IMMOBILE,
    Background,
    Blinking,
    Calcium,
    CameraChain,
    Motion,
    Psf,
    PunctaScene,
    PunctaSimulation,
    puncta_frames,
    simulate_puncta,
)

DARK = Background(offset_photons=0, sample_photons=0)
FULL = PunctaScene(
    shape_px=(64, 72),
    n_frames=9,
    n_puncta=12,
    psf=Psf("diffraction", zernike_waves=((6, 0.08),), z_range_um=0.3),
    motion=Motion(merges=1, splits=1),
    blinking=Blinking(0.2, 0.1),
    bleaching_s=2.0,
    background=Background(has_cell=True, tirf_falloff=0.4, haze_count=4, bleaching_s=1.0),
    drift=Drift((0.1, 0.6, -0.4)),
    calcium=Calcium(events_per_s=3, waves_per_min=60, stray_per_s=4, bleed_through=0.03, bleaching_s=3.0),
    seed=5,
)


@pytest.mark.parametrize("kind", ["gaussian", "airy", "diffraction"])
def test_a_spot_is_where_and_as_bright_as_the_truth_says(kind):
    scene = PunctaScene(
        (128, 128),
        2,
        n_puncta=4,
        min_distance_px=40,
        margin_px=-24,
        psf=Psf(kind),
        motion=IMMOBILE,
        background=DARK,
        camera=CameraChain("ideal"),
        seed=2,
    )
    simulation = PunctaSimulation(scene)
    truth = simulation.truth
    image = simulation.expected(1)
    y, x = np.mgrid[:128, :128]
    here = truth.frame == 1
    assert here.sum() > 1
    for y0, x0, photons, sigma in zip(*(c[here] for c in (truth.y_px, truth.x_px, truth.photons, truth.sigma_px))):
        near = np.hypot(y - y0, x - x0) < 18
        light = image * near
        assert light.sum() == pytest.approx(photons, rel=1e-4 if kind == "gaussian" else 0.06)
        core = np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (4 * sigma**2)) * light
        assert (core * y).sum() / core.sum() == pytest.approx(y0, abs=0.02)
        assert (core * x).sum() / core.sum() == pytest.approx(x0, abs=0.02)


def test_the_airy_pattern_is_what_diffraction_gives_in_focus():
    scene = PunctaScene((48, 48), 1, n_puncta=3, motion=IMMOBILE, background=DARK, margin_px=-8, seed=1)
    airy, waves = (PunctaSimulation(replace(scene, psf=Psf(kind))).expected(0) for kind in ("airy", "diffraction"))
    assert np.abs(airy - waves).max() < 0.01 * waves.max()


def test_the_diffraction_spot_is_not_the_gaussian_that_is_fitted():
    scene = PunctaScene((48, 48), 1, n_puncta=1, is_count_exact=True, background=DARK, margin_px=-20, seed=1)
    gaussian, waves = (
        PunctaSimulation(replace(scene, psf=Psf(kind))).expected(0) for kind in ("gaussian", "diffraction")
    )
    assert 0.02 < np.abs(gaussian - waves).max() / waves.max() < 0.2


def test_the_same_scene_is_the_same_movie_however_it_is_asked_for():
    recording = simulate_puncta(FULL)
    again = PunctaSimulation(FULL)
    for index in (7, 0, 4):
        np.testing.assert_array_equal(again.frame(index), recording.movie[index])
        np.testing.assert_array_equal(again.calcium_frame(index), recording.calcium[index])
    for frame in puncta_frames(FULL):
        np.testing.assert_array_equal(frame.image, recording.movie[frame.frame_index])
    parts = [f.frame_index for start in (0, 4) for f in again.frames(start, start + 4)]
    assert parts == list(range(8))
    np.testing.assert_array_equal(again.truth.x_px, recording.truth.x_px)
    assert (simulate_puncta(replace(FULL, seed=6)).movie != recording.movie).any()


def test_a_second_channel_does_not_change_the_first():
    alone = simulate_puncta(replace(FULL, calcium=None))
    np.testing.assert_array_equal(alone.movie, simulate_puncta(FULL).movie)
    assert alone.calcium is None
    with pytest.raises(BadInputError, match="calcium is None"):
        PunctaSimulation(alone.scene).calcium_frame(0)


def test_a_moving_punctum_is_smeared_along_its_way():
    scene = PunctaScene(
        (64, 64),
        40,
        n_puncta=20,
        motion=Motion(0, 0, 0, 1, 0, d_um2_per_s=(1e-6, 2e-6), speed_um_per_s=(20.0, 21.0)),
        background=DARK,
        sub_frames=8,
        seed=3,
    )
    peaks = [PunctaSimulation(replace(scene, motion=m)).expected(5).max() for m in (scene.motion, IMMOBILE)]
    assert peaks[0] < 0.5 * peaks[1]


def test_the_background_of_the_truth_is_that_of_the_image():
    scene = replace(FULL, photons=0.0, motion=IMMOBILE, blinking=None, bleaching_s=None, psf=Psf())
    simulation = PunctaSimulation(scene)
    truth = simulation.truth
    frame = 8
    image = simulation.expected(frame)
    here = (truth.frame == frame) & (truth.y_px > 0) & (truth.x_px > 0) & (truth.y_px < 63) & (truth.x_px < 71)
    y, x = (np.rint(c[here]).astype(int) for c in (truth.y_px, truth.x_px))
    assert here.sum() > 3
    np.testing.assert_allclose(truth.background[here], image[y, x], rtol=0.05)


def test_what_cannot_be_is_refused():
    with pytest.raises(BadInputError, match="expected gaussian, airy or diffraction"):
        Psf("box")
    with pytest.raises(BadInputError, match="zernike_waves and z_range_um are for kind diffraction"):
        Psf("airy", z_range_um=0.5)
    with pytest.raises(BadInputError, match="exposure_s"):
        PunctaScene(exposure_s=1.0)
    with pytest.raises(BadInputError, match="expected 0 to 8"):
        PunctaSimulation(FULL).frame(9)
