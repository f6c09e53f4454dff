"""`parfocal localize` on files and folders."""

import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from parfocal.cli._main import commands
from parfocal.files import read_csv
from parfocal.fitting import spot_image
from parfocal.puncta.detection import read_thunderstorm
from parfocal.puncta.simulation import read_sample

PLACES = np.array([[12.3, 14.1], [30.0, 40.6], [48.2, 20.0]])


def write_movie(path, n_frames=3):
    rng = np.random.default_rng(0)
    mean = np.full((60, 60), 20.0)
    for y, x in PLACES:
        mean += spot_image((60, 60), x, y, 1.1, 1.1, 3000)
    electrons = rng.poisson(mean, (n_frames, 60, 60)) + rng.normal(0, 1.5, (n_frames, 60, 60))
    tifffile.imwrite(path, np.round(100 + 2.0 * electrons).astype(np.uint16), photometric="minisblack")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(commands("localize"), ["localize", *map(str, arguments)])


CAMERA = ("--offset", 100, "--electrons-per-adu", 0.5, "--read-noise", 1.5)


def test_a_movie_becomes_a_table_and_a_picture(here):
    movie = write_movie(here / "cells.tif")
    done = run(movie, "--pixel-size", 0.1, *CAMERA, "--picture", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["n_localizations"] == 9
    assert facts["median_photons"] == pytest.approx(3000, rel=0.05)
    found = read_thunderstorm(here / "cells_localizations.csv", 0.1)
    first = found.take(found.frame == 0)
    np.testing.assert_allclose(np.sort(first.x_px), np.sort(PLACES[:, 1]), atol=0.15)
    assert (here / "cells_localizations.png").stat().st_size > 10_000
    assert sorted(p.name for p in here.iterdir()) == [
        "cells.tif",
        "cells_localizations.csv",
        "cells_localizations.png",
    ]


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(here):
    movie = write_movie(here / "cells.tif")
    (here / "mine.csv").write_text("precious\n")
    done = run(movie, "--pixel-size", 0.1, "--out", here / "mine.csv")
    assert "exists already" in str(done.exception)
    assert (here / "mine.csv").read_text() == "precious\n"
    assert run(movie, "--pixel-size", 0.1, "--out", here / "mine.csv", "--overwrite").exit_code == 0
    assert "frame" in read_csv(here / "mine.csv").header


def test_a_camera_that_is_not_told_is_guessed_and_said_to_be(here):
    done = run(write_movie(here / "cells.tif"), "--pixel-size", 0.1)
    assert "camera not told: offset 100" in done.output
    assert "9 puncta in 3 frames" in done.output


def test_the_pixel_size_has_to_be_known(here):
    assert "say it with --pixel-size" in str(run(write_movie(here / "cells.tif")).exception)


def test_thunderstorms_settings_and_its_old_header_can_be_asked_for(here):
    done = run(
        write_movie(here / "cells.tif"),
        *("--pixel-size", 0.1, *CAMERA, "--thunderstorm", "--threshold", "3*std(Wave.F1)", "--method", "wlsq"),
        *("--dialect", "1.3", "--json"),
    )
    facts = json.loads(done.stdout)
    assert (facts["threshold"], facts["method"], facts["n_localizations"]) == ("3*std(Wave.F1)", "wlsq", 9)
    assert "uncertainty [nm]" in read_csv(here / "cells_localizations.csv").header


def test_a_folder_of_movies_becomes_samples_with_what_was_found_as_their_truth(here):
    (here / "movies").mkdir()
    for name in ("a2", "a10"):
        write_movie(here / "movies" / f"{name}.tif", n_frames=2)
    done = run(
        here / "movies", "--as-labels", here / "labels", "--pixel-size", 0.1, "--frame-interval", 0.05, *CAMERA
    )
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (here / "labels").iterdir()) == ["a10", "a2"]
    sample = read_sample(here / "labels" / "a2")
    assert sample.movie.shape == (2, 60, 60)
    assert len(sample.truth.frame) == 6
    first = sample.truth.frame == 0
    np.testing.assert_allclose(np.sort(sample.truth.y_px[first]), np.sort(PLACES[:, 0]), atol=0.15)


def test_a_folder_of_movies_becomes_a_folder_of_tables_and_is_gone_on_with(here):
    (here / "movies").mkdir()
    write_movie(here / "movies" / "one.tif", n_frames=2)
    assert run(here / "movies", "--pixel-size", 0.1).exit_code == 0
    write_movie(here / "movies" / "two.tif", n_frames=2)
    again = run(here / "movies", "--pixel-size", 0.1, "--resume")
    assert again.exit_code == 0, again.output
    assert "one.tif: done before" in again.output
    assert sorted(p.name for p in (here / "movies_localizations").iterdir()) == [
        "one_localizations.csv",
        "two_localizations.csv",
    ]


def test_dark_spots_can_be_asked_for(here):
    bright = tifffile.imread(write_movie(here / "cells.tif"))
    tifffile.imwrite(here / "dark.tif", 60000 - bright, photometric="minisblack")
    found = json.loads(run(here / "dark.tif", "--pixel-size", 0.1, "--dark", "--json").stdout)
    assert 9 <= found["n_localizations"] <= 12


def test_what_is_read_is_never_replaced(here):
    movie = write_movie(here / "cells.tif")
    before = movie.read_bytes()
    done = run(movie, "--pixel-size", 0.1, "--out", movie, "--overwrite")
    assert "is what is read" in str(done.exception)
    assert movie.read_bytes() == before


def test_a_picture_that_is_there_is_kept(here):
    movie = write_movie(here / "cells.tif")
    (here / "mine.png").write_bytes(b"precious")
    done = run(movie, "--pixel-size", 0.1, "--out", here / "mine.csv", "--picture")
    assert "exists already" in str(done.exception)
    assert (here / "mine.png").read_bytes() == b"precious"


def test_a_movie_of_no_numbers_is_refused(here):
    tifffile.imwrite(here / "nan.tif", np.full((2, 40, 40), np.nan, np.float32), photometric="minisblack")
    assert "no numbers" in str(run(here / "nan.tif", "--pixel-size", 0.1).exception)
    assert [p.name for p in here.iterdir()] == ["nan.tif"]
