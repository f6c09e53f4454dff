"""A stored lock whose truth is known, for the tests of what is told of it."""

import numpy as np

from parfocal.report import LockRun

RATE_HZ = 50.0
BEGAN_S = 1_700_000_000.0


def lock_run(n=600, states=None, flags=None, **start):
    """Return a run of n frames, in lock but for what `states` says, 3 nm off RMS."""
    rng = np.random.default_rng(0)
    frame = np.arange(n)
    walk_um = np.cumsum(rng.normal(0, 0.004, n))
    command_um = -np.concatenate([np.zeros(2), walk_um[:-2]]) if n else walk_um
    measured_um = walk_um + np.concatenate([np.zeros(2), command_um[:-2]]) if n else walk_um
    measured_um = measured_um + rng.normal(0, 0.005, n)
    fit_s = np.full(n, 0.0123)
    columns = {
        "t_s": BEGAN_S + frame / RATE_HZ,
        "frame": frame,
        "error_um": rng.normal(0, 0.003, n),
        "z_um": measured_um,
        "z_se_um": np.full(n, 0.005),
        "arrival_s": np.full(n, 0.012),
        "fit_s": fit_s,
        "answer_s": fit_s + 0.0001,
        "photons": np.full(n, 9000.0),
        "command_um": command_um,
        "confidence": np.ones(n),
        "state": np.array(["LOCKED"] * n if states is None else states, dtype=np.str_),
        "flags": np.array([""] * n if flags is None else flags, dtype=np.str_),
    }  # fmt: skip
    for name in ("setpoint_um", "stage_um", "background", "sigma_x_px", "sigma_y_px", "x_px", "y_px"):
        columns[name] = np.zeros(n)
    about = {
        "uid": "3f2a9c00-1111",
        "time": BEGAN_S,
        "plan_name": "lock_focus",
        "plan_args": {"law": "pi", "measure": "widths", "settings": {"max_step_um": 0.1}},
        "instrument": "bench",
        "parfocal": {
            "lock": {"calibration": "ab12", "calibration_run": "cd34", "law": "pi", "roi_px": [1, 2, 17, 17]}
        },
        **start,
    }  # fmt: skip
    return LockRun(about, {"exit_status": "success"}, columns)
