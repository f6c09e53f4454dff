"""Sections are rolled by the shift that was stored, once."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.slices.sections import decide_galvo_fix, fix_galvo

ROWS = {
    "00": {"galvo_confidence": 0.9, "notes": None},
    "01": {"galvo_confidence": 0.59, "notes": None},
    "02": {"galvo_confidence": 0.6, "notes": "fine"},
    "03": {"galvo_confidence": None, "notes": None},
}
STORED = {sid: {"generate": {"galvo_shift_lines": 30 + i}} for i, sid in enumerate(ROWS)}


def stamped(fix, column):
    return {s.slice_id: s.value for s in fix.stage.stamps if s.column == column}


def fixed(rows, fix):
    """Return the rows as the ledger has them after a stage."""
    after = {sid: dict(row) for sid, row in rows.items()}
    for stamp in fix.stage.stamps:
        old = after[stamp.slice_id].get(stamp.column)
        after[stamp.slice_id][stamp.column] = f"{old}; {stamp.value}" if stamp.append and old else stamp.value
    return after


def test_sections_at_or_above_the_threshold_are_rolled_by_their_stored_shift():
    fix = decide_galvo_fix(ROWS, STORED)
    assert fix.shifts_lines == {"00": 30, "02": 32}
    assert stamped(fix, "galvo_fix") == {"00": True, "01": False, "02": True}
    assert stamped(fix, "galvo_confidence") == {"00": 0.9, "01": 0.59, "02": 0.6}
    assert "not looked at, left as they are: 03" in fix.stage.messages


def test_what_was_rolled_is_not_rolled_again():
    with pytest.raises(BadInputError, match="slice 00: its galvo shift was applied already"):
        decide_galvo_fix(fixed(ROWS, decide_galvo_fix(ROWS, STORED)), STORED)


def test_undo_rolls_back_what_was_rolled_and_it_can_be_rolled_anew():
    rows = fixed(ROWS, decide_galvo_fix(ROWS, STORED))
    undo = decide_galvo_fix(rows, STORED, undo=True)
    assert undo.shifts_lines == {"00": -30, "02": -32}
    assert not any(stamped(undo, "galvo_fix").values())
    assert decide_galvo_fix(fixed(rows, undo), STORED).shifts_lines == {"00": 30, "02": 32}


def test_a_section_whose_shift_was_not_stored_is_named():
    with pytest.raises(BadInputError, match="slice 02: its galvo shift is not stored"):
        decide_galvo_fix(ROWS, {"00": STORED["00"]})


def test_without_any_confidence_there_is_nothing_to_go_by():
    with pytest.raises(BadInputError, match="detect-galvo"):
        decide_galvo_fix({"00": {}}, {})


def test_nothing_to_undo_is_an_error():
    with pytest.raises(BadInputError, match="nothing to undo"):
        decide_galvo_fix(ROWS, STORED, undo=True)


def test_every_tile_of_a_mosaic_is_rolled_on_its_own():
    tile = np.arange(2 * 10 * 3).reshape(2, 10, 3)
    mosaic = np.concatenate([tile, tile + 100, tile + 200], axis=1)
    rolled = fix_galvo(mosaic, 4, tile_lines=10)
    for k in range(3):
        np.testing.assert_array_equal(rolled[:, 10 * k : 10 * k + 10], np.roll(tile + 100 * k, 4, axis=1))
    np.testing.assert_array_equal(fix_galvo(rolled, -4, tile_lines=10), mosaic)
    assert rolled.dtype == mosaic.dtype


def test_a_mosaic_that_is_no_whole_number_of_tiles_is_refused():
    with pytest.raises(BadInputError, match="no whole number"):
        fix_galvo(np.zeros((1, 25, 4)), 3, tile_lines=10)
