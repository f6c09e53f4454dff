"""The detector on recordings of others: nothing was tuned on them."""

from pathlib import Path

import numpy as np
import pytest

from parfocal.files import open_stack
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations
from parfocal.puncta.detection import guess_camera, localize, localize_movie
from parfocal.puncta.evaluation import match_localizations

DATA = Path(__file__).parents[5] / "shared" / "data" / "D_puncta"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings of others are not here")


def pixels(name):
    return open_stack(DATA / name, None if name.startswith("deep") or "2d" in name else "TYX").read()


def test_another_groups_simulated_molecules_are_found():
    """Simulated by storm-analysis; most of its 200 a frame lie within 2 px of another somewhere in 10 frames."""
    movie = pixels("storm_sim_256.tif")[:3]
    found = localize_movie(movie, CameraModel(100.0, 1.0, 1.0), pixel_size_um=(0.16, 0.16))
    table = np.genfromtxt(DATA / "storm_sim_256.ground_truth.csv", delimiter=",", names=True)
    table = table[table["frame"] < 3]
    truth = Localizations(
        (0.16, 0.16), table["frame"].astype(np.int64), table["x_px"], table["y_px"], np.full(len(table), np.nan)
    )
    matched = match_localizations(truth, found)
    assert matched.precision > 0.98
    assert matched.recall > 0.94
    assert matched.rmse_nm < 15


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("deepblink_smfish_c1.tif", 250, 262),
        ("deepblink_smfish_c2.tif", 240, 275),
        ("spotiflow_hybiss_2d.tif", 300, 3000),
    ],
)
def test_spots_of_real_pictures_are_found_in_sensible_numbers(name, least, most):
    frame = pixels(name)
    found = localize(frame, guess_camera(frame))
    assert least <= len(found) <= most


def test_dark_colloids_are_found_when_the_frame_is_turned_over():
    frame = 255 - pixels("trackpy_bulk_water_60frames.tif")[0]
    assert 80 <= len(localize(frame, guess_camera(frame))) <= 600
