"""Steps that no sample made are found on the cumulative position, and taken out exactly."""

import json
from pathlib import Path

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.slices.sections import ShiftTable, detect_rehoming

EM_MONTAGE = Path("../shared/data/F_slices/em_montage/raw_tilespecs.json")


def table(steps, px_per_mm=None):
    steps = np.asarray(steps, float)
    ids = [f"{i:02d}" for i in range(len(steps) + 1)]
    px = {} if px_per_mm is None else {"dx_px": steps[:, 0] * px_per_mm, "dy_px": steps[:, 1] * px_per_mm}
    return ShiftTable(tuple(ids[:-1]), tuple(ids[1:]), steps[:, 0].copy(), steps[:, 1].copy(), **px)


def positions(shifts):
    return np.vstack([np.zeros(2), np.cumsum(np.column_stack([shifts.dx_mm, shifts.dy_mm]), axis=0)])


def stamped(result, column):
    return {s.slice_id: s.value for s in result.stage.stamps if s.column == column}


def drift(n, seed=0, scale=0.02):
    return np.random.default_rng(seed).normal(0, scale, (n, 2))


def with_glitches(true_steps, sections, size):
    at = np.vstack([np.zeros(2), np.cumsum(true_steps, axis=0)])
    at[sections] += size
    return np.diff(at, axis=0)


def five_hundred():
    rng = np.random.default_rng(9)
    steps = rng.normal(0, 0.03, (499, 2))
    sections = 2 * rng.choice(np.arange(1, 249), 50, replace=False)  # some are every second one
    sizes = rng.choice([-2.0, 2.0], (50, 1)) * [1.0, 0.0]
    return steps, sections, with_glitches(steps, sections, sizes)


def test_fifty_glitches_in_five_hundred_sections_move_no_other_section():
    steps, sections, raw = five_hundred()
    found = detect_rehoming(table(raw))
    moved = np.abs(positions(found.shifts) - positions(table(raw))).max(axis=1)
    assert stamped(found, "rehomed") == {f"{i:02d}": i in set(sections) for i in range(1, 500)}
    others = np.setdiff1d(np.arange(500), sections)
    assert moved[others].max() < 1e-9
    assert np.abs(positions(found.shifts) - positions(table(steps))).max() < 0.2  # the glitches are gone
    assert found.reliable.all()


def test_the_original_ends_a_hundred_millimetres_off_and_its_mode_shows_it():
    steps = np.random.default_rng(1).normal(0, 0.03, (499, 2))
    sections = np.arange(5, 500, 10)[:50]
    raw = with_glitches(steps, sections, [2.0, 0.0])
    theirs = detect_rehoming(table(raw), compat="linumpy")
    assert positions(theirs.shifts)[-1, 0] == pytest.approx(positions(table(raw))[-1, 0] - 100, abs=2)
    ours = detect_rehoming(table(raw))
    assert positions(ours.shifts)[-1] == pytest.approx(positions(table(raw))[-1], abs=1e-9)


def test_glitches_of_every_second_section_are_read_as_a_whole():
    raw = with_glitches(drift(11), [3, 5, 7], [1.5, -0.4])
    found = detect_rehoming(table(raw))
    assert [i for i, hit in stamped(found, "rehomed").items() if hit] == ["03", "05", "07"]


def test_glitches_of_two_sections_in_a_row_are_told_from_a_stage_homed_anew_by_where_they_lie():
    raw = with_glitches(drift(12), [4, 5], np.array([[2.0, 0.0], [-1.5, 0.2]]))
    found = detect_rehoming(table(raw))
    assert [i for i, hit in stamped(found, "rehomed").items() if hit] == ["04", "05"]
    assert positions(found.shifts)[6:] == pytest.approx(positions(table(raw))[6:], abs=1e-9)


def test_a_stage_homed_anew_stays_where_it_is_and_is_said_to_be_unreliable():
    steps = drift(12)
    steps[5] += [2.0, 0.3]
    found = detect_rehoming(table(steps))
    np.testing.assert_array_equal(found.shifts.dx_mm, steps[:, 0])
    assert found.labels[5] == "rehome"
    assert not found.reliable[5]
    assert stamped(found, "rehoming_reliable")["06"] is False
    assert stamped(found, "rehomed")["06"] is False
    assert stamped(found, "rehoming_reliable")["02"] is None  # nothing was decided there
    assert "5 to 06" in found.stage.messages[-1]


def test_homed_there_and_back_two_sections_later_is_no_glitch_unless_asked():
    steps = drift(12)
    steps[4] += [2.0, 0.0]
    steps[6] -= [2.0, 0.0]
    assert not any(stamped(detect_rehoming(table(steps)), "rehomed").values())
    both = detect_rehoming(table(steps), max_glitch_slices=2)
    assert [i for i, hit in stamped(both, "rehomed").items() if hit] == ["05", "06"]


def test_a_long_step_to_the_last_section_is_unknown():
    steps = drift(8)
    steps[-1] += [3.0, 0.0]
    found = detect_rehoming(table(steps))
    assert found.labels[-1] == "unknown"
    assert not found.reliable[-1]


def test_the_tile_step_is_read_off_and_taken_out_exactly():
    true_steps = drift(60, seed=3, scale=0.005)
    n = np.zeros(60)
    n[[7, 20, 33, 48]] = [1, -1, 2, 1]
    raw = true_steps + np.column_stack([n * 0.875, np.zeros(60)])
    told = detect_rehoming(table(raw, px_per_mm=100.0), tile_fov_mm=0.875)
    np.testing.assert_allclose(told.shifts.dx_mm, true_steps[:, 0], atol=1e-9)
    np.testing.assert_allclose(told.shifts.dx_px, true_steps[:, 0] * 100, atol=1e-6)
    np.testing.assert_array_equal(told.shifts.dy_mm, raw[:, 1])
    assert [i for i, hit in stamped(told, "rehomed").items() if hit] == ["08", "21", "34", "49"]
    assert {told.labels[i] for i in (7, 20, 33, 48)} == {"tile-step"}
    read = detect_rehoming(table(raw), tile_fov_mm="auto")
    assert read.tile_step_mm == (pytest.approx(0.875, abs=0.005), 0.0)
    assert read.likelihoods[7].argmax() == 1


def test_a_tile_step_is_only_told_where_it_was_not_asked_for():
    raw = drift(40, scale=0.005)
    raw[[5, 15, 25], 0] += 0.875
    found = detect_rehoming(table(raw))
    np.testing.assert_array_equal(found.shifts.dx_mm, raw[:, 0])
    assert "0.87" in found.stage.messages[0]


def test_steps_of_any_length_show_no_tile_step():
    for seed in range(20):
        raw = drift(40, seed=seed)
        raw[5:35:5, 0] += np.random.default_rng(seed).uniform(0.8, 4, 6)
        assert detect_rehoming(table(raw), tile_fov_mm="auto").tile_step_mm == (0.0, 0.0)


def test_a_glitch_in_the_section_of_a_tile_step_leaves_only_the_tile_step_out():
    true_steps = drift(30, scale=0.005)
    raw = true_steps.copy()
    raw[14, 0] += 0.875
    raw = with_glitches(raw, [14], [2.5, 0.0])
    found = detect_rehoming(table(raw), tile_fov_mm=0.875)
    true_at, at = positions(table(true_steps)), positions(found.shifts)
    np.testing.assert_allclose(np.delete(at, 14, axis=0), np.delete(true_at, 14, axis=0), atol=1e-9)
    assert stamped(found, "rehomed")["14"]


def test_probabilities_sum_to_one_and_agree_with_the_labels():
    _, _, raw = five_hundred()
    found = detect_rehoming(table(raw))
    np.testing.assert_allclose(found.likelihoods.sum(axis=1), 1)
    named = np.array(["drift", "tile-step", "glitch", "rehome"])[found.likelihoods.argmax(axis=1)]
    assert np.mean(named == np.array(found.labels)) > 0.99


def test_a_gap_in_the_table_begins_a_new_chain():
    steps = drift(8)
    whole = table(steps)
    kept = [0, 1, 2, 5, 6, 7]
    shifts = ShiftTable(
        tuple(whole.fixed_id[i] for i in kept),
        tuple(whole.moving_id[i] for i in kept),
        steps[kept, 0],
        steps[kept, 1],
    )
    shifts.dx_mm[2] += 2.0  # the last before the gap: nothing comes back within what is known
    shifts.dx_mm[3] -= 2.0
    assert not any(stamped(detect_rehoming(shifts), "rehomed").values())


def test_rows_in_any_order_give_the_same_answer():
    _, _, raw = five_hundred()
    whole = table(raw)
    order = np.random.default_rng(2).permutation(len(raw))
    mixed = ShiftTable(
        tuple(whole.fixed_id[i] for i in order),
        tuple(whole.moving_id[i] for i in order),
        raw[order, 0],
        raw[order, 1],
    )
    straight, shuffled = detect_rehoming(whole), detect_rehoming(mixed)
    np.testing.assert_array_equal(shuffled.shifts.dx_mm, straight.shifts.dx_mm[order])


def test_mending_twice_changes_nothing():
    _, _, raw = five_hundred()
    once = detect_rehoming(table(raw)).shifts
    twice = detect_rehoming(once).shifts
    np.testing.assert_array_equal(once.dx_mm, twice.dx_mm)


@pytest.mark.skipif(not EM_MONTAGE.exists(), reason="needs ../shared/data")
def test_glitches_planted_in_real_stage_positions_are_found_and_undone_exactly():
    tiles = json.loads(EM_MONTAGE.read_text())
    at = np.array([[t["layout"]["stageX"], t["layout"]["stageY"]] for t in tiles], float)
    at = np.repeat(at[::3], 8, axis=0) * 1e-4  # eight sections a place: the real moves are a stage homed anew
    steps = np.diff(at, axis=0) + drift(len(at) - 1, seed=4, scale=0.002)
    raw = with_glitches(steps, [4, 12, 20], [1.7, -0.9])
    found = detect_rehoming(table(raw), max_shift_mm=0.1)
    assert [i for i, hit in stamped(found, "rehomed").items() if hit] == ["04", "12", "20"]
    keep = np.setdiff1d(np.arange(len(at)), [4, 12, 20])
    np.testing.assert_allclose(positions(found.shifts)[keep], positions(table(steps))[keep], atol=1e-9)
    moved = [i for i, step in enumerate(steps) if np.hypot(*step) > 0.1]
    assert moved
    assert all(found.labels[i] == "rehome" for i in moved)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_shift_mm": 0.0}, "max_shift_mm"),
        ({"max_shift_mm": float("nan")}, "max_shift_mm"),
        ({"return_fraction": 1.5}, "return_fraction"),
        ({"tile_fov_mm": -1.0}, "tile_fov_mm"),
        ({"tile_fov_tolerance": 0.7}, "tile_fov_tolerance"),
        ({"max_glitch_slices": 0}, "max_glitch_slices"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(change, said):
    with pytest.raises(BadInputError, match=said):
        detect_rehoming(table(drift(5)), **change)


def test_a_step_that_is_no_number_is_named():
    steps = drift(5)
    steps[2, 1] = np.nan
    with pytest.raises(BadInputError, match="02 to 03"):
        detect_rehoming(table(steps))
