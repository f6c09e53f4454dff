"""Results are read as they were written."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import CalciumEvents, Localizations, PunctaTracks
from parfocal.puncta.tables import (
    EVENT_COLUMNS,
    PUNCTA_COLUMNS,
    TRAJECTORY_COLUMNS,
    PunctaResults,
    read_results,
    write_results,
)


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    frame = np.repeat(np.arange(10), 3)
    spots = Localizations(
        (0.13, 0.11), frame, rng.uniform(1, 50, 30), rng.uniform(1, 50, 30), rng.uniform(500, 900, 30),
        x_se_px=np.full(30, 0.1), n_emitters=np.full(30, 2),
    )  # fmt: skip
    track = np.tile([1, 0, -1], 10)
    one = np.array([1])
    events = CalciumEvents(one, one * 0.21, one * 0.01, one * 2, one * 3, one * 5, one * 0.8, one * 9.0, one > 5)
    return PunctaResults(
        0.05,
        spots,
        PunctaTracks(track, np.empty((0, 2), np.int64), 2),
        np.where(track >= 0, rng.normal(0, 0.1, 30), np.nan),
        events,
        np.array([True]),
        {"is_mobile": np.array([True, False]), "d_um2_s": np.array([0.02, np.nan])},
    )


def test_what_was_written_is_read_back(tmp_path, results):
    paths = write_results(tmp_path, results)
    assert [p.name for p in paths] == ["puncta.csv", "trajectories.csv", "calcium_events.csv"]
    read = read_results(*paths)
    assert read.frame_interval_s == pytest.approx(0.05)
    assert read.localizations.pixel_size_um == pytest.approx((0.13, 0.11))
    for name, column in results.localizations.columns().items():
        np.testing.assert_allclose(getattr(read.localizations, name), column, atol=1e-8, err_msg=name)
    np.testing.assert_array_equal(read.tracks.track, results.tracks.track)
    np.testing.assert_allclose(read.dff, results.dff, atol=1e-8)
    assert read.by_track["is_mobile"].tolist() == [True, False]
    assert np.isnan(read.by_track["d_um2_s"][1])
    assert read.events.peak_frame.tolist() == [3]
    assert read.is_own.tolist() == [True]


def test_every_column_is_named_in_its_table(tmp_path, results):
    paths = write_results(tmp_path, results)
    for path, columns in zip(paths, (PUNCTA_COLUMNS, TRAJECTORY_COLUMNS, EVENT_COLUMNS)):
        assert path.read_text().splitlines()[0].split(",")[: len(columns)] == list(columns)


def test_puncta_alone_can_be_read(tmp_path, results):
    read = read_results(write_results(tmp_path, results)[0])
    assert read.tracks.n_tracks == 0
    assert read.events is None


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path, results):
    puncta, trajectories, events = write_results(tmp_path, results)
    lines = puncta.read_text().splitlines()
    short = tmp_path / "short.csv"
    short.write_text("\n".join(lines[:5]) + "\n")
    with pytest.raises(BadInputError, match="has 4"):
        read_results(short, trajectories)
    short.write_text("frame,x_px\n0,1\n")
    with pytest.raises(BadInputError, match="has no column y_px"):
        read_results(short)
    short.write_text(lines[0] + "\n" + lines[1].replace("0.1,", "x,", 1) + "\n")
    with pytest.raises(BadInputError, match="expected a number"):
        read_results(short)
    with pytest.raises(BadInputError, match="there are 0 tracks"):
        read_results(puncta, None, events)
