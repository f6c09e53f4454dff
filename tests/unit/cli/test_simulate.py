"""`parfocal simulate puncta` and `parfocal check-data` from the command line."""

import json

import numpy as np
import pytest

from parfocal.cli import main
from parfocal.files import open_stack


def run(capsys, *arguments):
    try:
        main([str(a) for a in arguments])
        code = 0
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    return code, said.out, said.err


SMALL = ("--image_size", 48, 48, "--frames-per-sample", 6, "--num_puncta_mean", 5)


def test_samples_are_made_once_and_more_can_be_added(tmp_path, capsys):
    target = tmp_path / "synthetic"
    code, out, _ = run(capsys, "simulate", "puncta", "--output", target, "--num_samples", 1, *SMALL, "--json")
    assert code == 0
    assert json.loads(out)["made"] == 1
    first = open_stack(target / "sample_00000" / "movie.tif").read()
    picture = tmp_path / "seen.png"
    arguments = ("--output", target, "--num-samples", 2, *SMALL, "--json", "--picture", picture)
    code, out, _ = run(capsys, "simulate", "puncta", *arguments)
    assert (json.loads(out)["made"], json.loads(out)["skipped"]) == (1, 1)
    assert picture.read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(open_stack(target / "sample_00000" / "movie.tif").read(), first)
    assert (open_stack(target / "sample_00001" / "movie.tif").read() != first).any()
    code, out, _ = run(capsys, "check-data", target, "--json")
    assert code == 0
    assert json.loads(out)["is_good"]
    code, _, err = run(capsys, "simulate", "puncta", "--output", target, "--num-samples", 1)
    assert code == 2
    assert "was made with other settings" in err


def test_a_scene_of_a_file_is_what_no_option_says(tmp_path, capsys):
    (tmp_path / "scene.yml").write_text("shape_px: [40, 56]\nn_frames: 3\nmotion: {directed: 1}\ncalcium: null\n")
    scene = ("--scene", tmp_path / "scene.yml", "--psf-type", "airy")
    code, _, err = run(capsys, "simulate", "puncta", "-o", tmp_path / "out", "--num-samples", 1, *scene)
    assert code == 0, err
    told = json.loads((tmp_path / "out/sample_00000/metadata.json").read_text())
    assert told["shape"] == [3, 40, 56]
    assert told["scene"]["psf"]["kind"] == "airy"
    assert told["scene"]["motion"]["directed"] == 1
    assert not (tmp_path / "out/sample_00000/calcium.tif").exists()


def test_what_is_wrong_is_said_and_the_code_says_so_too(tmp_path, capsys):
    run(capsys, "simulate", "puncta", "-o", tmp_path / "out", "--num-samples", 1, *SMALL)
    (tmp_path / "out/sample_00000/movie.tif").unlink()
    code, out, _ = run(capsys, "check-data", tmp_path / "out")
    assert code == 2
    assert "sample_00000: there is no movie.tif" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--confounders", "--no-calcium"), "of the calcium channel"),
        (("--picture", "seen.jpg"), "ends in .png"),
        (("--psf-type", "airy", "--sigma-nm", 100), "are for kind gaussian"),
        (("--scene", "none.yml"), "there is no such file"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, capsys, arguments, said):
    code, _, err = run(capsys, "simulate", "puncta", "-o", tmp_path / "out", *arguments)
    assert code == 2
    assert said in err
