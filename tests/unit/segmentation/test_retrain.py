"""Learning from corrections: what was corrected is found, what is worse is not promoted, and one can go back."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.learning import ModelCard, ModelStore, TrainSettings, UNetShape, build_unet, train
from parfocal.segmentation.corrections import (
    CorrectionJournal,
    GateSettings,
    RetrainSettings,
    add,
    apply_edit,
    readiness,
    retrain,
)
from parfocal.segmentation.flows import flow_targets

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)

SHAPE = UNetShape(dims=2, n_out=4, widths=(8, 16), norm="batch")
DIAMETER_PX = 13.0
QUICK = RetrainSettings(steps=60, rate=5e-3, replay=0.25, gate=GateSettings(n_simulated=1))


def discs(seed, size=64):
    """Bright and dim discs on a lattice; returns image, labels, and the ids of the dim ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image, labels = np.zeros((size, size), np.float32), np.zeros((size, size), np.int32)
    dim = []
    for cy in range(10, size - 8, 21):
        for cx in range(10, size - 8, 21):
            here = np.hypot(y - cy - rng.uniform(-2, 2), x - cx - rng.uniform(-2, 2)) < DIAMETER_PX / 2
            labels[here] = labels.max() + 1
            is_dim = rng.random() < 0.5
            image[here] = 0.35 if is_dim else 1.0
            dim += [int(labels.max())] * is_dim
    return image + rng.normal(0, 0.03, image.shape).astype(np.float32), labels, dim


def blind_batches(step):
    """As the truth were, if there were no dim nuclei."""
    columns = []
    for k in range(4):
        image, labels, dim = discs((7, step, k))
        labels[np.isin(labels, dim)] = 0
        flow, foreground, boundary = flow_targets(labels)
        columns.append((image[None], flow, foreground[None], boundary[None]))
    return [np.stack(column) for column in zip(*columns, strict=True)]


@pytest.fixture(scope="module")
def blind():
    """Weights of a network that misses dim nuclei."""
    from parfocal.segmentation.training._losses import nuclei_loss

    net = build_unet(SHAPE)
    train(net, blind_batches, nuclei_loss, TrainSettings(80, rate=1e-2, device="cpu"))
    return net.state_dict()


@pytest.fixture
def store(tmp_path, blind):
    made = ModelStore(tmp_path / "models")
    card = ModelCard("nuclei2d", "1", SHAPE.as_architecture(), "", recipe={"diameter_px": DIAMETER_PX})
    made.add(blind, card, half=False)
    made.promote("nuclei2d", "1")
    return made


def added_dim_nuclei(folder, n_images=6):
    """The corrections of somebody who adds what the network missed."""
    journal = CorrectionJournal(folder)
    for seed in range(n_images):
        image, truth, dim = discs((99, seed), 96)
        labels = np.where(np.isin(truth, dim), 0, truth)[None].astype(np.int32)
        for one in dim:
            edit = add(labels, truth[None] == one)
            journal.record(image[None], labels, edit, source=f"run {seed}", voxel_size_um=(1, 1, 1))
            apply_edit(labels, edit)
    return journal


@pytest.mark.parametrize("method", ["adapter", "full"])
def test_what_was_corrected_is_found_and_the_new_version_promoted(tmp_path, store, method):
    journal = added_dim_nuclei(tmp_path / "corrections")
    assert readiness(journal, store, "nuclei2d").due
    done = retrain(journal, store, "nuclei2d", replace(QUICK, method=method), device="cpu")
    assert done.gate.corrections_before < 0.3
    assert done.gate.corrections_after > 0.7
    assert done.promoted, done.gate.reason
    now = store.find("nuclei2d")
    assert now.weights_sha256 == done.model.weights_sha256
    assert store.lineage(now)[-1].version == "1"
    assert now.card.metrics["corrections_ap50"] > now.card.metrics["corrections_ap50_before"]
    assert not readiness(journal, store, "nuclei2d").due  # it has learnt from them
    assert store.rollback("nuclei2d").version == "1"
