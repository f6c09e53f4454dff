"""Leading slices that are thicker than the others are calibration slices."""

import pytest

from parfocal.errors import BadInputError
from parfocal.slices.sections import detect_calibration_slices


def depths(*planes):
    return {f"{i:02d}": n for i, n in enumerate(planes)}


def test_the_first_slice_is_left_out_when_it_is_much_thicker():
    found = detect_calibration_slices(depths(60, 20, 21, 20, 19, 20))
    assert found.slice_ids == ("00",)
    assert found.messages == ("00 left out as a calibration slice: 60 planes where the median is 20",)


def test_a_run_of_them_is_left_out_until_the_first_that_is_not():
    assert detect_calibration_slices(depths(60, 58, 20, 20, 19, 20, 20)).slice_ids == ("00", "01")
    assert detect_calibration_slices(depths(20, 60, 20, 20, 19, 20, 20)).slice_ids == ()


def test_three_of_five_thick_ones_do_not_hide_each_other():
    planes = depths(60, 60, 60, 20, 20, 20)
    assert detect_calibration_slices(planes).slice_ids == ("00", "01", "02")
    assert detect_calibration_slices(planes, exclude_first=0, compat="linumpy").slice_ids == ()


def test_where_depths_differ_as_much_anyway_nothing_is_left_out():
    assert detect_calibration_slices(depths(62, 30, 55, 20, 60, 41, 25, 57)).slice_ids == ()


def test_nothing_found_is_said_too():
    found = detect_calibration_slices(depths(20, 20, 20, 20))
    assert found.slice_ids == ()
    assert found.messages == ("no leading slice left out as a calibration slice (median 20 planes)",)


def test_a_number_that_was_told_is_left_out_and_said():
    found = detect_calibration_slices(depths(20, 20, 20), exclude_first=1)
    assert found.slice_ids == ("00",)
    assert "told to" in found.messages[0]


def test_the_mode_of_the_original_looks_at_the_first_three_and_adds_the_number():
    planes = depths(20, 60, 20, 60, 20, 20)
    assert detect_calibration_slices(planes, exclude_first=1, compat="linumpy").slice_ids == ("00", "01")


@pytest.mark.parametrize(
    ("planes", "options", "said"),
    [
        ({}, {}, "no slice"),
        (depths(20, 0, 20), {}, "slice 01"),
        (depths(20), {"thickness_ratio": 0.9}, "calibration_thickness_ratio"),
        (depths(20), {"exclude_first": -1}, "exclude_first"),
    ],
)
def test_what_cannot_be_is_refused(planes, options, said):
    with pytest.raises(BadInputError, match=said):
        detect_calibration_slices(planes, **options)
