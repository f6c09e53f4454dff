"""Nuclei without a network, and the door that all backends stand behind."""

import subprocess
import sys

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.segmentation.backends import BACKENDS, default_backend, open_backend, segment_volume
from parfocal.segmentation.measures import compare

VOXEL_UM = (1.0, 0.5, 0.5)
CENTRES_UM = [(9.0, 9.0, 9.0), (9.0, 9.0, 21.0), (10.0, 21.0, 10.0), (9.0, 22.0, 26.0), (16.0, 15.0, 18.0)]


def nuclei(
    seed=0, voxel_um=VOXEL_UM, shape_um=(24.0, 32.0, 36.0), offset=300, peak=150.0, brightness=None, haze=0.1
):
    """Return balls of 8 um as a camera sees them, and their truth."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    shape = [round(s / v) for s, v in zip(shape_um, voxel_um)]
    z, y, x = (np.arange(n, dtype=np.float32) * v for n, v in zip(shape, voxel_um))
    labels, light = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for i, (cz, cy, cx) in enumerate(CENTRES_UM, start=1):
        inside = (z[:, None, None] - cz) ** 2 + (y[:, None] - cy) ** 2 + (x - cx) ** 2 < 16.0
        labels[inside] = i
        light[inside] = 1.0 if brightness is None else brightness[i - 1]
    blurred = ndimage.gaussian_filter(light, [0.8 / v for v in voxel_um])
    blurred += haze * 6 * ndimage.gaussian_filter(light, [5.0 / v for v in voxel_um])
    return rng.poisson(peak * blurred + 5).astype(np.float32) + rng.normal(offset, 2, shape), labels


@pytest.mark.parametrize("dims", [2, 3])
def test_each_nucleus_is_found_once(dims):
    pixels, truth = nuclei()
    found = segment_volume(pixels.astype(np.uint16), VOXEL_UM, "watershed", dims=dims)
    assert found.labels.dtype == np.int32
    assert compare(truth, found.labels).ap(0.5) == 1.0
    assert found.model_hash is None
    assert any("diameter" in remark for remark in found.remarks)
    assert bool(found.links) == (dims == 2)


def test_offset_gain_and_number_type_change_nothing():
    pixels, _ = nuclei(1)
    first = segment_volume(pixels, VOXEL_UM, "watershed").labels
    for other in (4.0 * pixels + 10_000, pixels / 65535.0, np.rint(pixels * 64).astype(np.int32)):
        same = segment_volume(other, VOXEL_UM, "watershed").labels
        assert np.mean((same > 0) != (first > 0)) < 1e-3
        assert same.max() == first.max()


def test_a_dim_nucleus_keeps_its_size_beside_bright_ones_in_haze():
    pixels, truth = nuclei(2, brightness=(1.0, 1.0, 0.4, 1.0, 0.8), haze=0.2)
    found = segment_volume(pixels, VOXEL_UM, "watershed").labels
    assert compare(truth, found).ap(0.5) == 1.0
    own = np.bincount(found[truth == 3]).argmax()
    assert np.count_nonzero(found == own) == pytest.approx(np.count_nonzero(truth == 3), rel=0.35)


def test_touching_nuclei_are_parted_whatever_the_voxel():
    for voxel_um in (VOXEL_UM, (2.0, 0.4, 0.4)):
        pixels, truth = nuclei(3, voxel_um)
        assert compare(truth, segment_volume(pixels, voxel_um, "watershed").labels).ap(0.5) == 1.0


def test_noise_alone_holds_no_nuclei():
    rng = np.random.default_rng(0)
    for pixels in (rng.poisson(20, (10, 60, 60)) + 400, np.full((4, 20, 20), 7), rng.normal(size=(1, 90, 90))):
        assert segment_volume(pixels, VOXEL_UM, "watershed").labels.max() == 0


def test_planes_can_come_one_by_one_and_come_to_the_same_as_the_volume():
    pixels, truth = nuclei(4)
    stream = open_backend("watershed", diameter_um=8.0).segment_planes(iter(pixels), VOXEL_UM)
    came = []
    while True:
        try:
            came.append(next(stream))
        except StopIteration as end:
            found = end.value
            break
    assert len(came) == len(pixels)
    assert compare(truth, found.labels).ap(0.5) == 1.0
    whole = segment_volume(pixels, VOXEL_UM, "watershed", dims=2, diameter_um=8.0)
    np.testing.assert_array_equal(found.labels, whole.labels)


def test_large_pixels_or_small_ones_give_nuclei_of_the_same_size():
    pixels, truth = nuclei(5, (1.0, 0.125, 0.125), (20.0, 32.0, 36.0))
    found = segment_volume(pixels, (1.0, 0.125, 0.125), "watershed", diameter_um=8.0).labels
    score = compare(truth, found)
    assert score.ap(0.7) == 1.0


def test_a_plane_is_a_volume_of_one():
    pixels, truth = nuclei(6)
    found = segment_volume(pixels[9], VOXEL_UM, "watershed")
    assert found.labels.shape == (1, *pixels.shape[1:])
    assert compare(truth[9:10], found.labels).ap(0.5) == 1.0


def test_restored_pixels_are_segmented_only_where_that_helps_and_the_result_says_so():
    pixels, _ = nuclei(7)
    raw = pixels.copy()
    found = segment_volume(pixels, VOXEL_UM, "watershed", restoration="denoise", diameter_um=8.0)
    assert found.restoration in ("none", "denoise")
    assert f"done: {found.restoration}" in found.remarks[0]
    np.testing.assert_array_equal(pixels, raw)
    with pytest.raises(BadInputError, match="restoration 'sharpen', expected one of none"):
        segment_volume(pixels, VOXEL_UM, "watershed", restoration="sharpen")


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (
            lambda: segment_volume(np.zeros((3, 4, 5, 6)), VOXEL_UM, "watershed"),
            r"expected a plane .* or a volume",
        ),
        (lambda: segment_volume(np.full((3, 4, 5), np.nan), VOXEL_UM, "watershed"), "NaN"),
        (lambda: segment_volume(np.zeros((3, 4, 5)), (1.0, 0.0, 1.0), "watershed"), "three positive numbers"),
        (lambda: segment_volume(np.zeros((3, 4, 5)), VOXEL_UM, "magic"), "no backend 'magic'; there are default"),
        (lambda: open_backend("watershed", colour=1), "the backend watershed has no option colour"),
        (lambda: open_backend("watershed", split=1.5), "split 1.5, expected between 0 and 1"),
        (lambda: open_backend("watershed", diameter_um=-1.0), "expected a positive number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, complaint):
    with pytest.raises(BadInputError, match=complaint) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_without_torch_the_watershed_takes_its_place_and_says_so(monkeypatch):
    assert default_backend() == "unet2d+link"
    monkeypatch.setattr("parfocal.segmentation.backends._registry.find_spec", lambda name: None)
    pixels, _ = nuclei(8)
    found = segment_volume(pixels, VOXEL_UM, diameter_um=8.0)
    assert found.backend == "watershed"
    assert "PyTorch is not installed: watershed instead of unet2d+link" in found.remarks


def test_naming_the_backends_imports_neither_torch_nor_cellpose():
    code = (
        "import sys; from parfocal.segmentation.backends import BACKENDS, open_backend; open_backend('watershed');"
        "assert not {'torch', 'cellpose', 'napari'} & set(sys.modules), 'imported'; print(*BACKENDS)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == list(BACKENDS)
