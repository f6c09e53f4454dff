"""Training: from YAML or a recipe to weights, stage after stage; a killed one ends as if it had not been."""

import dataclasses
import json

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.learning import load_weights
from parfocal.puncta.networks import (
    LossSettings,
    PatchRecipe,
    PunctaStage,
    PunctaTraining,
    begun_with,
    open_puncta_net,
    puncta_recipe,
    shared_out,
    train_puncta,
    training_from_yaml,
)
from parfocal.puncta.networks._curriculum import Curriculum
from parfocal.puncta.networks._sources import stage_source
from parfocal.puncta.simulation import PunctaScene, simulate_puncta, write_sample

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)

SMOKE = puncta_recipe("puncta", "smoke")
HYBRID = puncta_recipe("puncta-calcium", "smoke")


class Killed(Exception):
    pass


def test_a_killed_training_ends_with_the_same_weights_bit_for_bit(tmp_path):
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    train_puncta(SMOKE, whole, device="cpu", final_patches=0)

    def kill(progress):
        if progress.step == 5:
            raise Killed

    with pytest.raises(Killed):
        train_puncta(SMOKE, killed, device="cpu", final_patches=0, on_progress=kill)
    assert not killed.exists()
    with pytest.raises(BadInputError, match="--resume"):
        train_puncta(SMOKE, killed, device="cpu", final_patches=0)
    train_puncta(SMOKE, killed, device="cpu", final_patches=0, resume=True)
    assert killed.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "killed.json", "killed.safetensors", "whole.json", "whole.safetensors",
    ]  # fmt: skip


def test_both_tasks_are_trained_in_stages_and_watched(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    steps, scores = [], []
    card = train_puncta(
        HYBRID, tmp_path / "both.safetensors", device="cpu", final_patches=4, logs=tmp_path / "logs",
        on_progress=lambda p: steps.append((p.step, p.steps, set(p.terms))),
    )  # fmt: skip
    assert [step for step, _, _ in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[0][1] == 6
    assert "calcium" not in steps[0][2]
    assert steps[2][2] == {"calcium"}
    assert {"calcium", "count"} <= steps[4][2]
    assert card.name == "puncta-calcium"
    assert any((tmp_path / "logs").iterdir())
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "logs"))
    board.Reload()
    scores = board.Tags()["scalars"]
    assert {"gradient/localization", "gradient/calcium", "training/level", "calcium/calcium"} <= set(scores)
    net = open_puncta_net(tmp_path / "both.safetensors", device="cpu")
    assert net.has_calcium
    assert net.model_hash == card.weights_sha256


def test_the_calcium_stage_holds_all_else(tmp_path):
    first = dataclasses.replace(HYBRID, stages=HYBRID.stages[:1])
    train_puncta(first, tmp_path / "first.safetensors", device="cpu", final_patches=0)
    second = dataclasses.replace(
        HYBRID,
        stages=(PunctaStage("calcium", 3, 1e-2),),
        pretrained_localization=str(tmp_path / "first.safetensors"),
    )
    card = train_puncta(second, tmp_path / "second.safetensors", device="cpu", final_patches=0)
    before, after = (load_weights(tmp_path / f"{name}.safetensors")[0] for name in ("first", "second"))
    for name, tensor in before.items():
        same = torch.equal(tensor, after[name])
        assert same or name.startswith("calcium.")
    assert not torch.equal(before["calcium.head.weight"], after["calcium.head.weight"])
    assert card.parent == card.recipe["began_with"]["pretrained_localization"]


def test_a_network_of_two_channels_is_begun_with_whole(tmp_path):
    train_puncta(HYBRID, tmp_path / "first.safetensors", device="cpu", final_patches=0)
    begun = begun_with(HYBRID, str(tmp_path / "first.safetensors"))
    assert [stage.name for stage in begun.stages] == ["joint"]
    still = dataclasses.replace(begun, stages=(PunctaStage("joint", 1, 1e-12),), weight_decay=0.0)
    train_puncta(still, tmp_path / "second.safetensors", device="cpu", final_patches=0)
    before, after = (load_weights(tmp_path / f"{name}.safetensors")[0] for name in ("first", "second"))
    parts = {name.partition(".")[0] for name in before}
    assert {"encoder", "localization", "calcium"} <= parts
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if "." in name)


def test_weights_that_could_run_code_are_refused(tmp_path):
    begun = dataclasses.replace(SMOKE, pretrained_encoder=str(tmp_path / "best_model.pth"))
    with pytest.raises(BadInputError, match=r"best_model\.pth: .* expected \.safetensors"):
        train_puncta(begun, tmp_path / "x.safetensors", device="cpu")


def test_the_curriculum_goes_on_beside_a_folder_of_samples(tmp_path):
    write_sample(tmp_path / "one", simulate_puncta(PunctaScene(shape_px=(32, 32), n_frames=4)))
    beside = dataclasses.replace(SMOKE, synthetic_dir=str(tmp_path))
    assert stage_source(beside, beside.stages[0], 0).has_levels
    alone = dataclasses.replace(SMOKE, finetune_data=str(tmp_path))
    assert not stage_source(alone, alone.stages[0], 0).has_levels


def test_the_seeds_own_loss_trains_with_weights_that_are_learnt(tmp_path):
    how = dataclasses.replace(
        HYBRID, loss=LossSettings(kind="seed", use_uncertainty_weighting=True, focal_gamma=2.0),
        stages=(PunctaStage("joint", 3, 1e-2),),
    )  # fmt: skip
    train_puncta(how, tmp_path / "seed.safetensors", device="cpu", final_patches=0)
    state, _ = load_weights(tmp_path / "seed.safetensors")
    assert (state["task_log_variances"] != 0).all()


def test_learning_finds_bright_lone_puncta_in_seconds(tmp_path):
    training = dataclasses.replace(
        SMOKE,
        stages=(PunctaStage("localization", 60, 1e-2),),
        patches=PatchRecipe(
            crop_px=16, most_puncta=12, density_per_1000_px=(4.0, 4.0), photons=(4000.0, 4000.0), empty_share=0.1,
            background=(10.0, 20.0), sigma_px=(0.9, 1.0), steady_share=1.0, moving_share=0.0, emccd_share=0.0,
            diffraction_share=0.0, structured_share=0.0,
        ),
        batch_size=8, val_frequency=1000, use_curriculum=False, mixed_precision=False,
    )  # fmt: skip
    losses = []
    train_puncta(
        training, tmp_path / "x.safetensors", device="cpu", final_patches=0,
        on_progress=lambda p: losses.append(p.loss),
    )  # fmt: skip
    assert np.mean(losses[-15:]) < 0.6 * np.mean(losses[:5])


YAML = """
model:
  in_channels: 2
  base_channels: 8
  widths: [8, 16]
  freeze_encoder: false
data:
  batch_size: 2
  num_workers: 4
training:
  num_iterations: 40
  learning_rate: 1e-4
  val_frequency: 20
  save_frequency: 10
loss:
  kind: seed
  use_uncertainty_weighting: true
  localization_weight: 1.0
  calcium_weight: 2.0
patches:
  photons: [500, 1e4]
"""


def test_the_originals_yaml_says_a_training(tmp_path):
    path = tmp_path / "training_hybrid.yaml"
    path.write_text(YAML)
    told = training_from_yaml(path)
    assert told.name == "puncta-calcium"
    assert told.shape.n_channels == 2
    assert told.shape.widths == (8, 16)
    assert told.steps == 40
    assert max(stage.rate for stage in told.stages) == pytest.approx(1e-4)
    assert told.num_workers == 4
    assert told.loss.calcium_weight == 2.0
    assert told.patches.photons == (500, 1e4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modell:\n  in_channels: 1", "section 'modell' is unknown"),
        ("model:\n  in_chanels: 1", "key 'in_chanels' is unknown"),
        ("training: 5", "training holds no keys"),
        ("model: [1", "not YAML"),
        ("training:\n  num_iterations: many", "another kind than expected"),
        ("model:\n  freeze_encoder: true", "never trained"),
        ("model:\n  in_channels: 2\nloss:\n  use_uncertainty_weighting: true", "bounded below by 0"),
    ],
)
def test_what_a_yaml_cannot_mean_is_said_in_one_line(tmp_path, text, said):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError, match=said) as told:
        training_from_yaml(path)
    assert "\n" not in str(told.value)
    assert "x.yaml" in str(told.value)


def test_the_next_level_begins_when_the_score_stays_where_it_is(tmp_path):
    path = tmp_path / "scores.jsonl"
    scores = iter([10.0, 30.0, 40.0, 40.2, 39.0, 50.0, 50.0, 50.0])
    curriculum = Curriculum(path, every_steps=10, checks=2)
    levels = [curriculum.level_at(step, lambda level: next(scores)) for step in range(0, 81, 10)]
    assert levels == [0, 0, 0, 0, 0, 1, 1, 1, 2]
    again = Curriculum(path, every_steps=10, checks=2)
    assert again.level_at(55, lambda level: pytest.fail("known")) == 1
    assert json.loads(path.read_text().splitlines()[0]) == {"step": 10, "level": 0, "score": 10.0}


def test_steps_are_shared_out_as_they_were():
    stages = (PunctaStage("localization", 300, 1e-3), PunctaStage("calcium", 100, 1e-3))
    assert [stage.steps for stage in shared_out(stages, 40)] == [30, 10]
    with pytest.raises(BadInputError, match="at least 2"):
        shared_out(stages, 1)


def test_a_training_that_cannot_be_is_refused():
    with pytest.raises(BadInputError, match="in_channels 2"):
        PunctaTraining(stages=(PunctaStage("joint", 1, 1e-3),))
    with pytest.raises(BadInputError, match="multiple of"):
        PunctaTraining(patches=PatchRecipe(crop_px=24), shape=dataclasses.replace(SMOKE.shape, widths=(8,) * 5))
