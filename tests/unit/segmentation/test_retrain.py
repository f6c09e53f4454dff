"""Learning from corrections: what was corrected is found, what is worse is not promoted, and one can go back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.learning import ModelCard, ModelStore, TrainSettings, UNetShape, build_unet, read_pth, train
from parfocal.segmentation.backends import model_options, open_backend
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


@pytest.mark.long
@pytest.mark.parametrize("method", ["adapter", "full"])
def test_what_was_corrected_is_found_and_the_new_version_promoted(tmp_path, store, method):
    journal = added_dim_nuclei(tmp_path / "corrections")
    assert readiness(journal, store, "nuclei2d").due
    done = retrain(journal, store, "nuclei2d", replace(QUICK, method=method), device="cpu")
    assert done.gate.corrections_before < 0.3
    assert done.gate.corrections_after > done.gate.corrections_before + 0.3
    assert done.promoted, done.gate.reason
    now = store.find("nuclei2d")
    assert now.weights_sha256 == done.model.weights_sha256
    assert store.lineage(now)[-1].version == "1"
    assert now.card.metrics["corrections_ap50"] > now.card.metrics["corrections_ap50_before"]
    assert not readiness(journal, store, "nuclei2d").due  # it has learnt from them
    assert store.rollback("nuclei2d").version == "1"


def test_a_retraining_that_breaks_the_network_is_kept_as_a_candidate(tmp_path, store):
    journal = added_dim_nuclei(tmp_path / "corrections")
    done = retrain(journal, store, "nuclei2d", replace(QUICK, method="full", rate=30.0, steps=8), device="cpu")
    assert not done.promoted
    assert store.find("nuclei2d").version == "1"
    assert store.find("nuclei2d", done.model.version).card.parent == store.find("nuclei2d").weights_sha256


@pytest.mark.long
def test_corrections_that_are_wrong_do_not_change_what_is_used(tmp_path, store):
    """Somebody adds nuclei where there are none, here and there: nothing can be learnt that holds elsewhere."""
    journal = CorrectionJournal(tmp_path / "corrections")
    rng = np.random.default_rng(3)
    for seed in range(24):
        image, truth, _ = discs((5, seed), 96)
        empty = np.argwhere(ndimage.minimum_filter(truth == 0, 9)[5:-5, 5:-5]) + 5
        y, x = empty[rng.integers(len(empty))]
        labels, mask = np.zeros((1, 96, 96), np.int32), np.zeros((1, 96, 96), bool)
        mask[0, y - 4 : y + 5, x - 4 : x + 5] = True
        journal.record(image[None], labels, add(labels, mask), source=f"run {seed}", voxel_size_um=(1, 1, 1))
    done = retrain(journal, store, "nuclei2d", QUICK, device="cpu")
    assert not done.promoted
    assert "was expected" in done.gate.reason
    assert store.find("nuclei2d").version == "1"


def test_what_was_undone_is_not_learnt_and_nothing_to_judge_by_is_said(tmp_path, store):
    journal = added_dim_nuclei(tmp_path / "corrections", n_images=1)
    while len(journal.corrections()) > 1:
        journal.undo()
    with pytest.raises(BadInputError, match="at least one of each is needed"):
        retrain(journal, store, "nuclei2d", QUICK, device="cpu")
    assert [model.version for model in store.models()] == ["1"]


def test_one_held_out_correction_cannot_judge_and_the_gate_says_so(tmp_path, store):
    journal = added_dim_nuclei(tmp_path / "corrections", n_images=1)
    while len(journal.corrections()) > 4:
        journal.undo()
    done = retrain(journal, store, "nuclei2d", replace(QUICK, steps=2), device="cpu")
    assert not done.promoted
    assert done.gate.reason == ("only 1 held-out correction: at least 2 are needed to judge; correct more objects")
    assert store.find("nuclei2d").version == "1"
    assert store.find("nuclei2d", done.model.version).card.metrics["corrections_ap50"] >= 0


def test_a_tie_leaves_the_version_in_use_where_it_is(tmp_path, store):
    """A rate of next to nothing: what comes out says what went in."""
    journal = added_dim_nuclei(tmp_path / "corrections", n_images=2)
    done = retrain(journal, store, "nuclei2d", replace(QUICK, steps=1, rate=1e-12), device="cpu")
    assert not done.promoted
    assert done.gate.corrections_after == done.gate.corrections_before
    assert (done.gate.n_better, done.gate.n_worse) == (0, 0)
    assert done.gate.reason == (
        f"no better and no worse on {done.gate.n_corrections} held-out corrections: "
        "a rise of AP by more than 0.01 was expected"
    )


def test_a_network_that_does_not_find_nuclei_is_refused(tmp_path, store):
    denoiser = UNetShape(dims=2, n_out=1, widths=(8, 16), norm="batch")
    store.add(build_unet(denoiser).state_dict(), ModelCard("denoise2d", "1", denoiser.as_architecture(), ""))
    store.promote("denoise2d", "1")
    with pytest.raises(BadInputError, match="does not find nuclei"):
        retrain(CorrectionJournal(tmp_path), store, "denoise2d")


@pytest.mark.long
def test_two_workers_of_a_cluster_learn_together(tmp_path, store):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    journal = added_dim_nuclei(tmp_path / "corrections")
    heard = []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        done = retrain(
            journal, store, "nuclei2d", replace(QUICK, steps=40), device="cpu", client=client,
            on_progress=lambda progress: heard.append(progress.step),
        )  # fmt: skip
    assert heard[-1] == 40
    assert done.promoted, done.gate.reason


@pytest.mark.long
def test_a_network_of_cellpose_learns_too(tmp_path):
    """Taught by us to miss dim nuclei, saved by its own code, taken in as users do."""
    resnet = pytest.importorskip("cellpose.resnet_torch", reason="Cellpose is not installed")
    from parfocal.segmentation.corrections._objective import CellposePlanes, weighted_loss

    torch.manual_seed(0)
    net = resnet.CPnet([2, 8, 16], 3, 3)
    settings = TrainSettings(100, rate=1e-2, device="cpu")
    train(CellposePlanes(net), lambda k: [*blind_batches(k), blind_batches(k)[2] * 0 + 1], weighted_loss, settings)
    net.save_model(str(tmp_path / "cp"))
    state, architecture = read_pth(tmp_path / "cp")
    store = ModelStore(tmp_path / "models")
    card = ModelCard("my-cellpose", "1", architecture, "", recipe={"diameter_px": DIAMETER_PX})
    store.add(state, card, half=False)
    store.promote("my-cellpose", "1")
    journal = added_dim_nuclei(tmp_path / "corrections")
    done = retrain(journal, store, "my-cellpose", QUICK, device="cpu")
    assert done.gate.corrections_before < 0.3
    assert done.gate.corrections_after > 0.6
    assert done.promoted, done.gate.reason
    assert store.lineage(store.find("my-cellpose"))[-1].version == "1"

    # The backend takes what was retrained, by name, its adapter merged; and refuses what is not Cellpose's.
    by_name = open_backend("cellpose", **model_options("cellpose", tmp_path / "models", "my-cellpose"))
    assert by_name.model_hash == done.model.weights_sha256
    before = open_backend("cellpose", weights=tmp_path / "cp")
    image = np.asarray(blind_batches(0)[0][0, 0])
    found = [b.segment_volume(image[None], (1.0, 1.0, 1.0)).output.foreground for b in (before, by_name)]
    assert not np.allclose(*found)
    with pytest.raises(BadInputError, match="no network of Cellpose's"):
        model_options("cellpose", tmp_path / "models", "nuclei2d")
    with pytest.raises(BadInputError, match="watershed takes none"):
        model_options("watershed", tmp_path / "models", "my-cellpose")
