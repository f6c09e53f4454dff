"""The report of a night that was really taken, opened in a real browser: right numbers, zoom, paper."""

import contextlib
import io
import json
import re
from datetime import UTC, datetime
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest

from parfocal.catalog import DataFolder, open_catalog, stop_server
from parfocal.cli import main
from parfocal.report import read_story, story_data
from report_browser import ZOOM, browsed, check_zoom
from stored_night import make_night

pytestmark = pytest.mark.long

LOOK = (
    "<script>"
    + ZOOM
    + """
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const seen = {values: {}, zoomed: zoomed(page)};
  for (const one of page.querySelectorAll("[data-value]")) seen.values[one.dataset.value] = one.textContent;
  seen.images = [...page.images].map(image => image.complete ? image.naturalWidth : 0);
  seen.overflow = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  const words = row => [...row.cells].map(cell => cell.innerText);
  seen.runs = [...page.querySelectorAll(".runs tr")].slice(1).map(words);
  seen.failed = page.querySelector("#what-failed").innerText;
  seen.again = [...page.querySelectorAll(".group.again")].map(group => group.innerText);
  seen.links = [...page.querySelectorAll("a")].filter(a => !page.querySelector(a.getAttribute("href"))).length;
  const told = document.createElement("pre");
  told.id = "told"; told.textContent = JSON.stringify(seen); document.body.append(told);
});
</script>"""
)


def reported(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, arguments)])
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    return json.loads(told.out)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night of its own: counts of all that is in a catalog are part of what is promised."""
    folder = tmp_path_factory.mktemp("night")
    made = make_night(folder)
    with open_catalog(folder) as catalog:
        story = read_story(catalog, since=made.began_s)
    since = datetime.fromtimestamp(made.began_s, UTC).isoformat()
    yield SimpleNamespace(uids=made.uids, root=folder, since=since, story=story)
    stop_server(DataFolder(folder))


@pytest.fixture(scope="module")
def page(night, tmp_path_factory):
    """The page of the night in a folder of its own, as the command writes it, and what the command said."""
    out = tmp_path_factory.mktemp("page") / "night.html"
    arguments = [
        "report",
        "--since",
        night.since,
        "--data",
        str(night.root),
        "--out",
        str(out),
        "--figures",
        "svg",
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert ended.value.code == 0
    return SimpleNamespace(path=out, folder=out.parent, told=json.loads(said.getvalue()))


def test_the_story_is_what_the_catalog_holds(night):
    told = story_data(night.story)
    runs = {run["uid"]: run for run in told["runs"]}
    assert list(runs) == [night.uids[name] for name in night.uids if name != "supervisor"], "in their order"
    assert told["remarks"] == []
    with open_catalog(night.root) as catalog:
        locked = catalog.run(night.uids["locked"])["lock"].read()
        audit = catalog.run(night.uids["sections"])["audit"].read()
        nuclei, *scores = catalog.analyses_of(night.uids["nuclei"])
        n_objects = int(nuclei["stacks"].read()["n_objects"].sum())
    one = runs[night.uids["locked"]]["lock"]["summary"]
    error_um = locked["lock_error_um"].values[locked["lock_state"].values == "LOCKED"]
    assert one["n_frames"] == locked["lock_error_um"].size
    assert one["rms_error_um"] == pytest.approx(np.sqrt(np.mean(error_um**2)))
    slices = runs[night.uids["sections"]]["slices"]
    rejected = {(s["slice_id"], s["attempt"]) for s in slices if not s["accepted"]}
    no = audit["audit_accepted"].values == 0
    assert rejected == set(
        zip(audit["audit_slice_id"].values[no].tolist(), audit["audit_attempt"].values[no].tolist())
    )
    assert {"03", "04"} <= {name for name, _ in rejected}
    assert told["summary"]["n_nuclei"] == n_objects > 0
    first, second = (d for d in runs[night.uids["nuclei"]]["derived"] if d["analysis"] == "focus_scores")
    assert (first["counts"], second["counts"]) == (False, True)
    assert first["superseded_by"] == second["uid"]
    assert len(scores) == 2
    assert runs[night.uids["broken"]]["exit_status"] == "fail"
    assert runs[night.uids["broken"]]["failures"][0]["reason"] == "camera: no frame within 5 s"
    assert [i["action"] for i in told["incidents"]] == ["retry", "reopen"]
    assert told["incidents"][0]["run_uids"] == [night.uids["broken"]]
    assert runs[night.uids["puncta"]]["puncta"][0]["n_tracks"] == told["summary"]["n_tracks"] > 0


def test_the_page_of_a_night_shows_it_in_a_browser_and_can_be_zoomed(page):
    told, folder = page.told, page.folder
    assert told["page"] == str(page.path)
    assert (folder / "night_figures" / "timeline.svg").is_file()
    (folder / "all.html").write_text(
        '<!doctype html><title>all</title><iframe src="night.html" width="1200" height="900"></iframe>' + LOOK
    )
    dom, log = browsed(folder / "profile", "--dump-dom", (folder / "all.html").as_uri())
    assert not re.findall(r":CONSOLE.*", log)
    seen = json.loads(unescape(re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)[1]))
    summary = told["summary"]
    for name in ("n_runs", "n_frames", "n_rejected", "n_nuclei", "n_tracks", "n_incidents"):
        assert int(seen["values"][name].replace(",", "")) == summary[name], name
    assert [row[1] for row in seen["runs"]] == [run["uid"][:8] for run in told["runs"]]
    assert [row[6] for row in seen["runs"]] == ["success"] * 4 + ["fail", "success"]
    assert "camera: no frame within 5 s" in seen["failed"]
    assert "it went on <again>" in seen["failed"]
    assert len(seen["again"]) == 2
    assert all("rejected" in words and "accepted" in words for words in seen["again"])
    assert len(seen["images"]) > 20
    assert min(seen["images"]) > 0
    assert seen["overflow"] <= 0
    assert seen["links"] == 0
    kinds = {name.partition("_")[0] for name in seen["zoomed"]}
    assert kinds == {"timeline", "focus", "nuclei", "tracks", "calcium", "calibration"}
    check_zoom(seen["zoomed"])


def test_a_night_goes_onto_paper(page):
    paper = page.folder / "night.pdf"
    browsed(page.folder / "profile", "--no-pdf-header-footer", f"--print-to-pdf={paper}", page.path.as_uri())
    pages = max(int(n) for n in re.findall(rb"/Count (\d+)", paper.read_bytes()))
    assert 3 <= pages <= 12
    assert paper.stat().st_size > 50_000


def test_a_locked_run_keeps_its_own_report_beside_the_page(night, capsys):
    uid = night.uids["locked"]
    told = reported(capsys, uid[:8], "--data", night.root, "--json")
    names = [path.rpartition("/")[2] for path in told["files"]]
    assert names[0].endswith(f"{uid[:8]}.html")
    assert names[1:] == ["autofocus_run_report.json", "autofocus_run_report.html"]
    assert (night.root / "reports" / names[0]).is_file()
    assert (night.root / "focus" / uid[:8] / names[1]).is_file()
    assert [run["uid"] for run in told["runs"]] == [uid]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("abcde", "--since", "today"), "a run, or --since"),
        (("--until", "today"), "a run, or --since"),
        (("--figures", "png"), "svg or pdf"),
        (("--since", "2099-01-01"), "no run since 2099-01-01"),
    ],
)
def test_what_cannot_be_reported_is_said_in_one_line(night, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments, "--data", str(night.root)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
