"""What the rows of real and pasted puncta are computed from; nothing here needs a peer or recorded data."""

import math

import numpy as np
import pytest

from parfocal.bench import _puncta_real
from parfocal.bench._puncta_colloids import spreading, without_flow
from parfocal.bench._puncta_footprints import correlations, disc_traces, known_calcium
from parfocal.bench._puncta_others import DATA_VARIABLE, brightest, long_tracks
from parfocal.bench._puncta_pasted import bound_nm, moved, paste, unit_spot
from parfocal.bench._puncta_tracks import f1_of_links, links_of
from parfocal.fitting import crlb_psf, spot_image
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations


@pytest.fixture(scope="module")
def spot():
    """A Gaussian of 1.3 px in a level surround, as a measured spread function is given."""
    return unit_spot(spot_image((61, 61), 30, 30, 1.3, 1.3, 1.0, 0.002))


def test_without_recordings_their_rows_are_left_out_and_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "D_puncta"))
    monkeypatch.setattr(_puncta_real, "stuck_rows", lambda others: [])  # simulated: needs a peer, no recording
    assert _puncta_real.real_rows() == []
    said = capsys.readouterr().err
    for what in ("storm_sim", "pasted spots", "colloids", "smFISH", "telomeres", "calcium of real footprints"):
        assert f"{what} left out" in said


def test_the_brightest_stay_in_their_order():
    photons = np.array([5.0, 1.0, 9.0, 7.0])
    spots = Localizations((1.0, 1.0), np.arange(4), np.zeros(4), np.zeros(4), photons)
    assert brightest(spots, 2).frame.tolist() == [2, 3]
    assert len(brightest(spots, 9)) == 4


def test_short_tracks_and_points_of_none_are_taken_off():
    tracks = long_tracks(np.array([7, 7, 3, -1, 7, -1, 4, 4, -1]), 2)
    assert tracks.n_tracks == 2
    assert tracks.track.tolist() == [1, 1, -1, -1, 1, -1, 0, 0, -1]


def test_points_of_no_track_are_not_linked():
    frame = np.array([0, 1, 2, 0, 1])
    links = links_of(frame, np.array([0, 0, 0, -1, -1]))
    assert links == {(0, 1), (1, 2)}
    assert f1_of_links(links, {(0, 1)}) == pytest.approx(2 / 3)


def test_what_all_tracks_do_together_is_no_spreading():
    rng = np.random.default_rng(0)
    n, n_frames = 150, 60
    steps = rng.normal(0, 0.5, (n_frames, n, 2))
    at = 1000 + np.cumsum(steps, axis=0)
    flow = np.cumsum(np.stack([np.linspace(0, 0.3, n_frames), np.linspace(0.2, -0.1, n_frames)], axis=1), axis=0)
    frame, who = (grid.ravel() for grid in np.meshgrid(np.arange(n_frames), np.arange(n), indexing="ij"))
    order = rng.permutation(frame.size)
    frame, who = frame[order], who[order]
    y, x = (at + flow[:, None])[frame, who].T
    spots = Localizations((0.2, 0.2), frame, x, y, np.ones(frame.size))
    tracks = long_tracks(who, 20)
    found = spreading(spots, tracks)
    d_um2_s = 0.25 * 0.2**2 / 2 * 24
    assert found.n_tracks == n
    assert found.slope == pytest.approx(1, abs=0.04)
    assert found.r2 > 0.99
    assert found.d_um2_s == pytest.approx(d_um2_s, rel=0.05)
    still = without_flow(spots, tracks)
    np.testing.assert_allclose(still.x_px, at[frame, who, 1], atol=0.5)
    assert np.abs(spots.x_px - at[frame, who, 1]).max() > 3


def test_a_spread_function_loses_its_surround_and_is_moved_by_what_was_asked(spot):
    assert spot.shape == (31, 31)
    assert spot.sum() == pytest.approx(1)
    assert spot[0, 15] == pytest.approx(0, abs=1e-6)
    there = moved(spot, 0.3, -0.4)
    y, x = np.indices(spot.shape)
    assert there.sum() == pytest.approx(1, abs=1e-3)
    assert (there * y).sum() == pytest.approx(15.3, abs=0.01)
    assert (there * x).sum() == pytest.approx(14.6, abs=0.01)
    np.testing.assert_allclose(there, spot_image((31, 31), 14.6, 15.3, 1.3, 1.3, 1.0, 0.0), atol=2e-3)


def test_spots_are_pasted_with_their_light_where_they_are_said_to_be(spot):
    made = paste(spot, 2000.0, True, seed=1, n_frames=2)
    assert made.movie.shape[0] == 2
    truth = made.truth.take(made.truth.frame == 0)
    away = np.hypot(truth.x_px[:, None] - truth.x_px, truth.y_px[:, None] - truth.y_px)
    assert away[~np.eye(len(truth), dtype=bool)].min() >= 20
    electrons = (made.movie[0].astype(float) - 100) / 2.2
    expected = 20 * electrons.size + 2000 * len(truth)
    assert electrons.sum() == pytest.approx(expected, abs=4 * math.sqrt(expected + 2.4 * electrons.size))
    at_spots = electrons[np.rint(truth.y_px).astype(int), np.rint(truth.x_px).astype(int)]
    assert at_spots.min() > 100
    assert np.array_equal(paste(spot, 2000.0, True, seed=1, n_frames=2).movie, made.movie)


def test_the_bound_of_a_gaussian_is_that_of_the_fits(spot):
    known = crlb_psf(1.3, 1.3, 1000.0, 20.0, CameraModel(100.0, 2.2, 1.5), 13)
    expected = 1e3 * math.sqrt(known[0, 0] * 0.072**2 + known[1, 1] * 0.074**2)
    assert bound_nm(spot, 1000.0, 20.0 + 1.5**2) == pytest.approx(expected, rel=0.03)


def test_known_calcium_is_what_a_disc_reads(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.indices((40, 50))
    middles = ((12.0, 14.0), (27.0, 35.0))
    footprints = np.stack([np.hypot(y - at_y, x - at_x) <= 5 for at_y, at_x in middles]).astype(np.float32)
    traces = np.maximum(rng.normal(0, 1, (2, 120)), 0).astype(np.float32)
    path = tmp_path / "cells.npz"
    np.savez(path, footprints=footprints, traces=traces, rigid_shifts_px=np.zeros((120, 2), np.float32))
    known = known_calcium(path, 0.0, n_frames=120)
    assert known.movie.shape == (120, 40, 50)
    np.testing.assert_allclose(known.y_px, [12, 27])
    np.testing.assert_allclose(known.x_px, [14, 35])
    assert known.radius_px == pytest.approx(5, abs=0.3)
    assert known.traces.max() == pytest.approx(4000)
    assert known.movie[:, 0, 0].mean() == pytest.approx(5, abs=1)
    assert correlations(disc_traces(known, "disc"), known.traces).min() > 0.98
    swinging = known_calcium(path, 0.5, n_frames=120)
    assert swinging.movie[:, 0].mean(axis=1).std() > 3 * known.movie[:, 0].mean(axis=1).std()
    assert correlations(disc_traces(swinging, "disc less annulus"), known.traces).min() > 0.95
