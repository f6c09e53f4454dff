"""A story whose truth is known, without a catalog, for the tests of how it is told."""

import numpy as np

from parfocal.report import (
    DerivedStory,
    FocusStory,
    Look,
    NucleiStory,
    PunctaStory,
    RunStory,
    SlicesShown,
    Story,
    Stretch,
    Trace,
    lock_report,
)
from parfocal.report._plot import thin
from parfocal.report._story_nuclei import outline_of
from stored_lock import BEGAN_S, lock_run

RNG = np.random.default_rng(0)


def run_story(uid="aaaaaaaa-1", plan="z_stack", status="success", began_s=BEGAN_S, **told):
    start = {"uid": uid, "time": began_s, "plan_name": plan, "sample": "<dish> & 2", "plan_args": {"step_um": 1.0}}
    stop = {"time": began_s + 60, "exit_status": status, "reason": "no <frame>", "num_events": {"primary": 9}}
    return RunStory(start, stop if status else {}, **told)


def derived(uid, status="success", superseded_by="", **about):
    start = {"uid": uid, "time": BEGAN_S, "parfocal": {"analysis": "nuclei", "version": 1, **about}}
    stop = {"time": BEGAN_S + 9, "exit_status": status, "reason": "no mask", "parfocal": {"verdict": "2 nuclei"}}
    return DerivedStory(start, stop, superseded_by)


def story(*runs, **told):
    last_s = max(run.began_s for run in runs) + 60
    return Story(min(run.began_s for run in runs), last_s, tuple(runs), **told)


def look(slice_id="03", attempt=1, accepted=True, reason=""):
    pixels = RNG.integers(0, 255, (128, 128), dtype=np.uint8)
    return Look(slice_id, attempt, 0, BEGAN_S, 1.5, accepted, reason, 0.5, pixels)


def focus(n=600):
    columns = lock_run(n).columns
    middle = columns["t_s"][n // 2]
    stretches = (Stretch(columns["t_s"][0], middle, "LOCKED"), Stretch(middle, columns["t_s"][-1], "LOST"))
    return FocusStory(lock_report(lock_run(n)), *thin(columns["t_s"], columns["error_um"], 3000), n, stretches, 2)


def nuclei():
    stack = {
        "position": 0,
        "time_point": 0,
        "n_planes": 5,
        "n_objects": 2,
        "mean_doubt": 0.1,
        "backend": "watershed",
    }
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:4] = True
    pixels = RNG.integers(0, 255, (256, 256), dtype=np.uint8)
    return NucleiStory("dddd", stack, 2, 0.5, pixels, (0.1, 0.1), {1: outline_of(mask)}, frozenset({1}), 1)


def puncta():
    t_s = np.arange(50) * 0.1
    trace = Trace(4, t_s, np.sin(t_s), t_s[:2], np.sin(t_s[:2]))
    numbers = {"n_puncta": 100, "n_tracks": 1, "n_own": 2, "odds_ratio": None}
    pixels = RNG.integers(0, 255, (256, 256), dtype=np.uint8)
    path = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    return PunctaStory("eeee", (0, 0), numbers, pixels, (0.1, 0.1), 8, {"mobile": (path, path)}, (trace,), ())


def whole(uid="aaaaaaaa-1", began_s=BEGAN_S, n_looks=2):
    looks = (look(accepted=False, reason="blurred"), *(look(attempt=k + 2) for k in range(n_looks - 1)))
    return run_story(
        uid,
        began_s=began_s,
        focus=focus(),
        slices=SlicesShown((looks,), 9, n_looks, 1, n_looks - 1, "the plan", looks),
        nuclei=(nuclei(),),
        puncta=(puncta(),),
        counts={"nuclei": 2, "tracks": 1, "calcium_events": 2},
        derived=(
            derived("d1", superseded_by="d2d2d2d2-x"),
            derived("d2d2d2d2-x", parameters_hash="ffeeddccbbaa99"),
        ),
    )
