"""Puncta followed in movies of others; nothing was tuned on them, and of none is the truth known."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from parfocal.files import open_stack
from parfocal.optics import CameraModel
from parfocal.puncta.detection import LocalizeSettings, guess_camera, localize_movie
from parfocal.puncta.tracking import TrackSettings, track_puncta

DATA = Path(__file__).parents[5] / "shared" / "data" / "D_puncta"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings of others are not here")
PIXEL_UM = (1.0, 1.0)  # lengths are in px here


def found_in(movie, camera, **settings):
    return localize_movie(movie, camera, LocalizeSettings(max_emitters=1, **settings), PIXEL_UM)


def tracked(spots, tracks, n_frames):
    """Return y and x of every track, `[track, frame]`."""
    at = np.full((2, tracks.n_tracks, n_frames), np.nan)
    held = tracks.track >= 0
    at[:, tracks.track[held], spots.frame[held]] = spots.y_px[held], spots.x_px[held]
    return at


def test_tracks_that_split_agree_with_those_of_another_program():
    """Simulated by others; TrackMate's result is a reference and not the truth."""
    root = ElementTree.parse(DATA / "FakeTracks.trackmate.xml").getroot()
    spots = {
        s.get("ID"): (int(s.get("FRAME")), float(s.get("POSITION_Y")), float(s.get("POSITION_X")))
        for s in root.iter("Spot")
    }
    edges = [
        sorted((edge.get("SPOT_SOURCE_ID"), edge.get("SPOT_TARGET_ID")), key=spots.__getitem__)
        for edge in root.iter("Edge")
    ]
    sources = [before for before, _ in edges]
    splits = sorted({spots[s][0] for s in sources if sources.count(s) > 1})

    movie = open_stack(DATA / "FakeTracks.tif", "TYX").read()
    found = found_in(movie, CameraModel(0.0, 1.0, 1.0), threshold="2*std(Wave.F1)", sigma_px=2.0, min_photons=2500)
    tracks = track_puncta(found, TrackSettings(15, 2, max_split_um=15, max_photon_change=None, min_frames=5))

    def track_at(frame, y, x):
        away = np.where(found.frame == frame, np.hypot(found.y_px - y, found.x_px - x), np.inf)
        return tracks.track[away.argmin()] if away.min() < 2 else -1

    parents = set(map(tuple, tracks.parents.tolist()))
    at = {name: track_at(*place) for name, place in spots.items()}
    linked = [at[a] >= 0 and (at[a] == at[b] or (at[a], at[b]) in parents) for a, b in edges]
    assert np.mean([track >= 0 for track in at.values()]) > 0.9
    assert np.mean(linked) > 0.9
    last = sorted({int(found.frame[tracks.track == before].max()) for before, _ in parents})
    assert last == splits


def test_colloids_in_water_spread_in_proportion_to_time():
    n_frames = 30
    movie = 255 - open_stack(DATA / "trackpy_bulk_water_60frames.tif", "TYX").read()[:n_frames]
    found = found_in(movie, guess_camera(movie[0]))
    tracks = track_puncta(found, TrackSettings(5.0, 2, min_frames=20))
    assert tracks.n_tracks > 100
    at = tracked(found, tracks, n_frames)
    flow = np.nanmean(np.diff(at, axis=2), axis=1)
    at[:, :, 1:] -= np.cumsum(flow, axis=1)[:, None]
    lags = np.arange(1, 11)
    msd = np.array([np.nanmean(np.sum((at[:, :, lag:] - at[:, :, :-lag]) ** 2, axis=0)) for lag in lags])
    assert np.corrcoef(lags, msd)[0, 1] ** 2 > 0.99
    # the shutter blurs, which takes more off short lags: trackpy's slope is 1.09 on the same video
    assert np.polyfit(np.log(lags), np.log(msd), 1)[0] == pytest.approx(1.0, abs=0.15)


def test_telomeres_are_as_many_in_every_frame_and_stay():
    """Dozens, dim, in one plane of one nucleus: no frame has none, and none has hundreds."""
    movie = open_stack(DATA / "telomeres_frames000-079.tif", "TYX").read()[:20]
    found = found_in(movie, guess_camera(movie[0]))
    count = np.bincount(found.frame, minlength=20)
    assert 20 <= count.min() <= count.max() <= 100
    tracks = track_puncta(found, TrackSettings(4.0, 2, min_frames=18))
    assert 8 <= tracks.n_tracks <= 100
