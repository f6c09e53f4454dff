"""Reports from samples whose truth is known: a lock that held, one that was lost, one that never began."""

import json
import math

import numpy as np
import pytest

from parfocal.report import EventReader, LockRun, event_line, lock_report, percent, write_lock_report
from parfocal.report._lock_figures import thinned
from stored_lock import RATE_HZ, lock_run


def test_numbers_are_those_of_the_samples():
    report = lock_report(lock_run())
    assert report["summary"]["in_lock_fraction"] == 1.0
    assert report["summary"]["rms_error_um"] == pytest.approx(0.003, rel=0.1)
    assert report["summary"]["frame_rate_hz"] == pytest.approx(RATE_HZ)
    assert report["summary"]["walk_um"] == pytest.approx(0.004, rel=0.3)
    assert report["summary"]["bound_um"] > 0.004
    bound = report["summary"]["bound_um"]
    assert report["summary"]["rms_over_bound"] == pytest.approx(report["summary"]["rms_focus_um"] / bound)
    assert report["latency_s"]["exposure_to_frame"][0] == pytest.approx(0.012)
    assert report["latency_s"]["fit"][0] == pytest.approx(0.0003)
    assert report["latency_s"]["command"][0] == pytest.approx(0.0001)
    assert report["latency_s"]["whole"][2] == pytest.approx(0.0124)
    assert (report["law"], report["measure"], report["settings"]["max_step_um"]) == ("pi", "widths", 0.1)
    assert report["calibration"] == {"sha256": "ab12", "run_uid": "cd34"}
    assert report["simulated"] == []


def test_a_loss_is_counted_and_told():
    states = ["LOCKED"] * 200 + ["DEGRADED"] * 20 + ["LOST"] * 50 + ["RECOVERY"] * 30 + ["LOCKED"] * 300
    flags = [""] * 200 + ["fit_failed"] * 70 + [""] * 330
    report = lock_report(lock_run(states=states, flags=flags))
    assert report["summary"]["n_losses"] == 1
    assert report["summary"]["in_lock_fraction"] == pytest.approx(500 / 600)
    assert report["safeguards"] == {"fit_failed": 70}
    told = [(e["code"], e["frame"]) for e in report["events"]]
    assert told == [
        ("LOCKED", 0), ("DEGRADED", 200), ("fit_failed", 200), ("LOST", 220), ("RECOVERY", 270), ("LOCKED", 300),
    ]  # fmt: skip


@pytest.mark.parametrize("pieces", [1, 7, 60])
def test_events_are_the_same_in_one_piece_or_many(pieces):
    rng = np.random.default_rng(1)
    states = rng.choice(["LOCKED", "DEGRADED"], 60).tolist()
    flags = rng.choice(["", "unexpected", "low_signal unexpected", "held"], 60).tolist()
    columns = lock_run(60, states, flags).columns
    whole = list(EventReader().read(columns))
    reader, found = EventReader(), []
    for part in np.array_split(np.arange(60), pieces):
        found += list(reader.read({name: values[part] for name, values in columns.items()}))
    assert found == whole
    assert "held" not in {e.code for e in found}


def test_a_safeguard_that_flickers_is_one_event_until_it_was_quiet_for_a_second():
    flags = ["low_signal", ""] * 10 + [""] * 60 + ["low_signal"] + [""] * 19
    events = [e for e in EventReader().read(lock_run(100, flags=flags).columns) if e.kind == "safeguard"]
    assert [e.frame for e in events] == [0, 80]


def test_a_line_of_the_log_tells_when_what_and_where_in_words():
    flags = [""] * 3 + ["second_bead"]
    *_, event = EventReader().read(lock_run(4, flags=flags).columns)
    line = event_line(event)
    assert line.startswith("2023-11-14T22:13:20.060Z  second_bead")
    assert "frame 3" in line
    assert line.endswith("two beads in the region")


def test_a_lock_that_failed_before_its_first_sample_has_a_report(tmp_path):
    run = LockRun(lock_run(0).start, {"exit_status": "fail", "reason": "no <bead> there"}, lock_run(0).columns)
    told, shown = write_lock_report(run, tmp_path)
    report = json.loads(told.read_text())
    assert report["summary"]["n_frames"] == 0
    assert report["summary"]["rms_error_um"] is None
    text = shown.read_text()
    assert "no &lt;bead&gt; there" in text
    assert "<bead>" not in text


def test_what_is_simulated_is_said_at_the_top(tmp_path):
    run = lock_run(simulated={"focus camera": False, "stage": True})
    assert lock_report(run)["simulated"] == ["stage"]
    assert "Simulated: stage. " in write_lock_report(run, tmp_path)[1].read_text()
    assert lock_report(lock_run(instrument="simulate camera, mcl stage"))["simulated"] == ["microscope"]


def test_a_night_is_drawn_with_few_points_and_no_peak_is_lost(tmp_path):
    n = 200_000
    values = np.zeros(n)
    values[123_456], values[7] = 5.0, -3.0
    t, v = thinned(np.arange(n, dtype=float), values)
    assert t.size <= 1600
    assert (v.max(), v.min()) == (5.0, -3.0)
    assert np.all(np.diff(t) >= 0)
    gap = np.where(np.arange(n) < n // 2, np.nan, 1.0)
    t, v = thinned(np.arange(n, dtype=float), gap)
    assert math.isnan(v[0])
    assert v[-1] == 1.0
    assert write_lock_report(lock_run(20_000), tmp_path)[1].stat().st_size < 600_000


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100 %"), (0.99999, "99.99 %"), (0.5, "50 %"), (0.0, "0 %"), (None, "–"), (math.nan, "–")],
)
def test_a_share_that_is_not_whole_is_never_rounded_up_to_100(share, said):
    assert percent(share) == said
