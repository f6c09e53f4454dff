"""Training from nothing: that it learns, that it can be put down and taken up, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from parfocal.cli._main import main
from parfocal.errors import BadInputError
from parfocal.learning import ModelCard, UNetShape, build_unet, load_into, load_weights
from parfocal.segmentation.corrections import RetrainSettings
from parfocal.segmentation.corrections._crops import LearningCrop
from parfocal.segmentation.corrections._lessons import lessons
from parfocal.segmentation.flows import MaskSettings, masks_from_output
from parfocal.segmentation.generator import NucleiPatch, NucleiRecipe, Outline, field_recipe, nuclei_plane
from parfocal.segmentation.measures import compare
from parfocal.segmentation.training import (
    TrainRecipe,
    held_out_scores,
    held_out_sets,
    net_output,
    nuclei_batches,
    outline_of,
    train_nuclei,
    train_recipe,
    turned,
)

EASY = replace(
    field_recipe((64, 64)),
    shares={"field": 1.0},
    imaging=replace(
        field_recipe().imaging, peak_photons=(200.0, 400.0), haze=(0.0, 0.05), background=(0.01, 0.05)
    ),
)
TINY = TrainRecipe(
    "nuclei2d", UNetShape(dims=2, n_out=4, widths=(8, 16, 24), norm="batch"), (EASY,), batch=4, steady_steps=50,
    settle_steps=20, hold_steps=10, rate=5e-3, seed=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _mean_ap(net: object, recipe: NucleiRecipe) -> float:
    settings = MaskSettings(min_relative_contrast=None, min_foreground_logit=None)  # so few steps make nobody sure
    patches: list[NucleiPatch] = [nuclei_plane(500 + k, recipe) for k in range(6)]
    found = [masks_from_output(net_output(net, p.image), settings, p.image, 1) for p in patches]  # pyright: ignore
    return float(np.mean([compare(p.labels, f).ap(0.5) for p, f in zip(patches, found)]))


def test_a_tiny_training_learns_to_find_nuclei(tmp_path: Path):
    losses: list[float] = []
    card = train_nuclei(
        TINY,
        tmp_path / "n.safetensors",
        device="cpu",
        held_out_images=0,
        on_progress=lambda p: losses.append(p.loss),
    )
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    state, read = load_weights(tmp_path / "n.safetensors")
    assert read == card
    assert not list(tmp_path.glob("*.checkpoint"))
    trained = build_unet(TINY.shape).eval()
    load_into(trained, state)
    untrained = build_unet(TINY.shape).eval()
    assert _mean_ap(trained, EASY) > _mean_ap(untrained, EASY) + 0.2


def test_a_training_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path):
    recipe = replace(TINY, steady_steps=4, settle_steps=3, hold_steps=3, batch=2)
    whole = train_nuclei(recipe, tmp_path / "whole.safetensors", device="cpu", held_out_images=0)

    def interrupt(progress: object) -> None:
        if getattr(progress, "step", 0) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_nuclei(recipe, tmp_path / "cut.safetensors", device="cpu", held_out_images=0, on_progress=interrupt)
    with pytest.raises(BadInputError, match="--resume"):
        train_nuclei(recipe, tmp_path / "cut.safetensors", device="cpu", held_out_images=0)
    resumed = train_nuclei(recipe, tmp_path / "cut.safetensors", device="cpu", held_out_images=0, resume=True)
    assert resumed.weights_sha256 == whole.weights_sha256


def test_weights_that_are_there_are_not_replaced(tmp_path: Path):
    (tmp_path / "n.safetensors").write_bytes(b"precious")
    with pytest.raises(BadInputError, match="not replaced"):
        train_nuclei(TINY, tmp_path / "n.safetensors", device="cpu")
    assert (tmp_path / "n.safetensors").read_bytes() == b"precious"


def test_the_number_of_a_step_decides_what_is_in_it():
    batches = nuclei_batches(replace(TINY, batch=2))
    assert all(np.array_equal(a, b) for a, b in zip(batches(3), batches(3), strict=True))
    assert not np.array_equal(batches(3)[0], batches(4)[0])


def test_an_image_and_its_labels_are_turned_alike():
    image = np.arange(36.0).reshape(6, 6)
    for seed in range(8):
        a, b = turned(np.random.default_rng(seed), image, 2 * image)
        assert np.array_equal(2 * a, b)
        assert sorted(a.ravel()) == sorted(image.ravel())


def test_a_denoiser_is_trained_under_the_eyes_of_a_segmenter(tmp_path: Path):
    train_nuclei(
        replace(TINY, steady_steps=3, settle_steps=1, hold_steps=1),
        tmp_path / "s.safetensors",
        device="cpu",
        held_out_images=0,
    )
    recipe = TrainRecipe(
        "denoise2d", UNetShape(dims=2, n_out=1, widths=(8, 16), norm="batch"), (EASY,), batch=2, steady_steps=3,
        settle_steps=2, hold_steps=1, segmenter_weight=0.1,
    )  # fmt: skip
    terms: list[set[str]] = []
    card = train_nuclei(
        recipe, tmp_path / "d.safetensors", device="cpu", segmenter=tmp_path / "s.safetensors", held_out_images=0,
        on_progress=lambda p: terms.append(set(p.terms)),
    )  # fmt: skip
    assert terms[0] == {"difference", "segmenter"}
    assert card.recipe["predicts"] == "residual"


def test_the_command_trains_and_prints_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "mine.safetensors"
    arguments = ["train", "nuclei2d", "--steps", "3", "--seed", "7", "--device", "cpu", "--held-out", "0"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(out), "--json"])
    assert ended.value.code == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["name"], card["recipe"]["seed"], card["version"]) == ("nuclei2d", 7, "small")
    assert out.stat().st_size > 10_000
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(out)])
    assert ended.value.code == 2
    assert "not replaced" in capsys.readouterr().err


def test_unknown_kinds_and_sizes_are_refused():
    with pytest.raises(BadInputError, match="nuclei4d"):
        train_recipe("nuclei4d")
    with pytest.raises(BadInputError, match="huge"):
        train_recipe("nuclei3d", "huge")


@pytest.mark.parametrize("outline", ["drawn", "seen", "true"])
def test_what_labels_say_is_in_the_card_and_what_a_network_is_scored_on(outline: Outline):
    recipe = train_recipe("nuclei3d", outline=outline)
    card = ModelCard("nuclei3d", "1", {}, "", recipe=recipe.as_dict())
    assert outline_of(card) == outline
    assert {r.outline for r in held_out_sets(3, outline_of(card)).values()} == {outline}


def test_a_card_of_the_first_generator_was_taught_the_specimens_own_outlines_and_another_programs_none_of_ours():
    assert outline_of(ModelCard("nuclei2d", "1", {}, "", recipe={"sources": [{"version": "1"}]})) == "true"
    assert outline_of(ModelCard("cp", "1", {}, "", recipe={})) == "drawn"


def test_an_outline_that_there_is_not_is_refused():
    with pytest.raises(BadInputError, match="sen"):
        train_recipe("nuclei3d", outline="sen")  # pyright: ignore[reportArgumentType]


def test_corrections_are_learnt_beside_simulated_nuclei_with_the_outlines_that_were_taught():
    """Else retraining would draw `nuclei3d-seen` to the outlines as drawn, and its gate would reward that."""
    image, labels = np.zeros((16, 48, 48), np.float32), np.zeros((16, 48, 48), np.int32)
    crop = LearningCrop("one", image, labels, np.ones_like(image))
    settings = RetrainSettings(batch=2, replay=0.5)
    said = {kind: lessons([crop], settings, 3, outline=kind)(0) for kind in ("drawn", "seen")}
    images, foreground = ([said[kind][k][1] for kind in said] for k in (0, 2))
    assert np.array_equal(*images)
    assert foreground[0].sum() > foreground[1].sum()


@pytest.mark.long
def test_a_third_of_the_small_recipe_finds_most_nuclei_of_held_out_volumes(tmp_path: Path):
    recipe = train_recipe("nuclei3d", "small", steps=500)
    train_nuclei(recipe, tmp_path / "n.safetensors", device="cpu", held_out_images=0)
    state, _ = load_weights(tmp_path / "n.safetensors")
    net = build_unet(recipe.shape).eval()
    load_into(net, state)
    scores = [s.ap50 for s in held_out_scores(net, 3, 6) if s.held_out_set == "usual"]
    assert np.mean(scores) > 0.5
