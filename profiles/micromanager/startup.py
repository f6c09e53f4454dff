"""A microscope, ready to use: the same file for IPython and for a queue's worker.

    ipython -i profiles/micromanager/startup.py
    parfocal queue start --profile profiles/micromanager

The devices are those of `devices.yml` beside this file; runs and frames go into the data folder
(`PARFOCAL_DATA`, else the user's own). Focus is scored while frames come in.
"""

from pathlib import Path

from parfocal.callbacks import BenchCharacterization, FocusCalibration, FocusScores
from parfocal.devices import load_devices
from parfocal.plans import (
    acquire_sections,
    acquire_until_certain,
    calibrate_focus,
    characterize_camera,
    characterize_latency,
    characterize_pixel_size,
    characterize_stage,
    engage_lock,
    focus_locked,
    image_puncta,
    lock_focus,
    make_safe,
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
from parfocal.session import at_end, start_session

session = start_session(analyses=[FocusScores, FocusCalibration, BenchCharacterization])
RE = session.RE
catalog = session.catalog

devices = load_devices(Path(__file__).with_name("devices.yml"), needs="microscope")
microscope = session.use(devices["microscope"])
globals().update(devices)  # what else it lists, by its name

# In this order at the end: light off and stages still, then the last documents into the catalog.
at_end(session.close)
at_end(microscope.destroy)
