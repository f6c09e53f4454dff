"""Volumes that are segmented block by block."""

import json

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.files import open_ome_zarr, read_ome_zarr, write_ome_zarr
from parfocal.learning import ModelCard, UNetShape, build_unet, save_weights
from parfocal.segmentation.flows import MaskSettings, find_masks
from parfocal.segmentation.networks import NucleiNet, TileSettings, predict_on
from parfocal.segmentation.volumes import BlockSettings, labels_back, open_source, segment_tiled
from parfocal.segmentation.volumes._cluster import _unseen

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
VOXEL = (2.0, 0.5, 0.5)


class Climber(torch.nn.Module):
    """Finds what is bright and flows up the smoothed image: local, as a network is, and right for round nuclei."""

    def forward(self, x):
        smooth = x
        for _ in range(3):
            smooth = torch.nn.functional.avg_pool3d(smooth, 5, 1, 2, count_include_pad=False)
        slopes = [
            (torch.roll(smooth, -1, a) - torch.roll(smooth, 1, a))
            * (torch.arange(smooth.shape[a]) % (smooth.shape[a] - 1) > 0).reshape(
                [-1 if i == a else 1 for i in range(5)]
            )
            for a in (2, 3, 4)
        ]
        length = torch.sqrt(sum(s * s for s in slopes)) + 0.002
        return torch.cat([*[s / length for s in slopes], 20 * (x - 0.3), 0 * x - 3], 1)


NET = NucleiNet(Climber(), 3, 9.0, (2, 2, 2), "cpu", "climber")
TILES = TileSettings((24, 40, 40))


@pytest.fixture(scope="module")
def volume():
    """Round nuclei of 4.5 um, some of which touch, with noise."""
    rng = np.random.default_rng(0)
    shape = (12, 100, 110)
    grid = [g * v for g, v in zip(np.indices(shape, np.float32), VOXEL)]
    image = np.full(shape, 100.0, np.float32)
    centres = []
    for _ in range(4000):
        centre = rng.uniform(0, 1, 3) * np.multiply(shape, VOXEL)
        if all(np.linalg.norm(centre - c) > 4.6 for c in centres):
            centres.append(centre)
            near = tuple(slice(max(0, int((c - 4) / v)), int((c + 4) / v) + 2) for c, v in zip(centre, VOXEL))
            d2 = sum((g[near] - c) ** 2 for g, c in zip(grid, centre))
            image[near] = np.maximum(image[near], 100 + 900 * np.clip(1.4 - d2 / 2.25**2, 0, 1))
    return rng.poisson(image).astype(np.uint16)


def matched(a, b):
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a.ravel(), b.ravel()), 1)
    union = table.sum(1)[:, None] + table.sum(0)[None] - table
    return ((table / union)[1:, 1:] > 0.9).sum()


def tiled(volume, out, block=(24, 50, 55), **options):
    found = segment_tiled(
        volume,
        out,
        options.pop("net", NET),
        options.pop("voxel", VOXEL),
        diameter_um=options.pop("diameter", 4.5),
        tiles=TILES,
        blocks=BlockSettings(block, options.pop("halo", 18)),
        **options,
    )
    return found, read_ome_zarr(found.path)[0]


def test_what_is_found_does_not_depend_on_how_the_volume_is_cut(volume, tmp_path):
    whole, labels = tiled(volume, tmp_path / "a.ome.zarr", (1000, 1000, 1000))
    cut, other = tiled(volume, tmp_path / "b.ome.zarr")
    assert (whole.n_blocks, cut.n_blocks) == (1, 8)
    assert whole.n_objects == labels.max() > 200
    assert abs(cut.n_objects - whole.n_objects) <= 0.001 * whole.n_objects
    assert matched(labels, other) >= 0.999 * whole.n_objects
    assert (labels != other).mean() < 1e-3


def test_it_is_what_segmenting_in_memory_finds(volume, tmp_path):
    found, labels = tiled(volume, tmp_path / "a.ome.zarr")
    said = predict_on(NET, volume, VOXEL, diameter_um=4.5, settings=TILES)
    here = find_masks(said.output, MaskSettings(diameter_px=9.0), said.image)
    assert said.grid.is_same is False
    back = labels_back(here.labels, volume.shape, said.grid.zoom)
    assert np.unique(back[back > 0]).size == pytest.approx(found.n_objects, abs=2)
    assert labels.shape == volume.shape
    assert found.flow_error.size == found.contrast.size == found.n_objects
    assert sorted({d.reason for d in found.dropped}) == sorted({d.reason for d in here.dropped})


def test_labels_are_kept_as_an_image_with_its_voxel_size_and_its_model(volume, tmp_path):
    found, _ = tiled(volume[:8, :60, :60], tmp_path / "a.ome.zarr")
    kept = open_ome_zarr(found.path)
    assert kept.voxel_size_um == VOXEL
    assert kept.dtype == np.int32
    told = json.loads((found.path / "zarr.json").read_text())["attributes"]["parfocal"]
    assert told["diameter_um"] == 4.5
    assert told["model_hash"].startswith("Climber")
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_was_cut_off_is_taken_up_where_it_was(volume, tmp_path):
    volume = volume[:, :60, :70]

    class Stopped(Exception):
        pass

    def stop_at_three(done, of):
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        tiled(volume, tmp_path / "a.ome.zarr", (24, 30, 35), on_progress=stop_at_three, scheduler="synchronous")
    assert not (tmp_path / "a.ome.zarr").exists()
    told = []
    again, labels = tiled(volume, tmp_path / "a.ome.zarr", (24, 30, 35), on_progress=lambda *t: told.append(t))
    assert again.n_taken_up >= 3
    assert told[0] == (again.n_taken_up, 8)
    assert told[-1] == (8, 8)
    _, afresh = tiled(volume, tmp_path / "b.ome.zarr", (24, 30, 35))
    np.testing.assert_array_equal(labels, afresh)


def test_blocks_of_another_volume_or_other_settings_are_not_taken_up(volume, tmp_path):
    def stop(done, of):
        if done == 1:
            raise KeyboardInterrupt

    part = volume[:8, :60, :60]
    with pytest.raises(KeyboardInterrupt):
        tiled(part, tmp_path / "a.ome.zarr", on_progress=stop)
    found, _ = tiled(part + 1 + part // 2, tmp_path / "a.ome.zarr")
    assert found.n_taken_up == 0


def test_volumes_come_from_files_and_say_their_own_voxel_size(volume, tmp_path):
    part = volume[:8, :60, :60]
    write_ome_zarr(tmp_path / "raw.ome.zarr", part, VOXEL)
    np.save(tmp_path / "raw.npy", part)
    _, expected = tiled(part, tmp_path / "a.ome.zarr")
    for name, path in (("b", "raw.ome.zarr"), ("c", "raw.ome.zarr/0"), ("d", "raw.npy")):
        voxel = None if name == "b" else VOXEL
        _, labels = tiled(str(tmp_path / path), tmp_path / f"{name}.ome.zarr", voxel=voxel)
        np.testing.assert_array_equal(labels, expected)
    assert open_source(tmp_path / "raw.ome.zarr").voxel_size_um == VOXEL


def test_no_more_than_a_block_is_read_at_once(volume, tmp_path):
    class Watched:
        shape, dtype = (6, 100, 110), volume.dtype
        most = 0

        def __getitem__(self, where):
            part = volume[:6][where]
            self.most = max(self.most, part.size)
            return part

    watched = Watched()
    tiled(watched, tmp_path / "a.ome.zarr", (24, 30, 35), halo=8)
    assert watched.most < volume.size / 4


@pytest.mark.long
def test_the_same_blocks_come_from_a_dask_cluster(volume, tmp_path):
    distributed = pytest.importorskip("distributed")
    shape = UNetShape(3, 1, 5, (4, 8))
    weights = tmp_path / "tiny.safetensors"
    save_weights(
        weights, build_unet(shape, seed=1).state_dict(), ModelCard("tiny", "1", shape.as_architecture(), "")
    )
    np.save(tmp_path / "raw.npy", volume[:8, :60, :60])
    options = {"net": str(weights), "masks": MaskSettings(max_flow_error=None), "block": (1000, 30, 1000)}
    _, expected = tiled(tmp_path / "raw.npy", tmp_path / "a.ome.zarr", **options)
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        found, labels = tiled(tmp_path / "raw.npy", tmp_path / "b.ome.zarr", scheduler=client, **options)
        with pytest.raises(BadInputError, match="given by its path"):
            tiled(volume[:8, :60, :60], tmp_path / "c.ome.zarr", scheduler=client)
        blind = client.submit(_unseen, str(tmp_path / "raw.npy"), str(tmp_path / "elsewhere")).result()
    assert blind.endswith(f"no {tmp_path / 'elsewhere'}")
    assert found.n_blocks > 1
    np.testing.assert_array_equal(labels, expected)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(BadInputError, match="no worker is there"),
    ):
        tiled(tmp_path / "raw.npy", tmp_path / "d.ome.zarr", scheduler=client, **options)


def test_an_empty_volume_has_no_objects(tmp_path):
    found, labels = tiled(np.zeros((8, 60, 60), np.uint16), tmp_path / "a.ome.zarr")
    assert found.n_objects == 0
    assert not labels.any()


def test_what_cannot_be_segmented_is_refused_before_anything_is_made(volume, tmp_path):
    with pytest.raises(BadInputError, match="voxel size"):
        tiled(volume, tmp_path / "a.ome.zarr", voxel=None)
    with pytest.raises(BadInputError, match=r"expected real numbers \(z, y, x\)"):
        tiled(volume[0], tmp_path / "a.ome.zarr")
    with pytest.raises(BadInputError, match="no such file"):
        tiled(str(tmp_path / "none.npy"), tmp_path / "a.ome.zarr")
    with pytest.raises(BadInputError, match="block_px"):
        BlockSettings((0, 1, 1))
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInputError, match="exists already"):
        tiled(volume, tmp_path / "there")
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
