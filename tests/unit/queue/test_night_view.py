"""What one sees of a night, from documents of real runs as they come over the wire."""

import dataclasses
import math
from types import SimpleNamespace

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import FailedStatus

from parfocal.callbacks import FocusScores, document_from_wire, document_to_wire
from parfocal.devices import Auditor, Columns, LockRing, LockSampleStream, simulated_microscope
from parfocal.plans import (
    acquire_sections,
    inject_fault,
    positions,
    stubs,
    time_lapse,
    z_burst,
    z_stack,
)
from parfocal.queue import CatalogView, NightView, QueueView, asked, heard, looked, remembered
from parfocal.queue._night_recall import recalled
from parfocal.slices import Verdict


def over_the_wire(documents):
    return [(name, document_from_wire(document_to_wire(doc))) for name, doc in documents]


def seen(documents, view=None):
    view = view or NightView()
    for name, doc in over_the_wire(documents):
        view = heard(view, name, doc)
    return view


def until(documents, n, name="event"):
    """Return the documents up to the n-th of a name."""
    taken = []
    for one, doc in documents:
        taken.append((one, doc))
        n -= one == name
        if not n:
            break
    return taken


def test_a_run_is_told_while_it_is_taken(RE, microscope, documents):
    RE(time_lapse(microscope, 2, 0, 1, 1, positions_um=[[0, 0], [50, 0]], md={"sample": {"name": "embryo 7"}}))
    run = seen(until(documents.all, 5)).run
    assert (run.plan_name, run.sample, run.instrument) == ("time_lapse", "embryo 7", "bench")
    assert (run.n_done, run.n_expected, run.unit) == (5, 12, "frames")
    assert (run.position, run.n_positions, run.time_point, run.plane) == (1, 2, 0, 1)
    assert run.z_um == 0
    assert run.is_running
    times = [doc["time"] for doc in documents.of("event")]
    assert run.rate_per_s == pytest.approx(4 / (times[4] - times[0]))
    pace_s = (times[4] - documents.of("start")[0]["time"]) / 5
    assert run.eta_s(times[4] + 100) == pytest.approx(7 * pace_s), "of the pace so far, not of the watcher's clock"


def test_a_run_that_ended_stays_with_how_it_ended(RE, microscope, documents):
    RE(z_stack(microscope, 1, 1))
    view = seen(documents.all)
    assert (view.run.exit_status, view.run.n_done) == ("success", 3)
    assert view.run.elapsed_s(1e12) == pytest.approx(
        documents.of("stop")[0]["time"] - documents.of("start")[0]["time"]
    )
    assert math.isnan(view.run.eta_s(1e12))
    assert (view.n_runs, view.n_failed, view.n_frames) == (1, 0, 3)
    assert not view.streams
    assert not view.runs
    assert not view.seen, "what is over is not kept for the rest of the night"


def test_a_burst_is_counted_by_its_datums(RE, microscope, documents):
    RE(z_burst(microscope, n_frames=20))
    view = seen(documents.all)
    assert (view.run.n_done, view.run.n_expected, view.n_frames) == (20, 20, 20)


def test_what_comes_twice_counts_once(RE, microscope, documents):
    RE(z_stack(microscope, 2, 1))
    open_run = [(name, doc) for name, doc in documents.all if name != "stop"]
    assert seen(open_run + open_run) == seen(open_run)
    whole = seen(documents.all)
    assert seen(documents.all, whole) == whole


def test_who_comes_late_sees_what_comes_then_and_no_nonsense(RE, microscope, documents):
    RE(z_stack(microscope, 2, 1))
    RE(positions(microscope, [[0, 0]]))
    for missed in range(len(documents.all)):
        view = seen(documents.all[missed:])
        assert view.n_frames <= 6
        if missed <= [name for name, _ in documents.all].index("stop") + 1:
            assert view.run.plan_name == "positions"


def test_a_repeated_number_counts_once_and_says_where_it_is_now(RE, microscope, documents):
    RE(z_stack(microscope, 1, 1))
    taken = until(documents.all, 3)
    view = seen([*taken, taken[-1]])
    assert (view.run.n_done, view.n_frames) == (3, 3)


def test_a_position_that_failed_and_a_run_that_failed_are_told_with_reasons(RE, microscope, source, documents):
    source.fail_at = {1}
    RE(positions(microscope, [[0, 0], [10, 0], [20, 0]], on_error="skip"))
    source.fail_at = {3}
    with pytest.raises(FailedStatus):
        RE(z_stack(microscope, 1, 1))
    view = seen(documents.all)
    assert [(fault.kind, fault.plan) for fault in view.faults] == [
        ("position_failed", "positions"),
        ("run_failed", "z_stack"),
    ]
    assert view.faults[0].what == "p1: counting: no frame within 5 s"
    assert view.faults[0].outcome == "skip"
    assert view.faults[1].what == "counting: no frame within 5 s"
    assert (view.n_runs, view.n_failed) == (2, 1)
    assert view.run.reason == "counting: no frame within 5 s"


def test_verdicts_are_counted_with_reasons_and_slices_tell_the_progress(RE, microscope, documents):
    asked_for = iter(range(100))
    auditor = Auditor("audit", microscope.camera, lambda _: Verdict(next(asked_for) not in (1, 2), "blurred"))
    plan = acquire_sections(
        microscope, [[0, 0], [1, 0], [2, 0]], slice_ids=["a", "b", "c"], auditor=auditor, refocus="never"
    )
    RE(plan)
    view = seen([one for one in documents.all if one[0] != "stop"])
    assert (view.verdicts.n_accepted, view.verdicts.n_rejected) == (3, 2)
    assert dict(view.verdicts.reasons) == {"blurred": 2}
    assert view.verdicts.n_retaken == 2
    assert (view.run.n_done, view.run.n_expected, view.run.unit) == (3, 3, "slices")
    assert view.run.slice_id == "c"
    RE(z_stack(microscope, 1, 1))
    view = seen(documents.all)
    assert view.verdicts.n_accepted == 0, "of the run that is taken now"
    assert view.night_verdicts.n_accepted == 3


def test_analyses_are_counted_by_verdict_apart_from_what_is_taken(RE, microscope, documents):
    analysis = FocusScores(emit=documents)
    RE.subscribe(analysis)
    RE(z_stack(microscope, 2, 1))
    assert analysis.drain(20)
    analysis.close()
    view = seen(documents.all)
    (one,) = view.analyses.values()
    assert (one.n_running, one.n_ended, one.n_failed) == (0, 1, 0)
    assert sum(one.verdicts.values()) == 1
    assert view.n_runs == 1
    assert view.run.plan_name == "z_stack"
    derived = [k for k, (name, doc) in enumerate(documents.all) if name == "start"][1]
    at_work = seen([one for one in documents.all if one[0] != "stop"])
    assert at_work.analyses["focus_scores"].n_running == 1
    assert at_work.analyses["focus_scores"].rows["scores"] == 5
    assert documents.all[derived][1]["plan_name"] == "analysis"


class Locking:
    """Samples of a lock as its loop writes them, in a run as its plan collects them."""

    def __init__(self):
        self.ring = LockRing(4096)
        self.samples = LockSampleStream("lock", self.ring)
        self.n = 0

    def put(self, state, error_um, flags=()):
        self.n += 1
        fitted = SimpleNamespace(
            t_s=1e9 + 0.01 * self.n, frame=self.n, z_um=error_um, z_se_um=0.01, photons=1e3, background=1.0,
            sigma_x_px=1.5, sigma_y_px=1.5, x_px=8.0, y_px=8.0, n_beads=1, is_fit_ok=True,
        )  # fmt: skip
        command = SimpleNamespace(error_um=error_um, confidence=1.0, state=state, flags=flags)
        self.ring.put(fitted, command, 0.25, 1.0, 1.0, (0.001, 0.001, 0.001))

    def run(self, *pages):
        yield from bps.open_run({"plan_name": "lock_focus", "plan_args": {"duration_s": 60.0}})
        yield from bps.declare_stream(self.samples, name="lock", collect=True)
        for page in pages:
            for state, error_um, *flags in page:
                self.put(state, error_um, *flags)
            yield from bps.collect(self.samples, name="lock")
        yield from bps.close_run()


def test_the_lock_is_told_from_its_pages(RE, documents):
    engaging = [("ACQUIRING", math.nan)] * 4 + [("LOCKED", 0.01)] * 2
    lost = [("LOCKED", 0.03)] * 3 + [("LOST", math.nan, ("no_spot",))]
    RE(Locking().run(engaging, lost))
    lock = seen(documents.all).lock
    assert (lock.state, lock.error_um, lock.setpoint_um) == ("LOST", 0.03, 0.25)
    assert lock.in_lock == pytest.approx(5 / 6), "from when it had locked first"
    assert lock.flags == "no_spot"
    assert lock.errors_um == pytest.approx([0.01, 0.03])
    assert seen(documents.all).run.unit == "s"
    pages = [one for one in documents.all if one[0] != "stop"]
    assert seen(pages + pages).lock == seen(pages).lock


def test_the_next_run_begins_without_the_lock_of_the_one_before(RE, microscope, documents):
    RE(Locking().run([("LOCKED", 0.01)]))
    RE(z_stack(microscope, 1, 1))
    assert seen(documents.all).lock is None


def test_a_fault_on_demand_is_told_as_such(RE, documents, tmp_path):
    simulated = simulated_microscope("microscope", height_px=16, width_px=16, realtime=False)
    RE(inject_fault(simulated, "bead_gone", 7))
    simulated.destroy()
    (fault,) = seen(documents.all).faults
    assert (fault.kind, fault.what) == ("injected", "bead_gone after 7 frames")


INCIDENT = {
    "incident_kind": "worker_died",
    "incident_what": "the worker's process is gone",
    "incident_plan": "time_lapse",
    "incident_action": "opened it again",
    "incident_outcome": "retried",
}


def test_incidents_of_a_supervisor_stand_beside_the_run_that_goes_on(RE, microscope, documents):
    columns = Columns("incident", {key.partition("_")[2]: value for key, value in INCIDENT.items()})

    def supervisor():
        yield from bps.open_run({"plan_name": "supervisor"})
        yield from stubs.record(columns, {}, stream="incidents")

    def close():
        yield from bps.close_run()

    RE(z_stack(microscope, 1, 1))
    taken = list(documents.all)
    documents.all.clear()
    RE(supervisor())
    between = [one for one in documents.all if one[0] != "stop"]
    view = seen(taken[:-1] + between)
    assert view.run.plan_name == "z_stack"
    assert view.run.is_running
    (fault,) = view.faults
    assert (fault.kind, fault.plan, fault.outcome) == ("incident", "time_lapse", "opened it again: retried")
    assert fault.what == "worker died: the worker's process is gone"
    assert seen(documents.all).n_runs == 0, "its run counts for none"


def test_what_a_supervisor_did_about_a_run_that_failed_stands_with_it(RE, microscope, source, documents):
    source.fail_at = {0}
    with pytest.raises(FailedStatus):
        RE(z_stack(microscope, 1, 1))
    uid = documents.of("start")[0]["uid"]
    told = {**INCIDENT, "incident_kind": "plan_failed", "incident_item_uid": "a", "incident_run_uids": f"x,{uid}"}
    columns = Columns("incident", {key.removeprefix("incident_"): value for key, value in told.items()})

    def supervisor():
        yield from bps.open_run({"plan_name": "supervisor"})
        yield from stubs.record(columns, {}, stream="incidents")
        yield from bps.close_run()

    RE(supervisor())
    (fault,) = seen(documents.all).faults
    assert (fault.kind, fault.outcome) == ("run_failed", "opened it again: retried")


UP = QueueView("executing_queue", has_worker=True, running="z_stack", running_uid="1", n_waiting=3)


def test_a_manager_that_is_away_is_told_with_what_was_known():
    view = asked(asked(NightView(), UP), QueueView(away="the queue does not answer"))
    assert view.queue.away == "the queue does not answer"
    assert (view.queue.manager, view.queue.n_waiting) == ("", 3)
    assert not asked(view, UP).queue.away


def test_a_worker_that_goes_cuts_off_what_it_took_and_a_new_one_begins_afresh(RE, microscope, documents):
    analysis = FocusScores(emit=documents)
    RE.subscribe(analysis)
    RE(z_stack(microscope, 2, 1))
    analysis.drain(20)
    analysis.close()
    cut_off = [one for one in documents.all if one[0] != "stop"]
    view = asked(seen(cut_off, asked(NightView(), UP)), dataclasses.replace(UP, has_worker=False))
    assert (view.run.exit_status, view.run.reason) == ("cut off", "its worker is gone")
    assert view.analyses["focus_scores"].n_running == 0
    assert (view.n_runs, view.n_failed) == (1, 1)
    assert [fault.kind for fault in view.faults] == ["run_failed"]
    assert seen(cut_off, view) == view, "what was on its way comes to nothing"
    documents.all.clear()
    RE(positions(microscope, [[0, 0]]))
    after = seen(documents.all, asked(view, UP))
    assert (after.run.plan_name, after.run.exit_status) == ("positions", "success")


def test_a_worker_that_is_away_with_its_manager_is_not_gone(RE, microscope, documents):
    RE(z_stack(microscope, 2, 1))
    view = asked(seen(documents.all[:-1], asked(NightView(), UP)), QueueView(away="no answer"))
    assert view.run.is_running


def test_plans_that_failed_before_one_came_are_read_from_the_history(RE, microscope, source, documents):
    source.fail_at = {0}
    with pytest.raises(FailedStatus):
        RE(z_stack(microscope, 1, 1))
    uid = documents.of("start")[0]["uid"]
    failed = {"exit_status": "failed", "msg": "no\nframe", "time_stop": 5.0}
    history = [
        {"name": "z_stack", "item_uid": "a", "result": {**failed, "run_uids": [uid]}},
        {"name": "time_lapse", "item_uid": "b", "result": {**failed, "run_uids": []}},
        {"name": "positions", "item_uid": "c", "result": {"exit_status": "completed", "run_uids": ["x"]}},
    ]
    view = remembered(remembered(seen(documents.all), history), history)
    assert [(fault.kind, fault.plan, fault.what) for fault in view.faults] == [
        ("plan_failed", "time_lapse", "no frame"),
        ("run_failed", "z_stack", "counting: no frame within 5 s"),
    ]


def test_the_view_keeps_no_more_than_it_shows():
    history = [
        {"name": "z_stack", "item_uid": str(k), "result": {"exit_status": "failed", "msg": "x", "time_stop": k}}
        for k in range(200)
    ]
    view = remembered(NightView(), history)
    assert len(view.faults) == 50
    assert view.faults[-1].at_s == 199
    assert looked(view, CatalogView("ok")).catalog.state == "ok"


def test_after_a_night_the_last_run_of_the_catalog_is_shown(RE, microscope, documents):
    RE(z_stack(microscope, 1, 1, md={"sample": "embryo 7"}))
    (start,), (stop,) = documents.of("start"), documents.of("stop")
    supervisor = {"start": {"uid": "s", "time": start["time"] + 1, "plan_name": "supervisor"}, "stop": None}
    view = recalled(NightView(), [supervisor, {"start": start, "stop": stop}])
    run = view.run
    assert (run.plan_name, run.sample, run.exit_status, run.n_done) == ("z_stack", "embryo 7", "success", 3)
    assert not run.is_running
    assert run.elapsed_s(1e12) == pytest.approx(stop["time"] - start["time"])
    assert view.n_runs == 0, "of another night"
    RE(positions(microscope, [[0, 0]]))
    assert seen(documents.all, view).run.plan_name == "positions", "what is taken now comes first"


def test_a_run_that_was_closed_in_the_catalog_does_not_go_on(RE, microscope, documents):
    RE(z_stack(microscope, 1, 1))
    view = seen(until(documents.all, 2))
    assert view.run.is_running
    closed = {**documents.of("stop")[0], "exit_status": "abort", "reason": "recovered"}
    view = recalled(view, [{"start": documents.of("start")[0], "stop": closed}])
    assert (view.run.exit_status, view.run.reason) == ("abort", "recovered")
    assert view.runs == {}
