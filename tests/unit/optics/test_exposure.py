import numpy as np
import pytest
from scipy import stats

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel, expose, scmos_camera

NOISELESS = CameraModel(offset_adu=0.0, gain_adu_per_e=1.0, read_noise_e=0.0)


@pytest.mark.parametrize("mean", [0.05, 0.7, 3.0, 9.9, 10.1, 40.0, 400.0])
def test_photon_counts_are_poisson_at_every_mean(mean):
    counts = expose(np.full((300, 300), mean, np.float32), NOISELESS, seed=7).ravel()
    low, high = stats.poisson.ppf([1e-3, 1 - 1e-3], mean)
    edges = np.unique(np.linspace(low, high, 25).astype(int))
    cumulative = np.concatenate([[0], stats.poisson.cdf(edges, mean), [1]])
    expected = np.diff(cumulative) * counts.size
    observed = np.bincount(np.searchsorted(edges, counts), minlength=edges.size + 1)
    enough = expected > 5
    chi2 = ((observed - expected)[enough] ** 2 / expected[enough]).sum()
    assert stats.chi2.sf(chi2, enough.sum() - 1) > 1e-4


def test_variance_follows_the_camera_model():
    model = CameraModel(offset_adu=100.0, gain_adu_per_e=2.2, read_noise_e=3.0)
    frame = expose(np.full((400, 400), 50.0, np.float32), model, seed=1).astype(float)
    expected = model.noise_variance_adu2(100.0 + 2.2 * 50) + 1 / 12
    assert frame.mean() == pytest.approx(210.0, abs=0.2)
    assert frame.var() == pytest.approx(expected, rel=0.02)


def test_read_noise_is_normal_and_each_pixels_own():
    rms = np.where(np.arange(300) < 150, 2.0, 8.0) * np.ones((300, 1))
    model = CameraModel(offset_adu=500.0, gain_adu_per_e=4.0, read_noise_e=rms)
    dark = (expose(np.zeros((300, 300), np.float32), model, seed=3).astype(float) - 500) / 4
    for part, sigma in ((dark[:, :150], 2.0), (dark[:, 150:], 8.0)):
        assert part.std() == pytest.approx(sigma, rel=0.02)
        assert abs(part.mean()) < 4 * sigma / 212
        assert abs(stats.kurtosis(part.ravel())) < 0.1


def test_frames_are_repeatable_and_independent():
    mean = np.full((200, 200), 20.0, np.float32)
    model = CameraModel()
    first, again, other = (expose(mean, model, 5, k) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.025
    assert abs(np.corrcoef(first[:, ::2].ravel(), first[:, 1::2].ravel())[0, 1]) < 0.035


def test_bright_pixels_stop_at_saturation():
    frame = expose(np.full((8, 8), 1e6, np.float32), CameraModel(saturation_adu=4095), seed=0)
    assert frame.dtype == np.uint16
    assert (frame == 4095).all()


def test_dark_side_of_the_offset_is_zero_not_wrapped():
    frame = expose(np.zeros((64, 64), np.float32), CameraModel(offset_adu=0.0, read_noise_e=5.0), seed=0)
    assert frame.max() < 100
    assert (frame == 0).mean() > 0.4


def test_maps_of_another_shape_are_refused():
    with pytest.raises(BadInputError, match="read_noise_e has shape"):
        expose(np.zeros((8, 8)), CameraModel(read_noise_e=np.ones((8, 9))), seed=0)


def test_binned_model_describes_binned_frames():
    camera = scmos_camera((200, 200), seed=2)
    frames = [expose(np.full((200, 200), 30.0, np.float32), camera, 0, k) for k in range(60)]
    binned = np.array([f.reshape(100, 2, 100, 2).sum(axis=(1, 3), dtype=np.uint32) for f in frames])
    model = camera.binned(2)
    electrons = model.to_electrons(binned)
    assert electrons.mean() == pytest.approx(120.0, rel=2e-3)
    assert electrons.var(axis=0).mean() == pytest.approx(120 + np.square(model.read_noise_e).mean(), rel=0.03)


def test_cropped_model_keeps_each_pixels_numbers():
    camera = scmos_camera((40, 50), seed=2)
    part = camera.cropped((10, 20, 5, 6))
    np.testing.assert_array_equal(part.offset_adu, np.asarray(camera.offset_adu)[10:15, 20:26])
    assert CameraModel().cropped((0, 0, 2, 2)).offset_adu == 100.0
