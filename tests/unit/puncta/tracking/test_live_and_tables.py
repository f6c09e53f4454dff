import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations, PunctaTracks, no_localizations
from parfocal.puncta.tables import PunctaResults, write_results
from parfocal.puncta.tracking import (
    LiveTracker,
    TrackSettings,
    mobility_of,
    read_tracks_csv,
    track_puncta,
    write_mobility_csv,
)

PIXEL_UM = (0.12, 0.1)


def spots(frame, x_px, y_px):
    n = len(frame)
    return Localizations(
        PIXEL_UM, np.asarray(frame, np.int64), np.asarray(x_px, float), np.asarray(y_px, float), np.full(n, 500.0)
    )


def walking(n=40, n_frames=60, seed=0):
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 300, (n, 2)) + np.cumsum(rng.normal(0, 1, (n_frames, n, 2)), axis=0)
    frame, who = np.nonzero(rng.random((n_frames, n)) >= 0.1)
    return spots(frame, *at[frame, who].T)


def test_live_tracks_are_nearly_those_of_the_whole():
    found = walking()
    settings = TrackSettings(0.5, 2, min_frames=1)
    live = LiveTracker(settings)
    tracks = np.concatenate([live.add(found.take(found.frame == t)) for t in range(found.n_frames)])
    whole = track_puncta(found, settings)

    def links(track):
        order = np.lexsort((found.frame, track))
        same = track[order[1:]] == track[order[:-1]]
        return set(zip(order[:-1][same].tolist(), order[1:][same].tolist()))

    a, b = links(tracks), links(whole.track)
    assert len(a & b) / len(a | b) > 0.99
    assert live.n_tracks == tracks.max() + 1


def test_a_punctum_that_was_dark_too_long_begins_anew():
    live = LiveTracker(TrackSettings(0.3, 1))
    assert live.add(spots([0], [5], [5])).tolist() == [0]
    live.add(no_localizations(PIXEL_UM))
    assert live.add(spots([2], [5], [5])).tolist() == [0]
    assert live.add(spots([5], [5], [5])).tolist() == [1]


def test_live_frames_must_come_in_order():
    live = LiveTracker()
    live.add(spots([3], [0], [0]))
    with pytest.raises(BadInputError, match="later"):
        live.add(spots([3], [0], [0]))


def test_a_track_goes_on_from_batch_to_batch_and_over_frames_where_it_is_dark():
    live = LiveTracker(TrackSettings(0.3, 2))
    first = live.add(spots([0, 0, 1, 1], [10.0, 40.0, 10.5, 40.5], [10.0, 40.0, 10.5, 40.5]))
    assert first.tolist() == [0, 1, 0, 1]
    assert live.add(spots([4], [11.0], [11.0])).tolist() == [0]  # dark in 2 and 3
    assert live.add(spots([6], [40.5], [40.5])).tolist() == [2]  # for too long
    assert (live.n_tracks, live.n_active) == (3, 2)


def test_two_that_come_near_are_linked_by_the_least_sum_of_squares():
    live = LiveTracker(TrackSettings(1.0))
    live.add(spots([0, 0], [10.0, 14.0], [10.0, 10.0]))
    # The first moves onto where the second was: greedily it would take that track.
    assert live.add(spots([1, 1], [14.5, 18.0], [10.0, 10.0])).tolist() == [0, 1]


def test_frames_without_a_spot_are_no_harm():
    live = LiveTracker(TrackSettings(0.3))
    assert live.add(spots([], [], [])).tolist() == []
    assert live.add(spots([5], [1.0], [1.0])).tolist() == [0]


def test_trajectories_come_back_from_their_table(tmp_path):
    found = walking(n_frames=30)
    tracks = track_puncta(found, TrackSettings(0.5, 2, min_frames=5))
    moves = mobility_of(found, tracks, 0.05)
    path = tmp_path / "trajectories.csv"
    write_results(tmp_path, PunctaResults(0.05, found, tracks, np.full(len(found), np.nan)))
    again, linked = read_tracks_csv(path)
    assert again.pixel_size_um == pytest.approx(PIXEL_UM)
    assert linked.n_tracks == tracks.n_tracks
    kept = tracks.track >= 0
    ours = np.lexsort((found.frame[kept], tracks.track[kept]))
    theirs = np.lexsort((again.frame, linked.track))
    assert np.allclose(found.x_px[kept][ours], again.x_px[theirs], rtol=1e-8)
    assert np.array_equal(tracks.track[kept][ours], linked.track[theirs])
    write_mobility_csv(tmp_path / "mobility.csv", moves)
    lines = (tmp_path / "mobility.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + tracks.n_tracks
    assert lines[0].startswith("track,n_points,n_frames,d_um2_s,")


def test_a_table_that_is_none_is_refused_where_it_is_wrong(tmp_path):
    path = tmp_path / "t.csv"
    for text, said in (
        ("frame,x_px,y_px\n0,1,1\n", "track"),
        ("track,frame,x_px,y_px\n0,0,1,1\n", "pixel size"),
        ("track,frame,x_px,y_px\n0,0,one,1\n", "row 2"),
        ("track,frame,x_px,y_px\n0,0.5,1,1\n", "counts"),
        ("track,frame,x_px,y_px\n0,0,,1\n", "empty"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BadInputError, match=said):
            read_tracks_csv(path)
    path.write_text("track,frame,x_px,y_px\n7,0,1,1\n-1,1,1,1\n", encoding="utf-8")
    found, tracks = read_tracks_csv(path, (0.1, 0.1))
    assert tracks.track.tolist() == [0, -1]
    assert isinstance(tracks, PunctaTracks)
    assert len(found) == 2
