"""A night in minutes: a real queue, Redis, catalog and worker, with faults; in the morning nothing is missing."""

import os
import threading

import pytest

from night import HANGS_ONCE, Night, assert_nothing_is_missing, incidents, item, small_profile
from parfocal.catalog import ensure_server, open_catalog, recover, stop_server
from parfocal.queue import SupervisorPolicy
from parfocal.report import read_story

pytest.importorskip("bluesky_queueserver_api", reason="extra `queue` is not installed")


def makes_safe_again(night):
    """Return what a last `make_safe` found: it moves nothing, and finds no light, where all was safe before."""
    assert not list(night.folder.resting.glob("*.json"))
    night.call(
        lambda client: client.item_execute({"item_type": "plan", "name": "make_safe", "args": ["microscope"]})
    )
    night.until(night.is_done)
    assert night.history()[-1] == ("make_safe", "completed")


def safe_events(catalog):
    """Yield what each `make_safe` told, the newest first."""
    runs = catalog.runs()
    for uid in runs[runs["plan"] == "make_safe"]["uid"]:
        yield catalog.run(uid)["safe"].read()


@pytest.mark.long
def test_a_killed_worker_and_a_lost_frame_cost_a_queue_one_retry_and_one_skip(tmp_path):
    """The short night: what a worker's death cut off is taken again, what fails twice is skipped."""
    night = Night(tmp_path / "data", small_profile(tmp_path / "profile"))
    try:
        night.add(
            item("time_lapse", sample="cut off", n_time_points=25, interval_s=0.1, half_range_um=0.0),
            item("inject_fault", fault="frame_lost", n_times=1),
            item("z_stack", "skip", sample="lost", half_range_um=1.0, step_um=1.0),
            item("z_stack", sample="last", half_range_um=1.0, step_um=1.0),
        )
        night.wait_for_events("cut off", 5)
        night.kill_worker()
        night.until(night.is_done)
        makes_safe_again(night)
        history = night.history()
    finally:
        night.stop()
    try:
        assert history == [
            ("time_lapse", "failed"),
            ("make_safe", "completed"),
            ("time_lapse", "completed"),
            ("inject_fault", "completed"),
            ("z_stack", "failed"),
            ("z_stack", "completed"),
            ("make_safe", "completed"),
        ]
        with open_catalog(night.folder) as catalog:
            assert len(incidents(catalog)) == 2, night.said()
            died, failed = incidents(catalog)
            assert died["run_uids"], night.said()
            # Raw and derived runs were cut off.
            (cut_off,) = [run for uid in died["run_uids"].split(",") if "primary" in (run := catalog.run(uid))]
            assert cut_off.metadata["stop"]["exit_status"] == "abort"
            assert len(cut_off["primary"]["camera_frame"].read()) >= 5
            last, *_ = safe_events(catalog)
        assert (died["kind"], died["plan"], died["outcome"]) == ("worker_died", "time_lapse", "the queue goes on")
        assert "microscope made safe" in died["action"]
        assert (failed["kind"], failed["plan"]) == ("plan_failed", "z_stack")
        assert "lost" in failed["what"]
        assert "z_stack skipped" in failed["action"]
        assert last["safe_light_was_on"].item() == 0
        assert last["safe_z_restored"].item() == 0
        assert assert_nothing_is_missing(night.folder) >= 25 + 5 + 3
    finally:
        night.close()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_worker_that_hangs_is_ended_and_a_proxy_that_died_is_started_again(tmp_path):
    profile = small_profile(tmp_path / "profile", also=HANGS_ONCE)
    night = Night(tmp_path / "data", profile, policy=SupervisorPolicy(silent_s=10.0))
    proxy_pid = night.info.proxy_pid
    try:
        os.kill(proxy_pid, 9)
        night.until(lambda: night.info.proxy_pid != proxy_pid, 60)
        night.add(item("z_stack", sample="hangs", half_range_um=8.0, step_um=0.5), item("z_stack", sample="next"))
        night.until(night.is_done)
        history = night.history()
    finally:
        night.stop()
    try:
        assert (profile / "has_hung").exists()
        assert history == [
            ("z_stack", "failed"), ("make_safe", "completed"), ("z_stack", "completed"), ("z_stack", "completed"),
        ], night.said()  # fmt: skip
        with open_catalog(night.folder) as catalog:
            proxy, hung = incidents(catalog)
        assert (proxy["kind"], proxy["outcome"]) == ("proxy_died", "it answers again")
        assert (hung["kind"], hung["plan"], hung["outcome"]) == ("worker_hung", "z_stack", "the queue goes on")
        assert "worker ended: no document for 1" in hung["action"]
    finally:
        night.close()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_night_in_minutes_with_every_fault_ends_and_is_whole(tmp_path):
    """Focus, stacks over positions, sections, puncta; camera, stage, focus, catalog, worker and Redis fail."""
    night = Night(tmp_path / "data", small_profile(tmp_path / "profile", analyses=True))
    places = [[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]]
    try:
        night.add(
            item("calibrate_focus", sample="beads", exposure_s=0.01, settle_s=0.0, go_to_focus=True),
            item("lock_focus", sample="lock", duration_s=3.0),
            item("inject_fault", fault="lost_focus", duration_s=5.0, camera="focus_camera", after_frames=100),
            item(
                "run_locked",
                name="time_lapse",
                arguments={"n_time_points": 40, "interval_s": 0.25, "md": {"sample": "focus"}},
            ),
            item("inject_fault", fault="camera_timeout", after_frames=4),
            item(
                "time_lapse",
                sample="timeout",
                n_time_points=2,
                interval_s=0.0,
                half_range_um=1.0,
                step_um=1.0,
                positions_um=places,
                channels=["nuclei"],
                on_error="retry",
            ),
            item("inject_fault", fault="stage_stall"),
            item("z_stack", sample="stall", half_range_um=2.0, step_um=0.5, channels=["nuclei"]),
            item("acquire_sections", sample="sections", sections_um=[*places, [20.0, 20.0]], refocus="never"),
            item("image_puncta", sample="puncta", channels=["puncta"], n_frames=6, focus_locked=False),
            item("time_lapse", sample="killed", n_time_points=60, interval_s=0.1, half_range_um=0.0),
            item("time_lapse", sample="outage", n_time_points=120, interval_s=0.25, half_range_um=0.0),
            item("z_stack", sample="last", half_range_um=1.0, step_um=0.5, channels=["nuclei", "puncta"]),
        )
        night.wait_for_events("killed", 10)
        night.kill_worker()
        night.wait_for_events("outage", 5)
        stop_server(night.folder)
        os.kill(night.info.redis_pid, 9)
        threading.Event().wait(20.0)
        ensure_server(night.folder)
        night.until(night.is_done)
        makes_safe_again(night)
        history = night.history()
    finally:
        night.stop()
    try:
        assert {one.outcome for one in recover(night.folder)} <= {"written", "present"}
        assert recover(night.folder) == []
        with open_catalog(night.folder) as catalog:
            told = incidents(catalog)
            kinds = {one["kind"] for one in told}
            assert {"plan_failed", "worker_died", "redis_died", "catalog_away"} <= kinds, told
            whys = " ".join(one["what"] for one in told)
            assert "stalled" in whys
            # The lock finds back by itself, or gives up and the plan fails: its run says so in either case.
            assert "focus" in {catalog.run(uid).metadata["start"].get("sample") for uid in catalog.runs()["uid"]}
            runs = catalog.runs()
            story = read_story(catalog, list(runs["uid"]))
            assert {one.kind for one in story.incidents} == kinds, "the report tells of them"
            by_sample = {}
            for uid in runs["uid"]:
                start = catalog.run(uid).metadata["start"]
                by_sample.setdefault(start.get("sample"), []).append(uid)
            (timed_out,) = by_sample["timeout"]
            reasons = catalog.run(timed_out)["failures"]["failure_reason"].read()
            assert any("no frame" in str(reason) for reason in reasons)
            assert len(by_sample["killed"]) == 2, "cut off, and taken again"
            assert len(by_sample["stall"]) == 2
            assert catalog.run(by_sample["last"][0]).metadata["stop"]["exit_status"] == "success"
            planted = list(runs[runs["plan"] == "inject_fault"]["uid"])
            assert len(planted) == 3
            last, *_ = safe_events(catalog)
            assert last["safe_light_was_on"].item() == 0
        ended = [name for name, status in history if status == "completed"]
        wanted = ("calibrate_focus", "lock_focus", "acquire_sections", "image_puncta")
        assert set(wanted) <= set(ended), history
        assert assert_nothing_is_missing(night.folder) > 250
    finally:
        night.close()
