"""Class labels become signal at puncta or none."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations
from parfocal.puncta.calcium import LabelSettings, binary_labels


@pytest.fixture
def classes():
    """Three frames: a spark at (10, 10) and a puff at (30, 30) in frame 1, a wave in frame 2."""
    labels = np.zeros((3, 40, 40), np.uint8)
    labels[1, 7:14, 7:14] = 1
    labels[1, 27:34, 27:34] = 3
    labels[2, :, 20:] = 2
    labels[2, 0, 0] = 4
    return labels


@pytest.fixture
def puncta():
    return Localizations(
        (0.1, 0.1), np.array([0, 1, 1, 2]), np.array([10.0, 10, 20, 30]), np.array([10.0, 10, 20, 30]), np.ones(4)
    )


def test_only_events_at_puncta_are_signal_and_waves_are_left_open(classes, puncta):
    found = binary_labels(classes, puncta)
    assert found.signal[1, 10, 10] == 1
    assert found.signal[1, 7, 7] == 0  # of the spark, but farther from the punctum than 3 px
    assert found.signal[1, 30, 30] == 0  # a puff without a punctum
    assert found.signal.sum() == found.signal[1].sum()
    assert found.is_ignored[2, :, 20:].all()
    assert found.is_ignored[2, 0, 0]
    assert found.is_on.tolist() == [False, True, False, False]
    assert found.class_pixels == {
        "background": 4800 - 49 - 49 - 801,
        "sparks": 49,
        "waves": 800,
        "puffs": 49,
        "ignore": 1,
    }


def test_without_the_filters_all_events_are_signal(classes, puncta):
    found = binary_labels(classes, None, LabelSettings(filter_puncta_only=False, ignore_waves=False))
    assert found.signal.sum() == 49 + 49 + 800
    assert found.is_ignored.sum() == 1


def test_the_balance_adds_up(classes, puncta):
    balance = binary_labels(classes, puncta).balance()
    assert balance["signal_pixels"] + balance["no_signal_pixels"] + balance["ignored_pixels"] == classes.size
    assert balance["puncta_with_signal"] == 1
    assert balance["puncta_without_signal"] == 3


def test_values_of_no_class_and_missing_puncta_are_refused(classes):
    with pytest.raises(BadInputError, match="puncta must be given"):
        binary_labels(classes, None)
    with pytest.raises(BadInputError, match=r"values \[9\]"):
        binary_labels(np.full((1, 4, 4), 9), None, LabelSettings(filter_puncta_only=False))
    with pytest.raises(BadInputError, match=r"expected \[frame, y, x\]"):
        binary_labels(classes[0], None, LabelSettings(filter_puncta_only=False))
    with pytest.raises(BadInputError, match="each once"):
        LabelSettings(classes={"background": 0, "sparks": 0})
