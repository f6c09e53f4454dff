"""Samples that are wrong are told so, in words that say what to mend."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from parfocal.errors import BadInputError
from parfocal.puncta.simulation import (
    IMMOBILE,
    Calcium,
    PunctaScene,
    PunctaSimulation,
    check_data,
    check_sample,
    write_sample,
)

SCENE = PunctaScene(
    (64, 80),
    24,
    n_puncta=12,
    photons=3000,
    motion=IMMOBILE,
    margin_px=-6,
    calcium=Calcium(events_per_s=1.0, peak_dff=2.0),
    seed=4,
)


@pytest.fixture
def sample(tmp_path):
    return write_sample(tmp_path / "sample_00000", PunctaSimulation(SCENE))


def rewrite(sample, change):
    """Change columns of the ground truth; `change` gets them as an array of text by name."""
    path = sample / "ground_truth.csv"
    header, *rows = path.read_text().splitlines()
    names = header.split(",")
    columns = dict(zip(names, np.array([row.split(",") for row in rows], dtype="U24").T))
    change(columns)
    path.write_text("\n".join([header, *(",".join(row) for row in zip(*columns.values()))]) + "\n")


def moved(columns, name, by):
    columns[name][:] = [f"{float(v) + by:.4f}" for v in columns[name]]


def test_a_good_sample_has_no_problems(sample):
    check = check_sample(sample)
    assert check.problems == ()
    assert check.shape == (24, 64, 80)
    assert check.brightness > 0.95
    assert check.n_calcium_on > 20
    assert check_data(sample.parent) == [check]


def swap(columns):
    columns["x_nm"], columns["y_nm"] = columns["y_nm"], columns["x_nm"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: moved(c, "x_nm", 65), "off the localizations in the mean; positions count from the corner"),
        (lambda c: moved(c, "x_nm", 20_000), "are outside the 64 x 80 px"),
        (lambda c: moved(c, "x_nm", -1300), "brighter than what is around them|are outside"),
        (lambda c: c["frame"].__setitem__(slice(3), "24"), "3 rows are of frames that are not there"),
        (lambda c: c["frame"].__setitem__(slice(None), "1"), "tell a punctum twice in one frame"),
        (lambda c: c["x_nm"].__setitem__(0, "nan"), "1 values of x_nm are no numbers"),
        (lambda c: c["is_calcium_on"].__setitem__(0, "2"), "row 2: is_calcium_on is '2', expected 0 or 1"),
        (lambda c: c["is_calcium_on"].__setitem__(slice(None), np.roll(c["is_calcium_on"], 60)), "do not belong"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(sample, change, said):
    rewrite(sample, change)
    problems = check_sample(sample).problems
    assert any(part in problem for problem in problems for part in said.split("|")), problems


def test_exchanged_axes_are_guessed(tmp_path):
    sample = write_sample(tmp_path / "s", PunctaSimulation(replace(SCENE, shape_px=(80, 80), calcium=None)))
    rewrite(sample, swap)
    assert "are x and y exchanged?" in " ".join(check_sample(sample).problems)


def test_files_that_do_not_fit_one_another_are_named(sample):
    (sample / "metadata.json").write_text(
        json.dumps({"pixel_size_um": [0.13, 0.13], "frame_interval_s": 0.05, "shape": [9, 64, 80]})
    )
    tifffile.imwrite(sample / "calcium.tif", np.zeros((5, 64, 80), np.uint16), imagej=True)
    problems = " ".join(check_sample(sample).problems)
    assert "metadata.json says (9, 64, 80)" in problems
    assert "channels must match frame by frame" in problems
    (sample / "movie.tif").unlink()
    assert "there is no movie.tif" in " ".join(check_sample(sample).problems)


def test_samples_of_another_size_stand_out(sample):
    for k, shape in ((1, (64, 80)), (2, (48, 80))):
        write_sample(sample.parent / f"sample_0000{k}", PunctaSimulation(replace(SCENE, shape_px=shape)))
    last = check_data(sample.parent)[2]
    assert last.problems == ("frames are (48, 80) px, of most samples (64, 80)",)


def test_a_folder_without_samples_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="holds no samples"):
        check_data(tmp_path)
