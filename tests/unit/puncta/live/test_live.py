"""Provisional tracks and events, while a recording goes on."""

import numpy as np

from parfocal.puncta import Localizations
from parfocal.puncta.calcium import Readings
from parfocal.puncta.live import LiveEvents, LiveTracks

PIXEL_UM = (0.1, 0.1)


def spots(frame, y_px, x_px):
    frame = np.broadcast_to(np.asarray(frame, np.int64), np.shape(y_px)).copy()
    return Localizations(
        PIXEL_UM, frame, np.asarray(x_px, float), np.asarray(y_px, float), np.full(len(frame), 1e3)
    )


def test_a_track_goes_on_from_batch_to_batch_and_over_frames_where_it_is_dark():
    live = LiveTracks(0.3, max_missing_frames=2)
    first = live.add(spots([0, 0, 1, 1], [10.0, 40.0, 10.5, 40.5], [10.0, 40.0, 10.5, 40.5]))
    assert first.tolist() == [0, 1, 0, 1]
    assert live.add(spots([4], [11.0], [11.0])).tolist() == [0]  # dark in 2 and 3
    assert live.add(spots([6], [40.5], [40.5])).tolist() == [2]  # for too long
    assert (live.n_tracks, live.n_active) == (3, 2)


def test_two_that_come_near_are_linked_by_the_least_sum_of_squares():
    live = LiveTracks(1.0)
    live.add(spots(0, [10.0, 14.0], [10.0, 10.0]))
    # The first moves onto where the second was: greedily it would take that track.
    assert live.add(spots(1, [14.5, 18.0], [10.0, 10.0])).tolist() == [0, 1]


def test_frames_without_a_spot_are_no_harm():
    live = LiveTracks(0.3)
    assert live.add(spots([], [], [])).tolist() == []
    assert live.add(spots(5, [1.0], [1.0])).tolist() == [0]


def test_an_event_is_told_once_when_it_is_over_and_at_its_time():
    rng = np.random.default_rng(0)
    events = LiveEvents(0.05, footprint_px=20.0, window_frames=128)
    told = []
    for begin in range(0, 400, 20):
        k = np.arange(begin, begin + 20)
        signal = 200 + rng.normal(0, 12, 20) + 900 * np.exp(-(k - 230) / 4.0) * ((k >= 230) & (k < 300))
        surround, none = np.full(20, 10.0) + rng.normal(0, 0.1, 20), np.zeros(20)
        found = events.add(
            spots(k, np.full(20, 5.0), np.full(20, 5.0)),
            np.full(20, 7),
            Readings(signal, surround, none, none),
            begin + 19,
        )
        told += [(begin + 19, e) for e in range(len(found))]
        if len(found):
            assert found.track.tolist() == [7]
            assert 228 <= found.begin_frame[0] <= 231
            assert found.peak_frame[0] == 230
            assert abs(found.onset_s[0] / 0.05 - 230) < 2
            assert found.end_frame[0] <= begin + 16
    assert len(told) == 1
