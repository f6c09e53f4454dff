"""A sample folder holds the recording, whole, and gives it back."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import tifffile

from parfocal.errors import BadInputError
from parfocal.files import open_stack, read_ome_zarr
from parfocal.optics import Drift
from parfocal.puncta.simulation import (
    Blinking,
    Calcium,
    Motion,
    PunctaScene,
    PunctaSimulation,
    read_sample,
    scene_json,
    scene_of,
    simulate_puncta,
    write_sample,
)

SCENE = PunctaScene(
    shape_px=(40, 48),
    n_frames=20,
    n_puncta=6,
    pixel_size_um=(0.12, 0.13),
    frame_interval_s=0.03,
    motion=Motion(merges=2),
    blinking=Blinking(),
    drift=Drift((0, 0.4, 0.2)),
    calcium=Calcium(events_per_s=4, waves_per_min=100),
    seed=8,
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("data") / "sample_00000", PunctaSimulation(SCENE), ome_zarr=True)


def test_what_is_written_is_read_back(sample):
    made, read = simulate_puncta(SCENE), read_sample(sample)
    assert {p.name for p in sample.iterdir()} == {
        "movie.tif",
        "calcium.tif",
        "movie.ome.zarr",
        "calcium.ome.zarr",
        "ground_truth.csv",
        "calcium_events.csv",
        "metadata.json",
    }
    np.testing.assert_array_equal(read.movie, made.movie)
    np.testing.assert_array_equal(read.calcium, made.calcium)
    np.testing.assert_array_equal(read.camera_model.offset_adu, made.camera_model.offset_adu)
    assert read.scene == SCENE
    for column in fields(made.truth):
        told, true = getattr(read.truth, column.name), getattr(made.truth, column.name)
        if np.asarray(true).dtype.kind == "f":
            np.testing.assert_allclose(told, true, atol=1e-3)
        else:
            np.testing.assert_array_equal(told, true)


def test_positions_are_in_nm_from_the_corner(sample):
    truth = simulate_puncta(SCENE).truth
    rows = (sample / "ground_truth.csv").read_text().splitlines()
    first = dict(zip(rows[0].split(","), rows[1].split(",")))
    assert float(first["x_nm"]) == pytest.approx((truth.x_px[0] + 0.5) * 130, abs=1e-3)
    assert float(first["y_nm"]) == pytest.approx((truth.y_px[0] + 0.5) * 120, abs=1e-3)
    assert first["frame"] == "0"


def test_the_tiff_says_its_pixel_size_and_interval_and_the_zarr_says_the_same(sample):
    stack = open_stack(sample / "movie.tif")
    assert stack.axes == "TYX"
    assert stack.voxel_size_um[1:] == pytest.approx((0.12, 0.13))
    assert stack.time_s[1] == pytest.approx(0.03)
    pixels, size = read_ome_zarr(sample / "movie.ome.zarr", axes="tyx")
    np.testing.assert_array_equal(pixels, tifffile.imread(sample / "movie.tif"))
    assert size == pytest.approx((0.03, 0.12, 0.13))
    with pytest.raises(BadInputError, match="expected one volume z, y, x"):
        read_ome_zarr(sample / "movie.ome.zarr")


def test_a_scene_survives_json():
    assert scene_of(json.loads(json.dumps(scene_json(SCENE)))) == SCENE
    assert scene_of({}) == PunctaScene()
    with pytest.raises(BadInputError, match="psf: sigma is unknown"):
        scene_of({"psf": {"sigma": 1}})


def test_a_sample_appears_whole_or_not_at_all(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "sample_00000", PunctaSimulation(SCENE), on_frame=stop)
    assert list(tmp_path.iterdir()) == []
    write_sample(tmp_path / "one", PunctaSimulation(replace(SCENE, n_frames=1)))
    assert read_sample(tmp_path / "one").movie.shape == (1, 40, 48)
    with pytest.raises(BadInputError, match="exists already"):
        write_sample(tmp_path / "one", PunctaSimulation(SCENE))


def test_a_recording_of_another_origin_is_a_sample_too(tmp_path):
    made = replace(simulate_puncta(SCENE), scene=None, calcium=None)
    read = read_sample(write_sample(tmp_path / "real", made))
    assert read.scene is None
    assert read.calcium is None
    assert read.camera_model.gain_adu_per_e == pytest.approx(np.mean(made.camera_model.gain_adu_per_e))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metadata.json", "{", "not readable as JSON"),
        ("metadata.json", '{"pixel_size_um": 0.1}', "expected two positive numbers"),
        ("metadata.json", '{"pixel_size_um": [0.1, 0.1]}', "frame_interval_s is None"),
        ("ground_truth.csv", "frame,x_nm\n1,2\n", "there is no column punctum"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, name, content, said):
    folder = write_sample(tmp_path / "sample", PunctaSimulation(replace(SCENE, n_frames=2)))
    (folder / name).write_text(content)
    with pytest.raises(BadInputError, match=said):
        read_sample(folder)
