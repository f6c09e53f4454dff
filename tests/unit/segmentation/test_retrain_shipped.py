"""The network of the package, spoilt on purpose, learns back from corrections made of the truth."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.learning import ModelStore, load_weights
from parfocal.segmentation.corrections import (
    CorrectionJournal,
    GateSettings,
    RetrainSettings,
    ReviewSession,
    retrain,
)
from parfocal.segmentation.flows import MaskSettings, masks_from_output
from parfocal.segmentation.generator import field_recipe, nuclei_plane
from parfocal.segmentation.measures import compare
from parfocal.segmentation.networks import shipped_weights
from parfocal.segmentation.training import net_output

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def corrected_from_truth(session, truth):
    """Add what was missed, delete what is nothing, redraw what is badly drawn."""
    pairs = compare(truth, session.labels).at(0.5).pairs
    for one in sorted(set(np.unique(session.labels)) - {0, *pairs[:, 1].tolist()}):
        if (truth[session.labels == one] == 0).mean() > 0.5:
            session.delete(int(one))
    for one in sorted(set(np.unique(truth)) - {0, *pairs[:, 0].tolist()}):
        mask = (truth == one) & (session.labels == 0)
        if mask.sum() > 40:
            session.add(mask)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_shipped_network_that_misses_dim_nuclei_finds_them_again(tmp_path):
    state, card = load_weights(shipped_weights("nuclei2d"))
    state["head.bias"][2] -= 3.0  # the foreground's logit: the dim and the small go first
    store = ModelStore(tmp_path / "models")
    store.add(state, replace(card, version="spoilt"), half=False)
    store.promote("nuclei2d", "spoilt")
    net = store.network(store.find("nuclei2d"))
    journal = CorrectionJournal(tmp_path / "corrections")
    settings = MaskSettings(diameter_px=float(card.recipe["diameter_px"]))
    for seed in range(40):
        plane = nuclei_plane(np.random.default_rng((777, seed)), field_recipe((128, 128)))
        drawn = masks_from_output(net_output(net, plane.image), settings, plane.image, 1)
        session = ReviewSession(drawn[None], plane.image[None], (1, 1, 1), journal, source=f"plane {seed}")
        corrected_from_truth(session, plane.labels[None])
        if len(journal.corrections()) >= 60:
            break
    assert len(journal.corrections()) >= 20
    done = retrain(
        journal, store, settings=RetrainSettings(steps=60, gate=GateSettings(n_simulated=5)), device="cpu"
    )
    assert done.promoted, done.gate.reason
    assert done.gate.corrections_after > done.gate.corrections_before + 0.1
    assert done.gate.simulated_after > done.gate.simulated_before - 0.02
