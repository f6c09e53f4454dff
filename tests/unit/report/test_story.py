"""A story told as a page and as data, without a catalog: what people read in the morning, and how large it is."""

import json
import re

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.report import Failure, Incident, read_story, story_data, write_story, write_story_figures
from parfocal.report._plot import Line, Plot, thin, ticks
from parfocal.report._plot_svg import plot_html
from parfocal.report._story_nuclei import outline_of
from stored_lock import BEGAN_S
from stored_story import derived, focus, nuclei, run_story, story, whole


def words_of(path):
    text = re.sub(r"<(script|style).*?</\1>", " ", path.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_the_page_tells_what_failed_and_what_was_done_about_it(tmp_path):
    broken = run_story(
        "bbbbbbbb-2",
        status="fail",
        failures=(Failure(BEGAN_S, "position 3", "skip", "camera: no frame"),),
        derived=(derived("cccc", "fail"),),
    )
    incident = Incident(BEGAN_S, "worker_died", "gone", "ab", "z_stack", "reopen", "open", ("bbbbbbbb-2",), 4.2)
    night = story(run_story(), broken, incidents=(incident,))
    words = words_of(write_story(night, tmp_path / "night.html"))
    assert "ended as fail no &lt;frame&gt;" in words
    assert "position 3 camera: no frame skip" in words
    assert "analysis nuclei cccc no mask" in words
    assert "supervisor: worker_died plan z_stack, run bbbbbbbb gone reopen → open (4.2 s)" in words
    assert "2 failed" in words
    assert "Nothing: every run" in words_of(write_story(story(run_story()), tmp_path / "good.html"))


def test_a_run_that_was_cut_off_is_said_to_be_not_closed(tmp_path):
    words = words_of(write_story(story(run_story(status="")), tmp_path / "page.html"))
    assert "ended as not closed it was never closed" in words


def test_no_text_of_a_document_becomes_markup(tmp_path):
    text = write_story(story(whole(), run_story("bbbbbbbb-2", status="fail")), tmp_path / "p.html").read_text()
    assert "<dish>" not in text
    assert "<frame>" not in text
    assert "&lt;dish&gt; &amp; 2" in text


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    text = write_story(story(whole()), tmp_path / "page.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", text)
    assert "url(" not in text
    assert "@import" not in text
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_a_rejected_slice_and_its_retake_stand_side_by_side(tmp_path):
    text = write_story(story(whole()), tmp_path / "page.html").read_text()
    (group,) = re.findall(r'<div class="group again">(.*?)</div></div>', text, re.DOTALL)
    assert group.count("<img") == 2
    assert group.index("rejected: blurred") < group.index("accepted")


def test_a_result_that_was_replaced_is_named_as_such_and_does_not_count():
    (told,) = story_data(story(whole()))["runs"]
    assert [one["counts"] for one in told["derived"]] == [False, True]
    assert told["derived"][0]["superseded_by"] == "d2d2d2d2-x"


def test_a_story_as_data_is_plain_json_with_the_numbers_of_the_page():
    night = story(whole(), run_story("bbbbbbbb-2", status="fail"))
    told = json.loads(json.dumps(story_data(night), allow_nan=False))
    summary = told["summary"]
    assert (summary["n_runs"], summary["n_succeeded"], summary["n_frames"]) == (2, 1, 18)
    assert (summary["n_rejected"], summary["n_retaken"], summary["n_nuclei"]) == (1, 1, 2)
    assert summary["in_lock_fraction"] == 1.0
    first = told["runs"][0]
    assert first["lock"]["summary"]["n_frames"] == 600
    assert [one["reason"] for one in first["slices"]] == ["blurred", ""]
    assert "pixels" not in first["slices"][0]


def test_a_long_night_stays_a_page_that_opens(tmp_path):
    runs = [whole(f"{k:08d}-x", BEGAN_S + 600 * k, 8) for k in range(40)]
    assert write_story(story(*runs), tmp_path / "page.html").stat().st_size < 30e6


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    broken = story(whole())
    monkeypatch.setattr("parfocal.report._story_files.story_page", lambda story: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_story(broken, path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(("kind", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_for_a_paper_keep_their_text_and_are_the_same_every_time(tmp_path, kind, begins):
    told = story(run_story(focus=focus(60), nuclei=(nuclei(),)))
    first = write_story_figures(told, tmp_path / "a", kind)
    assert {path.stem.partition("_")[0] for path in first} == {"focus", "nuclei"}
    assert all(path.read_bytes().startswith(begins) for path in first)
    again = write_story_figures(told, tmp_path / "b", kind)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    if kind == "svg":
        assert "error (nm)" in first[0].read_text()


def test_figures_of_another_kind_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="svg or pdf was expected"):
        write_story_figures(story(whole()), tmp_path, "png")


def test_a_story_needs_runs_or_a_time_but_not_both():
    for told in ({}, {"uids": ["newest"], "since": "today"}):
        with pytest.raises(BadInputError, match="and not both"):
            read_story(None, **told)


def test_thinning_keeps_every_extreme_and_the_breaks():
    values = np.sin(np.arange(100_000) / 50)
    values[31_415], values[271] = 9.0, -9.0
    values[50_000:60_000] = np.nan
    x, y = thin(np.arange(values.size), values, 3000)
    assert x.size <= 3000
    assert (np.nanmax(y), np.nanmin(y)) == (9.0, -9.0)
    assert x[np.nanargmax(y)] == 31_415
    inside = (x > 50_100) & (x < 59_900)
    assert inside.any()
    assert np.isnan(y[inside]).all()
    assert (np.diff(x) > 0).all()


def test_an_outline_goes_round_every_pixel_of_a_region_and_no_other():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    x, y = outline_of(mask)
    steps = np.hypot(np.diff(x), np.diff(y))
    outer, hole = 2 * (3 + 4), 4
    assert np.nansum(steps) == outer + hole
    assert (np.nanmin(x), np.nanmax(x), np.nanmin(y), np.nanmax(y)) == (1.5, 5.5, 0.5, 3.5)
    edge = np.ones((2, 2), bool)
    assert np.nansum(np.hypot(*np.diff(outline_of(edge)))) == 8


def test_a_break_in_a_line_is_a_break_in_the_drawing():
    line = Line(np.arange(5.0), np.array([0.0, 1.0, np.nan, 1.0, 0.0]), "#000000", "<odd>")
    text = plot_html(Plot("p", "a < b", "t", "y", (line,)))
    (path,) = re.findall(r'class="line"[^>]* d="([^"]*)"', text)
    assert (path.count("M"), path.count("L")) == (2, 2)
    assert "&lt;odd&gt;" in text
    assert "a &lt; b" in text


def test_ticks_are_round_numbers_within_the_ends():
    assert ticks(0.0, 10.0, 5) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert ticks(-0.03, 0.07, 5) == pytest.approx([-0.02, 0.0, 0.02, 0.04, 0.06])
    assert ticks(1.0, 1.0, 5) == []
