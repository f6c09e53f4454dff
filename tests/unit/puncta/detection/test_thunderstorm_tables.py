"""ThunderSTORM's tables: both dialects, units in brackets, the corner's half pixel."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations
from parfocal.puncta.detection import labels_of, read_thunderstorm, write_thunderstorm


def spots(**changes):
    columns = {
        "frame": np.array([0, 0, 4]),
        "x_px": np.array([10.0, 20.25, 3.5]),
        "y_px": np.array([1.0, 2.5, 30.0]),
        "photons": np.array([1000.0, 500.0, 2000.0]),
        "background": np.array([10.0, 11.0, 12.0]),
        "sigma_x_px": np.array([1.0, 1.1, 1.2]),
        "sigma_y_px": np.array([1.0, 1.1, 1.2]),
        "x_se_px": np.array([0.05, 0.06, 0.07]),
        "y_se_px": np.array([0.05, 0.06, 0.07]),
        "background_sd": np.array([3.0, 3.1, 3.2]),
    }
    return replace(Localizations((0.1, 0.1), **columns), **changes)


def test_a_table_is_as_thunderstorm_writes_it(tmp_path):
    path = tmp_path / "spots.csv"
    write_thunderstorm(path, spots())
    lines = path.read_text().split("\n")
    assert lines[0] == (
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]","bkgstd [photon]",'
        '"uncertainty_xy [nm]"'
    )
    assert lines[1] == "1,1,1050,150,100,1000,10,3,5"
    assert lines[3].startswith("3,5,400,3050,")


@pytest.mark.parametrize("dialect", ["current", "1.3"])
def test_what_is_written_is_read_again(tmp_path, dialect):
    path = tmp_path / "spots.csv"
    told = spots(z_um=np.array([0.1, -0.2, 0.0]), z_se_um=np.full(3, 0.03), sigma_y_px=np.array([1.5, 1.2, 1.0]))
    write_thunderstorm(path, told, dialect, quantum_efficiency=0.8)
    assert ('"uncertainty [nm]"' in path.read_text()) == (dialect == "1.3")
    again = read_thunderstorm(path, 0.1, quantum_efficiency=0.8)
    for name in ("frame", "x_px", "y_px", "photons", "background", "sigma_x_px", "sigma_y_px", "z_um", "x_se_px"):
        np.testing.assert_allclose(getattr(again, name), getattr(told, name), atol=1e-6, err_msg=name)


def test_units_in_brackets_are_converted_and_ids_may_be_missing_or_odd(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text(
        '"frame","x [px]","y [um]","intensity [ADU]","sigma [px]"\n2.0,1.5,0.25,720,1\n1,0.5,0.05,360,1\n'
    )
    found = read_thunderstorm(path, (0.1, 0.2), photons_per_adu=0.5)
    assert found.frame.tolist() == [0, 1]
    np.testing.assert_allclose(found.x_px, [0.0, 1.0])
    np.testing.assert_allclose(found.y_px, [0.0, 2.0])
    np.testing.assert_allclose(found.photons, [180.0, 360.0])
    assert np.isnan(found.background).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"frame","x [nm]"\n1,2\n', "no column 'y'"),
        ('"frame","x [nm]","y [nm]"\n0,2,3\n', "whole numbers from 1"),
        ('"frame","x [nm]","y [nm]"\n1,two,3\n', "row 2: x .nm. is 'two'"),
        ('"frame","x [miles]","y [nm]"\n1,2,3\n', "is in 'miles'"),
        ('"frame","x [nm]","y [nm]","intensity [ADU]"\n1,2,3,4\n', "say the photons an ADU"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=said):
        read_thunderstorm(path, 0.1)


def test_a_pixel_size_has_to_be_said(tmp_path):
    path = tmp_path / "spots.csv"
    write_thunderstorm(path, spots())
    with pytest.raises(BadInputError, match="say the pixel size"):
        read_thunderstorm(path)


def test_a_table_of_nothing_is_written_and_read(tmp_path):
    path = tmp_path / "none.csv"
    write_thunderstorm(path, spots().take(np.zeros(3, bool)))
    assert len(read_thunderstorm(path, 0.1)) == 0


def test_localizations_can_stand_for_a_truth():
    truth = labels_of(spots(), 0.05)
    assert truth.punctum.tolist() == [0, 1, 2]
    assert truth.is_visible.all()
    np.testing.assert_array_equal(truth.x_px, spots().x_px)
