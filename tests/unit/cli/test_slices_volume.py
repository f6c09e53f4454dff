"""`parfocal slices register | interpolate | align | stack | run`, as a user types them."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import ndimage

from parfocal.cli import main
from parfocal.files import open_ome_zarr, write_ome_zarr
from parfocal.slices import SliceLedger, ledger, sections

AT = [(0, 0), (2, -3), (4, -1), (1, 2), (-2, 3), (-3, 0)]
MISSING = 3


@pytest.fixture(scope="module")
def stack_on_disk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections")
    rng = np.random.default_rng(7)
    tissue = ndimage.gaussian_filter(rng.normal(size=(12, 128, 128)), (12, 2.5, 2.5), mode="wrap")
    tissue = (22000 + 6000 * tissue / tissue.std()).clip(2000, 50000).astype(np.uint16)
    for k, (y, x) in enumerate(AT):
        if k != MISSING:
            part = tissue[2 * k : 2 * k + 2, 16 + y : 112 + y, 16 + x : 112 + x]
            write_ome_zarr(folder / f"mosaic_z{k:02d}.ome.zarr", part, (50.0, 10.0, 10.0))
    lines = ["fixed_id,moving_id,x_shift,y_shift,x_shift_mm,y_shift_mm"]
    for k in range(len(AT) - 1):
        dy, dx = np.subtract(AT[k + 1], AT[k]).tolist()
        lines.append(f"{k},{k + 1},{dx},{dy},{dx / 100},{dy / 100}")
    return folder, "\n".join(lines) + "\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, stack_on_disk):
    folder, shifts = stack_on_disk
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shifts_xy.csv").write_text(shifts)
    (tmp_path / "sections").symlink_to(folder)
    (tmp_path / "config.csv").write_text(
        "slice_id,use,notes\n" + "".join(f"{k:02d},{str(k != MISSING).lower()},\n" for k in range(len(AT)))
    )

    def go(line, code=0):
        with pytest.raises(SystemExit) as ended:
            main(["slices", *line.split()])
        said = capsys.readouterr()
        assert ended.value.code == code, said
        return said.err if code else json.loads(said.out) if "--json" in line else said.out

    return go


class Page(HTMLParser):
    """Counts what a page holds."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.outside = 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.pictures += tag == "img"
        if not str(told.get("src", "data:")).startswith("data:") or tag in ("script", "link"):
            self.outside.append(tag)


def test_each_stage_by_hand_leads_to_the_volume_and_its_story(run, tmp_path):
    told = run("register sections reg --shifts shifts_xy.csv --slice_config config.csv --json")
    assert [pair["moving_id"] for pair in told["pairs"]] == ["01", "02", "04", "05"]
    run("exclude reg/metrics reg/slice_config.csv excluded.csv --z_corr_threshold 0.4")
    told = run(
        "interpolate sections excluded.csv made --shifts shifts_xy.csv --min_overlap_correlation 0.3 --json"
    )
    assert (told["made"], told["refused"]) == (["03"], [])
    assert (tmp_path / "made" / "slice_z03_manifest.csv").is_file()
    told = run(
        "align sections shifts_xy.csv aligned.ome.zarr --slice_config made/slice_config.csv --interpolated made "
        "--report story --json"
    )
    assert [row["slice_id"] for row in told["slices"]] == [f"{k:02d}" for k in range(len(AT))]
    assert [row["state"] for row in told["slices"]].count("interpolated") == 1
    run(
        "stack sections shifts_xy.csv stack.ome.zarr --registration reg --slice-config made/slice_config.csv "
        "--interpolated made --metrics numbers"
    )
    assert open_ome_zarr("stack.ome.zarr").shape[0] == open_ome_zarr("aligned.ome.zarr").shape[0] == 12
    page = Page((tmp_path / "story" / "slices_report.html").read_text())
    assert page.pictures == len(AT)
    assert page.outside == []
    story = json.loads((tmp_path / "story" / "slices_report.json").read_text())
    assert story["slices"][MISSING]["reasons"] == ["interpolated by zmorph"]


def test_fragments_are_merged_in_the_words_of_the_seed(run, tmp_path):
    (tmp_path / "fragments").mkdir()
    ledger.write_fragment(
        "fragments", "03", method="zmorph", fallback_reason="low_overlap_ncc", interpolation_failed=True
    )
    run("interpolate --finalise --slice_config_in config.csv --slice_config_out final.csv --fragments fragments")
    row = SliceLedger.read("final.csv").rows["03"]
    assert (row["interpolation_failed"], row["interpolation_fallback_reason"]) == (True, "low_overlap_ncc")


def test_a_run_publishes_the_final_ledger_the_volumes_and_the_report_and_resumes(run, tmp_path):
    line = "run sections out --shifts shifts_xy.csv --slice_config config.csv --held-out 0 --json"
    told = run(line)
    assert told["skipped"] == []
    final = SliceLedger.read(tmp_path / "out" / "slice_config_final.csv").rows["03"]
    assert final["interpolated"] is True
    assert all((tmp_path / name).exists() for name in told["files"])
    assert (tmp_path / "config.csv").read_text().startswith("slice_id,use,notes\n")
    again = run(line)
    assert (again["done"], again["messages"]) == ([], told["messages"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("align nowhere shifts_xy.csv a.ome.zarr", "no such file or folder"),
        ("align sections shifts_xy.csv a.ome.zarr --voxel-um 1,2", "three numbers"),
        ("register sections reg --model bent", "bent"),
        ("interpolate sections config.csv", "were expected"),
        ("interpolate --finalise", "--fragments"),
        ("run sections out --detect_galvo", "raw tiles"),
        ("run sections out --exclude-first some", "a number of slices"),
        ("stack sections shifts_xy.csv s.ome.zarr --registration config.csv", "not readable as JSON"),
        ("run sections out --slice_config wrong.csv", "row 2, column use: 'ture'"),
        ("run sections out --shifts wrong.csv", "no column fixed_id"),
        ("run sections out --tile_fov_mm wide", "a length in mm"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(run, tmp_path, line, said):
    (tmp_path / "wrong.csv").write_text("slice_id,use\n00,ture\n")
    before = sorted(p.name for p in tmp_path.iterdir())
    assert said in run(line, code=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_volume_that_is_there_is_not_replaced_unasked(run):
    run("align sections shifts_xy.csv a.ome.zarr --slice_config config.csv")
    assert "exists already" in run("align sections shifts_xy.csv a.ome.zarr --slice_config config.csv", code=2)
    run("align sections shifts_xy.csv a.ome.zarr --slice_config config.csv --replace")


def test_what_a_killed_run_left_of_a_stage_goes_when_the_stage_is_done(run, tmp_path):
    left = tmp_path / "out" / ".align.0123456789ab"
    left.mkdir(parents=True)
    (left / "half.bin").write_bytes(bytes(100))
    run("run sections out --slice_config config.csv --held-out 0")
    assert not left.exists()


def test_a_step_has_one_sign_wherever_it_is_read_or_measured(run, tmp_path):
    run("register sections reg --slice_config config.csv")
    run("align sections shifts_xy.csv a.ome.zarr --slice_config config.csv --json --metrics m")
    told, measured = sections.read_shifts("shifts_xy.csv"), sections.read_shifts("reg/shifts_xy.csv")
    at, seen = (sections.cumulative_shifts(s, ["00", "05"], unit="px").xy[1] for s in (told, measured))
    assert tuple(at) == AT[5][::-1]
    assert seen == pytest.approx(at, abs=0.5)
    laid = [ledger.read_metrics("m")[i]["align"] for i in ("00", "05")]
    apart = [laid[1][f"offset_{axis}_px"] - laid[0][f"offset_{axis}_px"] for axis in "xy"]
    assert apart == list(at)
    wrong = tmp_path / "shifts_xy.csv"  # a stage that says 1 mm too much in x, once
    lines = wrong.read_text().splitlines()
    fixed, moving, dx, dy, dx_mm, dy_mm = lines[2].split(",")
    lines[2] = f"{fixed},{moving},{int(dx) + 100},{dy},{float(dx_mm) + 1},{dy_mm}"
    wrong.write_text("\n".join(lines) + "\n")
    run("detect-rehoming shifts_xy.csv mended.csv --verify sections --max-shift-mm 0.3")
    mended = sections.cumulative_shifts(sections.read_shifts("mended.csv"), ["00", "02"], unit="px").xy[1]
    assert mended == pytest.approx(AT[2][::-1], abs=0.5)
