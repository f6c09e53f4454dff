"""Depth of puncta from their shape, by the calibration of the data folder."""

import numpy as np
import pyarrow as pa
import pytest

from parfocal.callbacks import FocusCalibration, Puncta, PunctaParameters
from parfocal.devices import simulated_microscope
from parfocal.plans import calibrate_focus, image_puncta
from support import Documents


@pytest.mark.long
def test_puncta_tell_their_depth_and_cite_the_calibration(RE, tmp_path):
    frames, calibrations = tmp_path / "frames", tmp_path / "calibrations"
    made = simulated_microscope("microscope", sample="beads", realtime=False, height_px=128, width_px=128)
    for camera in (made.camera, made.focus_camera):
        camera.frames_root = frames
    made.lock.calibrations = calibrations
    calibrating = FocusCalibration(frames_root=frames)
    token = RE.subscribe(calibrating)
    RE(calibrate_focus(made, exposure_s=0.02, settle_s=0.0, go_to_focus=True))
    RE.unsubscribe(token)
    calibrating.close()
    derived, rows = Documents(), []
    analysis = Puncta(
        PunctaParameters(calibration="newest", image="none", min_frames=2),
        emit=derived,
        emit_rows=lambda _uid, key, part: rows.append(part) if key == "localizations" else None,
        frames_root=frames,
    )
    RE.subscribe(analysis)
    z_um = made.xyz.z.position
    for offset_um in (-0.15, 0.15):
        made.xyz.z.set(z_um + offset_um).wait(5)
        RE(image_puncta(made, n_frames=4, exposure_s=0.05, focus_locked=False))
    assert analysis.close(120)
    made.destroy()
    assert {stop["exit_status"] for stop in derived.of("stop")} == {"success"}, derived.of("stop")
    (sha256,) = {start["parfocal"]["calibration"] for start in derived.of("start")}
    assert len(sha256) == 64
    low, high = (np.median(pa.concat_tables(half)["z_um"]) for half in (rows[:1], rows[1:]))
    assert abs(low - high) == pytest.approx(0.3, abs=0.1)
