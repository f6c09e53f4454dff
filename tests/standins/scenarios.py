"""What the tests of Orca and Andor do, in a process that finds stand-ins where it looks for vendors' libraries.

    LD_LIBRARY_PATH=<folder of dcamapi.dll and atcore.dll> python scenarios.py orca|andor

Prints a JSON object: the scenario's name, and "" or what went wrong.
"""

import ctypes
import json
import sys
import threading
import traceback

import numpy as np
import pytest

from parfocal.devices import Camera, open_focus_camera
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, FrameSource, clock_s

KIND = sys.argv[1]
ORCA = KIND == "orca"
STANDIN = ctypes.CDLL("dcamapi.dll" if ORCA else "atcore.dll")
GAIN = 10 if ORCA else 1
SERIALS = ("100200", "100201") if ORCA else ("SFT-00011", "SFT-00012")
DCAM_NOCONNECTION, DCAM_NORESOURCE, DCAM_COOLINGTROUBLE = (
    code - 2**32 for code in (0x80000F07, 0x80000201, 0x80000302)
)


def reset():
    STANDIN.standin_attach(2)
    STANDIN.standin_stall_after(-1)
    STANDIN.standin_lose(-1, 0)


def open_camera(**options):
    return open_focus_camera(KIND, pixel_size_um=0.1, **options)


def raised(kind, words, call, *arguments):
    with pytest.raises(kind, match=words) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value), f"{caught.value!r} has more than one line"


def numbers(frames):
    """Which frames of the camera's own count they are."""
    return [int(frame.pixels[0, 0]) for frame in frames]


def it_says_what_it_is(camera):
    assert isinstance(camera, FrameSource)
    camera.apply(CameraSettings(0.005, GAIN))
    told = camera.describe()
    assert SERIALS[0] in told.model, told
    assert (told.shape, told.dtype) == ((192, 256), np.uint16), told
    assert told.temperature_c == (-9.5 if ORCA else -4.5)
    assert told.pixel_size_um == (0.1, 0.1)
    assert not told.simulated
    assert not told.can_sequence_z
    frame = camera.snap(1)
    assert frame.pixels.shape == told.shape
    assert frame.pixels.dtype == told.dtype


def settings_are_those_the_camera_has(camera):
    camera.apply(CameraSettings(0.005, GAIN, 2, (4, 8, 20, 24)))
    told = camera.describe()
    assert told.settings == CameraSettings(0.005, GAIN, 2, (4, 8, 20, 24)), told
    assert told.shape == (20, 24)
    assert told.pixel_size_um == (0.2, 0.2)
    pixels = camera.snap(1).pixels
    # The stand-in writes 7 x the sensor's row + its column: the ROI begins at (8, 16) of the sensor.
    y, x = np.mgrid[0:20, 0:24]
    expected = 7 * (y + 8) % 500 + (x + 16) % 400
    assert np.array_equal(pixels.ravel()[1:], expected.ravel()[1:])
    camera.apply(CameraSettings(0.005, GAIN))
    assert camera.snap(1).pixels.shape == (192, 256)


def what_it_cannot_do_is_told_and_changes_nothing(camera):
    good = CameraSettings(0.005, GAIN, 1, (8, 16, 40, 48))
    camera.apply(good)
    for settings, words in [
        (CameraSettings(0.0, GAIN), "exposure_s is 0, expected "),
        (CameraSettings(float("nan"), GAIN), "exposure_s is nan, expected "),
        (CameraSettings(100.0, GAIN), "exposure_s is 100, expected "),
        (CameraSettings(0.01, 1000), r"gain is 1000, (expected 0 to 255|but it has none)"),
        (CameraSettings(0.01, GAIN, 7), "binning is 7, expected one of "),
        (
            CameraSettings(0.01, GAIN, 1, (0, 0, 400, 40)),
            r"ROI \(y, x, height, width\) is \(0, 0, 400, 40\), expected inside",
        ),
        (CameraSettings(0.01, GAIN, 1, (-4, 0, 40, 40)), "expected inside 192 x 256 px"),
        (CameraSettings(0.01, GAIN, 1, (0, 0, 2, 2)), "at least "),
        *([(CameraSettings(0.01, GAIN, 1, (0, 1, 40, 40)), "multiples of 4 and 4 px")] if ORCA else []),
        *([(CameraSettings(0.01, GAIN, 3), "binning is 3, expected one of")] if ORCA else []),
    ]:
        raised(BadInputError, words, camera.apply, settings)
        assert camera.describe().settings == good
    assert camera.snap(1).pixels.shape == (40, 48)


def a_snap_is_timed_in_the_middle_of_its_exposure(camera):
    camera.apply(CameraSettings(0.05, GAIN))
    for _ in range(3):
        start_s = clock_s()
        frame = camera.snap(1)
        end_s = clock_s()
        assert start_s + 0.015 < frame.t_s < end_s - 0.02, (start_s, frame.t_s, end_s)


def a_counted_sequence_has_every_frame_in_order(camera):
    camera.apply(CameraSettings(0.004, GAIN, 1, (0, 0, 32, 40)))
    camera.start_sequence(100)
    frames = [camera.next_frame(1) for _ in range(100)]
    raised(HardwareError, "the 100 frames of the sequence have all been fetched", camera.next_frame, 1)
    camera.stop_sequence()
    assert numbers(frames) == list(range(100))
    assert not any(frame.dropped_before for frame in frames)
    steps_s = np.diff([frame.t_s for frame in frames[10:]])
    assert np.all(np.abs(steps_s - 0.004) < 0.001), steps_s
    assert len({frame.pixels.ctypes.data for frame in frames}) == 100


def an_endless_sequence_goes_on_until_it_is_stopped(camera):
    camera.apply(CameraSettings(0.002, GAIN, 1, (0, 0, 32, 40)))
    camera.start_sequence(None)
    raised(HardwareError, "a sequence is running, stop it before", camera.apply, CameraSettings(0.01, GAIN))
    raised(HardwareError, "a sequence is running already", camera.snap, 1)
    frames = [camera.next_frame(1) for _ in range(300)]
    assert STANDIN.standin_running() == 1
    camera.stop_sequence()
    assert STANDIN.standin_running() == 0
    camera.stop_sequence()
    counted = [k + 1 + frame.dropped_before for k, frame in zip(numbers(frames), frames[1:], strict=False)]
    assert numbers(frames)[1:] == counted


def frames_that_a_slow_reader_missed_are_counted(_):
    camera = open_camera(index=1, buffer_mb=0)
    camera.apply(CameraSettings(0.002, GAIN, 1, (0, 0, 32, 40)))
    camera.start_sequence(None)
    first = camera.next_frame(1)
    threading.Event().wait(0.2)
    frames = [first, *(camera.next_frame(1) for _ in range(30))]
    camera.close()
    assert sum(frame.dropped_before for frame in frames) > 40
    counted = [k + 1 + frame.dropped_before for k, frame in zip(numbers(frames), frames[1:], strict=False)]
    assert numbers(frames)[1:] == counted, (numbers(frames), [f.dropped_before for f in frames])


def frames_that_the_camera_lost_are_counted(camera):
    camera.apply(CameraSettings(0.004, GAIN, 1, (0, 0, 32, 40)))
    STANDIN.standin_lose(5, 3)
    camera.start_sequence(None)
    frames = [camera.next_frame(1) for _ in range(10)]
    camera.stop_sequence()
    assert numbers(frames) == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert [frame.dropped_before for frame in frames] == [0, 0, 0, 0, 0, 3, 0, 0, 0, 0]


def a_frame_that_never_comes_is_given_up_on(camera):
    camera.apply(CameraSettings(0.004, GAIN))
    STANDIN.standin_stall_after(0)
    start_s = clock_s()
    raised(HardwareError, r"no frame within 0\.2 s; check the camera and its trigger$", camera.snap, 0.2)
    assert 0.2 <= clock_s() - start_s < 2
    STANDIN.standin_stall_after(2)
    camera.start_sequence(None)
    for _ in range(2):
        camera.next_frame(1)
    raised(HardwareError, r"no frame within 0\.1 s; 2 of the sequence came", camera.next_frame, 0.1)
    camera.stop_sequence()
    STANDIN.standin_stall_after(-1)
    camera.snap(1)


def a_camera_that_is_unplugged_comes_back_with_its_settings(camera):
    settings = CameraSettings(0.005, GAIN, 2, (4, 8, 20, 24))
    camera.apply(settings)
    camera.start_sequence(None)
    for _ in range(5):
        camera.next_frame(1)
    STANDIN.standin_attach(0)
    words = "not connected|no longer open|cannot be reached|does not answer|not initialised"
    raised(HardwareError, f"failed after [5-9] frames: .*({words}).*plug it in again", drain, camera)
    camera.stop_sequence()
    assert camera.describe().settings == settings
    raised(HardwareError, "check power and cable|cannot be opened", camera.snap, 1)
    raised(HardwareError, "check power and cable|cannot be opened", camera.apply, settings)
    STANDIN.standin_attach(2)
    frame = camera.snap(1)
    assert frame.pixels.shape == (20, 24)
    assert camera.describe().settings == settings
    camera.start_sequence(10)
    assert numbers([camera.next_frame(1) for _ in range(10)]) == list(range(10))
    camera.stop_sequence()


def unplugging_is_seen_while_a_long_exposure_is_waited_for(camera):
    camera.apply(CameraSettings(5.0, GAIN))
    threading.Timer(0.1, STANDIN.standin_attach, [0]).start()
    start_s = clock_s()
    raised(HardwareError, "plug it in again", camera.snap, 6)
    assert clock_s() - start_s < 2


def drain(camera):
    while True:
        camera.next_frame(1)


def a_camera_is_chosen_by_its_serial_number(_):
    camera = open_camera(serial=SERIALS[1]) if not STANDIN.standin_open_cameras() else None
    assert camera is not None
    assert SERIALS[1] in camera.describe().model
    assert STANDIN.standin_open_cameras() == 1
    camera.close()
    raised(
        HardwareError,
        f"no camera with serial number 77, there is {SERIALS[0]}, {SERIALS[1]}",
        lambda: open_camera(serial="77"),
    )
    raised(HardwareError, "there are 2 cameras", lambda: open_camera(index=5))
    assert STANDIN.standin_open_cameras() == 0


def one_that_another_program_has_is_told(camera):
    raised(
        HardwareError,
        "cannot be opened: .*(does another program have it|another program has)",
        lambda: open_camera(index=0),
    )
    camera.snap(1)


def no_camera_at_all_is_told(_):
    STANDIN.standin_attach(0)
    raised(HardwareError, r"there are 0 cameras; check power and cable", open_camera)
    STANDIN.standin_attach(2)
    open_camera().close()


def options_that_are_wrong_are_told(_):
    raised(
        BadInputError,
        f"camera {KIND}: no option 'colour', expected one of buffer_mb, ",
        lambda: open_camera(colour=1),
    )
    raised(BadInputError, f"camera {KIND}: index is 'two', expected int", lambda: open_camera(index="two"))
    raised(
        BadInputError, "pixel_size_um is None, that at the sample was expected", lambda: open_focus_camera(KIND)
    )
    wrong = {"readout_speed": "warp"} if ORCA else {"gain_mode": "warp"}
    raised(BadInputError, "is 'warp', expected one of", lambda: open_camera(**wrong))
    assert STANDIN.standin_open_cameras() == 0
    right = {"readout_speed": "slow"} if ORCA else {"gain_mode": "16-bit (low noise & high well capacity)"}
    open_camera(**right).close()


def the_focus_feed_ends_when_it_is_unplugged_and_goes_on_when_it_is_back(source):
    source.apply(CameraSettings(0.004, GAIN, 1, (0, 0, 32, 40)))
    camera = Camera(name="focus_camera", source=source, timeout_s=1)
    with camera.feed.open(keep=1000) as frames:
        before = [frames.next(1) for _ in range(5)]
        STANDIN.standin_attach(0)
        raised(HardwareError, "plug it in again", read_all, frames)
        raised(HardwareError, "check power and cable|cannot be opened", camera.feed.restart)
        STANDIN.standin_attach(2)
        camera.feed.restart()
        after = [frames.next(1) for _ in range(5)]
    assert after[0].number > before[-1].number
    camera.destroy()
    assert STANDIN.standin_open_cameras() == 0


def read_all(frames):
    while True:
        frames.next(1)


def errors_are_named_and_the_camera_is_usable_after(camera):
    camera.apply(CameraSettings(0.004, GAIN))
    if ORCA:
        for code, name in [
            (DCAM_NORESOURCE, "DCAMERR_NORESOURCE"),
            (DCAM_COOLINGTROUBLE, "DCAMERR_COOLINGTROUBLE"),
        ]:
            for calls in range(1, 12):
                STANDIN.standin_fail_after(calls, code)
                told = ""
                try:
                    camera.snap(1)
                except HardwareError as error:
                    told = str(error)
                assert not told or name in told, told
                STANDIN.standin_fail_after(-1, 0)
                camera.snap(1)
        return
    for feature, call in [
        ("FrameCount", lambda: camera.snap(1)),
        ("ExposureTime", lambda: camera.apply(CameraSettings(0.005))),
    ]:
        STANDIN.standin_fail_feature(ctypes.c_wchar_p(feature), 17)
        raised(HardwareError, r"\(AT_Set\w+: AT_ERR_COMM\)", call)
        camera.snap(1)


def a_camera_that_fails_while_it_is_opened_is_let_go(_):
    if ORCA:
        failed = 0
        for calls in (2, 5, 20, 60, 100, 200, 300):
            STANDIN.standin_fail_after(calls, DCAM_NOCONNECTION)
            try:
                open_camera().close()
            except HardwareError:
                failed += 1
            STANDIN.standin_fail_after(-1, 0)
            assert STANDIN.standin_open_cameras() == 0, calls
            assert STANDIN.standin_inited() == 0, calls
        assert failed >= 2
    else:
        STANDIN.standin_fail_feature(ctypes.c_wchar_p("PixelEncoding"), 10)
        raised(HardwareError, "AT_ERR_CONNECTION", open_camera)
        assert STANDIN.standin_open_cameras() == 0
    open_camera().close()


def an_overflow_in_the_driver_is_told_and_the_camera_starts_again(camera):
    if ORCA:
        return  # DCAM counts lost frames
    camera.apply(CameraSettings(0.004, GAIN))
    camera.start_sequence(None)
    camera.next_frame(1)
    threading.Event().wait(0.05)
    STANDIN.standin_overflow(0)
    raised(HardwareError, "buffer overflow", drain, camera)
    camera.stop_sequence()
    camera.start_sequence(3)
    assert numbers([camera.next_frame(1) for _ in range(3)]) == [0, 1, 2]
    camera.stop_sequence()


ALONE = (
    a_camera_is_chosen_by_its_serial_number,
    no_camera_at_all_is_told,
    options_that_are_wrong_are_told,
    a_camera_that_fails_while_it_is_opened_is_let_go,
    frames_that_a_slow_reader_missed_are_counted,
)
SCENARIOS = (
    it_says_what_it_is,
    settings_are_those_the_camera_has,
    what_it_cannot_do_is_told_and_changes_nothing,
    a_snap_is_timed_in_the_middle_of_its_exposure,
    a_counted_sequence_has_every_frame_in_order,
    an_endless_sequence_goes_on_until_it_is_stopped,
    frames_that_a_slow_reader_missed_are_counted,
    frames_that_the_camera_lost_are_counted,
    a_frame_that_never_comes_is_given_up_on,
    a_camera_that_is_unplugged_comes_back_with_its_settings,
    unplugging_is_seen_while_a_long_exposure_is_waited_for,
    a_camera_is_chosen_by_its_serial_number,
    one_that_another_program_has_is_told,
    no_camera_at_all_is_told,
    options_that_are_wrong_are_told,
    the_focus_feed_ends_when_it_is_unplugged_and_goes_on_when_it_is_back,
    errors_are_named_and_the_camera_is_usable_after,
    a_camera_that_fails_while_it_is_opened_is_let_go,
    an_overflow_in_the_driver_is_told_and_the_camera_starts_again,
)


def run(scenario):
    reset()
    try:
        camera = None if scenario in ALONE else open_camera()
        try:
            scenario(camera)
        finally:
            reset()
            if camera is not None:
                camera.close()
        left = STANDIN.standin_open_cameras(), STANDIN.standin_running(), ORCA and STANDIN.standin_inited()
        assert left == (0, 0, 0), f"left open, running, initialised: {left}"
    except BaseException:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    print(json.dumps({scenario.__name__: run(scenario) for scenario in SCENARIOS}))
