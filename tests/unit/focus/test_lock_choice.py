"""Which law, measure, file and region a lock takes, where not all is told."""

from pathlib import Path

import pytest

from parfocal.errors import BadInputError
from parfocal.focus import chosen_law, chosen_measure, named_file, region_of_xywh, wanted_measure


@pytest.mark.parametrize(
    ("law", "kp", "settings", "chosen"),
    [
        (None, None, {}, None),
        (None, 0.5, {}, "pi"),
        (None, None, {"law": "pi"}, "pi"),
        ("kalman", None, {"law": "pi"}, "kalman"),
    ],
)
def test_a_gain_chooses_the_law_that_has_it_and_a_name_wins(law, kp, settings, chosen):
    assert chosen_law(law, kp, None, settings) == chosen


def test_widths_are_measured_with_the_law_pi_unless_a_measure_is_named():
    assert chosen_measure("auto", "kalman", None) == "direct"
    assert chosen_measure("auto", "pi", None) == "widths"
    assert chosen_measure("direct", "pi", None) == "direct"
    assert chosen_measure(wanted_measure(False, False, 20.0), "pi", None) == "moments"
    assert chosen_measure(wanted_measure(None, True), "kalman", None) == "widths"
    assert wanted_measure(True, False) == "auto"


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(BadInputError, match="--ki are gains of --law pi"):
        chosen_law("kalman", None, 0.1, {})
    with pytest.raises(BadInputError, match="give one of the two"):
        wanted_measure(False, True)
    with pytest.raises(BadInputError, match="is of --no-gaussian-fit"):
        wanted_measure(None, False, 20.0)


@pytest.mark.parametrize("which", ["newest", "3f2a", "20260101T000000_3f2a.json"])
def test_a_calibration_of_the_data_folder_is_no_file_of_the_working_directory(which):
    assert named_file(which, None) is None


def test_a_calibration_is_a_file_where_it_is_named_as_one():
    assert named_file("here/calibration.json", None) == Path("here/calibration.json")
    assert named_file("calibration_sweep.csv", None) == Path("calibration_sweep.csv")
    assert named_file("newest", Path("other.csv")) == Path("other.csv")


def test_a_region_is_told_as_x_y_and_kept_as_y_x():
    assert region_of_xywh((19, 29, 15, 15)) == (29, 19, 15, 15)
    assert region_of_xywh(None) is None
    with pytest.raises(BadInputError, match="expected X Y W H of a square of 7 px or more"):
        region_of_xywh((1, 2, 5, 5))
