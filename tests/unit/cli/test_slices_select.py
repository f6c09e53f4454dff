"""`parfocal slices select` from a file to an image, its maps, its story and its picture."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from parfocal.cli import main
from parfocal.files import open_stack
from parfocal.slices.references import CalibratedRule, ReferenceThresholds, save_thresholds
from parfocal.slices.selection import load_template


@pytest.fixture
def stacks(tmp_path):
    """Two simulated stacks of nine planes in one file, sharpest at planes 3 and 5."""
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter((rng.random((64, 64)) < 0.03) * 6000.0, 1.2)
    planes = [
        [ndimage.gaussian_filter(scene, 0.6 * abs(z - focus)) + 100 for z in range(9)] for focus in (3.1, 5.2)
    ]
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, rng.poisson(planes).astype(np.uint16), metadata={"axes": "TZYX"})
    return path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["slices", *map(str, arguments)])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def test_every_stack_of_a_file_is_selected_and_composed(stacks, tmp_path, capsys):
    out, picture = tmp_path / "good.tif", tmp_path / "good.png"
    code, said, _ = run(
        capsys, "select", stacks, "--rule", "hybrid", "-p", "alpha=0.6",
        "--compose", out, "--picture", picture, "--json",
    )  # fmt: skip
    assert code == 0
    told = json.loads(said)
    assert [int(np.argmax(one["sharpness"])) for one in told["stacks"]] == [3, 5]
    assert all(int(np.argmax(one["sharpness"])) in one["kept"] for one in told["stacks"])
    assert told["stacks"][0]["parameters"]["alpha"] == 0.6
    image = tifffile.imread(out)
    assert image.shape == (2, 64, 64)
    assert image.dtype == np.uint16
    index = tifffile.imread(tmp_path / "good_index.tif")
    for n, one in enumerate(told["stacks"]):
        assert min(one["kept"]) <= index[n].min() <= index[n].max() <= max(one["kept"])
    assert tifffile.imread(tmp_path / "good_confidence.tif").min() >= 1
    story = json.loads((tmp_path / "good.json").read_text())
    assert story["stacks"][1]["composed"]["frames"] == told["stacks"][1]["kept"]
    assert open_stack(out).axes == "TYX"
    assert {p.name for p in tmp_path.glob("*.png")} == {"good_t0.png", "good_t1.png"}


def test_without_a_rule_one_is_recommended_and_it_is_said_why(stacks, capsys):
    code, said, _ = run(capsys, "select", stacks, "--at", "t=0", "--recommend")
    assert code == 0
    assert "looked for" in said
    assert "clean curve" in said
    assert "frames kept" not in said


def test_a_template_is_made_and_applied(stacks, tmp_path, capsys):
    path = tmp_path / "golden.npz"
    assert run(capsys, "template", stacks, path, "--frames", "3,2-2,4", "--at", "t=0", "--note", "good")[0] == 0
    assert load_template(path).provenance["frames"] == [3, 2, 4]
    code, said, _ = run(capsys, "select", stacks, "--template", path, "--json")
    told = json.loads(said)["stacks"]
    assert code == 0
    assert told[0]["rule"] == "golden_template"
    assert 3 in told[0]["kept"]


def test_calibrated_parameters_are_taken_unless_told_otherwise(stacks, tmp_path, capsys):
    path = tmp_path / "thresholds.json"
    found = ReferenceThresholds(
        (),
        (
            CalibratedRule("peak_relative", {"alpha": 0.9}, 1.0, (0.8, 1.0)),
            CalibratedRule("block", {}, 0.9, (0.5, 1.0)),
        ),
    )
    save_thresholds(path, found)
    select = "select", stacks, "--at", "t=0", "--thresholds", path, "--json"
    (best,) = json.loads(run(capsys, *select)[1])["stacks"]
    assert (best["rule"], best["parameters"]["alpha"]) == ("peak_relative", 0.9)
    (told,) = json.loads(run(capsys, *select, "--rule", "peak_relative", "-p", "alpha=0.5")[1])["stacks"]
    assert told["parameters"]["alpha"] == 0.5
    assert len(told["kept"]) > len(best["kept"])
    code, _, error = run(capsys, *select, "--rule", "otsu")
    assert code == 2
    assert "expected one of peak_relative, block" in error


def test_a_tie_between_calibrated_rules_is_told_not_hidden(stacks, tmp_path, capsys):
    path = tmp_path / "thresholds.json"
    rules = tuple(CalibratedRule(name, {}, 1.0, (0.8, 1.0)) for name in ("motion", "peak_relative"))
    save_thresholds(path, ReferenceThresholds((), rules))
    select = "select", stacks, "--at", "t=0", "--thresholds", path
    assert "2 rules that do about as well (peak_relative)" in run(capsys, *select)[1].replace("\n", " ")
    assert "as well" not in run(capsys, *select, "--rule", "motion")[1]


def test_only_what_a_mask_shows_counts(stacks, tmp_path, capsys):
    inside = np.zeros((64, 64), np.uint8)
    inside[:, 34:] = 1
    frames = tifffile.imread(stacks)
    frames[0, :, :, 34:] = np.roll(frames[0, :, :, 34:], 3, axis=0)  # one half is focused three planes later
    tifffile.imwrite(stacks, frames, metadata={"axes": "TZYX"})
    mask = tmp_path / "mask.tif"
    tifffile.imwrite(mask, inside)
    select = "select", stacks, "--at", "t=0", "--rule", "peak_relative", "--json"
    whole, masked = (json.loads(run(capsys, *select, *more)[1])["stacks"][0] for more in ((), ("--mask", mask)))
    assert int(np.argmax(whole["sharpness"])) == 3
    assert int(np.argmax(masked["sharpness"])) == 6
    tifffile.imwrite(mask, 0 * inside)
    assert "0 everywhere" in run(capsys, *select, "--mask", mask)[2]


def test_a_z_that_the_file_does_not_tell_is_not_made_up(stacks, tmp_path, capsys):
    assert "z (um)" not in run(capsys, "select", stacks, "--at", "t=0", "--rule", "otsu")[1]
    known = tmp_path / "known.tif"
    tifffile.imwrite(
        known, tifffile.imread(stacks)[0], imagej=True, metadata={"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    )
    assert "z (um)" in run(capsys, "select", known, "--rule", "otsu")[1]


def test_the_rules_are_listed_with_their_defaults(capsys):
    assert json.loads(run(capsys, "rules", "--json")[1])["anchor"] == {"alpha": 0.7, "tau": 0.95}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rule", "best"], "rule 'best' is unknown"),
        (["--rule", "anchor", "-p", "tau"], "expected NAME=VALUE"),
        (["--rule", "anchor", "-p", 'tau="x"'], "expected a number"),
        (["--rule", "anchor", "-p", "beta=1"], "no parameter 'beta'"),
        (["--rule", "mad_sharpness", "-p", "k=NaN"], "k is nan, expected a number"),
        (["--rule", "peak_relative", "-p", "alpha=none"], "alpha is None, expected a number"),
        (["--rule", "peak_relative", "-p", "contiguous=maybe"], "expected True or False"),
        (["--rule", "centre_of_mass_anchor", "-p", "top_k=2.5"], "expected a whole number"),
        (["--rule", "kmeans", "-p", "k=abc"], "expected a whole number or None"),
        (["--rule", "motion", "-p", "floor=7"], "floor is 7, expected above -1"),
        (["--mask", "no.tif"], "no such file"),
        (["--compose", "none/x.tif"], "there is no folder none"),
        (["-p", "tau=1"], "name it with --rule"),
        (["--at", "z=1"], "expected one of t"),
        (["--at", "t=7"], "has 2 along it"),
        (["--compose", "x.png"], "ends in .tif"),
        (["--picture", "x.tif"], "ends in .png"),
        (["--template", "no.npz"], "no such file"),
        (["--rule", "golden_template"], "template="),
        (["--rule", "dbscan", "-p", "rank=9", "--compose", "never.tif"], "nothing survived in t=0, t=1"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    stacks, tmp_path, capsys, monkeypatch, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, "select", stacks, *arguments)
    assert code == 2
    assert expected in error
    assert len(error.strip().splitlines()) == 1
    assert [p.name for p in Path(tmp_path).iterdir()] == ["two.tif"]
