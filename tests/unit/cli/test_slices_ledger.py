"""`parfocal slices generate | exclude | show`, as a user types them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy.ndimage import gaussian_filter

from parfocal.cli import main
from parfocal.slices import ledger

DATA = Path(__file__).parents[4] / "shared" / "data" / "F_slices"
SHIFTS = """\
fixed_id,moving_id,x_shift,y_shift,x_shift_mm,y_shift_mm
0,1,10,5,0.01,0.005
1,2,8,3,0.008,0.003
2,3,12,7,0.012,0.007
3,4,5,2,0.005,0.002
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "shifts_xy.csv").write_text(SHIFTS)

    def go(line, code=0):
        with pytest.raises(SystemExit) as ended:
            main(["slices", *line.split()])
        said = capsys.readouterr()
        assert ended.value.code == code, said
        return said.err if code else json.loads(said.out) if "--json" in line else said.out

    return go


def test_the_lines_of_the_seed_work_as_they_stand(run):
    run("generate shifts_xy.csv slice_config.csv --from_shifts --exclude 2 3")
    rows = ledger.read("slice_config.csv")
    assert [sid for sid, row in rows.items() if row["use"]] == ["00", "01", "04"]


@pytest.mark.parametrize("line", ["--exclude 2 --exclude 3", "--exclude 2,3", "--exclude 2 3 --exclude-first 0"])
def test_excluded_slices_can_be_told_in_several_ways(run, line):
    found = run(f"generate --from-shifts shifts_xy.csv new.csv {line} --json")
    assert (found["included"], found["excluded"]) == (["00", "01", "04"], ["02", "03"])
    assert found["events"] == "new.events.jsonl"


def test_nothing_is_written_over_unless_asked_and_never_what_was_read(run):
    run("generate shifts_xy.csv a.csv --from-shifts")
    assert "there already" in run("generate shifts_xy.csv a.csv --from-shifts", 2)
    run("generate shifts_xy.csv a.csv --from-shifts --replace")
    Path("m.csv").write_text("fixed_id,moving_id,z_correlation\n0,1,0.9\n")
    assert "what was read" in run("exclude m.csv a.csv a.csv --replace", 2)


def test_one_clear_line_and_no_file_for_what_cannot_be(run):
    before = sorted(os.listdir())
    for line, said in (
        ("generate shifts_xy.csv a.csv --from-shifts --exclude 9", "there is no slice 09"),
        ("generate shifts_xy.csv a.csv --from-shifts --exclude one", "no slice one"),
        ("generate shifts_xy.csv a.csv --from-shifts --exclude-first two", "a number of slices was expected"),
        ("generate shifts_xy.csv a.csv --from-shifts --from-tiles", "not both"),
        ("generate shifts_xy.csv a.csv", "no such folder"),
        ("generate shifts_xy.csv a.csv --from-shifts --detect-galvo", "--tiles-dir"),
        ("show none.csv", "there is no such file"),
    ):
        err = run(line, 2)
        assert said in err
        assert len(err.strip().splitlines()) == 1
    assert sorted(os.listdir()) == before


def test_a_thick_first_mosaic_is_a_calibration_slice(run):
    for sid, depth in enumerate((90, 40, 40, 41)):
        path = f"mosaics/mosaic_grid_3d_z{sid:02d}.ome.zarr"
        group = zarr.create_group(path, zarr_format=2 if sid % 2 else 3)
        group.create_array("0", shape=(depth, 8, 8), dtype="u2")
        scales = {"multiscales": [{"datasets": [{"path": "0"}]}]}
        group.attrs.update(scales if sid % 2 else {"ome": scales})
    found = run("generate mosaics a.csv --metrics metrics --json")
    assert found["excluded"] == ["00"]
    assert ledger.read("a.csv")["00"]["notes"] == "calibration_slice"
    assert ledger.read_metrics("metrics")["01"]["generate"]["depth_planes"] == 40


def test_a_galvo_return_planted_in_raw_tiles_is_found_and_stamped(run):
    """Lines 30 to 69 of 256 are the way back, darker than the image: it belongs to the end, 186 lines on."""
    n_lines, n_scans, n_extra, start = 256, 128, 40, 30
    rng = np.random.default_rng(0)
    for x in range(3):
        tile = Path(f"tiles/tile_x0{x}_y00_z01")
        tile.mkdir(parents=True)
        (tile / "info.txt").write_text(
            f"nx: {n_lines - n_extra}\nny: {n_scans}\nn_extra: {n_extra}\ntop_z: 0\nbottom_z: 0\n"
        )
        lines = 100 + 10 * gaussian_filter(rng.standard_normal((n_lines, n_scans)), 6) / 0.05
        lines[start : start + n_extra] *= 0.6
        lines[None].astype("<f4").reshape(-1, order="F").tofile(tile / "image_00000.bin")
    run(
        "generate shifts_xy.csv a.csv --from_shifts --detect_galvo --tiles_dir tiles "
        "--galvo_threshold 0.6 --metrics m"
    )
    rows = ledger.read("a.csv")
    assert rows["01"]["galvo_confidence"] > 0.6
    assert rows["01"]["galvo_fix"] is True
    assert rows["02"]["galvo_fix"] is None
    assert ledger.read_metrics("m")["01"]["generate"]["galvo_shift_lines"] == n_lines - n_extra - start


def test_a_cluster_is_marked_and_its_story_told(run):
    run("generate shifts_xy.csv a.csv --from-shifts")
    Path("m.csv").write_text("fixed_id,moving_id,z_correlation\n0,1,0.9\n1,2,0.1\n2,3,0.2\n3,4,\n")
    found = run("exclude m.csv a.csv b.csv --json")
    assert found["auto_excluded"] == ["02", "03", "04"]
    told = run("show b.csv --slice 3")
    assert "noisy cluster (3 consecutive): 01 to 04" in told
    assert told.index(" generate ") < told.index(" exclude ")
    events = run("show b.csv --slice 3 --json")["events"]
    assert [event["stage"] for event in events] == ["generate", "exclude"]
    assert "3 placed by the motor alone: 02, 03, 04" in run("show b.csv")
    assert {e["slice_id"] for e in run("show b.csv --stage exclude --json")["events"]} == {
        "00",
        "01",
        "02",
        "03",
        "04",
    }
    assert "there are: exclude, generate" in run("show b.csv --stage nobody", 2)


def test_an_edit_by_hand_shows_in_the_story(run):
    run("generate shifts_xy.csv a.csv --from-shifts")
    path = Path("a.csv")
    path.write_text(path.read_text().replace("03,true", "03,false"))
    assert "edited outside" in run("show a.csv --slice 03")


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data beside the checkout")
def test_real_sections_of_uneven_spacing_become_a_ledger(run):
    found = run(rf"generate {DATA}/brain_sections a.csv --pattern .*_s(\d+)\.png --json")
    assert found["included"] == ["04", "14", "24", "34", "39", "44", "49", "54"]
