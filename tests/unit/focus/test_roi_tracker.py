"""The region follows the spot, by whole pixels and without creeping."""

import math

import pytest

from parfocal.errors import BadInputError
from parfocal.focus import LockSettings, Roi, RoiTracker

SENSOR = (200, 300)


def tracker(**options):
    return RoiTracker(Roi(80, 120, 13, 13), SENSOR, LockSettings(**options))


def watch(t, y, x, n=1, is_good=True):
    """Show a spot at a fixed place on the sensor for n frames."""
    for _ in range(n):
        t.follow(y - t.roi.y_px, x - t.roi.x_px, is_good)
    return t.roi


@pytest.mark.parametrize("off", [2.0, 3.3, 5.0])
def test_opposite_shifts_are_answered_alike(off):
    up, down = tracker(), tracker()
    moved_up = watch(up, 86 + off, 126).y_px - 80
    moved_down = watch(down, 86 - off, 126).y_px - 80
    assert moved_up == -moved_down != 0


@pytest.mark.parametrize(("y", "x"), [(95.0, 126.0), (70.3, 140.2), (86.0, 101.7)])
def test_a_spot_that_moved_comes_back_within_the_deadband(y, x):
    roi = watch(tracker(), y, x, n=60)
    assert math.hypot(roi.y_px + 6 - y, roi.x_px + 6 - x) <= 1.5


def test_shifts_under_a_pixel_are_carried_and_not_lost():
    t = tracker(track_gain=0.2, track_deadband_px=0.5)
    assert watch(t, 88, 126).y_px == 80  # 0.4 px
    assert watch(t, 88, 126).y_px == 81  # 0.8 px


def test_a_spot_that_jitters_about_its_middle_moves_nothing():
    t = tracker()
    for k in range(200):
        watch(t, 86 + 1.4 * math.sin(k), 126)
    assert (t.roi.y_px, t.roi.x_px) == (80, 120)


def test_one_frame_moves_it_no_farther_than_allowed_and_a_refused_frame_not_at_all():
    assert watch(tracker(track_max_step_px=3, track_gain=1.0), 106, 126).y_px == 83
    assert watch(tracker(), 106, 126, is_good=False).y_px == 80
    assert watch(tracker(track_roi=False), 106, 126, n=5).y_px == 80
    assert tracker().follow(math.nan, math.nan, True) == Roi(80, 120, 13, 13)


def test_it_stays_on_the_sensor():
    roi = watch(tracker(), 199, 299, n=200)
    assert (roi.y_px, roi.x_px) == (200 - 13, 300 - 13)


def test_it_grows_while_frames_are_refused_and_shrinks_when_they_are_good_again():
    t = tracker(roi_expand_on_low_confidence=True)
    watch(t, 86, 126, n=10, is_good=False)
    assert t.roi == Roi(72, 112, 29, 29)
    watch(t, 86, 126, n=15)
    assert t.roi == Roi(74, 114, 25, 25)
    watch(t, 86, 126, n=60)
    assert t.roi == Roi(80, 120, 13, 13)


def test_a_region_off_the_sensor_is_refused():
    with pytest.raises(BadInputError, match="200 x 300"):
        RoiTracker(Roi(190, 0, 13, 13), SENSOR)
