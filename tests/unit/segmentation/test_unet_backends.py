"""Our networks behind the protocol, with a small one that is taught here for a few seconds."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.learning import ModelCard, UNetShape, build_unet, save_weights
from parfocal.segmentation.backends import open_backend, segment_volume
from parfocal.segmentation.flows import MaskSettings, flow_targets

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
VOXEL = (1.0, 0.5, 0.5)
DIAMETER_UM = 6.5


def nuclei(shape=(14, 96, 96), seed=0, voxel=VOXEL, diameter=DIAMETER_UM, spacing=1.05):
    rng = np.random.default_rng(seed)
    grid = [g * v for g, v in zip(np.indices(shape, np.float32), voxel)]
    labels, depth = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    centres = []
    for _ in range(300):
        centre = rng.uniform(0, 1, 3) * np.multiply(shape, voxel)
        if all(np.linalg.norm(centre - c) > spacing * diameter for c in centres):
            centres.append(centre)
            inside = 1.3 - sum((g - c) ** 2 for g, c in zip(grid, centre)) / (diameter / 2) ** 2
            labels[(inside > 0.3) & (inside > depth)] = len(centres)
            depth = np.maximum(depth, inside)
    image = rng.poisson(50 + 300 * np.clip(depth, 0, 1)).astype(np.uint16)
    return image, labels


def taught(dims, steps, seed=0):
    """Return a network after a few steps on such images."""
    module = build_unet(UNetShape(dims, 1, dims + 2, (8, 16)), seed=seed)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    rng = np.random.default_rng(seed)
    shape = (10, 40, 40) if dims == 3 else (1, 64, 64)
    pool = []
    for k in range(6):
        image, labels = nuclei(shape, seed=100 + k, voxel=(0.5, 0.5, 0.5), spacing=0.95)
        if dims == 2:
            image, labels = image[0], labels[0]
        low, high = np.percentile(image, (1, 99.8))
        flow, foreground, boundary = flow_targets(labels)
        pool.append(((image - low) / (high - low), flow, foreground[None], boundary[None]))
    for _ in range(steps):
        some = [pool[i] for i in rng.choice(len(pool), 4 - dims)]
        x, flow, foreground, boundary = (
            torch.from_numpy(np.stack([s[i] for s in some]).astype(np.float32)) for i in range(4)
        )
        said = module(x[:, None])
        loss = 3 * (((said[:, :dims] - flow) ** 2).sum(1, keepdim=True) * foreground).mean()
        for k, truth in ((dims, foreground), (dims + 1, boundary)):
            loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(said[:, k : k + 1], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module


@pytest.fixture(scope="module")
def weights2d(tmp_path_factory):
    module = taught(2, 60)
    path = tmp_path_factory.mktemp("weights") / "small2d.safetensors"
    save_weights(path, module.state_dict(), ModelCard("small2d", "1", module.shape.as_architecture(), ""))
    return path


@pytest.fixture(scope="module")
def net3d():
    return taught(3, 40)


def ap50(truth, found):
    table = np.zeros((truth.max() + 1, found.max() + 1))
    np.add.at(table, (truth.ravel(), found.ravel()), 1)
    iou = table / (table.sum(1)[:, None] + table.sum(0)[None] - table)
    hits = (iou[1:, 1:] > 0.5).sum()
    return hits / (truth.max() + found.max() - hits)


def test_planes_are_linked_into_nuclei(weights2d):
    image, truth = nuclei()
    found = segment_volume(image, VOXEL, "unet2d+link", weights=weights2d, diameter_um=DIAMETER_UM, device="cpu")
    assert found.labels.shape == image.shape
    assert ap50(truth, found.labels) > 0.6
    assert found.linked
    assert found.links
    assert found.backend == "unet2d+link"
    assert len(found.model_hash) == 64
    assert found.output.flow.shape == (2, *image.shape)
    assert set(np.unique(found.labels)) == set(range(found.labels.max() + 1))
    assert {link.object_id for link in found.links} <= set(range(1, found.labels.max() + 1))
    assert "diameter 6.5 um" in found.remarks


@pytest.mark.parametrize("backend", ["unet2d+link", "unet3d"])
def test_how_far_it_is_can_be_told(weights2d, net3d, backend):
    image, _ = nuclei((5, 60, 60))
    told = []
    how = {"diameter_um": DIAMETER_UM, "weights": weights2d if backend == "unet2d+link" else net3d}
    segment_volume(image, VOXEL, backend, on_progress=lambda done, n: told.append((done, n)), **how)
    n = told[-1][1]
    assert told[-1] == (n, n)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    if backend == "unet2d+link":
        assert n == 5


def test_default_labels_each_plane_for_itself(weights2d):
    image, _ = nuclei((4, 96, 96))
    found = segment_volume(image, VOXEL, "default", weights=weights2d, diameter_um=DIAMETER_UM)
    assert not found.linked
    planes_of = [np.flatnonzero((found.labels == one).any(axis=(1, 2))) for one in np.unique(found.labels)[1:]]
    assert planes_of
    assert all(len(planes) == 1 for planes in planes_of)
    assert not found.links
    assert set(np.unique(found.labels)) == set(range(found.labels.max() + 1))


def test_planes_are_labelled_as_they_arrive(weights2d):
    image, _ = nuclei((6, 96, 96))
    taken = []

    def planes():
        for plane in image:
            taken.append(len(taken))
            yield plane

    backend = open_backend("unet2d+link", weights=weights2d, diameter_um=DIAMETER_UM)
    labelling = backend.segment_planes(planes(), VOXEL)
    for k in range(6):
        labels = next(labelling)
        assert len(taken) == k + 1
        assert labels.shape == (96, 96)
    with pytest.raises(StopIteration) as end:
        next(labelling)
    found = end.value.value
    assert found.labels.shape == image.shape
    assert ap50(segment_volume(image, VOXEL, backend).labels, found.labels) > 0.8


def test_a_dark_plane_first_is_neither_stretched_nor_asked_for_its_size(weights2d):
    image, _ = nuclei((5, 96, 96))
    image[0] = np.random.default_rng(0).poisson(50, (96, 96))
    image[1] = 0
    backend = open_backend("unet2d+link", weights=weights2d)
    found = segment_volume(image, VOXEL, backend)
    assert not found.labels[:2].any()
    assert found.labels[2:].any()
    assert any("estimated by a first pass" in remark for remark in found.remarks)


def test_a_volume_is_segmented_whole_at_its_own_voxels(net3d):
    image, truth = nuclei()
    found = segment_volume(image, VOXEL, "unet3d", weights=net3d, diameter_um=DIAMETER_UM)
    assert found.output.flow.shape == (3, *image.shape)
    assert ap50(truth, found.labels) > 0.4
    assert found.labels.dtype == np.int32
    planes = open_backend("unet3d", weights=net3d, diameter_um=DIAMETER_UM).segment_planes(iter(image), VOXEL)
    np.testing.assert_array_equal(np.stack(list(planes)), found.labels)


def test_a_volume_too_large_is_segmented_in_blocks_to_the_same_end(net3d):
    image, _ = nuclei()
    backend = open_backend("unet3d", weights=net3d, diameter_um=DIAMETER_UM)
    whole = backend.segment_volume(image, VOXEL)
    cut = open_backend("unet3d", weights=net3d, diameter_um=DIAMETER_UM, most_voxels=1000).segment_volume(
        image, VOXEL
    )
    assert "blocks" in cut.remarks[-1]
    assert cut.output is None
    assert ap50(whole.labels, cut.labels) > 0.95


def test_a_plane_is_a_volume_of_one_and_an_empty_volume_has_no_nuclei(weights2d, net3d):
    image, _ = nuclei((3, 64, 64))
    plane = segment_volume(image[1], VOXEL, "unet2d+link", weights=weights2d, diameter_um=DIAMETER_UM)
    assert plane.labels.shape == (1, 64, 64)
    assert plane.labels.any()
    for name, weights in (("unet2d+link", weights2d), ("default", weights2d), ("unet3d", net3d)):
        for diameter_um in (None, DIAMETER_UM):
            none = segment_volume(
                np.zeros((3, 40, 40), np.uint8), VOXEL, name, weights=weights, diameter_um=diameter_um
            )
            assert none.labels.shape == (3, 40, 40)
            assert not none.labels.any()


def test_small_dim_objects_are_dropped_once_linked_and_said_to_be(weights2d):
    image, _ = nuclei()
    kept = segment_volume(image, VOXEL, "unet2d+link", weights=weights2d, diameter_um=DIAMETER_UM)
    off = MaskSettings(min_relative_volume=None, min_relative_contrast=None)
    everything = segment_volume(image, VOXEL, "unet2d+link", weights=weights2d, diameter_um=DIAMETER_UM, masks=off)
    assert kept.labels.max() <= everything.labels.max()
    dropped = [r for r in kept.remarks if r.startswith("objects left out")]
    assert bool(dropped) == (kept.labels.max() < everything.labels.max())


def test_a_single_plane_is_no_volume(net3d):
    image, _ = nuclei((1, 40, 40))
    with pytest.raises(BadInputError, match="single plane"):
        segment_volume(image, VOXEL, "unet3d", weights=net3d)


def test_a_voxel_size_in_another_unit_is_remarked(weights2d):
    image, _ = nuclei((3, 40, 40))
    nm = tuple(1e3 * size for size in VOXEL)
    found = segment_volume(image, nm, "unet2d+link", weights=weights2d, diameter_um=1e3 * DIAMETER_UM)
    assert any("voxel size in um" in remark for remark in found.remarks)


def test_a_network_of_planes_is_no_network_of_volumes(weights2d, net3d):
    image, _ = nuclei((3, 40, 40))
    with pytest.raises(BadInputError, match=r"are of planes; the backend for them is unet2d\+link"):
        segment_volume(image, VOXEL, "unet3d", weights=weights2d, diameter_um=DIAMETER_UM)
    with pytest.raises(BadInputError, match="are of volumes; the backend for them is unet3d"):
        segment_volume(image, VOXEL, "unet2d+link", weights=net3d, diameter_um=DIAMETER_UM)
    with pytest.raises(BadInputError, match="no option"):
        open_backend("unet3d", weights=net3d, colour=3)
