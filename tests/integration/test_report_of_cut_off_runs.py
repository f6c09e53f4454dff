"""The report of runs whose analyses were cut off: what there is of them, and what is not, in plain words."""

import re
import time
from dataclasses import replace
from html import unescape
from uuid import uuid4

import numpy as np
import pytest
from bluesky.utils import FailedStatus

from parfocal.callbacks import Nuclei, NucleiParameters
from parfocal.cli import main
from parfocal.errors import HardwareError
from parfocal.plans import z_stack
from parfocal.report import read_story, story_data, write_story
from parfocal.session import start_session

SIDE_PX = 64
Y, X = np.ogrid[:SIDE_PX, :SIDE_PX]
TWO_DISCS = 100 + 400 * (((Y - 20) ** 2 + (X - 20) ** 2 < 60) | ((Y - 44) ** 2 + (X - 40) ** 2 < 60))


@pytest.fixture
def session(served_folder, microscope, source):
    """A session at a microscope whose every frame shows two bright discs."""
    snap = source.snap
    source.shape = (SIDE_PX, SIDE_PX)
    source.snap = lambda timeout_s: replace(snap(timeout_s), pixels=TWO_DISCS.astype(np.uint16))
    session = start_session(served_folder, in_thread=True)
    session.use(microscope)
    yield session
    session.close()


def taken(session, microscope, *analyses):
    """Take a stack, which fails where the source is to; return its uid."""
    uids = []
    tokens = [session.RE.subscribe(lambda _, doc: uids.append(doc["uid"]), "start")]
    for analysis in analyses:
        analysis.frames_root = session.catalog.folder.frames
        tokens.append(session.RE.subscribe(analysis))
    try:
        session.RE(z_stack(microscope, 4, 1))
    except (HardwareError, FailedStatus):
        pass
    finally:
        for token in tokens:
            session.RE.unsubscribe(token)
    assert all(analysis.close(60) for analysis in analyses)
    assert session.drain(60)
    return uids[0]


def left_behind(session, raw_uid, analysis, stop=None):
    """Write a derived run as a process leaves it that was killed before it wrote anything."""
    uid = str(uuid4())
    raw = {"uid": raw_uid, "stream": "primary", "data_key": "microscope_camera"}
    about = {"analysis": analysis, "version": 1, "parameters": {}, "parameters_hash": uid[:8], "raw": raw}
    session.writer("start", {"uid": uid, "time": time.time(), "plan_name": "analysis", "parfocal": about})
    if stop is not None:
        session.writer("stop", {"uid": str(uuid4()), "time": time.time(), "run_start": uid, **stop})
    return uid


def words_of(page):
    text = re.sub(r"<(script|style).*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", text).split()))


def test_nuclei_of_a_stack_that_ended_after_its_first_plane_are_drawn(session, microscope, source):
    source.fail_at = {1}
    uid = taken(
        session, microscope, Nuclei(NucleiParameters(backend="watershed", diameter_um=2.0), emit=session.writer)
    )
    (derived,) = session.catalog.analyses_of(uid)
    assert set(derived) == {"labels_0", "stacks"}, "the first plane waits for the second: no row of planes"
    told = read_story(session.catalog, [uid])
    assert told.remarks == ()
    (stack,) = told.runs[0].nuclei
    assert len(stack.outlines) == stack.stack["n_objects"] > 0
    assert (stack.plane, stack.z_um) == (0, -4.0)


def test_what_was_cut_off_is_said_to_be_so_and_what_there_is_of_it(session, microscope, tmp_path):
    uid = taken(session, microscope)
    for analysis in ("nuclei", "puncta", "slice_audit", "focus_scores"):
        left_behind(session, uid, analysis, {"exit_status": "abort", "reason": f"{analysis} was cut off"})
    some = {"exit_status": "abort", "reason": "killed", "num_events": {"planes": 3}}
    left_behind(session, uid, "nuclei", some)
    going = left_behind(session, uid, "references")
    session.writer.drain(10)
    told = read_story(session.catalog, [uid])
    assert told.remarks == ()
    words = words_of(write_story(told, tmp_path / "page.html"))
    for analysis in ("nuclei", "puncta", "slice_audit", "focus_scores"):
        assert f"{analysis} was cut off nothing of it was written" in words
    assert "killed not shown, but in the catalog: planes (3)" in words
    assert f"analysis references {going[:8]} it is not closed: it goes on, or was cut off" in words
    assert story_data(told)["summary"]["n_analyses_failed"] == 6


def test_the_page_is_opened_where_asked_and_where_no_browser_can_be_it_says_so(
    session, microscope, tmp_path, monkeypatch, capsys
):
    uid, page, opened = taken(session, microscope), tmp_path / "page.html", []
    arguments = ["report", uid, "--data", str(session.catalog.folder.root), "--out", str(page), "--open"]
    for there_is_one, code in ((True, 0), (False, 2)):
        monkeypatch.setattr("webbrowser.open", lambda url, found=there_is_one: opened.append(url) or found)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == code
    assert opened == [page.as_uri()] * 2
    assert "no browser could be started here" in " ".join(capsys.readouterr().err.split())
