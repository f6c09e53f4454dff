"""Sections aligned and stacked by id, never by index; what is missing keeps its room."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.errors import BadInputError
from parfocal.files import open_ome_zarr, read_ome_zarr
from parfocal.slices.ledger import SliceLedger, Stamp
from parfocal.slices.sections import (
    SectionArrays,
    ShiftTable,
    align,
    generate,
    interpolate_missing,
    open_sections,
    positions_px,
    register,
    stack,
)

DATA = Path(__file__).parents[3] / "../shared/data/F_slices"
VOXEL_UM = (5.0, 10.0, 10.0)


def ledger_of(ids, out=()):
    return SliceLedger().apply(generate(ids, exclude=out, exclude_first=0))


def shifts_of(offsets_px, um=10.0, ids=None):
    steps = np.diff(np.array(offsets_px, float), axis=0) * um / 1e3
    ids = ids or [f"{k:02d}" for k in range(len(offsets_px))]
    return ShiftTable(tuple(ids[:-1]), tuple(ids[1:]), steps[:, 1], steps[:, 0])


def inner(volume, shape):
    """Return what all sections share."""
    margin = 24
    return volume[..., margin : shape[0] - margin, margin : shape[1] - margin]


def test_planted_shifts_are_taken_out_to_the_pixel(tmp_path, sections, offsets_px, tissue):
    done = align(sections, shifts_of(offsets_px), path=tmp_path / "aligned.ome.zarr")
    pixels, voxel_size_um = read_ome_zarr(done.volume.path)
    assert voxel_size_um == VOXEL_UM
    top, left = done.volume.origin_px
    assert (top, left) == tuple(np.min(offsets_px, axis=0))
    y, x = 48 + top, 48 + left
    truth = tissue[: len(pixels), y : y + pixels.shape[1], x : x + pixels.shape[2]]
    covered = pixels > 0
    np.testing.assert_array_equal(pixels[covered], truth[covered])
    assert covered.mean() > 0.7


def test_sections_are_matched_by_id_and_keep_their_room_when_left_out(tmp_path, sections, offsets_px):
    whole = align(sections, shifts_of(offsets_px), path=tmp_path / "a.ome.zarr")
    some = align(
        sections,
        shifts_of(offsets_px),
        ledger_of(sections.slice_ids, ["01", "02", "05"]),
        path=tmp_path / "b.ome.zarr",
    )
    a, b = (read_ome_zarr(one.volume.path)[0] for one in (whole, some))
    assert b.shape[0] == a.shape[0]
    states = {slot.slice_id: slot.state for slot in some.volume.slots}
    assert [i for i, state in states.items() if state == "gap"] == ["01", "02", "05"]
    dy, dx = np.subtract(some.volume.origin_px, whole.volume.origin_px)
    for slot in some.volume.slots:
        z = slice(slot.z, slot.z + slot.n_planes)
        if slot.state == "gap":
            assert not b[z].any()
        else:
            np.testing.assert_array_equal(b[z], a[z, dy : dy + b.shape[1], dx : dx + b.shape[2]])


def test_ids_that_do_not_begin_at_zero_nor_follow_each_other_are_no_matter(tmp_path, tissue, offsets_px, sections):
    ids = ("07", "09", "99", "100")
    volumes = {i: sections.volumes[f"{k:02d}"] for k, i in enumerate(ids)}
    at = offsets_px[:4]
    done = align(
        SectionArrays(volumes, VOXEL_UM), shifts_of(at, ids=ids), path=tmp_path / "a.ome.zarr", keep_gaps=False
    )
    pixels = read_ome_zarr(done.volume.path)[0]
    top, left = done.volume.origin_px
    for k, slot in enumerate(done.volume.slots):
        y, x = np.subtract(at[k], (top, left))
        np.testing.assert_array_equal(
            pixels[slot.z : slot.z + 3, y : y + 128, x : x + 128], volumes[slot.slice_id]
        )


def test_the_seeds_example_adds_up_through_sections_that_are_left_out():
    x, y = np.array([10.0, 8, 12, 5, 9]), np.array([5.0, 3, 7, 2, 4])
    table = ShiftTable(("00", "01", "02", "03", "04"), ("01", "02", "03", "04", "05"), x / 1e3, y / 1e3)
    at_mm, at_px = positions_px(table, ["00", "02", "04"], (1.0, 1.0, 1.0))
    assert at_px["02"] == pytest.approx((8.0, 18.0))
    assert at_mm["04"] == pytest.approx((0.035, 0.017))


def test_a_selected_slice_without_shifts_is_an_error_and_nothing_is_written(tmp_path, sections, offsets_px):
    with pytest.raises(BadInputError, match="07"):
        align(sections, shifts_of(offsets_px[:7]), path=tmp_path / "a.ome.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_link_is_an_error_that_names_the_gap(tmp_path, sections, offsets_px):
    table = shifts_of(offsets_px)
    keep = [0, 1, 2, 4, 5, 6]
    broken = ShiftTable(
        tuple(table.fixed_id[k] for k in keep),
        tuple(table.moving_id[k] for k in keep),
        table.dx_mm[keep],
        table.dy_mm[keep],
    )
    with pytest.raises(BadInputError, match="03 to 04 is missing"):
        align(sections, broken, path=tmp_path / "a.ome.zarr")


def test_an_empty_selection_is_an_error(tmp_path, sections, offsets_px):
    with pytest.raises(BadInputError):
        align(
            sections,
            shifts_of(offsets_px),
            ledger_of(sections.slice_ids, sections.slice_ids),
            path=tmp_path / "a.ome.zarr",
        )


def test_a_slice_to_use_that_has_no_section_is_an_error(tmp_path, sections, offsets_px):
    kept = SectionArrays({i: v for i, v in sections.volumes.items() if i != "03"}, VOXEL_UM)
    with pytest.raises(BadInputError, match="slice 03 is to be used"):
        align(kept, shifts_of(offsets_px), ledger_of(sections.slice_ids), path=tmp_path / "a.ome.zarr")


def test_a_shift_between_pixels_is_resampled_when_asked_for(tmp_path):
    ramp = np.tile(np.arange(40, dtype=np.float32) * 10, (1, 30, 1))
    source = SectionArrays({"00": ramp, "01": ramp}, (1.0, 1.0, 1.0))
    table = ShiftTable(("00",), ("01",), np.array([0.5e-3]), np.array([0.0]))
    exact = align(source, table, path=tmp_path / "a.ome.zarr", sub_pixel=True)
    whole = align(source, table, path=tmp_path / "b.ome.zarr")
    a, b = (read_ome_zarr(one.volume.path)[0] for one in (exact, whole))
    np.testing.assert_allclose(a[1, 5, 2:38], ramp[0, 5, 2:38] - 5)
    np.testing.assert_array_equal(b[1, 5, 1:41], ramp[0, 5])


def test_memory_holds_one_section_at_a_time(tmp_path, sections, offsets_px):
    alive = []

    class Watched(SectionArrays):
        def volume(self, slice_id):
            alive.append(slice_id)
            return super().volume(slice_id)

    align(Watched(sections.volumes, VOXEL_UM), shifts_of(offsets_px), path=tmp_path / "a.ome.zarr")
    assert alive == list(sections.slice_ids)


def test_images_correct_what_the_stage_did_not_tell(tmp_path, sections, offsets_px):
    wrong = [(y + (k % 3), x - (k % 2)) for k, (y, x) in enumerate(offsets_px)]
    shifts = shifts_of(wrong)
    _, at = positions_px(shifts, sections.slice_ids, VOXEL_UM)
    registration = register(sections, positions_px=at)
    by_stage = read_ome_zarr(align(sections, shifts, path=tmp_path / "a.ome.zarr").volume.path)[0]
    by_image = read_ome_zarr(stack(sections, registration, shifts, path=tmp_path / "s.ome.zarr").volume.path)[0]

    def roughness(volume):
        middle = volume[:, 40:110, 40:110].astype(float)
        return np.abs(np.diff(middle, axis=0)).mean()

    assert roughness(by_image) < 0.5 * roughness(by_stage)


def test_a_skipped_section_is_placed_by_the_stage_and_the_next_is_registered_past_it(
    tmp_path, sections, offsets_px
):
    noise = np.random.default_rng(0).integers(1, 60000, sections.shape("03")).astype(np.uint16)
    source = SectionArrays({**sections.volumes, "03": noise}, VOXEL_UM)
    shifts = shifts_of([(0, 0)] * 8)
    ledger = ledger_of(source.slice_ids).apply([Stamp("03", "auto_excluded", True)], stage="exclude")
    done = stack(source, register(source), shifts, ledger, path=tmp_path / "s.ome.zarr")
    rows = {row["slice_id"]: row for row in done.volume.table()}
    assert rows["03"]["state"] == "measured"
    found = {i: (rows[i]["offset_y_px"], rows[i]["offset_x_px"]) for i in rows}
    assert found["03"] == pytest.approx(found["02"])
    planted = np.subtract(offsets_px[4], offsets_px[2])
    assert np.subtract(found["04"], found["02"]) == pytest.approx(planted, abs=0.5)


def test_a_failed_interpolation_stays_a_gap_and_a_made_one_fills_its_slot(tmp_path, sections, offsets_px):
    shifts, ledger = shifts_of(offsets_px), ledger_of(sections.slice_ids, ["02", "05"])
    made = interpolate_missing(sections, ledger, shifts, folder=tmp_path / "made", n_held_out=0)
    assert made.made == ("02", "05")
    refused = [Stamp("05", "interpolated", False), Stamp("05", "interpolation_failed", True)]
    refused += [
        Stamp("05", "interpolation_method_used", None),
        Stamp("05", "interpolation_fallback_reason", "low_overlap_ncc"),
    ]
    ledger = ledger.apply(made.result).apply(refused, stage="interpolate")
    used = [i for i in sections.slice_ids if i not in ("02", "05")]
    registration = register(sections, used, positions_px=positions_px(shifts, used, VOXEL_UM)[1])
    done = stack(
        sections, registration, shifts, ledger, path=tmp_path / "s.ome.zarr", made=open_sections(tmp_path / "made")
    )
    states = {slot.slice_id: (slot.state, slot.note) for slot in done.volume.slots}
    assert states["02"][0] == "interpolated"
    assert states["05"] == ("gap", "interpolation refused: low_overlap_ncc")
    pixels = open_ome_zarr(done.volume.path)
    slots = {slot.slice_id: slot for slot in done.volume.slots}
    assert pixels.read(slice(slots["02"].z, slots["02"].z + 3)).any()
    assert not pixels.read(slice(slots["05"].z, slots["05"].z + 3)).any()


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize("name", ["celegans_em_sections.tif", "serial2p_sections_zyx.tif"])
def test_real_sections_with_planted_shifts_come_back_exactly(tmp_path, name):
    real = tifffile.imread(DATA / name)
    real = np.maximum(real, 1)  # 0 is where no section lies
    rng = np.random.default_rng(1)
    n, side, margin, um = len(real), real.shape[1] - 48, 24, 2.0
    at = np.vstack([[0, 0], np.cumsum(rng.integers(-4, 5, (n - 1, 2)), axis=0).clip(-20, 20)])
    volumes = {
        f"{k:02d}": real[k : k + 1, margin + y : margin + y + side, margin + x : margin + x + side]
        for k, (y, x) in enumerate(at)
    }
    out = ["04", "09", "10"]
    source = SectionArrays({i: v for i, v in volumes.items() if i not in out}, (5.0, um, um))
    done = align(source, shifts_of(at, um), path=tmp_path / "a.ome.zarr")
    for i, (x_mm, y_mm) in done.positions_mm.items():
        y, x = at[int(i)] - at[0]
        assert abs(x_mm - x * um / 1e3) < 1e-9
        assert abs(y_mm - y * um / 1e3) < 1e-9
    pixels = read_ome_zarr(done.volume.path)[0]
    top, left = done.volume.origin_px
    truth = real[:, margin + top : margin + top + pixels.shape[1], margin + left : margin + left + pixels.shape[2]]
    for slot in done.volume.slots:
        plane, k = pixels[slot.z], int(slot.slice_id)
        if slot.slice_id in out:
            assert slot.state == "gap"
            assert not plane.any()
        else:
            np.testing.assert_array_equal(plane[plane > 0], truth[k][plane > 0])
