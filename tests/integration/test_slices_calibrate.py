"""`parfocal slices calibrate`, from files of all kinds to thresholds, a report and a run of the catalog."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.callbacks import read_thresholds
from parfocal.catalog import open_catalog, stop_server
from parfocal.cli._main import commands
from parfocal.errors import BadInputError
from parfocal.slices.references import load_thresholds

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "B_focus"


def calibrate(*arguments):
    commands("slices")(args=["slices", "calibrate", *map(str, arguments)], standalone_mode=False)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for category, step in (("bad", 20), ("great", 200)):
        (tmp_path / "labelled" / category).mkdir(parents=True)
        for k in range(3):
            frames = rng.integers(0, step, (4, 1, 32, 32)) + np.kron(
                rng.integers(0, step * 10, (8, 8)), np.ones((4, 4), int)
            )
            tifffile.imwrite(
                tmp_path / f"labelled/{category}/{k}.tif",
                frames[:, 0].astype(np.uint16) + 1000,
                imagej=True,
                metadata={"axes": "ZYX"},
            )
    return tmp_path / "labelled"


def test_a_calibration_is_a_run_whose_thresholds_can_be_had_again(folder, tmp_path, capsys):
    data, out, report = tmp_path / "data", tmp_path / "t.json", tmp_path / "r.html"
    try:
        calibrate(
            folder, "--metric", "tenengrad", "--out", out, "--report", report, "--sample", "checks",
            "--samples", 100, "--data", data, "--json",
        )  # fmt: skip
        told = json.loads(capsys.readouterr().out)
        with open_catalog(data) as catalog:
            (row,) = catalog.runs(analysis="reference_calibration", sample="checks").to_dict("records")
            assert (row["uid"], row["verdict"], row["exit_status"]) == (told["run"], "no_winner", "success")
            stored = read_thresholds(catalog, told["run"])
            run = catalog.run(told["run"])
            table = run["references"].read()
            assert list(np.asarray(table["category"])) == ["bad"] * 3 + ["great"] * 3
            assert len(np.asarray(run["frames"].read()["tenengrad"])) == 24
            with pytest.raises(BadInputError, match="there is none"):
                read_thresholds(catalog, "abcdef12")
    finally:
        stop_server(data)
    assert stored == load_thresholds(out)
    assert stored.chosen == "tenengrad"
    assert told["files"] == {"thresholds": str(out), "report": str(report)}
    assert "tenengrad was chosen by a person" in report.read_text()


NAME = "20250912_D05_ch{:02d}_t{:04d}"


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")
def test_a_gallery_is_calibrated_on_the_z_stacks_of_its_nd2_file(tmp_path, capsys):
    gallery, table = tmp_path / "gallery.md", tmp_path / "metadata_20250912.csv"
    (tmp_path / "nd2" / "20250912").mkdir(parents=True)
    shutil.copy(DATA / "cluster_tzc.nd2", tmp_path / "nd2/20250912/cluster.nd2")
    lines = [
        f"## {heading}\n" + "".join(f"- `images/{NAME.format(channel, t)}.jpg`\n" for t in range(3))
        for heading, channel in (("Bad images", 1), ("Great images", 0))
    ]
    gallery.write_text("\n".join(lines))
    table.write_text("well,time_int,nd2_series_num\n" + "".join(f"D05,{t},1\n" for t in range(3)))
    nd2 = ("--nd2", tmp_path / "nd2")
    calibrate(gallery, *nd2, "--metadata", table, "--no-catalog", "--json", "--samples", 100)
    told = json.loads(capsys.readouterr().out)
    assert [(one["category"], one["n_frames"]) for one in told["references"]] == [("bad", 10)] * 3 + [
        ("great", 10)
    ] * 3
    assert told["references"][4]["source"].endswith("cluster.nd2, series 1, frames 10 to 19")
    assert len({one["pixels_sha256"] for one in told["references"]}) == 6
    with pytest.raises(BadInputError, match=r"line 2: .* is not below"):
        calibrate(gallery, *nd2, "--metadata", table, "--images", tmp_path, "--no-catalog")
    with pytest.raises(BadInputError, match="neither metadata nor a plate"):
        calibrate(gallery, *nd2, "--no-catalog")
    with pytest.raises(BadInputError, match="--metadata is of no use without --nd2"):
        calibrate(gallery, "--metadata", table, "--no-catalog")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--nd2", "."), "is a folder of categories, which needs no"),
        (("--out", "missing/t.json"), "there is no folder missing"),
        (("--metric", "sharpness", "--no-catalog"), "no metric 'sharpness'; expected one of"),
        (("--confidence", "2"), "confidence 2"),
    ],
)
def test_options_that_do_not_fit_are_said_before_anything_is_written(folder, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match=said):
        calibrate(folder, *options, "--report", "r.html", "--data", tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labelled"]
