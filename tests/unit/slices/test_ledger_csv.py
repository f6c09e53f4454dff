"""slice_config.csv: what is read, what is refused and how, and that writing loses nothing."""

import csv
import io
import os

import pytest

from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, ledger
from parfocal.slices.ledger import CANONICAL_COLUMNS

EXAMPLE = """\
slice_id,use,quality_score,galvo_confidence,galvo_fix,rehomed,rehoming_reliable,auto_excluded,auto_exclude_reason,\
interpolated,interpolation_failed,interpolation_method_used,interpolation_fallback_reason,notes
00,false,0.000,0.234,false,false,,false,,false,false,,,calibration_slice
01,true,0.812,0.891,true,false,,false,,false,false,,,
02,false,0.198,0.756,true,false,,false,,true,false,zmorph,,Motion artifact — interpolated
07,false,0.092,0.612,false,false,,false,,false,true,,low_overlap_ncc,zmorph hard-skipped — slot is a gap
03,true,0.756,0.512,false,true,true,false,,false,false,,,rehomed after tile-column expansion
04,true,0.744,0.189,false,false,,true,noisy cluster (3 consecutive),false,false,,,
05,true,0.834,0.923,true,false,,false,,false,false,,,
"""


@pytest.fixture
def file(tmp_path):
    def make(content):
        path = tmp_path / "slice_config.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def test_the_example_of_the_seed_is_read_and_written_back_to_the_letter(file, tmp_path):
    rows = ledger.read(file(EXAMPLE))
    assert list(rows) == ["00", "01", "02", "07", "03", "04", "05"]  # the order of the file
    assert rows["03"]["rehomed"] is True
    assert rows["00"]["rehoming_reliable"] is None
    assert rows["02"]["quality_score"] == 0.198
    ledger.write(tmp_path / "next.csv", rows)
    assert (tmp_path / "next.csv").read_text(encoding="utf-8") == EXAMPLE


def test_a_minimal_file_gets_its_other_columns_blank_which_is_false(file, tmp_path):
    rows = ledger.read(file("slice_id,use,notes\n00,true,\n01,no,Bad quality\n"))
    assert not any(rows["00"][name] for name in CANONICAL_COLUMNS[2:])
    ledger.write(tmp_path / "next.csv", rows)
    with open(tmp_path / "next.csv", newline="", encoding="utf-8") as text:
        again = list(csv.DictReader(text))
    assert tuple(again[0]) == CANONICAL_COLUMNS
    assert [row["use"] for row in again] == ["true", "false"]


def test_a_file_of_the_original_with_its_own_column_order_and_line_ends_is_read(file, tmp_path, caplog):
    order = ["slice_id", "use", "exclude_reason", "quality_score", "galvo_confidence", "galvo_fix", "notes",
             "rehomed", "rehoming_reliable", "auto_excluded", "auto_exclude_reason", "interpolated",
             "interpolation_failed", "interpolation_method_used", "interpolation_fallback_reason"]  # fmt: skip
    written = io.StringIO()
    theirs = csv.DictWriter(written, order)  # which ends lines with CRLF
    theirs.writeheader()
    theirs.writerow(
        {"slice_id": "01", "use": "false", "exclude_reason": "thin", "rehoming_reliable": 1, "notes": "a, b"}
    )
    path = file(written.getvalue())
    rows = ledger.read(path, compat="linumpy")
    assert any(
        "CRLF line ends; what is written from it has LF" in record.getMessage() for record in caplog.records
    )
    assert SliceLedger.read(path, compat="linumpy").rows == ledger.read(path, lenient=True) == rows
    assert rows["01"]["rehoming_reliable"] is True
    assert rows["01"]["exclude_reason"] == "thin"
    ledger.write(tmp_path / "next.csv", rows)
    text = (tmp_path / "next.csv").read_text()
    assert text.splitlines()[0] == ",".join([*CANONICAL_COLUMNS, "exclude_reason"])
    assert "\r" not in text
    assert ledger.read(tmp_path / "next.csv") == rows


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", " Yes "])
def test_true_is_written_in_several_ways(file, text):
    assert ledger.read(file(f"slice_id,use\n0,{text}\n"))["00"]["use"] is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no"])
def test_false_is_written_in_several_ways(file, text):
    assert ledger.read(file(f"slice_id,use\n0,{text}\n"))["00"]["use"] is False


def test_a_digit_more_than_three_decimals_is_not_lost(file, tmp_path):
    rows = ledger.read(file("slice_id,use,quality_score\n0,true,0.81234\n"))
    ledger.write(tmp_path / "next.csv", rows)
    assert ledger.read(tmp_path / "next.csv") == rows


H = "slice_id,use,quality_score,notes\n"
BROKEN = {
    "typo in a boolean": (H + "00,true,,\n01,ture,,\n", "row 3, column use: 'ture'"),
    "blank use": (H + "00,,,\n", "row 2, column use: blank"),
    "duplicate id": (H + "01,true,,\n02,true,,\n1,true,,\n", "row 4, column slice_id: slice 01 stands in row 2"),
    "fraction as id": (H + "1.7,true,,\n", "row 2, column slice_id: '1.7'"),
    "infinite id": (H + "inf,true,,\n", "row 2, column slice_id: 'inf'"),
    "blank id": (H + ",true,,\n", "row 2, column slice_id: blank"),
    "negative id": (H + "-1,true,,\n", "row 2, column slice_id: '-1'"),
    "NaN": (H + "00,true,NaN,\n", "row 2, column quality_score: nan"),
    "infinity": (H + "00,true,inf,\n", "row 2, column quality_score: inf"),
    "beyond 1": (H + "00,true,1.2,\n", "row 2, column quality_score: 1.2 is not between 0 and 1"),
    "words for a number": (H + "00,true,good,\n", "row 2, column quality_score: 'good' is no number"),
    "no column use": ("slice_id,notes\n00,a\n", "no column 'use'"),
    "no column slice_id": ("id,use\n00,true\n", "no column 'slice_id'"),
    "semicolons": ("slice_id;use\n00;true\n", "separated by semicolons"),
    "tabs": ("slice_id\tuse\n00\ttrue\n", "separated by tabs"),
    "column twice": ("slice_id,use,use\n00,true,true\n", "two columns are called 'use'"),
    "column without a name": ("slice_id,use,\n00,true,\n", "column 3 has no name"),
    "too few cells": (H + "00,true\n", "row 2: 2 cells, 4 were expected"),
    "too many cells": (H + "00,true,,,,\n", "row 2: 6 cells, 4 were expected"),
    "a line of 10 MB": (H + "00,true,," + "x" * 10_000_000 + "\n", "row 2: a line of 10,000,009 characters"),
    "byte-order mark": (b"\xef\xbb\xbf" + H.encode() + b"00,true,,\n", "byte-order mark (UTF-8)"),
    "UTF-16": (H.encode("utf-16"), "byte-order mark (UTF-16)"),
    "Latin-1": ((H + "00,true,,\n01,true,,caf\xe9\n").encode("latin-1"), "row 3: byte 0xe9 is not UTF-8"),
    "mixed line ends": (H + "00,true,,\r\n01,true,,\n", "mixes line ends"),
    "CRLF": ((H + "00,true,,\n").replace("\n", "\r\n"), "has CRLF line ends, LF was expected"),
    "null byte": (H + "00,true,,a\0b\n", "row 2: holds the control character 0x00"),
    "formula": (H + "00,true,,=HYPERLINK(A1)\n", "row 2, column notes: '=HYPERLINK(A1)' begins as a spreadsheet"),
    "formula with @": (H + "00,true,,@SUM(A1)\n", "column notes: '@SUM(A1)' begins"),
    "formula in a column of others": ("slice_id,use,x\n00,true,+cmd|x\n", "row 2, column x: '+cmd|x' begins"),
    "formula as a column": ("slice_id,use,=A1\n00,true,\n", "row 1: column name '=A1'"),
    "line break in a cell": (H + '00,true,,"a\nb"\n', "row 2: a cell with a line break"),
    "open quote": (H + '00,true,,"a\n', "row 2: unexpected end of data"),
    "blank first line": ("\n" + H, "row 1: is blank; a header was expected"),
    "empty": ("", "is empty"),
    "no file": (None, "there is no such file"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_malformed_file_gives_one_clear_line_and_writes_nothing(file, tmp_path, what):
    content, said = BROKEN[what]
    path = tmp_path / "none.csv" if content is None else file(content)
    before = os.listdir(tmp_path)
    with pytest.raises(BadInputError) as error:
        ledger.read(path)
    assert said in str(error.value)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    assert os.listdir(tmp_path) == before


def test_lenient_reading_says_what_it_guessed(file, caplog):
    text = "\ufeff" + H + "00,y,,\r\n01,,,\n02,f,NaN,\n03,t\n03,n,,\n"
    rows = ledger.read(file(text), lenient=True)
    assert {sid: row["use"] for sid, row in rows.items()} == {"00": True, "01": False, "02": False, "03": False}
    said = [record.getMessage() for record in caplog.records]
    for words in (
        "byte-order mark",
        "line ends",
        "row 2, column use: 'y' read as true",
        "'' read as false",
        "row 4, column quality_score: 'NaN' read as blank",
        "row 5: 2 cells of 4",
        "slice 03 again",
    ):
        assert any(words in line for line in said), words


def test_lenient_reading_still_refuses_what_cannot_be_guessed(file):
    for content in (H + "00,ture,,\n", H + "00,true,,=A1\n", H + "1.7,true,,\n"):
        with pytest.raises(BadInputError, match="row 2"):
            ledger.read(file(content), lenient=True)


def test_a_file_that_is_there_is_left_alone(file):
    path = file(EXAMPLE)
    rows = ledger.read(path)
    with pytest.raises(BadInputError, match="there already"):
        ledger.write(path, {})
    assert path.read_text(encoding="utf-8") == EXAMPLE
    ledger.write(path, rows, replace=True)


def test_rows_that_do_not_fit_their_columns_are_not_written(tmp_path):
    good = {"slice_id": "00", "use": True}
    for row, said in (
        (good | {"use": "maybe"}, "slice 00, column use: 'maybe'"),
        (good | {"quality_score": float("nan")}, "slice 00, column quality_score: nan"),
        (good | {"notes": "=1+1"}, "slice 00, column notes"),
        (good | {"use": None}, "slice 00, column use"),
        (good | {"slice_id": "01"}, "the row of slice '00' says that it is '01'"),
    ):
        with pytest.raises(BadInputError, match="slice_config") as error:
            ledger.write(tmp_path / "new.csv", {"00": row})
        assert said in str(error.value)
    assert os.listdir(tmp_path) == []
