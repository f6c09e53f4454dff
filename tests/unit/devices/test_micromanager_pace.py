"""How often Micro-Manager's core is asked for the next frame of a sequence."""

import pytest

from parfocal.devices._device_clock import DeviceClock
from parfocal.devices.micromanager import _camera
from parfocal.devices.micromanager._camera import _LOOK_S, _POLL_S, _Sequence


@pytest.fixture
def sequence_of(monkeypatch):
    """Return what makes a sequence whose frames came at these times, s, and is asked at `now_s`."""

    def make(arrivals_s, now_s):
        sequence = _Sequence(DeviceClock(), None, None)
        for at_s in arrivals_s:
            monkeypatch.setattr(_camera, "clock_s", lambda at_s=at_s: at_s)
            sequence.note_arrival()
            sequence.fetched += 1
        monkeypatch.setattr(_camera, "clock_s", lambda: now_s)
        return sequence

    return make


def test_the_core_is_left_alone_for_most_of_the_interval_between_frames(sequence_of):
    assert sequence_of([1.000, 1.008, 1.016], now_s=1.017).pause_s() == pytest.approx(0.005)


def test_a_frame_that_is_due_is_asked_for_often(sequence_of):
    assert sequence_of([1.000, 1.008, 1.016], now_s=1.023).pause_s() == _POLL_S


def test_the_first_frames_are_asked_for_often(sequence_of):
    for arrivals_s in ([], [1.0], [1.0, 1.008]):
        assert sequence_of(arrivals_s, now_s=1.0081).pause_s() == _POLL_S


def test_after_a_hiccup_the_next_frame_is_not_late(sequence_of):
    assert sequence_of([1.000, 1.008, 2.000], now_s=2.001).pause_s() == pytest.approx(0.005)


def test_a_camera_that_stops_between_long_exposures_is_noticed_soon(sequence_of):
    assert sequence_of([0.0, 10.0, 20.0], now_s=20.1).pause_s() == _LOOK_S
