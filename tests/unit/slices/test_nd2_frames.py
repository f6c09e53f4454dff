"""From a labelled frame to its z-stack: arithmetic on tables, and pixels of a real ND2 file."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.files import Stack
from parfocal.slices.references import _nd2_frames as module
from parfocal.slices.references import (
    map_to_nd2,
    mended_times_s,
    parse_gallery,
    read_metadata,
    read_series_map,
    read_z_stack,
    sequence_index,
    series_number_map,
    stage_disagreements,
)

ND2 = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "B_focus" / "cluster_tzc.nd2"
real = pytest.mark.skipif(not ND2.is_file(), reason="the shared test data are not here")
ROWS = "ABCDEFGH"


def gallery(*names):
    return parse_gallery("## Great\n" + "".join(f"- `{name}.jpg`\n" for name in names))


@pytest.fixture
def table(tmp_path):
    def write(text, name="embryo_metadata_20250912.csv"):
        (tmp_path / name).write_text(text)
        return read_metadata(tmp_path / name)

    return write


# -- the plate --------------------------------------------------------------------------------------------


def plate(order):
    """Series numbers of the whole plate, by a function of (row, column)."""
    return [[order(r, c) for c in range(12)] for r in range(8)]


def snake(r, c):
    return 12 * r + (c if r % 2 == 0 else 11 - c) + 1


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("letters", [False, True])
def test_a_plate_reads_the_same_with_and_without_its_headers(header, letters):
    grid = plate(snake)
    if letters:
        grid = [[ROWS[r], *row] for r, row in enumerate(grid)]
    if header:
        grid = [[*([""] if letters else []), *range(1, 13)], *grid]
    found = series_number_map(grid)
    assert found.warnings == ()
    assert (found.series["A01"], found.series["A12"], found.series["B12"], found.series["B01"]) == (1, 12, 13, 24)
    assert list(found.series.values()) == list(range(1, 97))


def test_a_first_row_of_wells_1_to_12_is_no_header_where_it_is_the_plates_own():
    found = series_number_map(plate(lambda r, c: 12 * r + c + 1))
    assert found.series["A01"] == 1
    assert found.series["H12"] == 96


def test_numbers_out_of_range_or_given_twice_are_passed_over_with_a_warning():
    grid = plate(lambda r, c: None)
    grid[0][0], grid[0][1], grid[2][3], grid[7][11] = 1.0, "2", 2, 97
    found = series_number_map(grid, n_series=96)
    assert dict(found.series) == {"A01": 1, "A02": 2}
    assert [
        ("H12 has series 97, expected 1 to 96" in w, "series 2 is of A02 and C04" in w) for w in found.warnings
    ] == [
        (False, True),
        (True, False),
    ]


def test_empty_rows_keep_their_place():
    grid = plate(lambda r, c: None)
    grid[3][4] = 7
    assert dict(series_number_map(grid).series) == {"D05": 7}


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ([["x"] * 12] * 8, "well A01 has 'x', expected the number of a series"),
        ([[1.5] + [None] * 11] * 8, "well A01 has '1.5'"),
        ([[k] * 13 for k in range(100, 108)], "a grid of 8 x 13"),
        ([], "a grid of 0 x 0"),
    ],
)
def test_a_sheet_that_is_no_plate_is_refused(grid, said):
    with pytest.raises(BadInputError, match=said):
        series_number_map(grid)


def test_the_sheet_is_read_from_a_csv_and_from_a_workbook(tmp_path):
    (tmp_path / "plate.csv").write_text("\n".join(",".join(map(str, row)) for row in plate(snake)))
    from_csv = read_series_map(tmp_path / "plate.csv")
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("series_number_map")
    for row in [[None, *range(1, 13)], *([ROWS[r], *row] for r, row in enumerate(plate(snake)))]:
        sheet.append(row)
    book.save(tmp_path / "plate.xlsx")
    assert read_series_map(tmp_path / "plate.xlsx").series == from_csv.series
    del book["series_number_map"]
    book.save(tmp_path / "other.xlsx")
    with pytest.raises(BadInputError, match="sheet series_number_map cannot be read"):
        read_series_map(tmp_path / "other.xlsx")


# -- the table of an experiment ----------------------------------------------------------------------------


def test_a_table_gives_the_series_of_wells_and_times(table):
    told = table("embryo,well,time_int,nd2_series_num\ne1,B10,92,22\ne2,B10,92,22\ne1,c4,24.0,31\ne1,A1,0,\n")
    assert told.dates == ("20250912",)
    assert dict(told.series) == {("20250912", "B10", 92): 22, ("20250912", "C04", 24): 31}
    assert told.warnings[0].endswith("1 rows without nd2_series_num, passed over")


def test_a_column_of_days_overrules_the_name(table):
    told = table(
        "well,time_int,nd2_series_num,experiment_date\nA01,0,1,2025-09-12\nA01,0,2,20250913.0\n", "t_20250711.csv"
    )
    assert told.series == {("20250912", "A01", 0): 1, ("20250913", "A01", 0): 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("well,time_int\nA01,0\n", "no column nd2_series_num"),
        (
            "well;time_int;nd2_series_num\nA01;0;1\n",
            "no column well, time_int, nd2_series_num; .* separated by commas",
        ),
        ("", "no column well"),
        ("well,time_int,nd2_series_num\nA01,0,1.7\n", "line 2, column nd2_series_num: '1.7'"),
        ("well,time_int,nd2_series_num\nA01,0,0\n", "line 2, column nd2_series_num: '0', expected .* from 1"),
        ("well,time_int,nd2_series_num\nA01,,3\n", "line 2, column time_int"),
        ("well,time_int,nd2_series_num\nJ01,0,3\n", "line 2, column well: 'J01'"),
        (
            "well,time_int,nd2_series_num\nA01,0,3\n\nA01,0,4\n",
            "line 4, .*: 4 for A01 at time_int 0, but 3 on line 2",
        ),
        ("well,time_int,nd2_series_num,date\nA01,0,3,yesterday\n", "column date: 'yesterday'"),
    ],
)
def test_a_bad_table_is_refused_with_row_and_column(table, text, said):
    with pytest.raises(BadInputError, match=said) as caught:
        table(text)
    assert "\n" not in str(caught.value)


# -- the arithmetic ---------------------------------------------------------------------------------------


def test_frames_are_numbered_along_the_loops_of_the_file():
    sizes = {"T": 113, "P": 96, "Z": 15, "C": 2, "Y": 8, "X": 8}
    numbers = [sequence_index(sizes, t=t, p=p, z=z) for t in range(113) for p in range(96) for z in range(15)]
    assert numbers == list(range(113 * 96 * 15))
    assert sequence_index({"P": 4, "T": 3, "Z": 2}, t=1, p=2, z=1) == (2 * 3 + 1) * 2 + 1
    assert sequence_index({"T": 3, "Z": 10}, t=2, z=9) == 29
    for wrong in ({"t": 113}, {"p": 96}, {"z": -1}):
        with pytest.raises(BadInputError, match="is not in the file"):
            sequence_index(sizes, **wrong)


def planes_of(shape):
    """A stack with positions, of planes that say where they are; the real file has none."""

    def read_planes(indices):
        for index in indices:
            yield np.full(shape[-2:], np.ravel_multi_index(index, shape[:-2]), np.uint16)

    x = [(-9000.0 * c, 9000.0 * r) for r in range(2) for c in range(2)]
    return Stack("TPZCYX", shape, np.dtype(np.uint16), "plate_20250912.nd2", read_planes, xy_um=tuple(x))


@pytest.fixture
def plate_file(tmp_path, monkeypatch):
    path = tmp_path / "20250912" / "plate.nd2"
    path.parent.mkdir()
    path.write_bytes(b"")
    stack = planes_of((5, 4, 3, 2, 4, 4))
    monkeypatch.setattr(module, "open_stack", lambda _: stack)
    monkeypatch.setattr(module, "nd2_time_stamps_s", lambda _, positions: np.arange(5.0)[np.newaxis] * 600)
    return path


TABLE = "well,time_int,nd2_series_num\nA01,3,1\nA02,3,2\nB01,3,3\nB02,3,4\n"


def test_a_frame_goes_to_its_series_and_planes(plate_file, table):
    found = map_to_nd2(gallery("20250912_B01_ch01_t0003"), plate_file.parents[1], [table(TABLE)])
    (frame,) = found.frames
    assert found.warnings == ()
    assert frame.key == ("B01", 3, 3)
    assert frame.sequence == tuple((3 * 4 + 2) * 3 + z for z in range(3))
    assert frame.time_s == 1800.0
    planes = read_z_stack(frame)
    assert planes.shape == (3, 4, 4)
    assert planes[:, 0, 0].tolist() == [2 * number + 1 for number in frame.sequence]


def test_the_table_of_another_day_is_not_taken(plate_file, table):
    other = table(TABLE, "expr_embryo_metadata_20250711.csv")
    wanted = gallery("20250912_B01_ch00_t0003")
    with pytest.raises(BadInputError, match=r"line 2: no metadata of 20250912.*_20250711\.csv \(20250711\)"):
        map_to_nd2(wanted, plate_file, [other])
    (frame,) = map_to_nd2(wanted, plate_file, [other, table(TABLE)]).frames
    assert frame.nd2_series_num == 3


def test_a_table_that_says_no_day_is_taken_with_a_warning(plate_file, table):
    found = map_to_nd2(gallery("20250912_B01_ch00_t0003"), plate_file.parents[1], [table(TABLE, "table.csv")])
    assert [w.rpartition("/")[2] for w in found.warnings] == ["table.csv does not say its day: taken for 20250912"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("20250912_B01_ch00_t0002", "line 2: B01 at time_int 2 is not in .* has time_int 3 to 3"),
        ("20250912_C01_ch00_t0003", "line 2: C01 at time_int 3 is not in .* has no row"),
        ("20250912_B01_ch02_t0003", "line 2: channel 2 of .* expected 0 to 1"),
        ("20250913_B01_ch00_t0003", "line 2: no metadata of 20250913"),
    ],
)
def test_a_frame_that_cannot_be_placed_is_refused_with_its_line(plate_file, table, name, said):
    with pytest.raises(BadInputError, match=said):
        map_to_nd2(gallery(name), plate_file.parents[1], [table(TABLE)])


def test_plate_and_table_must_agree(plate_file, table):
    grid = plate(lambda r, c: None)
    grid[1][0] = 4
    with pytest.raises(BadInputError, match="B01 is series 3 by the metadata, but 4 by the plate"):
        map_to_nd2(
            gallery("20250912_B01_ch00_t0003"), plate_file.parents[1], [table(TABLE)], series_number_map(grid)
        )
    grid[1][0] = 3
    (frame,) = map_to_nd2(
        gallery("20250912_B01_ch00_t0004"), plate_file.parents[1], (), series_number_map(grid)
    ).frames
    assert frame.key == ("B01", 4, 3)


def test_a_series_that_the_file_does_not_have_is_refused(plate_file, table):
    with pytest.raises(BadInputError, match=r"line 2: series 5 of .* expected 1 to 4"):
        map_to_nd2(gallery("20250912_B01_ch00_t0003"), plate_file, [table(TABLE.replace("3,3", "3,5"))])


def test_wells_beyond_the_files_series_are_passed_over_with_a_warning(plate_file):
    grid = plate(lambda r, c: 4 * r + c + 1 if r < 2 and c < 4 else None)
    found = map_to_nd2(
        gallery("20250912_A04_ch00_t0003"), plate_file.parents[1], (), series_number_map(grid), check_stage=False
    )
    assert found.frames[0].nd2_series_num == 4
    assert [w.partition(": ")[2] for w in found.warnings][:2] == [
        "well B01 has series 5, expected 1 to 4; passed over",
        "well B02 has series 6, expected 1 to 4; passed over",
    ]


def test_two_files_of_a_day_are_not_guessed_between(plate_file, table):
    shutil.copy(plate_file, plate_file.with_name("again.nd2"))
    with pytest.raises(BadInputError, match=r"2 ND2 files of 20250912 \(again.nd2, plate.nd2\)"):
        map_to_nd2(gallery("20250912_B01_ch00_t0003"), plate_file.parents[1], [table(TABLE)])


def test_wells_that_lie_elsewhere_are_told(plate_file, table):
    swapped = TABLE.replace("A01,3,1", "A01,3,2").replace("A02,3,2", "A02,3,1")
    found = map_to_nd2(gallery("20250912_B01_ch00_t0003"), plate_file.parents[1], [table(swapped)])
    assert [("A01: the stage was at" in w, "A02: the stage was at" in w) for w in found.warnings] == [
        (True, False),
        (False, True),
    ]


def stage(wells, jitter_um=150.0):
    rng = np.random.default_rng(0)
    return {
        well: (
            -9000.0 * int(well[1:]) + rng.uniform(-jitter_um, jitter_um),
            9000.0 * ROWS.index(well[0]) + rng.uniform(-jitter_um, jitter_um),
        )
        for well in wells
    }


def test_the_stage_agrees_with_any_wells_that_are_named_rightly():
    wells = [f"{row}{column:02d}" for row in "ACDH" for column in (1, 2, 5, 12)]
    assert stage_disagreements(stage(wells)) == ()
    flipped = {well: (x, -y) for well, (x, y) in stage(wells).items()}
    assert stage_disagreements(flipped) == ()
    mirrored = {well: (-x, y) for well, (x, y) in stage(wells).items()}
    assert len(stage_disagreements(mirrored)) == len(wells)
    assert stage_disagreements(mirrored, "along_x") == ()


def test_time_stamps_are_mended_as_far_as_they_can_be():
    times, said = mended_times_s([[5.0, 605, np.nan, 1805, 2405], [15.0, 615, np.nan, 1815, 2415]])
    np.testing.assert_allclose(times, [0, 600, 1200, 1800, 2400])
    assert said == ("1 time stamps are missing: filled with the cycle of 600 s",)
    times, said = mended_times_s([[0.0, 600, 1200, 9_000_000, 9_000_600]])
    np.testing.assert_allclose(times, [0, 600, 1200, 1800, 2400])
    assert "jump" in said[0]
    times, _ = mended_times_s([[0.0, 600, 590, 1200]])
    assert (np.diff(times) >= 0).all()
    times, _ = mended_times_s(np.full((1, 3), np.nan))
    np.testing.assert_allclose(times, [0, 1800, 3600])


# -- a real file ------------------------------------------------------------------------------------------


@real
def test_the_true_z_stack_of_a_real_file_is_read(tmp_path, table):
    import nd2

    shutil.copy(ND2, tmp_path / "cluster_20250912.nd2")
    told = table("well,time_int,nd2_series_num\nD05,0,1\nD05,1,1\nD05,2,1\n")
    wanted = gallery("20250912_D05_ch00_t0001", "20250912_D05_ch01_t0002")
    found = map_to_nd2(wanted, tmp_path, [told])
    first, second = found.frames
    assert first.sequence == tuple(range(10, 20))
    assert second.sequence == tuple(range(20, 30))
    assert first.time_s == pytest.approx(10.64, abs=0.01)
    with nd2.ND2File(ND2) as file:
        whole = file.asarray()
        one_by_one = np.stack([file.read_frame(number)[1] for number in second.sequence])
    np.testing.assert_array_equal(read_z_stack(first), whole[1, :, 0])
    np.testing.assert_array_equal(read_z_stack(second), one_by_one)
    with pytest.raises(BadInputError, match=r"line 2: time_int 3 of .* expected 0 to 2"):
        map_to_nd2(
            gallery("20250912_D05_ch00_t0003"), tmp_path, [table("well,time_int,nd2_series_num\nD05,3,1\n")]
        )


@real
def test_a_real_file_says_where_the_stage_was():
    from parfocal.files import nd2_time_stamps_s, open_stack

    assert open_stack(ND2).xy_um == ((pytest.approx(-26056.951), pytest.approx(-4155.463)),)
    np.testing.assert_allclose(nd2_time_stamps_s(ND2, [0]), [[0.445, 11.086, 21.740]], atol=1e-3)
    with pytest.raises(BadInputError, match="positions"):
        nd2_time_stamps_s(ND2, [1])
