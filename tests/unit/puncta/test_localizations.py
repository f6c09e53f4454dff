"""Tables of spots."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations, join_localizations, no_localizations


def three(pixel_size_um=(0.1, 0.2)):
    return Localizations(
        pixel_size_um, np.array([0, 0, 2]), np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), np.full(3, 900.0)
    )


def test_what_was_not_told_is_nan_and_a_spot_is_sure_and_alone_unless_said_otherwise():
    spots = three()
    assert np.isnan(spots.sigma_x_px).all()
    assert (spots.probability == 1).all()
    assert spots.n_emitters.tolist() == [1, 1, 1]
    assert spots.n_frames == 3


def test_pixels_need_not_be_square():
    np.testing.assert_allclose(three().x_um, [0.2, 0.4, 0.6])
    np.testing.assert_allclose(three().y_um, [0.4, 0.5, 0.6])


def test_rows_are_taken_and_joined_again():
    spots = three()
    again = join_localizations([spots.take([0, 1]), spots.take(spots.frame == 2), no_localizations((0.1, 0.2))])
    for name, column in spots.columns().items():
        np.testing.assert_array_equal(again.columns()[name], column, err_msg=name)


def test_a_column_of_another_length_is_refused():
    with pytest.raises(BadInputError, match="2 values of sigma_x_px for 3 spots"):
        Localizations((0.1, 0.1), np.zeros(3, int), np.zeros(3), np.zeros(3), np.zeros(3), sigma_x_px=np.ones(2))


def test_different_pixel_sizes_do_not_join():
    with pytest.raises(BadInputError, match="expected one"):
        join_localizations([three(), three((0.1, 0.1))])
