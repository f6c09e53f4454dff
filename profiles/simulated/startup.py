"""A microscope, ready to use: the same file for IPython and for a queue's worker.

    ipython -i profiles/simulated/startup.py
    start-re-manager --startup-dir profiles/simulated

The devices are those of `devices.yml` beside this file; runs and frames go into the data folder
(`PARFOCAL_DATA`, else the user's own). Focus is scored while frames come in.
"""

import atexit
from pathlib import Path

from parfocal.callbacks import BenchCharacterization, FocusCalibration, FocusScores
from parfocal.devices import load_devices
from parfocal.plans import (
    acquire_sections,
    calibrate_focus,
    characterize_camera,
    characterize_latency,
    characterize_pixel_size,
    characterize_stage,
    engage_lock,
    focus_locked,
    lock_focus,
    positions,
    release_lock,
    retrain_nuclei,
    run_locked,
    run_mda,
    tile_scan,
    time_lapse,
    z_burst,
    z_stack,
    z_stack_audited,
)
from parfocal.session import start_session

session = start_session(analyses=[FocusScores, FocusCalibration, BenchCharacterization])
RE = session.RE
catalog = session.catalog

microscope = session.use(load_devices(Path(__file__).with_name("devices.yml"))["microscope"])

# In this order at the end: light off and stages still, then the last documents into the catalog.
atexit.register(session.close)
atexit.register(microscope.destroy)
