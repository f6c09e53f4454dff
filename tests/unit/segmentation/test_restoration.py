"""An image is judged by its physics, restored in a copy, and the restored kept only where that helps."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel, Channel, NucleusField, Objective, Sample, SimulatedScene, Surface
from parfocal.segmentation import NetOutput, Segmentation
from parfocal.segmentation.restoration import (
    ClassicalDenoiser,
    RestorationLimits,
    assess_image,
    camera_noise,
    deblur_classical,
    denoise_classical,
    image_noise,
    open_denoiser,
    recommended_restoration,
    restore,
    restore_if_it_helps,
)

CAMERA = CameraModel()
FOCUSES_UM = (0.0, 3.0, 5.0)
EXPOSURES_S = (0.0006, 0.004, 0.02, 0.1)


@pytest.fixture(scope="module")
def scene():
    """Nuclei through a diffraction-limited pupil, 160x160 px."""
    sample = Sample(Surface(), volumes={"nuclei": (NucleusField(1, Surface()),)})
    return SimulatedScene(sample, {"nuclei": Channel(Objective())}, CAMERA, shape=(224, 224))


@pytest.fixture(scope="module")
def expected(scene):
    """Photons a second at each focus."""
    return {z: scene.photons(0, 0, z, "nuclei", 1.0) for z in FOCUSES_UM}


def frame(expected, focus_um=0.0, exposure_s=0.02, seed=0):
    """The camera's own noise, in floating point numbers so that nothing is rounded."""
    rng = np.random.default_rng(seed)
    mean = expected[focus_um] * exposure_s
    return (CAMERA.offset_adu + rng.poisson(mean) + rng.normal(0, CAMERA.read_noise_e, mean.shape)).astype(
        np.float32
    )


def otsu(image):
    """A segmentation without a network."""
    from skimage import filters, measure

    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), 1.0)
    labels = measure.label(smooth > filters.threshold_otsu(smooth)).astype(np.int32)
    return Segmentation(np.atleast_3d(labels).reshape(-1, *labels.shape[-2:]), (1.0, 1.0, 1.0), "otsu")


# -- condition ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exposure_s", EXPOSURES_S[:3])
def test_snr_from_the_pixels_is_that_of_the_camera(expected, exposure_s):
    image = frame(expected, exposure_s=exposure_s)
    known, estimated = assess_image(image, CAMERA), assess_image(image)
    assert estimated.snr == pytest.approx(known.snr, rel=0.15)
    assert known.noise.source == "camera"
    assert known.peak_photons == pytest.approx(known.peak_adu - known.background_adu)


def test_snr_grows_with_the_light(expected):
    snr = [assess_image(frame(expected, exposure_s=e)).snr for e in EXPOSURES_S]
    assert snr == sorted(snr)
    assert snr[-1] > 5 * snr[0]


@pytest.mark.parametrize(("gain", "offset"), [(7.5, 0.0), (1.0, 10_000.0), (1 / 65535, -3.0), (0.02, 500.0)])
def test_gain_and_offset_change_neither_snr_nor_blur(expected, gain, offset):
    image = frame(expected, focus_um=3.0, exposure_s=0.004).astype(np.float64)
    here, there = assess_image(image), assess_image(image * gain + offset)
    assert there.snr == pytest.approx(here.snr, rel=0.03)
    assert there.blur_px == pytest.approx(here.blur_px, rel=0.03)


@pytest.mark.parametrize(
    ("dtype", "gain"), [(np.uint8, 0.5), (np.uint16, 1.0), (np.uint16, 16.0), (np.int32, 900)]
)
def test_bit_depth_changes_neither_snr_nor_blur(expected, dtype, gain):
    image = frame(expected, exposure_s=0.0015)
    here = assess_image(image)
    there = assess_image(np.clip(np.rint(image * gain), 0, np.iinfo(dtype).max).astype(dtype))
    assert there.snr == pytest.approx(here.snr, rel=0.06)
    assert there.blur_px == pytest.approx(here.blur_px, rel=0.06)


def test_a_wider_gaussian_blurs_more(expected):
    sharp = expected[0.0] * 0.1
    blurs = [assess_image(ndimage.gaussian_filter(sharp, s) + 100).blur_px for s in (0, 1, 2, 3, 4, 6, 8)]
    assert blurs == sorted(blurs)


@pytest.mark.parametrize("sigma_px", [2.0, 3.0, 4.0, 6.0])
def test_the_blur_of_an_edge_is_the_gaussian_that_blurred_it(sigma_px):
    image = np.zeros((224, 224))
    image[40:120, 30:190] = 100
    image[150:210, 60:140] = 160
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    assert assess_image(ndimage.gaussian_filter(image, sigma_px) + noise).blur_px == pytest.approx(
        sigma_px, rel=0.1
    )


@pytest.mark.parametrize("exposure_s", EXPOSURES_S)
def test_leaving_focus_blurs_more_whatever_the_noise(expected, exposure_s):
    blurs = [assess_image(frame(expected, z, exposure_s)).blur_px for z in FOCUSES_UM]
    known = [b for b in blurs if np.isfinite(b)]
    assert known == sorted(known)
    assert np.isfinite(blurs).all() or exposure_s == EXPOSURES_S[0]


@pytest.mark.parametrize("focus_um", FOCUSES_UM)
def test_noise_changes_the_blur_by_a_tenth_at_most(expected, focus_um):
    clean = assess_image(frame(expected, focus_um, 1.0)).blur_px
    for exposure_s in EXPOSURES_S[1:]:
        assert assess_image(frame(expected, focus_um, exposure_s)).blur_px == pytest.approx(clean, rel=0.1)


def test_blur_that_noise_hides_is_said_to_be_unknown(expected):
    found = assess_image(frame(expected, 5.0, 0.0003))
    assert np.isnan(found.blur_px)
    assert found.blur_noise_share > 0.5


def test_noise_alone_is_empty_and_saturation_is_counted():
    noise = np.random.default_rng(0).normal(100, 5, (64, 64))
    assert assess_image(noise).empty
    assert assess_image(np.full((32, 32), 7, np.uint8)).empty
    full = np.full((32, 32), 100, np.uint8)
    full[:16] = 255
    assert assess_image(full).saturated_share == 0.5


def test_noise_of_a_frame_is_the_cameras_line(expected):
    camera = replace(CAMERA, gain_adu_per_e=2.5, read_noise_e=3.0)
    rng = np.random.default_rng(1)
    electrons = rng.poisson(expected[0.0] * 0.01) + rng.normal(0, 3.0, expected[0.0].shape)
    found, true = image_noise((100 + 2.5 * electrons).astype(np.float32)[None]), camera_noise(camera)
    for level in (110.0, 200.0, 500.0):
        assert found.sd_adu(level) == pytest.approx(true.sd_adu(level), rel=0.1)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros(100), np.zeros((32, 32), complex), np.full((32, 32), np.nan)]
)
def test_what_is_no_image_is_refused_in_one_line(image):
    with pytest.raises(BadInputError, match="image has"):
        assess_image(image)


# -- classical ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["wavelet", "nlm"])
def test_denoising_brings_an_image_closer_to_its_truth(expected, method):
    truth = 100 + expected[0.0] * 0.001
    noisy = frame(expected, exposure_s=0.001)
    clean = denoise_classical(noisy[None], image_noise(noisy[None]), method)[0]
    assert np.mean((clean - truth) ** 2) < 0.15 * np.mean((noisy - truth) ** 2)
    assert clean.mean() == pytest.approx(truth.mean(), abs=0.2)  # no bias at few photons


def test_richardson_lucy_sharpens_and_stops_before_the_noise(expected):
    sharp = expected[0.0] * 0.05
    rng = np.random.default_rng(0)
    blurred = 100 + rng.poisson(ndimage.gaussian_filter(sharp, 3.0)).astype(np.float32)
    noise = image_noise(blurred[None])
    out, iterations = deblur_classical(blurred[None], noise, 100.0, 3.0, 60)
    assert 0 < iterations < 60
    assert np.mean((out[0] - 100 - sharp) ** 2) < 0.8 * np.mean((blurred - 100 - sharp) ** 2)
    y, x = np.mgrid[-9:10, -9:10]
    spot = np.exp(-(y**2 + x**2) / 18)
    measured, _ = deblur_classical(blurred[None], noise, 100.0, spot, 60)
    inner = (0, slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(measured[inner], out[inner], rtol=0.05)
    with pytest.raises(BadInputError, match="odd sides"):
        deblur_classical(blurred[None], noise, 100.0, spot[:-1])


# -- decision ----------------------------------------------------------------------------------------------


def test_auto_denoises_what_is_noisy_and_leaves_what_is_clean(expected):
    assert restore(frame(expected, exposure_s=0.1)).mode == "none"
    noisy = restore(frame(expected, exposure_s=0.0008))
    assert noisy.mode == "denoise"
    assert noisy.record.why.startswith("SNR")
    assert noisy.record.after.snr > noisy.record.before.snr


def test_auto_leaves_alone_what_is_saturated_or_empty():
    rng = np.random.default_rng(0)
    assert "nothing stands out" in restore(rng.normal(0, 1, (64, 64))).record.why
    burnt = np.clip(rng.normal(60, 40, (64, 64)), 0, 255).astype(np.uint8)
    burnt[:32] = 255
    found = restore(burnt)
    assert found.mode == "none"
    assert "saturated" in found.record.why
    assert found.image is burnt


def test_auto_sharpens_what_is_blurred_only_under_a_guard(expected):
    image = frame(expected, focus_um=5.0, exposure_s=0.1)
    alone, guarded = restore(image), restore(image, guarded=True)
    assert alone.mode == "none"
    assert "not sharpened without a guard" in alone.record.why
    assert guarded.mode == "deblur"
    assert guarded.record.after.blur_px < guarded.record.before.blur_px


def test_auto_measures_the_blur_again_after_denoising(expected):
    image = frame(expected, focus_um=5.0, exposure_s=0.001)
    both = restore(image, limits=RestorationLimits(deblur_needs_guard=False))
    assert both.mode == "denoise+deblur"
    assert "px after it" in both.record.why
    assert "Richardson-Lucy" in both.record.method


@pytest.mark.parametrize("mode", ["none", "denoise", "deblur", "denoise+deblur"])
def test_what_is_asked_for_is_done_and_raw_pixels_stay(expected, mode):
    image = np.rint(frame(expected)).astype(np.uint16)
    before = image.copy()
    image.setflags(write=False)
    found = restore(image, mode)
    np.testing.assert_array_equal(image, before)
    assert found.mode == mode
    assert found.image.shape == image.shape
    assert np.shares_memory(found.image, image) == (mode == "none")


def test_a_float_volume_is_restored_in_a_copy(expected):
    volume = np.stack([frame(expected, z) for z in FOCUSES_UM])
    before = volume.copy()
    volume.setflags(write=False)
    found = restore(volume, "denoise+deblur", camera_model=CAMERA)
    assert found.image.shape == volume.shape
    assert not np.shares_memory(found.image, volume)
    np.testing.assert_array_equal(volume, before)


def test_a_record_cannot_be_changed_and_a_mode_must_exist(expected):
    record = restore(frame(expected), "none").record
    with pytest.raises(FrozenInstanceError):
        record.kept = True
    with pytest.raises(BadInputError, match="expected one of none, auto"):
        restore(frame(expected), "sharpen")


# -- guard -------------------------------------------------------------------------------------------------


def test_the_guard_keeps_what_makes_better_objects(expected):
    image = np.rint(frame(expected, exposure_s=0.0006)).astype(np.uint16)
    image.setflags(write=False)
    found = restore_if_it_helps(image, otsu)
    assert found.segmentation.restoration == found.record.applied == "denoise"
    assert found.record.kept
    assert found.record.contrast_restored > found.record.contrast_raw
    assert found.record.count_restored < found.record.count_raw  # specks of noise are no nuclei


class Wrong:
    """A denoiser that does harm."""

    name, weights_sha256 = "wrong", "f" * 64

    def __init__(self, change):
        self.change = change

    def __call__(self, planes, noise):
        return self.change(planes)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda planes: np.roll(planes, 40, axis=-1), "stand out"),
        (lambda planes: np.zeros_like(planes), "nothing was found"),
        (lambda planes: np.where(np.indices(planes.shape)[2] < 60, planes, 100), "number of objects"),
    ],
)
def test_the_guard_keeps_the_raw_where_restoring_does_harm(expected, change, why):
    image = frame(expected, exposure_s=0.02)
    raw = otsu(image)
    found = restore_if_it_helps(image, otsu, "denoise", denoiser=Wrong(change))
    np.testing.assert_array_equal(found.segmentation.labels, raw.labels)
    assert found.segmentation.restoration == found.record.applied == "none"
    assert not found.record.kept
    assert why in found.record.why
    assert found.record.weights_sha256 == "f" * 64  # the record says what was tried


def test_the_guard_goes_by_flow_error_where_there_is_one(expected):
    from parfocal.segmentation.flows import flow_targets

    image = frame(expected, exposure_s=0.02)
    labels = otsu(image).labels
    flow, foreground, boundary = flow_targets(labels[0])
    raw_sum = float(image.sum())

    def segment(pixels, raw_share, restored_share):
        share = raw_share if float(np.asarray(pixels).sum()) == raw_sum else restored_share
        output = NetOutput((share * flow)[:, None], foreground[None], boundary[None])
        return Segmentation(labels, (1.0, 1.0, 1.0), "net", output=output)

    better = restore_if_it_helps(image, lambda pixels: segment(pixels, 0.5, 0.9), "denoise")
    worse = restore_if_it_helps(image, lambda pixels: segment(pixels, 0.9, 0.5), "denoise")
    assert (better.record.kept, worse.record.kept) == (True, False)
    assert better.record.flow_error_raw == pytest.approx(0.25, abs=0.02)
    # a doubtful image whose objects went well is left alone
    doubtful = RestorationLimits(noisy_snr=1.0, doubtful_snr=1000.0)
    assert restore_if_it_helps(image, lambda p: segment(p, 0.9, 1.0), limits=doubtful).record.applied == "none"
    assert restore_if_it_helps(image, lambda p: segment(p, 0.3, 1.0), limits=doubtful).record.applied == "denoise"


# -- learned -----------------------------------------------------------------------------------------------


def test_denoisers_are_opened_by_name_or_path_alone(tmp_path):
    assert open_denoiser("nlm") == ClassicalDenoiser("nlm")
    for name in ("denoise_cyto3", tmp_path / "not there.safetensors", f"cellpose:{tmp_path / 'denoise_cyto3'}"):
        with pytest.raises(BadInputError, match="denoiser"):
            open_denoiser(name)


def test_a_network_denoises_through_its_weights_and_card(tmp_path, expected):
    import torch

    from parfocal.learning import ModelCard, UNetShape, build_unet, save_weights

    torch.set_num_threads(1)
    shape = UNetShape(dims=2, n_in=1, n_out=1, widths=(4, 8), norm="batch")
    net = build_unet(shape)
    card = ModelCard("denoise2d", "test", shape.as_architecture(), "", recipe={"predicts": "residual"})
    card = save_weights(tmp_path / "denoise2d.safetensors", net.state_dict(), card)
    denoiser = open_denoiser(tmp_path / "denoise2d.safetensors")
    image = frame(expected)
    found = restore(image, "denoise", denoiser=denoiser)
    assert found.record.weights_sha256 == card.weights_sha256
    with torch.inference_mode():
        low, high = np.percentile(image, (1, 99.8))
        scaled = torch.from_numpy(((image - low) / (high - low)).astype(np.float32))
        whole = (scaled + net.eval()(scaled[None, None])[0, 0]).numpy() * (high - low) + low
    inner = (slice(48, -48), slice(48, -48))
    np.testing.assert_allclose(found.image[inner], whole[inner], rtol=1e-3)
    wrong = UNetShape(dims=2, n_in=1, n_out=4, widths=(4, 8))
    save_weights(
        tmp_path / "other.safetensors",
        build_unet(wrong).state_dict(),
        replace(card, architecture=wrong.as_architecture()),
    )
    with pytest.raises(BadInputError, match="one in and one out"):
        open_denoiser(tmp_path / "other.safetensors")


def test_a_file_that_is_no_cellpose_denoiser_is_refused_before_cellpose_is_asked(tmp_path):
    import torch

    pytest.importorskip("cellpose")
    torch.save({"W2": torch.zeros(1)}, tmp_path / "cp4")
    (tmp_path / "text").write_text("not weights")
    (tmp_path / "upsample").mkdir()
    torch.save({}, tmp_path / "upsample" / "model")
    for name, why in (("cp4", "W2|missing"), ("text", "not a file of weights"), ("upsample/model", "rename")):
        with pytest.raises(BadInputError, match=why):
            open_denoiser(f"cellpose:{tmp_path / name}")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch warns of its own mkldnn
def test_cellposes_denoiser_runs_from_a_local_file_without_a_network(tmp_path, expected, monkeypatch):
    import socket

    import torch

    pytest.importorskip("cellpose")
    from cellpose.resnet_torch import CPnet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = CPnet([1, 32, 64, 128, 256], 1, 3, mkldnn=False, max_pool=True, diam_mean=30.0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    clean = torch.from_numpy(expected[0.0][:64, :64] / expected[0.0].max())[None, None]
    for _ in range(3):  # trained a little by the real library's own network, so that the file is a real one
        loss = ((net(clean + 0.1 * torch.randn_like(clean))[0] - clean) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.save_model(tmp_path / "denoise_small")

    def refuse(*_):
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    denoiser = open_denoiser(f"cellpose:{tmp_path / 'denoise_small'}", diameter_px=30.0)
    image = frame(expected)
    before = image.copy()
    image.setflags(write=False)
    found = restore(image, "denoise", denoiser=denoiser)
    assert found.image.shape == image.shape
    assert np.isfinite(found.image).all()
    assert not np.array_equal(found.image, image)
    np.testing.assert_array_equal(image, before)
    assert len(found.record.weights_sha256) == 64
    assert found.record.method == "cellpose denoise_small"
    from cellpose.denoise import normalize_default

    assert normalize_default["normalize"] is True  # Cellpose's own defaults are as they were


def test_what_is_recommended_comes_with_its_reason(expected):
    mode, why = recommended_restoration(frame(expected, exposure_s=0.0008))
    assert mode == "denoise"
    assert why.startswith("SNR")
    assert recommended_restoration(frame(expected, exposure_s=0.1))[0] == "none"
    mode, why = recommended_restoration(frame(expected, focus_um=5.0, exposure_s=0.1))
    assert mode == "deblur"
    assert "blur" in why
