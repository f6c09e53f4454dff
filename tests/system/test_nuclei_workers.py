"""Two processes of a Dask cluster, reached by their scheduler's address, segment and learn as one process does."""

import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from parfocal.files import read_ome_zarr, write_ome_zarr
from parfocal.learning import (
    ModelCard,
    ModelStore,
    UNetShape,
    adapter_card,
    adapter_state,
    add_adapters,
    build_unet,
)
from parfocal.segmentation.backends import model_store
from parfocal.segmentation.corrections import CorrectionJournal, add, apply_edit
from parfocal.segmentation.generator import nuclei_volume
from parfocal.segmentation.volumes import BlockSettings, segment_tiled

pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
distributed = pytest.importorskip("distributed", reason="Dask is not installed: parfocal[dask]")

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def scheduler():
    """The address of two workers, each a process that shares nothing with this one but the disk."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def test_blocks_of_a_volume_are_segmented_by_two_processes(scheduler, tmp_path):
    sample = nuclei_volume(3)
    np.save(tmp_path / "raw.npy", sample.image)
    asked = {
        "voxel_size_um": sample.voxel_size_um,
        "diameter_um": 8.0,
        "blocks": BlockSettings((1000, 48, 1000)),
    }
    here = segment_tiled(tmp_path / "raw.npy", tmp_path / "a.ome.zarr", **asked, scheduler="synchronous")
    there = segment_tiled(tmp_path / "raw.npy", tmp_path / "b.ome.zarr", **asked, scheduler=scheduler)
    assert here.n_blocks == there.n_blocks > 1
    assert here.n_objects == there.n_objects > 0
    np.testing.assert_array_equal(read_ome_zarr(there.path)[0], read_ome_zarr(here.path)[0])


@pytest.fixture
def taught(tmp_path):
    """A data folder in which an adapter of the network of volumes is promoted: no one file holds its weights."""
    torch = pytest.importorskip("torch")
    store = model_store(tmp_path / "data" / "models")
    base = store.find("nuclei3d")
    net = store.network(base)
    add_adapters(net, rank=2)
    turn = torch.Generator().manual_seed(1)
    state = {name: t + 0.02 * torch.randn(t.shape, generator=turn) for name, t in adapter_state(net).items()}
    card = adapter_card(ModelCard("nuclei3d", "taught", {}, "", recipe=dict(base.card.recipe)), base.card)
    made = store.add(state, card)
    store.promote("nuclei3d", "taught")
    return tmp_path / "data", made.weights_sha256


def kill_a_worker(scheduler, folder, killed):
    """Kill a worker once a block is done, while both work on others."""
    deadline_s = time.monotonic() + 240
    with distributed.Client(scheduler, set_as_default=False) as client:
        pid = next(iter(client.run(os.getpid).values()))
        while time.monotonic() < deadline_s and not killed:
            if n_done := len(list(folder.glob("block_*.npz"))):
                os.kill(pid, signal.SIGKILL)
                killed.append(n_done)
            threading.Event().wait(0.02)


def test_a_volume_is_segmented_by_workers_of_which_one_dies_as_it_is_here(scheduler, taught, tmp_path, parfocal):
    data, model_hash = taught
    sample = nuclei_volume(3)
    volume = write_ome_zarr(tmp_path / "raw.ome.zarr", sample.image, sample.voxel_size_um)
    asked = ["segment", volume, "--diameter", 8, "--data", data, "--json", "--option", "block_px=[1000,32,22]"]
    here = parfocal(*asked, "--out", tmp_path / "here", "--scheduler", "synchronous")
    assert here.code == 0, here.err
    killed = []
    killer = threading.Thread(
        target=kill_a_worker, args=(scheduler, tmp_path / "..there.labels.ome.zarr.blocks", killed)
    )
    killer.start()
    there = parfocal(*asked, "--out", tmp_path / "there", "--scheduler", scheduler)
    killer.join()
    assert there.code == 0, there.err
    told = json.loads(there.out)
    assert killed
    assert killed[0] < told["blocks"] - 1, "a worker died in the midst of a block"
    assert told["model_hash"] == json.loads(here.out)["model_hash"] == model_hash
    assert told["n_objects"] > 10
    expected, voxel_size_um = read_ome_zarr(tmp_path / "here" / "labels.ome.zarr")
    assert voxel_size_um == sample.voxel_size_um
    np.testing.assert_array_equal(read_ome_zarr(tmp_path / "there" / "labels.ome.zarr")[0], expected)
    assert (tmp_path / "there" / "objects.csv").read_text() == (tmp_path / "here" / "objects.csv").read_text()
    assert not list(tmp_path.glob(".*there*")), "no block is left"


def test_an_adapter_is_trained_by_two_processes(scheduler, tmp_path, parfocal):
    shape = UNetShape(dims=2, n_out=4, widths=(4, 8), norm="batch")
    store = ModelStore(tmp_path / "models")
    card = ModelCard("nuclei2d", "1", shape.as_architecture(), "", recipe={"diameter_px": 12.0})
    store.add(build_unet(shape).state_dict(), card)
    store.promote("nuclei2d", "1")
    journal = CorrectionJournal(tmp_path / "corrections")
    y, x = np.mgrid[:64, :64]
    for k in range(12):
        disc = np.hypot(y - 30 - k % 3, x - 32 + k % 4) < 6
        image = np.random.default_rng(k).poisson(50 + 200 * disc)[None].astype(np.uint16)
        labels = np.zeros(image.shape, np.int32)
        edit = add(labels, disc[None])
        journal.record(image, labels, edit, source=f"run {k}", voxel_size_um=(1, 1, 1))
        apply_edit(labels, edit)
    said = parfocal(
        "train", "adapter", "--data", tmp_path, "--scheduler", scheduler, "--steps", 4, "--force", "--json"
    )
    assert said.code == 0, said.err
    told = json.loads(said.out)
    made = store.find("nuclei2d", told["version"])
    assert made.weights_sha256 == told["weights_sha256"]
    assert made.card.parent == store.find("nuclei2d", "1").weights_sha256
    assert told["n_corrections"] == 12


def test_a_scheduler_that_does_not_answer_is_said_in_a_line(tmp_path, parfocal):
    said = parfocal("train", "adapter", "--data", tmp_path, "--scheduler", "tcp://127.0.0.1:9", "--force")
    assert said.code == 2
    assert "no scheduler answers there" in said.complaint
    volume = write_ome_zarr(tmp_path / "raw.ome.zarr", np.ones((8, 32, 32), np.uint16), (1.0, 0.5, 0.5))
    asked = ("--diameter", 8, "--data", tmp_path, "--scheduler", "tcp://127.0.0.1:9")
    said = parfocal("segment", volume, "--out", tmp_path / "found", *asked)
    assert said.code == 2
    assert "no scheduler answers there" in said.complaint
    assert not list(tmp_path.glob("*found*"))
