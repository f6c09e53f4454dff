"""Calibrate, lock and run plans under the lock: a simulated bench in real time, a real catalog."""

import contextlib
import threading
import time
from types import SimpleNamespace

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import FailedStatus, RequestAbort, RunEngineInterrupted

from parfocal.callbacks import FocusCalibration, replay
from parfocal.catalog import stop_server
from parfocal.devices import Auditor, Backend, LeasedError, Microscope, simulated_microscope
from parfocal.devices.simulated import simulated_core
from parfocal.errors import BadInputError, HardwareError
from parfocal.fitting import calibration_from_json
from parfocal.plans import (
    acquire_sections,
    calibrate_focus,
    engage_lock,
    focus_locked,
    inject_fault,
    lock_focus,
    positions,
    release_lock,
    run_locked,
    time_lapse,
    z_stack,
)
from parfocal.session import start_session
from parfocal.slices import Verdict


@pytest.fixture(scope="module")
def bench(served_folder):
    """A session with a calibrated microscope; tests leave the lock released and z near focus."""
    session = start_session(served_folder.root, analyses=[FocusCalibration])
    microscope = session.use(simulated_microscope("microscope"))
    microscope.focus_camera.exposure_s.put(0.008)
    core = microscope.backend.camera.world
    (uid,) = session.RE(calibrate_focus(microscope, go_to_focus=True))
    assert session.drain(60)
    yield SimpleNamespace(session=session, RE=session.RE, m=microscope, core=core, uid=uid)
    microscope.destroy()
    session.close(30)


@pytest.fixture
def at_focus(bench):
    """Go where the bead is in focus now; the sample drifts between tests."""
    bench.m.lock.release()
    z_um = bench.m.lock.armed.calibration.focus_um
    bench.m.xyz.z.move(bench.core.true_defocus_um() + bench.m.xyz.z.position)
    yield bench
    assert not bench.m.lock.is_engaged, "the plan has released the lock"
    assert bench.m.xyz.z.leased_to == "", f"z is free again, calibrated at {z_um}"


def table(bench, stream):
    """Return a stream of the newest raw run as columns."""
    assert bench.session.drain(60)
    return bench.session.catalog.raw[-1][stream].read()


def held_for(bench, seconds):
    """Return the standard deviation of the true defocus over some time, um."""
    until_s, seen = time.monotonic() + seconds, []
    while time.monotonic() < until_s:
        seen.append(bench.core.true_defocus_um())
        threading.Event().wait(0.01)
    return float(np.std(seen))


def test_the_plan_and_the_documents_come_to_the_same_calibration(bench):
    catalog = bench.session.catalog
    run = catalog.run(bench.uid)
    outcome = run["calibration"].read()
    assert outcome["calibration_is_armable"].values.tolist() == [1]
    (live,) = catalog.analyses_of(run)
    row = live["calibration"].read()
    sha256 = str(outcome["calibration_sha256"].values[0])
    assert str(row["sha256"].values[0]) == sha256 == bench.m.lock.armed.sha256
    assert live.metadata["stop"]["parfocal"]["verdict"] == "armable"
    assert len(live["steps"].read()["z_um"]) == 42
    assert calibration_from_json(str(row["json"].values[0])).is_armable
    (again,) = replay([bench.uid], "focus_calibration", catalog=catalog, if_done="supersede")
    assert str(catalog.run(again.derived_uid)["calibration"].read()["sha256"].values[0]) == sha256
    (linear,) = replay([bench.uid], "focus_calibration", {"kind": "linear"}, catalog=catalog)
    assert str(catalog.run(linear.derived_uid)["calibration"].read()["sha256"].values[0]) != sha256
    kept = bench.m.lock.calibrations.find(sha256[:8])
    assert kept.run_uid == bench.uid


def test_focus_is_held_and_every_step_is_recorded(at_focus):
    spread = []
    watch = threading.Thread(target=lambda: (threading.Event().wait(2.5), spread.append(held_for(at_focus, 2.0))))
    watch.start()
    at_focus.RE(lock_focus(at_focus.m, 4.0))
    watch.join()
    samples = table(at_focus, "lock")
    state = samples["lock_state"].values.astype(str)
    first = int(np.argmax(state == "LOCKED"))
    assert np.mean(state[first:] == "LOCKED") > 0.9
    assert spread[0] < 0.03, "held to a few nm, where the sample walks 10 nm in a second"
    frames = samples["lock_frame"].values
    assert (np.diff(frames) > 0).all()
    for key in ("arrival_s", "fit_s", "answer_s"):
        assert np.nanmedian(samples[f"lock_{key}"].values) > 0
    start = at_focus.session.catalog.raw[-1].metadata["start"]
    assert start["parfocal"]["lock"]["calibration_run"] == at_focus.uid


@pytest.mark.long
def test_dirt_over_one_of_two_beads_does_not_lose_the_lock(at_focus, monkeypatch):
    camera, lock = at_focus.m.focus_camera, at_focus.m.lock
    is_dirty = threading.Event()
    next_frame = camera.source.next_frame

    def behind_dirt(timeout_s):
        frame = next_frame(timeout_s)
        if is_dirty.is_set():
            y, x, height, width = lock.roi_px
            frame.pixels[y : y + height, x : x + width] = np.median(frame.pixels)
        return frame

    monkeypatch.setattr(camera.source, "next_frame", behind_dirt)
    begin, end = threading.Timer(4.0, is_dirty.set), threading.Timer(5.5, is_dirty.clear)
    lock.state.subscribe(
        lambda value, **_: begin.start() or end.start() if value == "LOCKED" and not begin.ident else None,
        run=False,
    )
    at_focus.RE(lock_focus(at_focus.m, 7.0, settings={"n_beads": 5}))
    samples = table(at_focus, "lock")
    n_beads, state = samples["lock_n_beads"].values, samples["lock_state"].values.astype(str)
    first = int(np.argmax(state == "LOCKED"))
    lonely = np.flatnonzero(n_beads[first:] == 1) + first
    assert n_beads[first] == 2, "no more stand alone in view"
    assert lonely.size > 30
    assert n_beads[-1] == 2, "it is followed again when the dirt is gone"
    assert not {"LOST", "FAULT", "RECOVERY"} & set(state[first:])
    assert np.mean(state[lonely] == "LOCKED") > 0.9
    start = at_focus.session.catalog.raw[-1].metadata["start"]
    assert start["parfocal"]["lock"]["n_beads"] == 5


def test_planes_of_a_stack_are_counted_from_the_focus_and_say_whether_it_was_held(at_focus):
    home_um = at_focus.m.xyz.z.position
    at_focus.RE(focus_locked(z_stack(at_focus.m, 0.9, 0.3), at_focus.m))
    rows = table(at_focus, "primary")
    offset, held = rows["lock_offset_um"].values, rows["lock_in_lock"].values
    np.testing.assert_allclose(offset, np.linspace(-0.9, 0.9, 7), atol=0.02)
    assert held[2:5].tolist() == [1, 1, 1], "within the calibrated range the lock steers"
    assert held[0] == held[-1] == 0, "beyond it, frames say that nobody looked"
    np.testing.assert_allclose(np.diff(rows["stage_z"].values), 0.3, atol=0.08)
    assert abs(at_focus.m.xyz.z.position - home_um) < 0.15, "back at the focus, wherever that has drifted to"
    assert len(table(at_focus, "lock")["lock_frame"]) > 20


def test_a_queue_names_the_plan_that_is_to_run_locked(at_focus):
    at_focus.RE(run_locked(at_focus.m, "z_stack", {"half_range_um": 0.1, "step_um": 0.1}))
    assert table(at_focus, "primary")["lock_in_lock"].values.tolist() == [1, 1, 1]
    with pytest.raises(BadInputError, match="no plan for this, there are: positions"):
        at_focus.RE(run_locked(at_focus.m, "os_system"))
    with pytest.raises(BadInputError, match="unexpected keyword argument 'planes'"):
        at_focus.RE(run_locked(at_focus.m, "z_stack", {"planes": 3}))


def test_the_lock_lets_go_while_the_stage_travels_and_looks_again(at_focus):
    at_focus.RE(focus_locked(positions(at_focus.m, [[0.0, 0.0], [0.4, 0.3], [0.0, 0.0]]), at_focus.m))
    assert table(at_focus, "primary")["lock_in_lock"].values.tolist() == [1, 1, 1]
    assert "held" in " ".join(table(at_focus, "lock")["lock_flags"].values.astype(str))


def test_far_from_the_bead_frames_are_taken_at_the_last_focus_and_say_so(at_focus):
    far = [[0.0, 0.0], [30.0, 0.0], [0.0, 0.0]]
    plan = time_lapse(at_focus.m, 1, 0.0, 0.2, 0.2, positions_um=far)
    at_focus.RE(focus_locked(plan, at_focus.m))
    rows = table(at_focus, "primary")
    held = rows["lock_in_lock"].values.reshape(3, 3)
    assert held[1].tolist() == [0, 0, 0]
    assert held[0].tolist() == held[2].tolist() == [1, 1, 1]
    z_um = rows["stage_z"].values.reshape(3, 3)
    np.testing.assert_allclose(np.diff(z_um, axis=1), 0.2, atol=0.05, err_msg="planes are where they should be")


def test_nobody_else_moves_z_while_it_is_locked(at_focus):
    def plan():
        yield from engage_lock(at_focus.m)
        with pytest.raises(FailedStatus):
            yield from bps.mv(at_focus.m.lock.setpoint, float("nan"))
        yield from bps.mv(at_focus.m.lock.setpoint, 0.1)
        yield from bps.abs_set(at_focus.m.xyz.z, 3.0, wait=True)

    with pytest.raises(LeasedError, match=r"held by lock: move lock\.setpoint"):
        at_focus.RE(plan())
    threading.Event().wait(1.0)
    assert at_focus.m.xyz.z.leased_to == "", "a RunEngine that gives up stops what it touched"
    at_focus.m.xyz.z.move(at_focus.m.xyz.z.position)


def test_a_plan_waits_while_the_bead_is_out_of_sight(at_focus):
    lock, x = at_focus.m.lock, at_focus.core.axes["x"]

    def bump():
        begun.wait(20)
        x.command(at_focus.core.now_s(), 4.0)  # behind everybody's back
        threading.Event().wait(1.5)
        lost.append(str(lock.state.get()))
        x.command(at_focus.core.now_s(), 0.0)

    def plan():
        yield from bps.open_run()
        for k in range(20):
            yield from bps.checkpoint()
            yield from bps.sleep(0.02)
            yield from bps.trigger_and_read([at_focus.m.camera], name="primary")
            if k == 5:
                begun.set()
        yield from bps.close_run()

    begun = threading.Event()
    lost: list[str] = []
    thread = threading.Thread(target=bump)
    thread.start()
    at_focus.RE(focus_locked(plan(), at_focus.m, settings={"lost_frames": 10}))
    thread.join()
    assert lost == ["LOST"]
    rows = table(at_focus, "primary")
    # A suspender that comes between an event and its checkpoint has the event repeated, under its number.
    seq_num = np.asarray(at_focus.session.catalog.raw[-1]["primary"]["seq_num"].read())
    assert set(seq_num.tolist()) == set(range(1, 21))
    assert np.max(np.diff(rows["camera_t_s"].values)) > 1.0, "it waited"
    assert rows["lock_in_lock"].values[-1] == 1, "and went on in focus"


@pytest.mark.long
def test_a_bead_that_is_gone_for_a_while_on_demand_is_waited_for(at_focus):
    at_focus.RE(inject_fault(at_focus.m, "bead_gone", after_frames=2, duration_s=1.2))
    arguments = {"n_time_points": 8, "interval_s": 0.3, "half_range_um": 0, "step_um": 1}
    at_focus.RE(run_locked(at_focus.m, "time_lapse", arguments, settings={"lost_frames": 10}))
    rows = table(at_focus, "primary")
    assert np.max(np.diff(rows["camera_t_s"].values)) > 0.8, "it waited"
    assert rows["lock_in_lock"].values[-1] == 1, "and went on in focus"
    assert "LOST" in table(at_focus, "lock")["lock_state"].values.astype(str)
    assert at_focus.session.catalog.raw[-1].metadata["stop"]["exit_status"] == "success"


@pytest.mark.long
def test_focus_that_jumps_beyond_the_search_on_demand_fails_the_run_safely_and_says_why(at_focus):
    home_um = at_focus.m.xyz.z.position
    at_focus.RE(inject_fault(at_focus.m, "lost_focus", after_frames=8, duration_s=0.0))
    arguments = {"n_time_points": 8, "interval_s": 0.5, "half_range_um": 0.8, "step_um": 0.4}
    settings = {"lost_frames": 10, "search_passes": 1}
    try:
        with pytest.raises(FailedStatus):
            at_focus.RE(run_locked(at_focus.m, "time_lapse", arguments, settings=settings, patience_s=2.0))
    finally:
        at_focus.RE(inject_fault(at_focus.m, "none"))
    assert at_focus.session.drain(60)
    run, asked = at_focus.session.catalog.raw[-2], at_focus.session.catalog.raw[-3]
    assert asked["faults"].read()["injected_fault"].values.tolist() == ["lost_focus"]
    stop = run.metadata["stop"]
    assert stop["exit_status"] == "fail"
    assert "the bead was not found again within 2 s" in stop["reason"]
    assert "LOST" in run["lock"].read()["lock_state"].values.astype(str)
    assert not at_focus.m.backend.light.is_on
    assert abs(at_focus.m.xyz.z.position - home_um) < 0.5, "z is back where the lock began"


def test_a_kick_is_taken_back(at_focus):
    def kicked():
        yield from engage_lock(at_focus.m)
        yield from bps.sleep(0.3)
        before_um = at_focus.core.true_defocus_um()
        at_focus.m.backend.stage.move("z", at_focus.m.xyz.z.position + 0.25)
        for _ in range(20):  # a second and a half is enough where nothing else uses the machine
            yield from bps.sleep(0.5)
            if is_back := abs(at_focus.core.true_defocus_um() - before_um) < 0.06:
                break
        assert is_back
        yield from release_lock(at_focus.m)

    at_focus.RE(kicked())


def test_a_stage_that_goes_the_other_way_is_found_out_before_it_matters(at_focus):
    z = at_focus.m.xyz.z
    start_um = z.position
    z.move(-start_um)
    at_focus.core.z_sign = -1
    try:
        with pytest.raises(FailedStatus) as failed:
            at_focus.RE(lock_focus(at_focus.m, 2.0))
        assert "against the stage" in str(failed.value.__cause__)
        assert abs(z.position + start_um) < 0.3
        assert at_focus.session.drain(30)
        assert at_focus.session.catalog.raw[-1].metadata["stop"]["exit_status"] == "fail"
    finally:
        at_focus.core.z_sign = 1
        z.move(start_um)


def test_what_ends_a_plan_releases_the_lock(at_focus):
    def fails():
        yield from bps.sleep(0.1)
        raise RuntimeError("the sample is dry")

    with pytest.raises(RuntimeError, match="dry"):
        at_focus.RE(focus_locked(fails(), at_focus.m))
    assert not at_focus.m.lock.is_engaged

    def aborted():
        yield from bps.sleep(0.1)
        raise RequestAbort

    at_focus.RE(focus_locked(aborted(), at_focus.m))
    assert not at_focus.m.lock.is_engaged

    def halted():
        yield from engage_lock(at_focus.m)
        threading.Timer(0.2, at_focus.RE.halt).start()
        yield from bps.sleep(5)

    with contextlib.suppress(RunEngineInterrupted):
        at_focus.RE(halted())  # nothing in the plan releases it, and no clean-up is run
    assert at_focus.m.lock.is_engaged
    threading.Event().wait(1.0)
    assert not at_focus.m.lock.is_engaged


def test_a_lock_that_goes_on_is_not_released_by_what_was_due_before(at_focus):
    """On a busy machine the release may wait for its turn while a pause, or the next plan, comes."""
    lock = at_focus.m.lock
    at_focus.RE(engage_lock(at_focus.m))  # its end stops the lock, which would be released soon
    due = lock._releasing
    lock.pause()
    due.function()  # too late to be cancelled
    assert lock.is_engaged
    lock.release()


def test_a_calibration_of_another_light_path_is_refused(at_focus):
    camera = at_focus.m.focus_camera
    camera.binning.put(2)
    try:
        with pytest.raises(BadInputError, match=r"pixel size was 0\.108 um and is 0\.216 um"):
            at_focus.RE(lock_focus(at_focus.m, 1.0, calibration="newest"))
    finally:
        camera.binning.put(1)
    with pytest.raises(BadInputError, match="no option kq"):
        at_focus.RE(lock_focus(at_focus.m, 1.0, settings={"kq": 1.0}))
    with pytest.raises(BadInputError, match="lies outside"):
        at_focus.RE(lock_focus(at_focus.m, 1.0, calibration="../../secret.json"))


@pytest.mark.parametrize(("law", "measure"), [("pi", "widths"), ("kalman", "moments")])
def test_other_laws_and_measurements_hold_focus_too(at_focus, law, measure):
    at_focus.RE(lock_focus(at_focus.m, 1.0, law=law, measure=measure))
    state = table(at_focus, "lock")["lock_state"].values.astype(str)
    assert state[-1] == "LOCKED"


def test_a_bad_sweep_arms_nothing_and_says_why(at_focus):
    armed = at_focus.m.lock.armed
    z_um = at_focus.m.xyz.z.position
    with pytest.raises(HardwareError, match="not fit to lock with"):
        at_focus.RE(calibrate_focus(at_focus.m, half_range_um=0.06, n_steps=5, retry=False))
    assert at_focus.m.lock.armed is armed
    assert abs(at_focus.m.xyz.z.position - z_um) < 0.02, "z is back"


@pytest.mark.long
def test_one_camera_serves_the_lock_and_the_plan(tmp_path):
    core = simulated_core("beads", shape=(96, 96))
    microscope = Microscope(
        name="microscope",
        backend=Backend("one camera", core.camera, core.stage, core.light),
        frames_root=tmp_path / "frames",
        limits_um={"z": (-20.0, 20.0)},
    )
    session = start_session(tmp_path / "data")
    session.use(microscope)
    assert microscope.focus_camera is microscope.camera
    try:
        microscope.xyz.z.move(core.true_defocus_um() + microscope.xyz.z.position)
        session.RE(calibrate_focus(microscope, exposure_s=0.01, go_to_focus=True))
        session.RE(focus_locked(z_stack(microscope, 0.2, 0.1), microscope))
        assert session.drain(60)
        rows = session.catalog.raw[-1]["primary"].read()
        assert rows["lock_in_lock"].values.tolist() == [1] * 5
        assert rows["camera"].shape[0] == 5
    finally:
        microscope.destroy()
        session.close(30)
        stop_server(session.catalog.folder)


def test_under_a_held_lock_a_bad_section_is_taken_again_and_the_lock_focuses(at_focus):
    asked = iter(range(100))
    auditor = Auditor("audit", at_focus.m.camera, lambda _: Verdict(next(asked) != 1, "blurred"))
    place = [at_focus.m.xyz.x.position, at_focus.m.xyz.y.position]
    plan = acquire_sections(at_focus.m, [place] * 3, exposure_s=0.01, auditor=auditor)
    (uid,) = at_focus.RE(focus_locked(plan, at_focus.m))
    assert at_focus.session.drain(60)
    run = at_focus.session.catalog.run(uid)
    assert "autofocus" not in run
    assert np.asarray(table(at_focus, "primary")["point_attempt"]).tolist() == [1, 1, 2, 1]
    assert table(at_focus, "primary")["lock_in_lock"].all()
