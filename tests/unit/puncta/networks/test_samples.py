"""Folders of samples, and movies with pseudo-labels, as patches to train on."""

import dataclasses
import json

import numpy as np
import pytest
import tifffile

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta.detection import LocalizeSettings, guess_camera, localize_movie, write_thunderstorm
from parfocal.puncta.networks import (
    PunctaStage,
    cut_patch,
    labelled_movie,
    puncta_recipe,
    sample_folders,
    thunderstorm_movies,
    train_puncta,
)
from parfocal.puncta.simulation import IMMOBILE, PunctaScene, simulate_puncta, write_sample

SCENE = PunctaScene(
    shape_px=(40, 48), n_frames=4, n_puncta=6.0, is_count_exact=True, photons=3000.0, motion=IMMOBILE, seed=3
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    write_sample(folder / "sample_00000", simulate_puncta(SCENE))
    write_sample(folder / "sample_00001", simulate_puncta(dataclasses.replace(SCENE, seed=4)))
    return folder


def test_a_patch_of_a_sample_has_its_puncta_where_the_light_is(samples):
    folders = sample_folders(samples)
    assert [folder.name for folder in folders] == ["sample_00000", "sample_00001"]
    movie = labelled_movie(folders[0])
    n_puncta, bright = 0, []
    for seed in range(20):
        patch = cut_patch(np.random.default_rng(seed), movie, 32)
        assert patch.planes.shape == (6, 32, 32)
        n_puncta += len(patch.puncta)
        for x, y, log_photons, _ in patch.puncta:
            at = np.rint([y, x]).astype(int).clip(0, 31)
            bright.append(patch.planes[2, at[0], at[1]])
            assert 3000 / 6 < np.exp(log_photons) < 3000 * 6
    assert n_puncta > 20
    assert np.mean(np.array(bright) > 1.0) > 0.9


def test_what_the_classical_detector_finds_in_a_movie_can_be_learnt_from(tmp_path):
    recording = simulate_puncta(
        dataclasses.replace(SCENE, camera=dataclasses.replace(SCENE.camera, kind="uniform"))
    )
    found = localize_movie(recording.movie, recording.camera_model, LocalizeSettings(), SCENE.pixel_size_um)
    tifffile.imwrite(tmp_path / "cell.tif", recording.movie, metadata={"axes": "TYX"}, imagej=True)
    write_thunderstorm(tmp_path / "cell.csv", found)
    camera = {"offset_adu": 100.0, "gain_adu_per_e": 2.2, "read_noise_e": 1.4}
    told = {"pixel_size_um": list(SCENE.pixel_size_um), "camera": camera}
    (tmp_path / "metadata.json").write_text(json.dumps(told))
    (movie,) = thunderstorm_movies(tmp_path)
    assert movie.camera_model == CameraModel(**camera)
    np.testing.assert_allclose(np.sort(movie.puncta[:, 0]), np.sort(found.x_px), atol=1e-3)
    pytest.importorskip("torch", reason="PyTorch is not installed")
    training = dataclasses.replace(
        puncta_recipe("puncta", "smoke"), thunderstorm_dir=str(tmp_path), batch_size=4,
        stages=(PunctaStage("localization", 2, 1e-3), PunctaStage("pseudo_labels", 2, 1e-3)),
    )  # fmt: skip
    (tmp_path / "out").mkdir()
    card = train_puncta(training, tmp_path / "out" / "x.safetensors", device="cpu", final_patches=0)
    assert card.recipe["data"] == ["thunderstorm_dir"]


@pytest.fixture
def cell(tmp_path):
    """A movie that says nothing of itself, in a folder of its own, and what was found in it."""
    recording = simulate_puncta(SCENE)
    found = localize_movie(recording.movie, recording.camera_model, LocalizeSettings(), SCENE.pixel_size_um)
    tifffile.imwrite(tmp_path / "cell.tif", recording.movie, photometric="minisblack")
    return tmp_path, found


def test_a_table_of_localize_counts_as_one_of_thunderstorm_and_two_of_a_movie_are_refused(cell):
    folder, found = cell
    write_thunderstorm(folder / "cell_localizations.csv", found)
    (folder / "metadata.json").write_text(json.dumps({"pixel_size_um": list(SCENE.pixel_size_um)}))
    (movie,) = thunderstorm_movies(folder)
    assert len(movie.frame) == len(found)
    write_thunderstorm(folder / "cell.csv", found)
    with pytest.raises(BadInputError, match=r"two tables, cell\.csv and cell_localizations\.csv"):
        thunderstorm_movies(folder)


def test_a_pixel_size_is_asked_for_where_the_table_is_in_nm_and_nobody_tells_it(cell):
    folder, found = cell
    write_thunderstorm(folder / "cell.csv", found)
    with pytest.raises(BadInputError, match=r"cell\.tif does not say its pixel size; expected pixel_size_um in "):
        thunderstorm_movies(folder)
    rows = [f"{f + 1},{x + 0.5},{y + 0.5},900" for f, x, y in zip(found.frame, found.x_px, found.y_px)]
    (folder / "cell.csv").write_text("\n".join(["frame,x [px],y [px],intensity [photon]", *rows]))
    (movie,) = thunderstorm_movies(folder)
    np.testing.assert_allclose(movie.puncta[:, 0], found.x_px, atol=1e-6)
    (folder / "metadata.json").write_text('{"pixel_size_um": 0.1}')
    with pytest.raises(BadInputError, match="expected two positive numbers"):
        thunderstorm_movies(folder)


def test_a_camera_that_nobody_told_is_guessed_and_said(cell, caplog):
    folder, found = cell
    write_thunderstorm(folder / "cell.csv", found)
    told = {"pixel_size_um": list(SCENE.pixel_size_um)}
    (folder / "metadata.json").write_text(json.dumps(told))
    (movie,) = thunderstorm_movies(folder)
    assert movie.camera_model == guess_camera(*movie.movie[:2])  # as `parfocal localize` does
    (said,) = caplog.messages
    assert "cell.tif: camera not told: offset 100" in said
    (folder / "metadata.json").write_text(json.dumps({**told, "camera": {"offset_adu": 100.0}}))
    caplog.clear()
    assert thunderstorm_movies(folder)[0].camera_model == CameraModel(offset_adu=100.0)
    assert not caplog.messages
    (folder / "metadata.json").write_text(json.dumps({**told, "camera": {"gain": 2}}))
    with pytest.raises(BadInputError, match="expected a camera model's numbers"):
        thunderstorm_movies(folder)


def test_a_table_of_another_movie_or_without_photons_is_refused(cell):
    folder, found = cell
    (folder / "metadata.json").write_text(json.dumps({"pixel_size_um": list(SCENE.pixel_size_um)}))
    write_thunderstorm(folder / "cell.csv", dataclasses.replace(found, frame=found.frame + 9))
    with pytest.raises(BadInputError, match=r"goes to frame 13, but cell\.tif has 4"):
        thunderstorm_movies(folder)
    (folder / "cell.csv").write_text("frame,x [nm],y [nm]\n1,300,300\n")
    with pytest.raises(BadInputError, match="expected a column intensity"):
        thunderstorm_movies(folder)


def test_samples_that_were_looked_at_are_all_that_the_last_stage_sees(samples, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    training = dataclasses.replace(puncta_recipe("puncta", "smoke"), finetune_data=str(samples), num_workers=2)
    terms = []
    train_puncta(
        training,
        tmp_path / "x.safetensors",
        device="cpu",
        final_patches=0,
        on_progress=lambda p: terms.append(p.loss),
    )
    assert len(terms) == 6


def test_folders_without_samples_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="holds no sample"):
        sample_folders(tmp_path)
    with pytest.raises(BadInputError, match="no such folder"):
        thunderstorm_movies(tmp_path / "none")
    with pytest.raises(BadInputError, match=r"NAME\.tif beside NAME\.csv"):
        thunderstorm_movies(tmp_path)
