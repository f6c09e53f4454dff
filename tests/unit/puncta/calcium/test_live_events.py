"""Provisional events, while a recording goes on."""

import numpy as np

from parfocal.puncta import Localizations
from parfocal.puncta.calcium import LiveEvents, Readings

PIXEL_UM = (0.1, 0.1)


def spots(frame, y_px, x_px):
    frame = np.broadcast_to(np.asarray(frame, np.int64), np.shape(y_px)).copy()
    return Localizations(
        PIXEL_UM, frame, np.asarray(x_px, float), np.asarray(y_px, float), np.full(len(frame), 1e3)
    )


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
