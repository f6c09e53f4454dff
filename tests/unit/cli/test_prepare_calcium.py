"""`parfocal prepare calcium`: labels of people become signal at puncta, and pairs that a network learns from."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tifffile

from parfocal.cli import main
from parfocal.errors import BadInputError
from parfocal.puncta import Localizations
from parfocal.puncta.detection import write_thunderstorm
from parfocal.puncta.networks import cut_patch, labelled_movie
from parfocal.puncta.simulation import (
    Calcium,
    PunctaScene,
    check_sample,
    read_sample,
    simulate_puncta,
    write_sample,
)

WAVE_FRAMES = slice(20, 24)


def run(*arguments):
    """Return the exit code of the command line."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.fixture(scope="module")
def recording():
    scene = PunctaScene(
        shape_px=(64, 64),
        n_frames=40,
        n_puncta=8,
        photons=3000,
        calcium=Calcium(events_per_s=1.0, peak_dff=2.0, waves_per_min=0.0, stray_per_s=0.0),
        seed=4,
    )
    return simulate_puncta(scene)


@pytest.fixture
def patches(recording, tmp_path):
    """Calcium and its labels, as people paint them; movies of puncta lie in a folder of their own."""
    source, movies = tmp_path / "patches", tmp_path / "movies"
    source.mkdir()
    movies.mkdir()
    write_sample(tmp_path / "written", dataclasses.replace(recording, scene=None))
    shutil.copy(tmp_path / "written/movie.tif", movies / "cell.tif")
    truth = recording.truth
    labels = np.zeros(recording.movie.shape, np.uint8)
    y, x = np.mgrid[:64, :64]
    for k in np.flatnonzero(truth.is_calcium_on & truth.is_visible):
        labels[truth.frame[k]][np.hypot(y - truth.y_px[k], x - truth.x_px[k]) < 4] = 1
    labels[WAVE_FRAMES, :, 32:] = 2
    tifffile.imwrite(source / "cell_labels.tif", labels)
    tifffile.imwrite(source / "cell.tif", recording.calcium)
    return source


def test_a_pair_of_movies_and_labels_becomes_a_sample_that_is_fit_to_train_on(
    patches, recording, tmp_path, capsys
):
    out = tmp_path / "pairs"
    assert run("prepare", "calcium", patches, out, "--puncta", tmp_path / "movies") == 0
    said = capsys.readouterr().out
    assert "1 patches in" in said
    assert "1 of them samples to train on" in said
    assert "camera not told: offset 100" in said
    assert run("check-data", out) == 0
    assert "all is well" in capsys.readouterr().out
    sample, truth = read_sample(out / "cell"), recording.truth
    np.testing.assert_array_equal(sample.movie, recording.movie)
    np.testing.assert_array_equal(sample.calcium, recording.calcium)
    assert sample.truth.pixel_size_um == pytest.approx(truth.pixel_size_um)
    assert sample.truth.frame_interval_s == pytest.approx(truth.frame_interval_s)
    assert sample.is_ignored[WAVE_FRAMES, :, 32:].all()
    assert sample.is_ignored.sum() == 4 * 64 * 32
    # Every punctum that was found near a true one is on when that is, but in the waves.
    n_same, n_on = 0, 0
    for k in range(len(sample.truth.frame)):
        row, column = (int(np.clip(round(v), 0, 63)) for v in (sample.truth.y_px[k], sample.truth.x_px[k]))
        here = truth.is_visible & (truth.frame == sample.truth.frame[k])
        far = np.hypot(truth.x_px[here] - sample.truth.x_px[k], truth.y_px[here] - sample.truth.y_px[k])
        if not sample.is_ignored[sample.truth.frame[k], row, column] and far.min() < 1:
            n_same += sample.truth.is_calcium_on[k] == truth.is_calcium_on[here][far.argmin()]
            n_on += sample.truth.is_calcium_on[k]
    assert n_on > 20
    assert n_same > 0.95 * truth.is_visible.sum() * (1 - 4 / 40)


def test_networks_are_trained_on_what_was_prepared(patches, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    assert run("prepare", "calcium", patches, tmp_path / "pairs", "--puncta", tmp_path / "movies/cell.tif") == 0
    config = tmp_path / "training_hybrid.yaml"
    config.write_text(
        "model: {in_channels: 2, base_channels: 4, widths: [8], calcium_widths: [8]}\n"
        "data: {paired_data: pairs, batch_size: 4}\n"
        "training: {num_iterations: 4, val_frequency: 10, val_patches: 2}\n"
        "patches: {crop_px: 16, most_puncta: 8}\n"
    )
    options = ("--threads", 1, "--device", "cpu", "--json")
    first, tuned = tmp_path / "first.safetensors", tmp_path / "tuned.safetensors"
    capsys.readouterr()
    assert run("train", "puncta-calcium", "--config", config, "--out", first, *options) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["data"] == ["paired_data"]
    again = ("--from", first, "--finetune-data", tmp_path / "pairs", "--steps", 2)
    assert run("train", "puncta-calcium", "--config", config, *again, "--out", tuned, *options) == 0
    assert "finetune_data" in json.loads(capsys.readouterr().out)["recipe"]["data"]


def test_no_patch_of_two_channels_shows_what_is_ignored(patches, tmp_path):
    assert run("prepare", "calcium", patches, tmp_path / "pairs", "--puncta", tmp_path / "movies") == 0
    movie = labelled_movie(tmp_path / "pairs/cell")
    # Puncta on a lattice, whose photons say their frame and column.
    frame, y, x = (
        v.ravel() for v in np.meshgrid(np.arange(40), np.arange(0, 64, 4), np.arange(0, 64, 4), indexing="ij")
    )
    table = np.stack([x, y, 1000.0 + 100 * frame + x, np.zeros(x.size)], axis=1)
    lattice = dataclasses.replace(movie, frame=frame, puncta=table, background=np.full(x.size, 5.0))

    def shows_a_wave(seed, n_channels):
        patch = cut_patch(np.random.default_rng(seed), lattice, 16, n_channels)
        told = np.rint(np.exp(patch.puncta[:, 2].astype(float)) * movie.excess_noise - 1000)
        return bool(np.any((told // 100 >= 20) & (told // 100 < 24) & (told % 100 >= 32)))

    assert not any(shows_a_wave(seed, 2) for seed in range(200))
    assert any(shows_a_wave(seed, 1) for seed in range(200))  # there puncta are as good as elsewhere
    drowned = dataclasses.replace(movie, is_ignored=np.ones_like(movie.is_ignored))
    with pytest.raises(BadInputError, match=r"sample cell: ignored\.tif leaves no room"):
        cut_patch(np.random.default_rng(0), drowned, 16, 2)


def test_waves_do_not_count_where_labels_are_held_against_the_light(patches, tmp_path):
    """Waves light up puncta that are labelled off: without their marks the labels would seem wrong."""
    rng = np.random.default_rng(0)
    calcium = np.full((40, 64, 64), 120.0)
    calcium[WAVE_FRAMES] += 40
    sample = read_sample_of(patches, tmp_path)
    truth = sample.truth
    bright = np.zeros(len(truth.frame))
    waves = (truth.frame >= 20) & (truth.frame < 24)
    bright[truth.is_calcium_on] = 40
    bright[waves & ~truth.is_calcium_on] = 900
    y, x = np.mgrid[:64, :64]
    for k in np.flatnonzero(bright):
        calcium[truth.frame[k]] += bright[k] * np.exp(-((y - truth.y_px[k]) ** 2 + (x - truth.x_px[k]) ** 2) / 8)
    made = dataclasses.replace(
        sample, calcium=rng.poisson(calcium).astype(np.uint16), is_ignored=np.zeros((40, 64, 64), bool)
    )
    made.is_ignored[WAVE_FRAMES] = True
    assert check_sample(write_sample(tmp_path / "marked", made)).problems == ()
    blind = write_sample(tmp_path / "blind", dataclasses.replace(made, is_ignored=None))
    assert any("calcium is not higher" in problem for problem in check_sample(blind).problems)
    tifffile.imwrite(tmp_path / "marked/ignored.tif", np.zeros((3, 64, 64), np.uint8), photometric="minisblack")
    assert any("ignored.tif: is (3, 64, 64)" in problem for problem in check_sample(tmp_path / "marked").problems)


def read_sample_of(patches, tmp_path):
    """Return the sample that is made of the patches."""
    assert run("prepare", "calcium", patches, tmp_path / "pairs", "--puncta", tmp_path / "movies") == 0
    return read_sample(tmp_path / "pairs/cell")


def test_options_say_what_the_movie_does_not(patches, recording, tmp_path, capsys):
    bare = tmp_path / "bare.tif"
    tifffile.imwrite(bare, np.concatenate([recording.movie[:2], recording.movie]), photometric="minisblack")
    base = ["prepare", "calcium", patches, tmp_path / "pairs", "--puncta", bare]
    assert run(*base) == 2
    assert "say it with --pixel-size" in capsys.readouterr().err
    assert run(*base, "--pixel-size", "0.13") == 2
    assert "say it with --frame-interval" in capsys.readouterr().err
    told = [*base, "--pixel-size", "0.13,0.14", "--frame-interval", 0.05, "--first-frame", 2]
    camera = ["--offset", 100, "--electrons-per-adu", 0.5, "--read-noise", 1.5]
    assert run(*told, *camera, "--json") == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
    sample = read_sample(tmp_path / "pairs/cell")
    np.testing.assert_array_equal(sample.movie, recording.movie)
    assert (sample.truth.pixel_size_um, sample.truth.frame_interval_s) == ((0.13, 0.14), 0.05)
    assert (sample.camera_model.gain_adu_per_e, sample.camera_model.read_noise_e) == (2.0, 1.5)
    assert run(*told) == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert run(*told, "--overwrite") == 0
    later = [*base, "--pixel-size", 0.13, "--frame-interval", 0.05, "--first-frame", 3, "--overwrite"]
    assert run(*later) == 2
    assert "has 42 frames; cell needs those from 3 to 42" in capsys.readouterr().err
    assert run("prepare", "calcium", patches, tmp_path / "other", "--puncta", tmp_path / "pairs") == 2
    assert "no movie of cell there" in capsys.readouterr().err


def test_puncta_of_a_table_are_taken_as_they_are_told(patches, recording, tmp_path, capsys):
    movie = patches / "cell_puncta.tif"  # beside the patch it needs no option
    shutil.copy(tmp_path / "movies/cell.tif", movie)
    size = recording.truth.pixel_size_um
    frame = np.arange(40)
    same = {name: np.full(40, 1.2) for name in ("sigma_x_px", "sigma_y_px")}
    spots = Localizations(
        size, frame, np.full(40, 9.0), np.full(40, 12.0), np.full(40, 700.0), np.full(40, 4.0), **same
    )
    write_thunderstorm(patches / "cell_puncta.csv", spots)
    assert run("prepare", "calcium", patches, tmp_path / "pairs") == 0
    truth = read_sample(tmp_path / "pairs/cell").truth
    np.testing.assert_allclose(truth.x_px, 9.0, atol=1e-3)
    np.testing.assert_array_equal(truth.punctum, 0)  # one that stays is one punctum
    np.testing.assert_allclose(truth.photons, 700.0)
    (patches / "cell_puncta.csv").write_text("frame,x [nm],y [nm],intensity [photon]\n1,700,800,900\n")
    capsys.readouterr()
    assert run("prepare", "calcium", patches, tmp_path / "other") == 2
    assert "background is not known of 1 puncta" in capsys.readouterr().err
    assert not (tmp_path / "other/cell").exists()


def test_class_labels_alone_become_signal_at_puncta_linked_to_their_frames(tmp_path, capsys):
    source, out = tmp_path / "patches", tmp_path / "out"
    source.mkdir()
    frame = np.arange(20)
    spots = Localizations((0.13, 0.13), frame, np.full(20, 20.3), np.full(20, 30.4), np.full(20, 700.0))
    labels = np.zeros((5, 48, 48), np.uint8)
    labels[0, 27:34, 17:24] = 1
    labels[3] = 2
    tifffile.imwrite(source / "a_labels.tif", labels)
    tifffile.imwrite(source / "a.tif", np.zeros((5, 48, 48), np.uint16))
    write_thunderstorm(source / "a_puncta.csv", spots)
    base = ["prepare", "calcium", source, out, "--pixel-size", "0.13"]
    assert run(*base, "--filter_puncta_only", "--ignore_waves", "--first-frame", "10", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["puncta_with_signal"] == 1
    assert said["n_samples"] == 0
    assert 20 < said["signal_pixels"] < 49
    assert said["ignored_pixels"] == 48 * 48
    facts = json.loads((out / "a/metadata.json").read_text())
    assert facts["frames"][0] == {"calcium": 0, "puncta": 10}
    assert tifffile.imread(out / "a/labels.tif").sum() == said["signal_pixels"]
    assert run(*base, "--all-events", "--keep-waves") == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert run(*base, "--all-events", "--keep-waves", "--overwrite") == 0
    assert f"Signal: {48 * 48 + 49} px" in capsys.readouterr().out
    assert run(*base, "--class", "sparks") == 2
    assert "expected NAME=VALUE" in capsys.readouterr().err
    (source / "a_puncta.csv").unlink()
    assert run(*base, "--overwrite") == 2
    assert "expected the puncta" in capsys.readouterr().err
    (out / "a/labels.tif").unlink()
    assert run(*base, "--all-events", "--overwrite") == 2
    assert "was not made by this command" in capsys.readouterr().err
    tifffile.imwrite(source / "a_class.tif", labels)
    assert run(*base, "--all-events", "--overwrite") == 2
    assert "a has labels twice" in capsys.readouterr().err
