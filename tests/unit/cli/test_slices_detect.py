"""`parfocal slices assess | detect-rehoming | fix-galvo`, as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from parfocal.cli import main
from parfocal.files import read_ome_zarr, write_ome_zarr
from parfocal.slices import SliceLedger, StageResult, Stamp, read_shifts
from parfocal.slices.ledger import write_metrics

DATA = Path(__file__).parents[4] / "shared" / "data" / "F_slices"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def go(line, code=0):
        with pytest.raises(SystemExit) as ended:
            main(["slices", *line.split()])
        said = capsys.readouterr()
        assert ended.value.code == code, said
        return said.err if code else json.loads(said.out) if "--json" in line else said.out

    return go


@pytest.fixture
def mosaics(tmp_path):
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((12, 64, 64)), (4, 3, 3))
    field /= field.std()
    folder = tmp_path / "mosaics"
    folder.mkdir()
    for i in range(6):
        planes = 1000 + 200 * field[2 * i : 2 * i + 2] + rng.normal(0, 10, (2, 64, 64))
        if i == 3:
            planes = rng.integers(0, 65535, planes.shape)
        if i == 0:
            planes = np.repeat(planes, 4, axis=0)
        write_ome_zarr(folder / f"mosaic_grid_z{i:02d}.ome.zarr", planes.astype(np.uint16), (10.0, 5.0, 5.0))
    return folder


def test_sections_are_scored_and_the_bad_and_the_thick_one_left_out(run, mosaics):
    said = run("assess mosaics slice_config.csv --min_quality 0.3 --diagnostics numbers")
    ledger = SliceLedger.read("slice_config.csv")
    assert ledger.filter_slices_to_use() == ("01", "02", "04", "05")
    assert ledger.rows["00"]["notes"] == "calibration_slice"
    assert ledger.rows["00"]["quality_score"] == 0.0
    assert ledger.rows["03"]["notes"] == "low_quality (quality_score<0.3)"
    assert "low quality (1), below 0.3: 03" in said
    numbers = json.loads(Path("numbers/slice_z02.json").read_text())
    assert numbers["stages"]["assess"]["ssim_before"] > 0.4
    assert "ssim" not in Path("slice_config.csv").read_text()


def test_the_lines_of_the_seed_work_as_they_stand(run, mosaics):
    run("assess mosaics a.csv")
    run("assess mosaics b.csv --use_gpu")
    told = "existing_config.csv"
    SliceLedger().apply(
        [Stamp(f"{i:02d}", "use", i != 1) for i in range(6)] + [Stamp("01", "rehomed", True)], stage="generate"
    ).save(told)
    run(f"assess mosaics c.csv --update_existing --existing_config {told}")
    rows = SliceLedger.read("c.csv").rows
    assert rows["01"]["use"] is False  # as it was
    assert rows["01"]["rehomed"] is True
    assert rows["02"]["quality_score"] > 0.3
    assert not Path("d.csv").exists()
    found = run("assess mosaics d.csv --report_only --json")
    assert found["quality_score"]["02"] > 0.3
    assert not Path("d.csv").exists()


def test_a_ledger_that_is_there_is_not_written_over(run, mosaics):
    run("assess mosaics a.csv")
    before = Path("a.csv").read_bytes()
    assert "there already" in run("assess mosaics a.csv --min-quality 0.3", 2)
    assert Path("a.csv").read_bytes() == before


def shifts(path, steps):
    rows = [f"{i},{i + 1},{x * 100!r},{y * 100!r},{x!r},{y!r}" for i, (x, y) in enumerate(steps.tolist())]
    text = "\n".join(["fixed_id,moving_id,x_shift,y_shift,x_shift_mm,y_shift_mm", *rows])
    Path(path).write_text(text + "\n")


def test_glitches_are_taken_out_of_the_shifts_and_stamped(run):
    steps = np.random.default_rng(1).normal(0, 0.02, (9, 2))
    steps[3] += [2.0, 0.0]
    steps[4] -= [2.0, 0.0]
    shifts("shifts_xy.csv", steps)
    SliceLedger().apply([Stamp(f"{i:02d}", "use", True) for i in range(10)], stage="generate").save("in.csv")
    run(
        "detect-rehoming shifts_xy.csv corrected.csv --slice_config_in in.csv --slice_config_out out.csv "
        "--max_shift_mm 0.5 --return_fraction 0.4 --diagnostics numbers"
    )
    corrected = read_shifts("corrected.csv")
    at, was = np.cumsum(corrected.dx_mm), np.cumsum(steps[:, 0])
    np.testing.assert_allclose(np.delete(at, 3), np.delete(was, 3), atol=1e-9)
    rows = SliceLedger.read("out.csv").rows
    assert [sid for sid, row in rows.items() if row["rehomed"]] == ["04"]
    assert rows["04"]["rehoming_reliable"] is True
    assert SliceLedger.read("in.csv").rows["04"]["rehomed"] is None
    assert json.loads(Path("numbers/slice_z04.json").read_text())["stages"]["detect-rehoming"]["step"] == "glitch"


def test_tile_steps_are_read_off_the_shifts_when_asked(run):
    steps = np.random.default_rng(2).normal(0, 0.004, (40, 2))
    steps[[5, 15, 25, 35], 0] += [0.875, 0.875, -0.875, 0.875]
    shifts("shifts_xy.csv", steps)
    found = run("detect-rehoming shifts_xy.csv corrected.csv --tile-fov-mm auto --json")
    assert found["tile_step_mm"][0] == pytest.approx(0.875, abs=0.005)
    assert set(found["steps"]) == {"06", "16", "26", "36"}


def test_a_ledger_in_needs_a_ledger_out(run):
    shifts("shifts_xy.csv", np.zeros((3, 2)))
    assert "go together" in run("detect-rehoming shifts_xy.csv new.csv --slice-config-in in.csv", 2)
    assert not Path("new.csv").exists()


def test_a_tile_step_that_is_no_length_is_refused(run):
    shifts("shifts_xy.csv", np.zeros((3, 2)))
    assert "--tile-fov-mm" in run("detect-rehoming shifts_xy.csv new.csv --tile-fov-mm wide", 2)


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_galvo_returns_are_found_in_raw_tiles_and_fixed_by_what_was_stored(run):
    real = tifffile.imread(DATA / "serial2p_sections_zyx.tif")[:4].astype(float)
    tiles, sections = Path("tiles"), Path("sections")
    sections.mkdir()
    for z in range(2):
        for x, image in enumerate(real):
            ring = image.copy()
            ring[-40:] *= 0.4  # the way back, where it belongs
            if z == 1:
                ring = np.roll(ring, 130, axis=0)
            folder = tiles / f"tile_x{x:02d}_y00_z{z:02d}.tif"
            folder.parent.mkdir(exist_ok=True)
            tifffile.imwrite(folder, ring.astype(np.uint16)[None], metadata={"axes": "ZYX"})
        write_ome_zarr(sections / f"slice_z{z:02d}.ome.zarr", ring.astype(np.uint16)[None], (10.0, 5.0, 5.0))
    run(r"generate tiles in.csv --from_tiles --detect_galvo --n-extra 40 --metrics numbers --exclude-first 0 "
        r"--pattern tile_x\d+_y\d+_z(\d+)\.tif")  # fmt: skip
    before = SliceLedger.read("in.csv").rows
    assert [row["galvo_fix"] for row in before.values()] == [False, True]
    run("fix-galvo sections fixed --slice_config_in in.csv --slice_config_out out.csv --metrics numbers")
    mended, _ = read_ome_zarr("fixed/slice_z01.ome.zarr")
    as_it_was, _ = read_ome_zarr("sections/slice_z01.ome.zarr")
    np.testing.assert_array_equal(mended, np.roll(as_it_was, -130, axis=1))
    after = SliceLedger.read("out.csv").rows
    assert [row["galvo_fix"] for row in after.values()] == [False, True]
    assert "286 lines" in after["01"]["notes"]
    again = "fix-galvo fixed twice --slice_config_in out.csv --slice_config_out twice.csv --metrics numbers"
    assert "applied already" in run(again, 2)
    assert not Path("twice").exists()


def test_a_section_that_is_to_be_rolled_must_be_there(run, mosaics):
    stamps = [Stamp("07", "use", True), Stamp("07", "galvo_confidence", 0.9)]
    SliceLedger().apply(stamps, stage="generate").save("in.csv")
    write_metrics("numbers", StageResult("generate", metrics={"07": {"galvo_shift_lines": 3}}))
    line = "fix-galvo mosaics fixed --slice-config-in in.csv --slice-config-out out.csv --metrics numbers"
    assert "no section 07" in run(line, 2)
    assert not Path("fixed").exists()
    assert not Path("out.csv").exists()
