"""Rows: stamping, notes, filters; and fragments merged whatever their order."""

import itertools
import logging

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.slices import Verdict, ledger

ROWS = ledger.stamp_many({}, {"00": {"use": False}, "01": {"use": True}, "02": {"use": True, "notes": "thin"}})


def test_stamping_adds_and_leaves_other_columns_and_slices_alone():
    new = ledger.stamp(ROWS, "02", {"rehomed": True, "quality_score": 0.81249})
    assert (new["02"]["rehomed"], new["02"]["quality_score"], new["02"]["notes"]) == (True, 0.812, "thin")
    assert ROWS["02"]["rehomed"] is None  # what was given is not changed
    assert new["01"] is ROWS["01"]
    assert ledger.stamp(new, 2, {"rehomed": None})["02"]["rehomed"] is None


def test_a_slice_that_is_not_there_is_added_not_to_be_used():
    assert ledger.stamp(ROWS, 9, {"rehomed": True})["09"]["use"] is False
    assert ledger.stamp(ROWS, 9, {"use": True})["09"]["use"] is True


def test_notes_are_joined_once():
    rows = ledger.append_notes(ROWS, "02", "checked")
    rows = ledger.append_notes(rows, "02", "checked")
    rows = ledger.stamp(rows, "02", {"notes": "thin", "use": False}, append_notes=True)
    assert rows["02"]["notes"] == "thin; checked"
    assert ledger.stamp(rows, "02", {"notes": "anew"})["02"]["notes"] == "anew"
    assert ledger.append_notes(ROWS, "01", "two\n lines")["01"]["notes"] == "two lines"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ssim_mean", 0.9), ("ssim_mean", "high"), ("affine_determinant", 1.02), ("depth", 12),
        ("x_shift_mm", "0.1"), ("score", 0.5), ("score", "0.5"), ("score", float("nan")),
    ],
)  # fmt: skip
def test_raw_metrics_are_refused(column, value):
    with pytest.raises(BadInputError, match=r"slice 01: .*raw numbers are not kept"):
        ledger.stamp(ROWS, "01", {column: value})


def test_a_decision_in_a_column_of_ones_own_is_kept_at_the_end(tmp_path):
    rows = ledger.stamp(ROWS, "01", {"operator": "night shift", "second_look": True})
    ledger.write(tmp_path / "new.csv", rows)
    assert (tmp_path / "new.csv").read_text().splitlines()[0].endswith("notes,operator,second_look")
    assert ledger.read(tmp_path / "new.csv")["01"]["second_look"] == "true"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"use": "ture"}, "neither true"), ({"use": None}, "cannot be cleared"), ({"use": 1.0}, "neither true"),
        ({"quality_score": 1.5}, "not between 0 and 1"), ({"quality_score": float("inf")}, "not between"),
        ({"quality_score": True}, "is no number"), ({"notes": 3}, "is no text"), ({"notes": "=A1"}, "formula"),
        ({"slice_id": "05"}, "cannot be stamped"), ({"=x": "y"}, "no name of a column"), ({"": "y"}, "no name"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_by_slice_and_column(values, said):
    with pytest.raises(BadInputError, match=said) as error:
        ledger.stamp(ROWS, "01", values)
    assert str(error.value).startswith("slice 01: ")


def test_numbers_of_numpy_are_numbers():
    assert ledger.stamp(ROWS, np.int64(1), {"quality_score": np.float32(0.5)})["01"]["quality_score"] == 0.5


def test_ids_are_two_digits_or_more_and_names_stay():
    assert [ledger.as_slice_id(x) for x in (1, "1", "1.0", "007", 100, "cal_a")] == [
        "01", "01", "01", "07", "100", "cal_a",
    ]  # fmt: skip
    for bad in ("", "1.7", "-1", "inf", "nan", "1e3", "a b", "../x", "=1", True, "٣"):
        with pytest.raises(BadInputError):
            ledger.as_slice_id(bad)


def test_only_slices_to_use_pass_and_both_kinds_are_logged(caplog):
    with caplog.at_level(logging.INFO, "parfocal.slices"):
        assert list(ledger.filter_slices_to_use(ROWS)) == ["01", "02"]
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "included (2): 01, 02" in said
    assert "excluded (1): 00" in said


def test_an_empty_selection_is_an_error():
    with pytest.raises(BadInputError, match="no slice is left to use"):
        ledger.filter_slices_to_use(ledger.stamp_many(ROWS, {"01": {"use": False}, "02": {"use": False}}))


def test_excluded_and_noisy_slices_are_placed_by_the_motor():
    rows = ledger.force_skip_slices(ledger.stamp(ROWS, "02", {"auto_excluded": True}))
    assert {sid: row["force_skip"] for sid, row in rows.items()} == {"00": True, "01": False, "02": True}


def fragment(folder, slice_id, failed=False, **how):
    told = {"fallback_reason": "low_overlap_ncc"} if failed else {"method_used": "zmorph"}
    return ledger.write_fragment(folder, slice_id, method="zmorph", interpolation_failed=failed, **(told | how))


def test_fragments_land_in_the_ledger_whatever_their_order_and_however_often(tmp_path):
    files = [fragment(tmp_path, 1), fragment(tmp_path, 2, failed=True), fragment(tmp_path, 100)]
    merged = ledger.merge_fragments(ROWS, tmp_path)
    assert (merged["01"]["interpolated"], merged["01"]["interpolation_method_used"]) == (True, "zmorph")
    assert (merged["02"]["interpolated"], merged["02"]["interpolation_failed"]) == (False, True)
    assert merged["02"]["interpolation_fallback_reason"] == "low_overlap_ncc"
    assert merged["100"]["use"] is False
    for order in itertools.permutations(files):
        assert list(ledger.merge_fragments(ROWS, order).items()) == list(merged.items())
    assert ledger.merge_fragments(merged, tmp_path) == merged


def test_fragments_that_contradict_each_other_are_reported_with_their_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    fragment(tmp_path / "a", 1)
    fragment(tmp_path / "b", 1, failed=True)
    with pytest.raises(BadInputError, match=r"slice 01, interpolation_failed: false in .*, true in "):
        ledger.merge_fragments(ROWS, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slice_id,method_used\n1,zmorph\n", "no column 'interpolation_failed'"),
        ("slice_id,method_used,interpolation_failed\n1,zmorph,\n", "column interpolation_failed: blank"),
        (
            "slice_id,method_used,interpolation_failed\n1,zmorph,ture\n",
            "row 2, column interpolation_failed: 'ture'",
        ),
        (
            "slice_id,method_used,interpolation_failed\n1,zmorph,true\n",
            "failed interpolation has a fallback_reason",
        ),
        ("slice_id,method_used,interpolation_failed\n1,,false\n", "method_used zmorph, weighted, average"),
    ],
)
def test_a_fragment_that_does_not_say_whether_it_failed_is_an_error(tmp_path, text, said):
    (tmp_path / "slice_z01_manifest.csv").write_text(text)
    with pytest.raises(BadInputError, match=said):
        ledger.merge_fragments(ROWS, tmp_path)


def test_verdicts_land_in_the_ledger():
    stamps = ledger.stamps_of(
        {"00": Verdict(True, "", 0.9), "01": Verdict(False, "blurred", 31.7)}, score_is_quality=False
    )
    assert [(s.slice_id, s.column, s.value) for s in stamps] == [
        ("00", "use", True), ("01", "use", False), ("01", "notes", "blurred"),
    ]  # fmt: skip
    (_, quality) = ledger.stamps_of({"00": Verdict(True, "", 0.9)}, score_is_quality=True)
    assert (quality.column, quality.value) == ("quality_score", 0.9)


def test_metrics_stand_beside_the_ledger_one_file_a_slice_by_stage(tmp_path):
    for stage, number in (("assess", 0.5), ("register", float("nan")), ("assess", 0.7)):
        ledger.write_metrics(tmp_path / "m", ledger.StageResult(stage, metrics={"03": {"ssim": number}}))
    assert ledger.read_metrics(tmp_path / "m") == {"03": {"assess": {"ssim": 0.7}, "register": {"ssim": None}}}
    (tmp_path / "m" / "slice_z04.json").write_text("[]")
    with pytest.raises(BadInputError, match=r"slice_z04.json: is no file"):
        ledger.read_metrics(tmp_path / "m")
