"""The weights in the package: what they are, and that they find nuclei which nobody showed them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import parfocal.segmentation
from parfocal.learning import load_weights
from parfocal.segmentation.flows import masks_from_output
from parfocal.segmentation.generator import (
    GENERATOR_VERSION,
    NucleiPatch,
    field_recipe,
    nuclei_patch,
    nuclei_plane,
    of_scene,
)
from parfocal.segmentation.measures import compare
from parfocal.segmentation.training import KINDS, net_output, opened_net, restored_by

FOLDER = Path(parfocal.segmentation.__file__).parent / "weights"


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _mean_ap(kind: str, patches: list[NucleiPatch]) -> float:
    net, _ = opened_net(None, kind)
    found = [masks_from_output(net_output(net, p.image), None, p.image, 1) for p in patches]
    return float(np.mean([compare(p.labels, f).ap(0.5) for p, f in zip(patches, found, strict=True)]))


@pytest.mark.parametrize("name", [*KINDS, "nuclei3d-seen"])
def test_a_file_of_weights_is_small_and_its_card_says_how_it_was_made(name: str):
    path = FOLDER / f"{name}.safetensors"
    assert path.stat().st_size < 6e6
    _, card = load_weights(path)  # checks the hash and every name and shape
    assert (card.name, card.version) == (name, "shipped")
    # A card that names an earlier generator is still true: what was trained on is not what is drawn today.
    assert card.recipe["generator_version"] in ("1", GENERATOR_VERSION)
    assert card.recipe["trained_on"] == "simulated nuclei alone"
    assert card.metrics


def test_the_3d_network_finds_held_out_nuclei():
    recipes = [of_scene(scene) for scene in ("tissue", "culture", "embryo")]
    assert _mean_ap("nuclei3d", [nuclei_patch(9_500_000 + k, r) for k in range(2) for r in recipes]) > 0.7


def test_weights_taught_nuclei_as_seen_end_them_sooner_along_z_than_those_taught_them_as_drawn():
    """At half of a nucleus's light, and not where it has faded: that is what two files of weights are for."""
    patches = [nuclei_patch(9_600_000 + k, of_scene("embryo")) for k in range(4)]
    planes = {}
    for name in ("nuclei3d", "nuclei3d-seen"):
        net, _ = opened_net(FOLDER / f"{name}.safetensors", "nuclei3d")
        found = [masks_from_output(net_output(net, p.image), None, p.image, 1) for p in patches]
        planes[name] = sum(np.count_nonzero(np.bincount(plane.ravel())[1:]) for f in found for plane in f)
    assert planes["nuclei3d-seen"] < 0.9 * planes["nuclei3d"]


def test_the_2d_network_finds_held_out_nuclei():
    recipe = replace(field_recipe((96, 96)), shares={"field": 1.0})
    assert _mean_ap("nuclei2d", [nuclei_plane(9_500_000 + k, recipe) for k in range(4)]) > 0.7


def test_the_denoiser_takes_away_more_than_half_of_the_noise():
    recipe = replace(field_recipe((128, 128)), imaging=replace(field_recipe().imaging, peak_photons=(8.0, 20.0)))
    patch = nuclei_plane(9_500_000, recipe)
    net, _ = opened_net(None, "denoise2d")
    left = np.abs(restored_by(net)(patch.image) - patch.clean).mean()
    assert left < 0.5 * np.abs(patch.image - patch.clean).mean()
