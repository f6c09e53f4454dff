"""`parfocal calibrate`, `lock` and `report` as people run them, on the simulated microscope."""

import contextlib
import io
import json
import math
import signal
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from parfocal.catalog import open_catalog
from parfocal.cli import main
from parfocal.focus import load_calibration, save_sweep

_VOID = {"meta", "img", "br", "path", "use", "rect", "line", "circle"}


def say(*arguments):
    """Run a command in this process; its exit code, its JSON, and what it said on standard error."""
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
    text = out.getvalue()
    complaints = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    said = json.loads(text) if text.strip().startswith("{") else {}
    return SimpleNamespace(code=code, json=said, out=text, err=err.getvalue(), complaints=complaints)


@pytest.fixture(scope="module")
def calibrated(data):
    said = say("calibrate", "--data", data, "--json")
    assert said.code == 0, said.err
    return said.json


def held(*arguments):
    """Run `parfocal lock`; again where a machine that is busy with other tests starved its loop."""
    for _ in range(3):
        said = say(*arguments)
        if "lock did not lock" not in said.err:
            break
    return said


@pytest.fixture(scope="module")
def locked(data, calibrated):
    which = calibrated["sha256"][:8]
    said = held(
        "lock",
        "--data",
        data,
        "--calibration",
        which,
        "--duration",
        3,
        "--max-step",
        0.2,
        "--track-gain",
        0.3,
        "--json",
    )
    assert said.code == 0, said.err
    return said.json


class _Page(HTMLParser):
    """Checks that tags close, and gathers what a browser would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href", "data")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href", "data")]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def check_page(path):
    page = _Page(Path(path).read_text(encoding="utf-8"))
    assert not page.open
    outside = [link for link in page.links if not link.startswith(("#", "data:image/png;base64,"))]
    assert not outside, "a report must open without a network"
    assert "script" not in page.tags
    return page


def lock_run(data, uid):
    with open_catalog(data) as catalog:
        run = catalog.run(uid)
        return run.metadata["start"], run.metadata["stop"], run["lock"].read()


def test_calibrate_writes_the_seeds_files_and_they_agree_with_the_catalog(calibrated, data):
    files = {name: Path(path) for name, path in calibrated["files"].items()}
    assert files["sweep"].name == "calibration_sweep.csv"
    assert files["meta"].name == "calibration_sweep.meta.json"
    assert len({path.parent for path in files.values()}) == 1
    rows = files["sweep"].read_text().splitlines()
    assert json.loads(files["meta"].read_text())["pixel_size_um"] == pytest.approx(0.108)
    assert files["picture"].read_bytes().startswith(b"\x89PNG")
    check_page(files["html"])
    with open_catalog(data) as catalog:
        run = catalog.run(calibrated["run"]["uid"])
        n_steps = run["sweep"].read()["step_number"].size
        assert len(rows) == 1 + n_steps >= 43  # 21 up and 21 down, or a second, finer sweep; and the header
        stored = run["calibration"].read()
        (derived,) = catalog.analyses_of(run)
        assert str(stored["calibration_sha256"].values[0]) == calibrated["sha256"]
        assert str(derived["calibration"].read()["sha256"].values[0]) == calibrated["sha256"]
        assert run.metadata["start"]["simulated"] == {"focus camera": True, "stage": True}
    assert load_calibration(files["calibration"]).focus_um == calibrated["focus_um"]
    assert calibrated["simulated"] == ["focus camera", "stage"]


def test_a_replayed_calibration_is_the_one_that_the_plan_armed_with(calibrated, data):
    uid = calibrated["run"]["uid"]
    said = say("replay", "--data", data, uid, "--analysis", "focus_calibration", "--supersede")
    assert said.code == 0, said.err
    with open_catalog(data) as catalog:
        hashes = [str(a["calibration"].read()["sha256"].values[0]) for a in catalog.analyses_of(uid)]
    assert hashes == [calibrated["sha256"]] * 2


def test_lock_holds_and_its_report_agrees_with_the_catalog(locked, calibrated, data):
    start, stop, samples = lock_run(data, locked["run"]["uid"])
    assert stop["exit_status"] == "success"
    assert start["parfocal"]["lock"]["calibration"] == locked["calibration"]["sha256"] == calibrated["sha256"]
    assert start["parfocal"]["lock"]["calibration_run"] == calibrated["run"]["uid"]
    assert start["plan_args"]["settings"] == {"max_step_um": 0.2, "track_gain": 0.3}
    assert locked["settings"]["max_step_um"] == 0.2
    summary = locked["summary"]
    state, error_um = samples["lock_state"].values, samples["lock_error_um"].values
    assert summary["n_frames"] == state.size > 30
    assert locked["states"]["LOCKED"] == pytest.approx(np.mean(state == "LOCKED"))
    assert summary["rms_error_um"] == pytest.approx(np.sqrt(np.mean(np.square(error_um[state == "LOCKED"]))))
    assert summary["in_lock_fraction"] > 0.9
    assert summary["rms_error_um"] < 0.02
    assert start["parfocal"]["lock"]["exposure_s"] == pytest.approx(locked["exposure_s"])
    if summary["rms_focus_um"] is not None:  # with too few frames nothing tells noise from motion
        assert summary["rms_error_um"] <= summary["rms_focus_um"] < 0.03
    whole = np.percentile(samples["lock_answer_s"].values, (50, 95, 99))
    assert locked["latency_s"]["whole"] == pytest.approx(whole.tolist())


def test_the_report_lies_beside_the_events_and_is_complete_without_a_network(locked):
    files = {name: Path(path) for name, path in locked["files"].items()}
    assert files["report"].name == "autofocus_run_report.json"
    assert files["events"].name == "autofocus_events.log"
    assert files["report"].parent == files["html"].parent == files["events"].parent
    stored = json.loads(files["report"].read_text())
    assert stored == {k: v for k, v in locked.items() if k not in ("files", "folder")}
    page = check_page(files["html"])
    assert page.tags.count("svg") == 5
    words = " ".join(page.words)
    for shown in (
        locked["calibration"]["sha256"],
        locked["run"]["uid"],
        "Simulated",
        "Kalman bound",
        "error (nm)",
    ):
        assert shown in words
    lines = files["events"].read_text().splitlines()
    codes = [line.split()[1] for line in lines]
    assert codes[:2] == ["ARMED", "ENGAGE"]
    assert codes[-1] == "RELEASED"
    assert codes.index("LOCKING") < codes.index("LOCKED")
    seen = [(e["code"], e["frame"]) for e in stored["events"]]
    assert [(line.split()[1], int(line.split()[3])) for line in lines if " frame " in line] == seen


def test_report_writes_the_same_again_from_the_catalog(locked, data, tmp_path):
    said = say("report", "--data", data, locked["run"]["uid"][:8], "--out", tmp_path, "--json")
    assert said.code == 0, said.err
    assert json.loads((tmp_path / "autofocus_run_report.json").read_text()) == json.loads(
        Path(locked["files"]["report"]).read_text()
    )
    check_page(tmp_path / "autofocus_run_report.html")


@pytest.mark.parametrize(
    ("options", "law", "measure"),
    [
        (("--no-gaussian-fit", "--background-percentile", 20), "kalman", "moments"),
        (("--kp", 0.3, "--ki", 0.1, "--loop-hz", 40), "pi", "widths"),
    ],
    ids=["no fit", "pi"],
)
def test_options_change_how_frames_are_measured(options, law, measure, calibrated, data):
    said = held("lock", "--data", data, "--duration", 0.5, "--json", *options)
    start = lock_run_start(data)
    assert (start["plan_args"]["law"], start["plan_args"]["measure"]) == (law, measure)
    assert said.code == 0, said.err
    assert (said.json["law"], said.json["measure"]) == (law, measure)
    assert start["exposure_s"] == said.json["exposure_s"] == (0.025 if "--loop-hz" in options else 0.02)


def lock_run_start(data):
    with open_catalog(data) as catalog:
        return catalog.run(str(catalog.runs(plan="lock_focus", limit=1)["uid"].iloc[0])).metadata["start"]


@pytest.mark.parametrize(("convention", "extra"), [("ratio", ("--fast-mode",)), ("sqrt_ratio", ())])
def test_a_calibration_csv_of_either_convention_locks(convention, extra, calibrated, data, tmp_path):
    table = tmp_path / "calibration_sweep.csv"
    made = load_calibration(calibrated["files"]["calibration"])
    save_sweep(table, made, created_at_unix_s=0.0, convention=convention)
    said = say("lock", "--data", data, "--duration", 0.5, "--calibration-csv", table, "--json", *extra)
    assert said.code == 0, said.err
    assert said.json["measure"] == "widths"  # a CSV holds no pictures to correct `direct` by
    assert said.json["calibration"]["run_uid"] == ""


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("pixel_size_um", 0.2, "pixel size was 0.2 um and is 0.108 um"), ("camera", "other", "camera was 'other'")],
)
def test_a_calibration_of_another_light_path_is_refused_in_one_line(
    key, value, expected, calibrated, data, tmp_path
):
    for name in ("sweep", "meta"):
        source = Path(calibrated["files"][name])
        (tmp_path / source.name).write_bytes(source.read_bytes())
    meta = tmp_path / "calibration_sweep.meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {key: value}))
    table = tmp_path / "calibration_sweep.csv"
    said = say("lock", "--data", data, "--calibration-csv", table, "--out", tmp_path)
    assert said.code == 2
    assert len(said.complaints) == 1
    assert expected in said.complaints[0]
    assert not list(tmp_path.glob("autofocus_run_report*"))


def test_a_sweep_that_tells_too_little_is_refused_in_words_and_its_files_are_kept(data, calibrated, tmp_path):
    said = say(
        "calibrate", "--data", data, "--calibration-half-range-um", 0.06, "--calibration-steps", 6, "--one-way",
        "--out", tmp_path, "--json",
    )  # fmt: skip
    assert said.code == 2
    assert len(said.complaints) == 1
    assert "not fit to lock with" in said.complaints[0]
    report = json.loads((tmp_path / "calibration_report.json").read_text())
    assert not report["is_armable"]
    assert report["why_not"] in said.complaints[0]
    assert (tmp_path / "calibration_sweep.csv").is_file()
    with open_catalog(data) as catalog:
        assert (
            str(catalog.run(report["run"]["uid"])["calibration"].read()["calibration_sha256"].values[0])
            == (report["sha256"])
        )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--law", "kalman", "--kp", 0.5), "--kp are gains of --law pi"),
        (("--fast-mode", "--no-gaussian-fit"), "give one of the two"),
        (("--background-percentile", 20), "is of --no-gaussian-fit"),
        (("--loop-hz", 30, "--exposure-s", 0.01), "--loop-hz sets the exposure"),
        (("--track-roi-xy", 1, 2, 9, 11), "expected X Y W H of a square"),
        (("--camera", "webcam"), "camera is 'webcam', expected one of simulate, orca, andor, micromanager"),
        (("--stage", "mcl", "--axis", "q"), "axis is 'q', expected x, y or z"),
        (("--camera-option", "colour=red"), "no option 'colour'"),
        (("--settings", "/nowhere.yml"), "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line_before_anything_opens(arguments, expected, tmp_path):
    said = say("lock", "--data", tmp_path / "never made", *arguments)
    assert said.code == 2
    assert len(said.complaints) == 1
    assert expected in said.complaints[0]
    assert not (tmp_path / "never made").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_step_um: fast", "max_step_um is 'fast', expected a number"),
        ("speed: 1", "no option 'speed'"),
        ("- 1", "names and values were expected"),
        ("track_roi: 1", "track_roi is 1, expected true or false"),
    ],
)
def test_settings_of_a_file_are_checked_by_name_and_kind(text, expected, tmp_path):
    (tmp_path / "lock.yml").write_text(text)
    said = say("lock", "--data", tmp_path / "never made", "--settings", tmp_path / "lock.yml")
    assert said.code == 2
    assert expected in said.complaints[0]


def test_ctrl_c_releases_the_lock_closes_the_run_and_writes_the_report(data, calibrated, program, tmp_path):
    process = program("lock", "--data", data, "--duration", 120, "--out", tmp_path)
    log = tmp_path / "autofocus_events.log"
    assert wait_for(lambda: log.is_file() and " LOCKED " in log.read_text(), 60)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    report = json.loads((tmp_path / "autofocus_run_report.json").read_text())
    assert report["run"]["exit_status"] != "success"
    assert report["summary"]["n_frames"] > 0
    assert math.isfinite(report["states"]["LOCKED"])
    assert "RELEASED" in log.read_text().splitlines()[-1]
    with open_catalog(data) as catalog:
        assert catalog.run(report["run"]["uid"]).metadata["stop"]["exit_status"] == report["run"]["exit_status"]


def wait_for(is_so, timeout_s):
    import threading
    import time

    until, tick = time.monotonic() + timeout_s, threading.Event()
    while time.monotonic() < until:
        if is_so():
            return True
        tick.wait(0.05)
    return False


def test_without_a_calibration_it_says_what_to_do(tmp_path_factory, data):
    said = say("lock", "--data", data, "--calibration", "ffffffff")
    assert said.code == 2
    assert "0 in" in said.complaints[0]
    said = say("lock", "--data", data, "--calibration-csv", "/nowhere/calibration_sweep.csv")
    assert said.code == 2
    assert "calibration CSV not found" in said.complaints[0]
    assert "--allow-missing-calibration" in said.complaints[0]


def test_show_live_without_a_window_says_how_to_get_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyqtgraph", None)  # as where it is not installed
    said = say("calibrate", "--show-live")
    assert (said.code, len(said.complaints)) == (2, 1)
    assert "parfocal[gui]" in said.complaints[0]
