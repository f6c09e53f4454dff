"""The recorded microscope, on stacks made here and on every real one at hand."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.devices._stage_driver import StageDriver
from parfocal.devices.recorded import RecordedMicroscope
from parfocal.errors import BadInputError, HardwareError
from parfocal.files import open_stack
from parfocal.frames import CameraSettings, FrameSource, clock_s

DATA = Path(__file__).resolve().parents[4].parent / "shared" / "data"

STACKS = [
    # path, axes to give, z of the last plane (um), planes a pass, pixel size (y, x)
    ("A_beads/astig_beads_field.tif", None, 7.9, 80, (0.0635, 0.0635)),
    ("A_beads/bead_field_no_astigmatism.tif", None, 9.9, 34, (0.108, 0.108)),
    ("A_beads/pyme_psf_astig.tif", None, 3.0, 61, (0.072, 0.074)),
    ("A_beads/pyme_beads1_no_astig.tif", None, 3.0, 61, (1.0, 1.0)),
    ("A_beads/pyotf_psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif", None, 7.2, 25, (0.13, 0.13)),
    ("B_focus/imagexpress_E07", None, 9363.56, 10, (1.3668, 1.3668)),
    ("B_focus/ecoli_ch2_tzyx.tif", None, 10.0, 11, (1.0, 1.0)),
    ("B_focus/yeast_brightfield_tz.ome.tif", None, 1.8, 7, (0.065, 0.065)),
    ("B_focus/cluster_tzc.nd2", None, 4.5, 10, (0.167808983, 0.167808983)),
    ("B_focus/pc12_motion_unregistered.tif", "TYX", 0.0, 1, (1.0, 1.0)),
    ("B_focus/pc12_motion_registered_rigid.tif", None, 4.0, 5, (1.0, 1.0)),
    ("C_nuclei/bbbc050/Emb1_t501_raw.tif", None, 87.5, 51, (0.8, 0.8)),
    ("C_nuclei/ovule_nuclei_1135_mini.h5", None, 28.0881216, 100, (0.1267864, 0.1267864)),
    ("C_nuclei/stardist_synthetic3d_raw.tif", "ZYX", 30.0, 31, (1.0, 1.0)),
    ("C_nuclei/hl60_synthetic_tzyx_raw.tif", None, 11.0, 12, (1.0, 1.0)),
    ("D_puncta/storm_sim_256.tif", None, 0.0, 1, (1.0, 1.0)),
    ("D_puncta/FakeTracks.tif", None, 0.0, 1, (1.0, 1.0)),
    ("D_puncta/telomeres_frames000-079.tif", None, 0.0, 1, (0.11, 0.11)),
    ("D_puncta/peaks_tzyx.ome.tif", None, 3.0, 4, (0.065, 0.065)),
    ("D_puncta/trackpy_bulk_water_60frames.tif", None, 0.0, 1, (1.0, 1.0)),
    ("E_calcium/mouse_2p_frames000-299.tif", None, 0.0, 1, (1.0, 1.0)),
    ("E_calcium/sima_2p_motion.tif", None, 0.0, 1, (1.0, 1.0)),
    ("F_slices/serial2p_sections_zyx.tif", None, 25.0, 26, (1.0, 1.0)),
    ("F_slices/celegans_em_sections.tif", None, 20.0, 21, (1.0, 1.0)),
    ("F_slices/brain_sections", "ZYX", 7.0, 8, (1.0, 1.0)),
    ("F_slices/mitotic_plate_z_calibration_good.tif", None, 15.0, 6, (0.08519643, 0.08519643)),
]


def quick(microscope):
    microscope.camera.apply(CameraSettings(exposure_s=1e-4))
    return microscope


@pytest.fixture
def recorded(tmp_path):
    """A microscope on 3 time points of 5 planes, 0.5 um apart; pixels are 10 t + z - 7."""
    data = np.empty((3, 5, 16, 18), np.int16)
    for t in range(3):
        for z in range(5):
            data[t, z] = 10 * t + z - 7
    path = tmp_path / "recording.tif"
    tifffile.imwrite(
        path,
        data,
        photometric="minisblack",
        metadata={"axes": "TZYX", "z_step_nm": 500, "pixel_nm": 65, "NA": 1.4},
    )
    return quick(RecordedMicroscope(open_stack(path)))


def frame_at(microscope, z_um):
    microscope.stage.move("z", z_um)
    return microscope.camera.snap(1.0)


def test_it_is_a_stage_driver_and_a_frame_source(recorded):
    assert isinstance(recorded.stage, StageDriver)
    assert isinstance(recorded.camera, FrameSource)


def test_it_says_what_was_recorded(recorded):
    facts = recorded.camera.describe()
    assert facts.model == "recorded: recording.tif"
    assert (facts.shape, facts.dtype) == ((16, 18), np.dtype(np.int16))
    assert (facts.pixel_size_um, facts.na) == ((0.065, 0.065), 1.4)
    assert not facts.simulated
    assert recorded.stage.z_range_um == (0.0, 2.0)
    assert recorded.stage.z_tolerance_um == pytest.approx(0.25)


def test_z_picks_the_nearest_plane_and_reads_back_its_true_place(recorded):
    for z_um, plane in [(0.0, 0), (0.6, 1), (1.3, 3), (99.0, 4), (-5.0, 0)]:
        recorded.time_index = 0
        frame = frame_at(recorded, z_um)
        assert frame.pixels[0, 0] == plane - 7
        assert frame.z_um == recorded.stage.position_um("z") == pytest.approx(plane * 0.5)


def test_each_pass_over_the_planes_shows_the_next_time_point(recorded):
    four_passes = [*recorded.z_positions_um] * 4
    seen = [int(frame_at(recorded, z).pixels[0, 0]) + 7 for z in four_passes]
    expected = [10 * t + z for t in range(3) for z in range(5)]
    assert seen == [*expected, *expected[:5]]  # after the last time point it begins again


def test_passes_up_and_down_also_advance(recorded):
    up, down = recorded.z_positions_um, recorded.z_positions_um[::-1]
    times = [int(frame_at(recorded, z).pixels[0, 0] + 7) // 10 for z in [*up, *down]]
    assert times == [0] * 5 + [1] * 5


def test_time_stands_still_when_asked_to(recorded):
    still = quick(RecordedMicroscope(recorded.stack, advance_time=False))
    assert {int(frame_at(still, 0.5).pixels[0, 0]) for _ in range(5)} == {1 - 7}
    still.time_index = 2
    assert frame_at(still, 0.5).pixels[0, 0] == 21 - 7


def test_a_sequence_brings_its_own_z(recorded):
    recorded.camera.start_sequence(4, [2.0, 0.0, 0.4, 1.0])
    frames = [recorded.camera.next_frame(1.0) for _ in range(4)]
    assert [int(f.pixels[0, 0]) + 7 for f in frames] == [4, 0, 1, 2]
    assert [f.z_um for f in frames] == [2.0, 0.0, 0.5, 1.0]
    assert recorded.stage.position_um("z") == 1.0
    with pytest.raises(HardwareError, match="no sequence runs"):
        recorded.camera.next_frame(1.0)
    recorded.camera.stop_sequence()
    recorded.camera.snap(1.0)


def test_frames_keep_the_pace_of_the_exposure_and_their_times_rise(recorded):
    recorded.camera.apply(CameraSettings(exposure_s=0.02))
    before = clock_s()
    recorded.camera.start_sequence(None)
    times = [recorded.camera.next_frame(1.0).t_s for _ in range(6)]
    recorded.camera.stop_sequence()
    assert np.diff(times).min() >= 0.0199
    assert times[0] >= before + 0.0099
    assert clock_s() - before < 5


def test_a_frame_that_cannot_come_in_time_is_an_error_and_says_how_long_it_waited(recorded):
    recorded.camera.apply(CameraSettings(exposure_s=10.0))
    start = time.monotonic()
    with pytest.raises(HardwareError, match=r"within 0\.05 s; the exposure is 10 s"):
        recorded.camera.snap(0.05)
    assert time.monotonic() - start < 2


def test_stopping_wakes_a_waiting_reader(recorded):
    recorded.camera.apply(CameraSettings(exposure_s=30.0))
    recorded.camera.start_sequence(None)
    threading.Timer(0.05, recorded.camera.stop_sequence).start()
    start = time.monotonic()
    with pytest.raises(HardwareError, match="stopped"):
        recorded.camera.next_frame(60.0)
    assert time.monotonic() - start < 10


def test_a_roi_is_cut_out_and_described(recorded):
    recorded.camera.apply(CameraSettings(exposure_s=1e-4, roi_px=(2, 3, 5, 7)))
    assert recorded.camera.describe().shape == (5, 7)
    frame = recorded.camera.snap(1.0)
    assert frame.pixels.shape == (5, 7)
    assert frame.pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CameraSettings(exposure_s=0), "exposure"),
        (CameraSettings(exposure_s=float("nan")), "exposure"),
        (CameraSettings(binning=2), "binning"),
        (CameraSettings(gain=2.0), "gain"),
        (CameraSettings(roi_px=(0, 0, 17, 5)), "ROI"),
        (CameraSettings(roi_px=(-1, 0, 5, 5)), "ROI"),
    ],
)
def test_settings_that_a_recording_cannot_have_are_refused(recorded, settings, message):
    with pytest.raises(BadInputError, match=message):
        recorded.camera.apply(settings)
    recorded.camera.snap(1.0)


def test_wrong_orders_of_calls_are_refused(recorded):
    recorded.camera.start_sequence(None)
    for call in (lambda: recorded.camera.snap(1), lambda: recorded.camera.start_sequence(1)):
        with pytest.raises(HardwareError, match="sequence runs"):
            call()
    with pytest.raises(HardwareError, match="while a sequence runs"):
        recorded.camera.apply(CameraSettings())
    recorded.camera.close()
    with pytest.raises(BadInputError, match="2 z positions for 3 frames"):
        recorded.camera.start_sequence(3, [0.0, 1.0])


def test_what_was_not_recorded_cannot_be_looked_at(recorded):
    for name in ("time_index", "position_index", "channel"):
        with pytest.raises(BadInputError, match="recorded are 0 to"):
            setattr(recorded, name, 3)
    with pytest.raises(HardwareError, match="no axis"):
        recorded.stage.move("theta", 1.0)
    with pytest.raises(HardwareError, match="cannot move z to nan"):
        recorded.stage.move("z", float("nan"))


def test_frames_belong_to_the_receiver(recorded):
    first = frame_at(recorded, 0.0)
    first.pixels[:] = 99
    recorded.time_index = 0
    assert frame_at(recorded, 0.0).pixels[0, 0] == -7


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")
@pytest.mark.parametrize(("path", "axes", "last_z_um", "n_planes", "pixel_um"), STACKS, ids=[s[0] for s in STACKS])
def test_every_real_stack_can_be_driven_through(path, axes, last_z_um, n_planes, pixel_um):
    stack = open_stack(DATA / path, axes)
    microscope = quick(RecordedMicroscope(stack))
    facts = microscope.camera.describe()
    assert facts.pixel_size_um == pytest.approx(pixel_um, rel=1e-6)
    z_um = microscope.z_positions_um
    assert len(z_um) == n_planes
    assert z_um[-1] == pytest.approx(last_z_um, abs=0.02)
    for t in range(min(2, stack.size("T"))):
        for z in {0, n_planes // 2, n_planes - 1}:
            microscope.time_index = t
            microscope.stage.move("z", float(z_um[z]))
            frame = microscope.camera.snap(5.0)
            assert frame.pixels.shape == facts.shape
            assert frame.pixels.dtype == facts.dtype
            assert frame.z_um == microscope.stage.position_um("z") == z_um[z]
            np.testing.assert_array_equal(frame.pixels, stack.plane(t=t, p=0, c=0, z=z))


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")
def test_moving_to_the_second_site_brings_it_into_view():
    stack = open_stack(DATA / "B_focus/imagexpress_E07")
    microscope = quick(RecordedMicroscope(stack))
    assert stack.xy_um is not None
    x, y = stack.xy_um[1]
    microscope.stage.move("x", x)
    microscope.stage.move("y", y)
    assert microscope.position_index == 1
    assert microscope.stage.position_um("x") == x
    microscope.stage.move("z", 9338.3)
    frame = microscope.camera.snap(1.0)
    np.testing.assert_array_equal(frame.pixels, stack.plane(p=1, z=4))
    assert stack.z_um is not None
    assert frame.z_um == stack.z_um[1][4]
