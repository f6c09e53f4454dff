"""`parfocal train puncta` and `puncta-calcium` from the command line."""

import json
from dataclasses import replace

import pytest
import tifffile

from parfocal.cli import main
from parfocal.learning import load_weights
from parfocal.puncta.simulation import PunctaScene, simulate_puncta

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def run(capsys, *arguments):
    try:
        main([str(a) for a in arguments])
        code = 0
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    return code, said.out, said.err


SMOKE = ("--recipe", "smoke", "--threads", 1, "--device", "cpu")


def test_an_ensemble_is_trained_member_by_member(tmp_path, capsys):
    out = tmp_path / "crowd.safetensors"
    code, said, err = run(capsys, "train", "puncta", *SMOKE, "--steps", 3, "--seeds", 2, "--out", out, "--json")
    assert code == 0, err
    cards = json.loads(said)
    assert [card["recipe"]["seed"] for card in cards] == [0, 1]
    hashes = [load_weights(tmp_path / f"crowd-{seed}.safetensors")[1].weights_sha256 for seed in (0, 1)]
    assert hashes == [card["weights_sha256"] for card in cards]
    assert hashes[0] != hashes[1]


def test_a_yaml_of_the_original_is_trained_from_the_command_line(tmp_path, capsys):
    config = tmp_path / "training_hybrid.yaml"
    config.write_text(
        "model: {in_channels: 2, base_channels: 4, widths: [8], calcium_widths: [8]}\n"
        "data: {batch_size: 2}\n"
        "training: {num_iterations: 3, learning_rate: 1e-3, val_frequency: 10, val_patches: 2}\n"
        "patches: {crop_px: 16, most_puncta: 8}\n"
    )
    out = tmp_path / "both.safetensors"
    code, said, err = run(capsys, "train", "puncta-calcium", "--config", config, "--out", out, "--threads", 1)
    assert code == 0, err
    assert "calcium_f1" in said
    assert "step 3/3" in err
    code, _, err = run(capsys, "train", "puncta", "--config", config, "--out", tmp_path / "x.safetensors")
    assert code != 0
    assert "expected model in_channels 1" in err


def test_what_localize_finds_in_movies_is_trained_on_as_the_tutorial_says(tmp_path, capsys):
    scene = PunctaScene(shape_px=(40, 40), n_frames=4, n_puncta=6.0, is_count_exact=True, photons=3000.0)
    movies = tmp_path / "movies"
    movies.mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        movie = simulate_puncta(replace(scene, seed=seed)).movie
        size = 1 / scene.pixel_size_um[0]
        tifffile.imwrite(movies / f"{name}.tif", movie, imagej=True, resolution=(size, size),
                         metadata={"axes": "TYX", "unit": "um"})  # fmt: skip
    code, _, err = run(capsys, "localize", movies, "--out", movies)
    assert code == 0, err
    assert sorted(p.name for p in movies.glob("*.csv")) == ["a_localizations.csv", "b_localizations.csv"]
    config = tmp_path / "training.yaml"
    config.write_text(
        "model: {base_channels: 4, widths: [8]}\n"
        "data: {thunderstorm_dir: movies, batch_size: 4}\n"
        "training: {num_iterations: 4, val_frequency: 10, val_patches: 2}\n"
        "patches: {crop_px: 16, most_puncta: 8}\n"
    )
    out = tmp_path / "mine.safetensors"
    code, _, err = run(capsys, "train", "puncta", "--config", config, "--out", out, "--threads", 1)
    assert code == 0, err
    assert load_weights(out)[1].recipe["data"] == ["thunderstorm_dir"]


def test_a_gpu_that_is_not_there_is_said_in_one_line(tmp_path, capsys):
    code, _, err = run(capsys, "train", "puncta", *SMOKE, "--gpu", 7, "--out", tmp_path / "x.safetensors")
    assert code != 0
    assert "--gpu 7" in err
    assert len(err.strip().splitlines()) == 1


def test_the_originals_spellings_fine_tune_a_network_of_two_channels(tmp_path, capsys):
    hybrid = tmp_path / "hybrid.safetensors"
    code, _, err = run(capsys, "train", "puncta-calcium", *SMOKE, "--output", hybrid, "--batch_size", 1)
    assert code == 0, err
    assert "calcium 0." in err or "calcium 1." in err, "how large its parts are is said at the start"
    samples = ("--num_samples", 2, "--frames_per_sample", 4, "--image_size", 32, 32, "--calcium")
    code, _, err = run(capsys, "simulate", "puncta", "--output", tmp_path / "samples", *samples)
    assert code == 0, err
    tuned = tmp_path / "tuned.safetensors"
    told = ("--checkpoint", hybrid, "--finetune_data", tmp_path / "samples", "--num_iterations", 2)
    told = (*told, "--learning_rate", "1e-5", "--json", "--out", tuned)
    code, said, err = run(capsys, "train", "puncta-calcium", *SMOKE, *told)
    assert code == 0, err
    card = json.loads(said)
    assert [(stage["name"], stage["steps"]) for stage in card["recipe"]["stages"]] == [("joint", 2)]
    assert card["parent"] == load_weights(hybrid)[1].weights_sha256
