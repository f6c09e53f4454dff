"""A night that was really taken: runs of the simulated microscope, what was found in them, what failed.

Small, so that a module of tests can afford it; the supervisor's incidents go through its own writer of them.
"""

import time
from types import SimpleNamespace

from bluesky.utils import FailedStatus

from parfocal.callbacks import (
    FocusCalibration,
    Nuclei,
    NucleiParameters,
    Puncta,
    PunctaParameters,
    SliceAudit,
    replay,
)
from parfocal.devices import simulated_microscope
from parfocal.devices.simulated import PlantedFault
from parfocal.errors import HardwareError
from parfocal.optics import Disturbance, straight_path
from parfocal.plans import acquire_sections, calibrate_focus, focus_locked, image_puncta, time_lapse, z_stack
from parfocal.queue._incidents import Incident, IncidentRun
from parfocal.session import start_session


def make_night(folder, *, n_puncta_frames=24, side_px=96):
    """Take the runs of a night into a data folder; return their uids by name, and when it began."""
    began_s = time.time()
    session = start_session(folder, md={"operator": "night shift"})
    uids = {}
    microscope = session.use(
        simulated_microscope("microscope", seed=1, height_px=side_px, width_px=side_px, realtime=False)
    )
    try:
        _calibrated(session, microscope, uids)
        _locked(session, microscope, uids)
        _sections(session, microscope, uids)
        _nuclei(session, microscope, uids)
        _broken(session, microscope, uids)
    finally:
        microscope.destroy()
    _puncta(session, uids, n_puncta_frames)
    assert session.drain(60)
    uids["supervisor"] = supervise(session.writer, began_s, uids["broken"])
    assert session.drain(60)
    assert session.close()
    return SimpleNamespace(uids=uids, began_s=began_s, root=folder)


def supervise(emit, began_s, broken):
    """Write what a supervisor met: a plan that failed, and a worker that died while nothing was under way."""
    run = IncidentRun(emit, 0, {"policy": "retry"})
    failed = Incident("plan_failed", "no frame within 5 s", "0815", "z_stack", ["retry"], [broken], began_s + 1)
    run.tell(failed, "it went on <again>")
    run.tell(Incident("worker_died", "the worker was gone", actions=["reopen"], began_s=began_s + 2), "open")
    run.close()
    return run.uid


def _watched(session, analysis, plan):
    """Run a plan while an analysis looks on; return the uid of its run."""
    analysis.frames_root = session.catalog.folder.frames
    token = session.RE.subscribe(analysis)
    try:
        (uid,) = session.RE(plan)
    finally:
        session.RE.unsubscribe(token)
        analysis.close(60)
    return uid


def _calibrated(session, microscope, uids):
    microscope.focus_camera.exposure_s.put(0.01)
    plan = calibrate_focus(
        microscope, exposure_s=0.01, settle_s=0.0, n_steps=13, retry=False, go_to_focus=True, md={"sample": "bead"}
    )
    uids["calibration"] = _watched(session, FocusCalibration(emit=session.writer), plan)


def _locked(session, microscope, uids):
    plan = focus_locked(
        time_lapse(microscope, 4, 0.3, 0.0, 1.0, md={"sample": "nuclei, dish 1"}), microscope, law="pi"
    )
    uids["locked"] = session.RE(plan)[0]


def _sections(session, microscope, uids):
    scene = microscope.backend.camera.world.scene
    sections = [[32.0 * k, 0.0, scene.focus_um(32.0 * k, 0.0)] for k in range(6)]
    world = microscope.backend.camera.world
    world.plant(*sections[3][:2], PlantedFault("blur", kick_um=6.0))
    world.plant(*sections[4][:2], PlantedFault("motion", disturbance=Disturbance(straight_path((0.0, 1.5, 2.0)))))
    plan = acquire_sections(microscope, sections, exposure_s=0.05, md={"sample": "block 7"})
    uids["sections"] = _watched(session, SliceAudit(emit=session.writer), plan)


def _nuclei(session, microscope, uids):
    for axis in (microscope.xyz.x, microscope.xyz.y):
        axis.set(0.0).wait(5)
    nuclei = Nuclei(NucleiParameters(diameter_um=9.0, backend="watershed"), emit=session.writer)
    uids["nuclei"] = _watched(session, nuclei, z_stack(microscope, 4.0, 1.0, md={"sample": "nuclei, dish 1"}))
    assert session.drain(60)
    for if_done in ("skip", "supersede"):
        replay([uids["nuclei"]], "focus_scores", {}, catalog=session.catalog, if_done=if_done)


def _broken(session, microscope, uids):
    camera = microscope.backend.camera
    snap, taken = camera.snap, []

    def stuck(timeout_s):
        taken.append(1)
        if len(taken) > 3:
            raise HardwareError("camera: no frame within 5 s")
        return snap(timeout_s)

    camera.snap = stuck
    started = []
    token = session.RE.subscribe(lambda _, doc: started.append(doc["uid"]), "start")
    try:
        session.RE(z_stack(microscope, 4.0, 1.0, md={"sample": "<dish> & 2"}))
    except (HardwareError, FailedStatus):
        pass
    finally:
        camera.snap = snap
        session.RE.unsubscribe(token)
    uids["broken"] = started[0]


def _puncta(session, uids, n_frames):
    microscope = session.use(
        simulated_microscope("microscope", sample="puncta", realtime=False, height_px=96, width_px=96)
    )
    try:
        for axis in (microscope.xyz.x, microscope.xyz.y):
            axis.set(8.0).wait(5)  # onto a cell
        plan = image_puncta(
            microscope,
            ["puncta", "calcium"],
            n_frames,
            exposure_s=0.05,
            focus_locked=False,
            md={"sample": "cell 3"},
        )
        puncta = Puncta(PunctaParameters(image="none"), emit=session.writer)
        uids["puncta"] = _watched(session, puncta, plan)
    finally:
        microscope.destroy()
