"""A photon transfer finds the camera that made the frames, and says how sure it is."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel, PhotonTransfer, expose, scmos_camera

SHAPE = (64, 64)


def measured(
    model, n_dark=64, n_flat=24, flicker=0.0, top_e=1500.0, exposures=(0.02, 0.05, 0.1, 0.25, 0.5), seed=0
):
    rng = np.random.default_rng(seed)
    light = top_e * rng.uniform(0.6, 1.0, SHAPE) / 0.5
    transfer, number = PhotonTransfer(model.saturation_adu, model.excess_noise), 0
    levels = [("dark", 0.001, n_dark), ("dark", 0.5, n_dark), *(("flat", e, n_flat) for e in exposures)]
    for level, (part, exposure_s, n) in enumerate(levels):
        for k in range(n):
            share = 1 + flicker * rng.normal()
            mean = model.dark_current_e_per_s * exposure_s + (
                light * exposure_s * share if part == "flat" else 0.0
            )
            frame = expose(np.broadcast_to(np.float32(mean), SHAPE), model, seed, number)
            transfer.add(frame, part, level, k, exposure_s)
            number += 1
    return transfer.result()


@pytest.mark.parametrize("seed", [0, 1])
def test_maps_lie_within_their_errors_of_the_truth(seed):
    truth = scmos_camera(SHAPE, seed)
    found = measured(truth, flicker=0.01, seed=seed)
    for value, se, told in (
        (found.offset_adu, found.offset_se_adu, truth.offset_adu),
        (found.gain_adu_per_e, found.gain_se_adu_per_e, truth.gain_adu_per_e),
        (found.read_noise_e, found.read_noise_se_e, truth.read_noise_e),
    ):
        inside = np.abs(value - told) < 1.96 * se
        assert inside.mean() > 0.92
    assert abs(found.mean_gain_adu_per_e - np.mean(truth.gain_adu_per_e)) < 4 * found.mean_gain_se_adu_per_e
    assert found.mean_gain_se_adu_per_e < 0.01 * found.mean_gain_adu_per_e
    assert abs(found.dark_current_e_per_s - 0.1) < 4 * found.dark_current_se_e_per_s
    assert found.nonlinearity < 0.02
    assert found.is_usable


def test_noisy_pixels_are_told_from_the_rest():
    truth = scmos_camera(SHAPE, 5)
    truth.read_noise_e[10, 20] = 15.0
    found = measured(truth)
    assert found.is_hot[10, 20]
    assert found.is_hot.sum() < 20


def test_gains_that_differ_a_lot_are_told_pixel_by_pixel():
    gain = np.random.default_rng(3).normal(2.0, 0.3, SHAPE)
    found = measured(CameraModel(100.0, gain, 1.5), n_flat=48)
    assert found.gain_scatter == pytest.approx(0.15, rel=0.25)
    assert np.corrcoef(found.gain_adu_per_e.ravel(), gain.ravel())[0, 1] > 0.8


def test_saturation_is_seen_and_does_not_spoil_the_gain():
    found = measured(CameraModel(100.0, 2.0, 1.5, saturation_adu=2000.0))
    assert found.is_saturation_seen
    assert found.saturation_adu == 2000.0
    assert found.mean_gain_adu_per_e == pytest.approx(2.0, abs=5 * found.mean_gain_se_adu_per_e)


def test_the_excess_noise_of_a_register_is_not_taken_for_gain():
    found = measured(CameraModel(100.0, 5.0, 0.3, em_gain=300.0))
    assert found.mean_gain_adu_per_e == pytest.approx(5.0, abs=0.1)


def test_frames_that_are_not_dark_refuse_it():
    model = CameraModel(100.0, 2.0, 1.5, dark_current_e_per_s=600.0)
    found = measured(model)
    assert not found.is_usable
    assert any("not dark" in message for _, message in found.issues)


def test_no_light_refuses_it():
    found = measured(CameraModel(100.0, 2.0, 1.5), top_e=0.5)
    assert not found.is_usable


def test_light_before_darkness_is_refused():
    with pytest.raises(BadInputError, match="dark frames are to come before"):
        PhotonTransfer().add(np.zeros(SHAPE, np.uint16), "flat", 0, 0, 0.1)


def test_a_frame_that_is_repeated_counts_once():
    transfer = PhotonTransfer()
    for _ in range(2):
        for k in range(16):
            transfer.add(np.full(SHAPE, 100 + k % 2, np.uint16), "dark", 0, k, 0.1)
    assert transfer.n_frames == 16
