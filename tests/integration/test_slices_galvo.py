"""Real sections with planted galvo bands, drift, a gap and a glitch come back through the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.cli import main
from parfocal.files import open_ome_zarr, read_ome_zarr, write_ome_zarr
from parfocal.slices import SliceLedger
from parfocal.slices.ledger import read_metrics
from parfocal.slices.sections import read_shifts

DATA = Path(__file__).parents[2] / "../shared/data/F_slices"
N, MARGIN, UM = 12, 20, 10.0
N_EXTRA = 24  # lines of the galvo's way back, at the end of each tile
LOST, GLITCH = 4, 8
STACKS = {"serial2p_sections_zyx.tif": 160, "celegans_em_sections.tif": 104}  # lines of one tile
ROLLED = {2: 37, 7: 90, 10: 61}  # sections whose way back begins so many lines too early
BRIGHT = {7}  # where it is brighter than the image, in the others it is darker


def drift():
    """Return where each section was imaged (y, x), px; the way from the first to the last is nowhere straight."""
    steps = np.random.default_rng(5).integers(-4, 5, (N - 1, 2))
    return np.vstack([[0, 0], np.cumsum(steps, axis=0)]).clip(-MARGIN, MARGIN)


def with_way_back(section, tile_lines, factor):
    """Return a section of two tiles, each with the way back where it belongs, and which pixels are sample."""
    made, sample = section.astype(float), np.ones(section.shape, bool)
    for top in (0, tile_lines):
        back = slice(top + tile_lines - N_EXTRA, top + tile_lines)
        made[back] = made[back] * 0.1 + factor * section.mean()
        sample[back] = False
    return made.clip(1, np.iinfo(section.dtype).max).astype(section.dtype), sample


def rolled(section, tile_lines, lines):
    tiles = section.reshape(2, tile_lines, -1)
    return np.roll(tiles, -lines, axis=1).reshape(section.shape)


def write_all(folder, name, tile_lines):
    """Write sections, their raw tiles, and what the stage said; return the sections without any fault."""
    at = drift()
    real = tifffile.imread(DATA / name)[:N]
    side = 2 * tile_lines
    (folder / "sections").mkdir()
    (folder / "tiles").mkdir()
    truth = {}
    for k, (y, x) in enumerate(at + MARGIN):
        factor = 1.8 if k in BRIGHT else 0.3
        truth[k] = with_way_back(real[k, y : y + side, x : x + side], tile_lines, factor)
        seen = rolled(truth[k][0], tile_lines, ROLLED.get(k, 0))
        if k == LOST:
            continue
        write_ome_zarr(folder / "sections" / f"mosaic_z{k:02d}.ome.zarr", seen[None], (50.0, UM, UM))
        for part in range(2):
            tile = seen[part * tile_lines : (part + 1) * tile_lines]
            tifffile.imwrite(
                folder / "tiles" / f"tile_x00_y{part:02d}_z{k:02d}.tif", tile[None], metadata={"axes": "ZYX"}
            )
    said_mm = at * UM / 1e3
    said_mm[GLITCH] += (1.5, -2.0)
    with (folder / "shifts_xy.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["fixed_id", "moving_id", "x_shift", "y_shift", "x_shift_mm", "y_shift_mm"])
        for k, (dy, dx) in enumerate(np.diff(said_mm, axis=0).tolist()):
            rows.writerow([k, k + 1, repr(dx * 1e3 / UM), repr(dy * 1e3 / UM), repr(dx), repr(dy)])
    return truth, at


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize("name", STACKS)
def test_planted_bands_drift_gap_and_glitch_come_back_exactly_through_the_command_line(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    tile_lines = STACKS[name]
    truth, at = write_all(tmp_path, name, tile_lines)
    for line in (
        f"generate sections made.csv --detect_galvo --tiles_dir tiles --n_extra {N_EXTRA} --metrics numbers",
        "detect-rehoming shifts_xy.csv mended.csv --slice_config_in made.csv --slice_config_out rehomed.csv",
        "fix-galvo sections fixed --slice_config_in rehomed.csv --slice_config_out fixed.csv --metrics numbers "
        f"--tile-lines {tile_lines}",
        "align fixed mended.csv aligned.ome.zarr --slice_config fixed.csv --metrics laid",
    ):
        with pytest.raises(SystemExit) as ended:
            main(["slices", *line.split()])
        assert ended.value.code == 0, capsys.readouterr()

    rows = SliceLedger.read("fixed.csv").rows
    assert [i for i, row in rows.items() if row["galvo_fix"]] == [f"{k:02d}" for k in ROLLED]
    assert [i for i, row in rows.items() if row["rehomed"]] == [f"{GLITCH:02d}"]
    for k, (section, _) in truth.items():
        if k != LOST:
            np.testing.assert_array_equal(read_ome_zarr(f"fixed/slice_z{k:02d}.ome.zarr")[0][0], section)

    shifts = read_shifts("mended.csv")
    found = np.vstack([[0, 0], np.cumsum(np.column_stack([shifts.dy_mm, shifts.dx_mm]), axis=0)])
    off_mm = np.abs(found - at * UM / 1e3).max(axis=1)
    assert np.delete(off_mm, GLITCH).max() < 1e-9
    assert off_mm[GLITCH] < 0.1
    laid = read_metrics("laid")
    assert all(
        abs(laid[f"{k:02d}"]["align"]["x_mm"] - at[k, 1] * UM / 1e3) < 1e-9
        for k in truth
        if k not in (LOST, GLITCH)
    )

    told = json.loads(Path("aligned.ome.zarr/zarr.json").read_text())["attributes"]["parfocal"]
    assert {one["id"]: one["state"] for one in told["slices"]}[f"{LOST:02d}"] == "gap"
    assert open_ome_zarr("aligned.ome.zarr").shape[0] == N
    pixels, _ = read_ome_zarr("aligned.ome.zarr")
    assert not pixels[LOST].any()
    real, (top, left) = tifffile.imread(DATA / name), np.array(told["origin_px"]) + MARGIN
    for k, (_, sample) in truth.items():
        if k in (LOST, GLITCH):
            continue
        y, x = at[k] + MARGIN - (top, left)
        part = pixels[k, y : y + sample.shape[0], x : x + sample.shape[1]]
        whole = np.maximum(real[k, top + y :, left + x :][: sample.shape[0], : sample.shape[1]], 1)
        np.testing.assert_array_equal(part[sample], whole[sample])
