"""A stack of serial sections with planted faults, from files to volumes; and again, nothing done twice."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from parfocal.files import open_ome_zarr, read_ome_zarr, write_ome_zarr
from parfocal.slices import SliceLedger
from parfocal.slices.ledger import read_metrics
from parfocal.slices.sections import RunSettings, read_shifts, run_sections

REAL = Path(__file__).parents[2] / "../shared/data/F_slices/celegans_em_sections.tif"
N, DEPTH, SIDE, MARGIN, UM = 16, 2, 160, 48, 10.0
MISSING, GLITCH, NOISY = 5, 9, (12, 13, 14)


def planted():
    """Return sections by number, and what the stage said: one is lost, one step is a glitch, three are noise."""
    rng = np.random.default_rng(4)
    side = SIDE + 2 * MARGIN
    tissue = ndimage.gaussian_filter(rng.normal(size=(N * DEPTH, side, side)), (10, 2.5, 2.5), mode="wrap")
    tissue = (22000 + 6000 * tissue / tissue.std()).clip(2000, 50000).astype(np.uint16)
    at = np.vstack([[0, 0], np.cumsum(rng.integers(-5, 6, (N - 1, 2)), axis=0)]).clip(-30, 30)
    sections = {}
    for k, (y, x) in enumerate(at):
        corner = (MARGIN + y, MARGIN + x)
        sections[k] = tissue[
            k * DEPTH : (k + 1) * DEPTH, corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE
        ]
    for k in NOISY:
        sections[k] = rng.integers(2000, 50000, sections[k].shape).astype(np.uint16)
    del sections[MISSING]
    said_mm = at * UM / 1e3
    said_mm[GLITCH] += (0.0, 2.0)
    return sections, at, said_mm


def write_steps(path, at_mm):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["fixed_id", "moving_id", "x_shift", "y_shift", "x_shift_mm", "y_shift_mm"])
        for k, (dy, dx) in enumerate(np.diff(at_mm, axis=0).tolist()):
            rows.writerow([k, k + 1, repr(dx * 1e3 / UM), repr(dy * 1e3 / UM), repr(dx), repr(dy)])
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections")
    sections, at, said_mm = planted()
    for k, volume in sections.items():
        write_ome_zarr(folder / f"mosaic_z{k:02d}.ome.zarr", volume, (50.0, UM, UM))
    shifts = write_steps(tmp_path_factory.mktemp("shifts") / "shifts_xy.csv", said_mm)
    return folder, shifts, at


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    folder, shifts, _ = inputs
    out = tmp_path_factory.mktemp("out") / "run"
    return run_sections(folder, out, shifts, settings=RunSettings(auto_assess_quality=True, min_quality=0.0))


def test_every_stage_runs_in_its_order(done):
    assert done.done == (
        *("generate", "assess", "detect-rehoming", "register"),
        *("interpolate", "exclude", "align", "stack"),
    )
    assert done.skipped == ()


def test_the_ledger_tells_what_happened_to_each_slice(done):
    rows = SliceLedger.read(done.slice_config).rows
    assert list(rows) == [f"{k:02d}" for k in range(N)]
    assert (rows["05"]["use"], rows["05"]["interpolated"]) == (False, True)
    assert rows["09"]["rehomed"] is True
    assert [i for i, row in rows.items() if row["auto_excluded"]] == [*(f"{k:02d}" for k in NOISY), "15"]
    assert all(row["quality_score"] is not None for i, row in rows.items() if i != "05")
    with done.slice_config.open() as file:
        assert next(csv.reader(file))[:2] == ["slice_id", "use"]


def test_the_glitch_is_out_of_the_positions_and_nothing_else_is(done, inputs):
    _, _, at = inputs
    shifts = read_shifts(done.folder / "register" / "shifts_xy.csv")
    found = np.vstack([[0, 0], np.cumsum(np.column_stack([shifts.dy_mm, shifts.dx_mm]), axis=0)])
    off = np.abs(found - (at - at[0]) * UM / 1e3).max(axis=1)
    assert np.delete(off, GLITCH).max() < 1e-9
    assert off[GLITCH] < 0.1


def test_the_volumes_hold_every_section_at_its_place(done):
    for path in (done.aligned, done.stacked):
        volume = open_ome_zarr(path)
        assert volume.shape[0] == N * DEPTH
        assert volume.voxel_size_um == (50.0, UM, UM)
    told = json.loads((done.aligned / "zarr.json").read_text())["attributes"]["parfocal"]["slices"]
    assert [one["id"] for one in told] == [f"{k:02d}" for k in range(N)]
    assert {one["id"]: one["state"] for one in told}["05"] == "interpolated"
    pixels = read_ome_zarr(done.stacked)[0][:, 60:-60, 60:-60].astype(float)
    clean = range(1, 11)
    r = [np.corrcoef(pixels[DEPTH * k - 1].ravel(), pixels[DEPTH * k].ravel())[0, 1] for k in clean]
    assert min(r) > 0.8


def test_raw_numbers_are_one_json_a_slice_and_not_in_the_ledger(done):
    numbers = read_metrics(done.metrics)
    assert {"register", "align", "stack", "assess"} <= set(numbers["03"])
    assert "post_reg_ncc" in numbers["05"]["interpolate"]
    assert "z_correlation" not in done.slice_config.read_text()


def test_a_second_run_does_nothing_and_comes_to_the_same(done, inputs):
    folder, shifts, _ = inputs
    before = done.slice_config.read_text()
    again = run_sections(
        folder, done.folder, shifts, settings=RunSettings(auto_assess_quality=True, min_quality=0.0)
    )
    assert again.done == ()
    assert len(again.skipped) == 8
    assert again.messages == done.messages
    assert again.slice_config.read_text() == before


def test_a_changed_parameter_runs_only_what_depends_on_it(done, inputs):
    folder, shifts, _ = inputs
    how = RunSettings(auto_assess_quality=True, min_quality=0.0, sub_pixel=True)
    again = run_sections(folder, done.folder, shifts, settings=how)
    assert again.done == ("align",)


def test_a_lost_output_is_made_again(done, inputs):
    folder, shifts, _ = inputs
    (done.folder / "exclude" / "slice_config.csv").unlink()
    how = RunSettings(auto_assess_quality=True, min_quality=0.0, sub_pixel=True)
    assert "exclude" in run_sections(folder, done.folder, shifts, settings=how).done


def test_without_shifts_and_config_every_slice_is_used_and_steps_are_measured(inputs, tmp_path):
    folder, _, at = inputs
    how = RunSettings(generate_slice_config=False, n_held_out=0)
    done = run_sections(folder, tmp_path / "run", settings=how)
    assert "detect-rehoming" not in done.done
    rows = SliceLedger.read(done.slice_config).rows
    assert all(row["use"] for i, row in rows.items() if i != "05")
    shifts = read_shifts(done.folder / "register" / "shifts_xy.csv")
    steps = {(f, m): (y, x) for f, m, y, x in zip(shifts.fixed_id, shifts.moving_id, shifts.dy_px, shifts.dx_px)}
    assert steps["02", "03"] == pytest.approx(tuple(at[3] - at[2]), abs=0.3)


@pytest.mark.skipif(not REAL.is_file(), reason="the shared data are not here")
def test_real_sections_with_planted_shifts_a_gap_and_a_glitch_come_back(tmp_path):
    real = np.maximum(tifffile.imread(REAL), 1)
    rng = np.random.default_rng(2)
    n, side, margin, lost, glitch = len(real), 208, 24, 7, 13
    at = np.vstack([[0, 0], np.cumsum(rng.integers(-4, 5, (n - 1, 2)), axis=0).clip(-20, 20)])
    (tmp_path / "in").mkdir()
    for k, (y, x) in enumerate(at + margin):
        if k != lost:
            plane = real[k : k + 1, y : y + side, x : x + side]
            write_ome_zarr(tmp_path / "in" / f"s_z{k:02d}.ome.zarr", plane, (50.0, UM, UM))
    said_mm = at * UM / 1e3
    said_mm[glitch] += (2.0, -1.0)
    shifts = write_steps(tmp_path / "shifts_xy.csv", said_mm)
    done = run_sections(tmp_path / "in", tmp_path / "out", shifts, settings=RunSettings(auto_assess_quality=True))
    rows = SliceLedger.read(done.slice_config).rows
    assert [i for i, row in rows.items() if not row["use"]] == [f"{lost:02d}"]
    assert rows[f"{lost:02d}"]["interpolated"] is not rows[f"{lost:02d}"]["interpolation_failed"]
    assert [i for i, row in rows.items() if row["rehomed"]] == [f"{glitch:02d}"]
    numbers = read_metrics(done.metrics)
    for k, (y, x) in enumerate((at - at[0]) * UM / 1e3):
        if k not in (lost, glitch):
            found = numbers[f"{k:02d}"]["align"]
            assert abs(found["x_mm"] - x) < 1e-9
            assert abs(found["y_mm"] - y) < 1e-9
    pixels, told = read_ome_zarr(done.aligned)[0], open_ome_zarr(done.aligned)
    top, left = json.loads((told.path / "zarr.json").read_text())["attributes"]["parfocal"]["origin_px"]
    truth = real[:, margin + top :, margin + left :][:, : pixels.shape[1], : pixels.shape[2]]
    for k in set(range(n)) - {lost, glitch}:
        np.testing.assert_array_equal(pixels[k][pixels[k] > 0], truth[k][pixels[k] > 0])
