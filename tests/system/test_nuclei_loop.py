"""Nuclei are imaged and labelled meanwhile, corrected, learnt from; the next run is labelled by what was learnt.

The network that the microscope begins with is the package's own, spoilt on purpose: it draws nuclei too small.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from parfocal.callbacks import Nuclei, NucleiParameters, nuclei_lines, open_review, volumes_of
from parfocal.catalog import stop_server
from parfocal.devices import simulated_microscope
from parfocal.files import open_stack, read_ome_zarr
from parfocal.learning import ModelStore, load_weights
from parfocal.plans import retrain_nuclei, time_lapse
from parfocal.segmentation.measures import compare
from parfocal.segmentation.networks import shipped_weights
from parfocal.session import start_session

pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")

CORRECTED_UM, UNSEEN_UM = [[0.0, 0.0], [60.0, 0.0]], [[0.0, 60.0]]
HALF_RANGE_UM, STEP_UM = 8.0, 1.0
N_PLANES = 17
INSIDE = 30_000.0  # photons/(s um^3); chromatin has about four times that


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A session whose nuclei are found live, on a microscope in real time; `happened` is what came when."""
    monkeypatch.setenv("PARFOCAL_DATA", str(tmp_path))
    state, card = load_weights(shipped_weights("nuclei2d"))
    state["head.bias"][2] -= 5.0  # the logit of foreground
    store = ModelStore(tmp_path / "models")
    store.add(state, replace(card, version="spoilt"), half=False)
    store.promote("nuclei2d", "spoilt")
    session = start_session(tmp_path)
    microscope = session.use(simulated_microscope("microscope"))
    microscope.camera.exposure_s.put(0.2)
    nuclei = session.add(Nuclei(NucleiParameters(diameter_um=9.0), emit=session.writer))
    happened = []
    nuclei.subscribe(nuclei_lines(happened.append))
    session.RE.subscribe(lambda name, doc: happened.append(f"taken {doc['seq_num'] - 1}"), "event")
    assert nuclei.drain(180)
    yield SimpleNamespace(session=session, microscope=microscope, store=store, happened=happened, folder=tmp_path)
    session.close()
    microscope.destroy()
    stop_server(session.catalog.folder)


def image(bench, positions_um):
    """Take a stack at each position; return the uid of the run, complete with its nuclei."""
    plan = time_lapse(bench.microscope, 1, 0.0, HALF_RANGE_UM, STEP_UM, positions_um=positions_um)
    (uid,) = bench.session.RE(plan)
    assert bench.session.drain(120)
    return uid


def truth(bench, x_um, y_um):
    """What lies there, drawn by whoever made it: labels of the stack's voxels."""
    layer = bench.microscope.backend.camera.world.scene.sample.volumes["nuclei"][0]
    across = (np.arange(256) - 127.5) * bench.microscope.camera.facts.pixel_size_um[0]
    z_um = np.linspace(-HALF_RANGE_UM, HALF_RANGE_UM, N_PLANES)
    return ndimage.label(layer.density(z_um, y_um + across, x_um + across) > INSIDE)[0].astype(np.int32)


def derived_of(bench, uid):
    (derived,) = bench.session.catalog.analyses_of(bench.session.catalog.run(uid))
    return derived


def ap(bench, uid, labels="labels_0"):
    """How well nuclei were outlined where nobody corrected any, in the planes through their middle.

    Above and below, a nucleus out of focus has an outline too, which its maker does not know.
    """
    path = volumes_of(bench.session.catalog.documents(derived_of(bench, uid)))[labels]
    true, found = truth(bench, *UNSEEN_UM[0]), read_ome_zarr(path)[0]
    middle = np.argsort((true > 0).sum(axis=(1, 2)))[-3:]
    return np.mean([compare(true[z], found[z]).ap(iou) for z in middle for iou in (0.5, 0.6, 0.7)])


def centre_of(mask):
    """The voxel of a mask that lies deepest in it."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), (6.0, 1.0, 1.0))[1:-1, 1:-1, 1:-1]
    return np.unravel_index(np.argmax(depth), mask.shape)


def correct_the_most_uncertain(bench, parfocal, uid, true):
    """Delete it and draw it anew, in the terminal."""
    said = parfocal("review", uid, "--data", bench.folder, "--json")
    first = json.loads(said.out)["queue"][0]
    review, _ = open_review(bench.session.catalog, uid)
    under = np.bincount(true[(review.labels == first["id"]) & (true > 0)]).argmax()
    z, y, x = centre_of(true == under)
    said = parfocal(
        "review", uid, "--data", bench.folder, "--delete", first["id"], "--add", f"{z},{y},{x}", "--json"
    )
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert [one["kinds"] for one in told["done"]] == [["delete"], ["add"]]
    assert told["corrections"] == 2


def correct_the_others(bench, uid, labels, true):
    """Redraw what was drawn wrongly, add what was missed: what the brush of the review in napari does."""
    review, corrected = open_review(bench.session.catalog, uid, labels)
    done = {one for made in review.corrections() for one in made.ids_after}
    pairs = compare(true, review.labels).at(0.1).pairs.tolist()
    for nucleus, found in pairs:
        if found not in done:
            review.redraw(found, true == nucleus)
    for nucleus in sorted(set(np.unique(true)) - {0} - {pair[0] for pair in pairs}):
        mask = (true == nucleus) & (review.labels == 0)
        if mask.sum() > 500:
            review.add(mask)
    review.save(corrected)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_is_corrected_is_learnt_and_the_next_run_names_the_new_model(bench, parfocal):
    session, store = bench.session, bench.store
    spoilt = store.find("nuclei2d").weights_sha256

    # Imaged: labels come while the stack is being taken.
    uid = image(bench, [*CORRECTED_UM, *UNSEEN_UM])
    last_of_first = bench.happened.index(f"taken {N_PLANES - 1}")
    before_its_end = [line for line in bench.happened[:last_of_first] if line.startswith("plane ")]
    assert len(before_its_end) >= 4, bench.happened
    start = derived_of(bench, uid).metadata["start"]["parfocal"]
    assert (start["mode"], start["parameters"]["model"]) == ("live", spoilt)

    # Corrected: the most uncertain one first.
    truths = [truth(bench, x, y) for x, y in CORRECTED_UM]
    correct_the_most_uncertain(bench, parfocal, uid, truths[0])
    for number, true in enumerate(truths):
        correct_the_others(bench, uid, f"labels_{number}", true)

    # Retrained through the queue, in a process of its own, and promoted by the gate.
    (retraining,) = session.RE(retrain_nuclei(steps=60, min_new=10))
    assert session.drain(60)
    told = session.catalog.run(retraining)["retraining"].read()
    assert str(told["retraining_verdict"][0].item()) == "promoted", str(told["retraining_reason"][0].item())
    assert session.catalog.run(retraining).metadata["stop"]["reason"].startswith("promoted: ")
    learnt = store.find("nuclei2d")
    assert learnt.weights_sha256 == str(told["retraining_weights_sha256"][0].item()) != spoilt
    assert spoilt in [one.weights_sha256 for one in store.lineage(learnt)]

    # The next run names the new model, and finds more of what nobody has corrected.
    after = image(bench, UNSEEN_UM)
    derived = derived_of(bench, after)
    assert derived.metadata["start"]["parfocal"]["parameters"]["model"] == learnt.weights_sha256
    stacks = derived["stacks"].read()
    assert str(stacks["model_hash"][0].item()) == learnt.weights_sha256
    assert 0 < float(stacks["labels_after_s"][0]) < 60
    assert ap(bench, after) > ap(bench, uid, "labels_2")

    # What was found live is shown, with how long it took, and its labels come out as OME-TIFF.
    tiff = bench.folder / "labels.ome.tif"
    said = parfocal("segment", after, "--data", bench.folder, "--diameter", 9, "--out", tiff)
    assert said.code == 0, said.err
    assert "found before" in said.out
    assert "s after the last plane was taken" in said.out
    assert open_stack(tiff).size("Z") == N_PLANES
