"""Where sections lie: sums along the graph of pairs, and a shifts file read strictly."""

import os

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.slices import ShiftTable, cumulative_shifts, read_shifts, write_shifts

HEAD = "fixed_id,moving_id,x_shift,y_shift,x_shift_mm,y_shift_mm\n"
STEPS = [(10, 5), (8, 3), (12, 7), (5, 2), (9, 4)]


def table(pairs, steps, **more):
    x, y = np.array(steps, float).reshape(-1, 2).T
    return ShiftTable(tuple(f"{a:02d}" for a, _ in pairs), tuple(f"{b:02d}" for _, b in pairs), x, y, **more)


CHAIN = table([(i, i + 1) for i in range(5)], STEPS)


def test_the_numbers_of_the_seed_come_out():
    assert cumulative_shifts(CHAIN).by_id() == {
        "00": (0, 0), "01": (10, 5), "02": (18, 8), "03": (30, 15), "04": (35, 17), "05": (44, 21),
    }  # fmt: skip
    assert cumulative_shifts(CHAIN, [0, 2, 4]).by_id() == {"00": (0, 0), "02": (18, 8), "04": (35, 17)}
    assert cumulative_shifts(CHAIN, [2, 4]).by_id() == {"02": (18, 8), "04": (35, 17)}
    assert cumulative_shifts(CHAIN, [4, 2], origin=2).by_id() == {"04": (17, 9), "02": (0, 0)}


def test_the_order_and_direction_of_pairs_do_not_matter():
    rng = np.random.default_rng(1)
    n = 300
    at = np.cumsum(rng.normal(size=(n, 2)), axis=0)
    parent = [int(rng.integers(0, i)) for i in range(1, n)]  # any tree
    pairs = [(p, i) if rng.random() < 0.5 else (i, p) for i, p in enumerate(parent, 1)]
    steps = [at[b] - at[a] for a, b in pairs]
    order = rng.permutation(len(pairs))
    shuffled = table([pairs[i] for i in order], [steps[i] for i in order])
    found = cumulative_shifts(shuffled)
    assert found.slice_ids[98:102] == ("98", "99", "100", "101")
    np.testing.assert_allclose(found.xy, at - at[0], atol=1e-9)


def test_ten_thousand_sections_add_up_to_a_billionth_of_a_millimetre():
    rng = np.random.default_rng(2)
    um = rng.integers(-500, 500, size=(9_999, 2))
    found = cumulative_shifts(table([(i, i + 1) for i in range(9_999)], um / 1000))
    assert np.abs(found.xy[1:] - np.cumsum(um, axis=0) / 1000).max() < 1e-9


def test_a_missing_link_names_the_gap():
    broken = table([(0, 1), (1, 2), (3, 4)], [(1, 1)] * 3)
    with pytest.raises(BadInputError, match=r"no way from slice 00 to 03: the link 02 to 03 is missing"):
        cumulative_shifts(broken)
    assert cumulative_shifts(broken, [3, 4]).by_id() == {"03": (0, 0), "04": (1, 1)}
    with pytest.raises(BadInputError, match="slice 09 is in no pair"):
        cumulative_shifts(CHAIN, [0, 9])


def test_two_ways_that_disagree_are_an_error_and_two_that_agree_are_not():
    ring = [(0, 1), (1, 2), (0, 2)]
    assert cumulative_shifts(table(ring, [(1, 0), (1, 0), (2, 0)])).by_id()["02"] == (2, 0)
    with pytest.raises(BadInputError, match="disagrees with the way through other sections by"):
        cumulative_shifts(table(ring, [(1, 0), (1, 0), (2.5, 0)]))


def test_units_are_asked_for_and_never_guessed(tmp_path):
    (tmp_path / "shifts.csv").write_text(HEAD + "0,1,10,5,0.01,0.005\n1,2,8,3,0.008,0.003\n")
    shifts = read_shifts(tmp_path / "shifts.csv")
    assert shifts.slice_ids == ("00", "01", "02")
    assert cumulative_shifts(shifts, unit="px").by_id()["02"] == (18, 8)
    assert cumulative_shifts(shifts, unit="mm").by_id()["02"] == pytest.approx((0.018, 0.008), abs=1e-12)
    with pytest.raises(BadInputError, match="px are not known"):
        cumulative_shifts(CHAIN, unit="px")


def test_a_shifts_file_written_and_read_is_the_same_to_the_last_digit(tmp_path):
    rng = np.random.default_rng(3)
    px, mm = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    before = table([(i, i + 1) for i in range(5)], mm, dx_px=px[:, 0], dy_px=px[:, 1])
    write_shifts(tmp_path / "a.csv", before)
    after = read_shifts(tmp_path / "a.csv")
    for name in ("dx_mm", "dy_mm", "dx_px", "dy_px"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert (after.fixed_id, after.moving_id) == (before.fixed_id, before.moving_id)
    with pytest.raises(BadInputError, match="there already"):
        write_shifts(tmp_path / "a.csv", before)
    with pytest.raises(BadInputError, match="px are not known"):
        write_shifts(tmp_path / "b.csv", CHAIN)
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "0,1,a,5,1,1\n", "row 2, column x_shift: 'a' is no finite number"),
        (HEAD + "0,1,1,5,1,1\n1,2,1,nan,1,1\n", "row 3, column y_shift: 'nan'"),
        (HEAD + "0,1,1,5,1,inf\n", "row 2, column y_shift_mm: 'inf'"),
        (HEAD + "0,1,1,5,,1\n", "row 2, column x_shift_mm: blank"),
        (HEAD + "0,1.5,1,5,1,1\n", "row 2, column moving_id: '1.5'"),
        (HEAD + "1,1,1,5,1,1\n", "row 2: slice 01 is shifted against itself"),
        (HEAD + "0,1,1,5,1,1\n1,0,1,5,1,1\n", "row 3: 01 to 00 stands in row 2"),
        (HEAD, "holds no shifts"),
        (HEAD.replace(",y_shift_mm", "") + "0,1,1,5,1\n", "no column y_shift_mm"),
        (HEAD.replace("\n", ",speed\n") + "0,1,1,5,1,1,0\n", "unknown column speed"),
        (HEAD.replace("\n", ",reliable\n") + "0,1,1,5,1,1,maybe\n", "row 2, column reliable: 'maybe' is neither"),
        (HEAD.replace("\n", ",reliable\n") + "0,1,1,5,1,1,\n", "row 2, column reliable: '' is neither"),
        (HEAD.replace(",", ";"), "semicolons"),
    ],
)
def test_a_malformed_shifts_file_gives_one_clear_line(tmp_path, text, said):
    (tmp_path / "shifts.csv").write_text(text)
    with pytest.raises(BadInputError) as error:
        read_shifts(tmp_path / "shifts.csv")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_column_that_linumpy_adds_is_read_and_kept(tmp_path):
    text = HEAD.replace("\n", ",reliable\n") + "0,1,1,5,0.01,0.05,1\n1,2,1,5,0.01,0.05,0\n"
    (tmp_path / "shifts.csv").write_text(text)
    found = read_shifts(tmp_path / "shifts.csv")
    assert found.reliable is not None
    assert found.reliable.tolist() == [True, False]
    write_shifts(tmp_path / "again.csv", found)
    assert (tmp_path / "again.csv").read_text().splitlines()[::2] == [
        "fixed_id,moving_id,x_shift,y_shift,x_shift_mm,y_shift_mm,reliable",
        "01,02,1.0,5.0,0.01,0.05,0",
    ]
