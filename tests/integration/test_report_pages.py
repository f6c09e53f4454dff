"""The pages people read, opened in a real browser: nothing complains, every picture is decoded, tables are there.

All pages stand in one page, side by side, so that the browser starts once. Beside them stands one that is broken,
by which the test shows that it would notice.
"""

import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from parfocal.devices import simulated_microscope
from parfocal.files import write_ome_zarr
from parfocal.plans import calibrate_focus
from parfocal.report import (
    CalibrationRun,
    SlicesStory,
    write_calibration_report,
    write_lock_report,
    write_references_report,
    write_slices_report,
    write_story,
)
from parfocal.slices import SliceLedger, StageResult, Stamp
from parfocal.slices.references import LabelledStack, calibrate_references
from report_browser import ZOOM, browsed, check_zoom
from stored_lock import BEGAN_S, lock_run
from stored_story import run_story, story, whole

BROKEN = """<!doctype html><title>broken</title><img src="data:image/png;base64,AAAA">
<script>console.error("the canary complains"); nothing.at.all</script>"""
LOOK = (
    "<script>"
    + ZOOM
    + """
addEventListener("load", () => {
  const seen = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument;
    seen[frame.id] = {
      title: page.title,
      images: [...page.images].map(image => image.complete ? image.naturalWidth : 0),
      drawings: [...page.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width),
      rows: [...page.querySelectorAll("table")].map(table => table.rows.length),
      zoomed: zoomed(page),
      overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    };
  }
  const told = document.createElement("pre");
  told.id = "told"; told.textContent = JSON.stringify(seen); document.body.append(told);
});
</script>"""
)


def calibration_page(RE, folder):
    microscope = simulated_microscope("microscope", realtime=False, height_px=64, width_px=64)
    microscope.camera.frames_root = microscope.focus_camera.frames_root = folder
    microscope.lock.calibrations = folder
    try:
        RE(calibrate_focus(microscope, exposure_s=0.01, settle_s=0.0, n_steps=13, retry=False))
        run = CalibrationRun(
            {"uid": "ab", "time": 1e9, "instrument": "simulated"}, {}, microscope.lock.armed.calibration
        )
    finally:
        microscope.destroy()
    return write_calibration_report(run, folder)[1]


def lock_page(folder):
    states = ["LOCKING"] * 20 + ["LOCKED"] * 400 + ["LOST"] * 60 + ["RECOVERY"] * 20 + ["LOCKED"] * 100
    flags = ["fit_failed" if state == "LOST" else "" for state in states]
    return write_lock_report(lock_run(states=states, flags=flags), folder)[1]


def references_page(folder):
    rng = np.random.default_rng(0)
    texture = 4000 + 5000 * ndimage.gaussian_filter(rng.normal(size=(48, 48)), 1.5)

    def stack(blur_px):
        planes = [ndimage.gaussian_filter(texture, blur_px + 0.6 * abs(z - 2)) for z in range(5)]
        return rng.poisson(np.clip(planes, 1, None)).astype(np.uint16)

    blurs_px = {"great": 0.0, "okay": 0.8, "bad": 2.5}
    stacks = [LabelledStack.of(f"{kind} {k}", kind, stack(blurs_px[kind])) for kind in blurs_px for k in range(3)]
    calibration = calibrate_references(stacks, n_bootstrap=100)
    return write_references_report(calibration, folder / "references.html", warnings=["<odd> & few"])


def slices_page(folder):
    pixels = np.random.default_rng(0).integers(100, 4000, (8, 60, 60), dtype=np.uint16)
    states = ("kept", "gap", "interpolated", "kept")
    told = [{"id": f"{k:02d}", "state": state, "z": 2 * k, "planes": 2} for k, state in enumerate(states)]
    volume = write_ome_zarr(
        folder / "aligned.ome.zarr", pixels, (5.0, 2.0, 2.0), attributes={"parfocal": {"slices": told}}
    )
    ledger = SliceLedger().apply(StageResult("generate", tuple(Stamp(one["id"], "use", True) for one in told)))
    ledger = ledger.apply(StageResult("assess", (Stamp("01", "use", False),)), time_s=2000.0, run_uid="run-1")
    story = SlicesStory(ledger, {"00": {"register": {"z_correlation": 0.93}}}, [("stack", "done")], volume, 1e9)
    return write_slices_report(story, folder)[1]


def story_page(folder):
    runs = (whole(), run_story("bbbbbbbb-2", status="fail", began_s=BEGAN_S + 600))
    return write_story(story(*runs), folder / "story.html")


@pytest.fixture
def pages(RE, tmp_path):
    """The folder with the page of pages, and the names of those that are ours."""
    made = {
        "calibration": lambda folder: calibration_page(RE, folder),
        "lock": lock_page,
        "references": references_page,
        "slices": slices_page,
        "story": story_page,
    }
    shown = {}
    for name, make in made.items():
        (tmp_path / name).mkdir()
        shown[name] = make(tmp_path / name).relative_to(tmp_path)
    (tmp_path / "broken.html").write_text(BROKEN)
    frames = [
        f'<iframe id="{name}" src="{page}" width="1100" height="900"></iframe>' for name, page in shown.items()
    ]
    frames.append('<iframe id="broken" src="broken.html"></iframe>')
    (tmp_path / "all.html").write_text("<!doctype html><title>all</title>" + "".join(frames) + LOOK)
    return tmp_path


def coloured(folder, page):
    """Return how many pixels of a page, as it is opened in a tall window, are coloured."""
    shot = folder / "shot.png"
    browsed(folder / "profile", "--window-size=1100,6000", f"--screenshot={shot}", page.as_uri())
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"), int)
    return int((np.ptp(pixels, axis=2) > 60).sum())


def test_without_scripts_every_figure_is_seen_whole(tmp_path):
    page, off = story_page(tmp_path), tmp_path / "off.html"
    forbidden = """<head><meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    off.write_text(page.read_text().replace("<head>", forbidden, 1))
    dom, log = browsed(tmp_path / "profile", "--dump-dom", off.as_uri())
    assert "Refused to execute" in log or "violates" in log, "no script ran"
    assert "<button" not in dom, "what needs a script is not offered"
    assert dom.count("<svg") == 10
    assert coloured(tmp_path, off) > 0.95 * coloured(tmp_path, page) > 1000


def opened(folder):
    """Return what the browser saw in each page, and what it complained of, by page."""
    dom, log = browsed(folder / "profile", "--dump-dom", (folder / "all.html").as_uri())
    told = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
    assert told, f"the browser showed nothing: {log[-2000:]}"
    return json.loads(told[1].replace("&amp;", "&").replace("&lt;", "<")), re.findall(r":CONSOLE.*", log)


def test_every_page_opens_in_a_browser_with_its_pictures_and_tables_and_no_complaint(pages):
    seen, complaints = opened(pages)
    assert seen["broken"]["images"] == [0], "a picture that cannot be decoded is noticed"
    assert any("canary" in one for one in complaints), "an error in the console is noticed"
    assert not [one for one in complaints if "broken.html" not in one]
    n_pictures = {"calibration": (1, 0), "lock": (0, 5), "references": (10, 0), "slices": (3, 0), "story": (2, 10)}
    for name, (n_images, n_drawings) in n_pictures.items():
        page = seen[name]
        assert page["title"]
        assert len(page["images"]) == n_images, name
        assert all(width > 0 for width in page["images"]), name
        assert len(page["drawings"]) == n_drawings, name
        assert all(width > 300 for width in page["drawings"]), name
        assert len(page["rows"]) >= 2, name
        assert all(n > 0 for n in page["rows"]), name
        assert page["overflow"] <= 0, f"{name} is wider than the window"
    check_zoom(seen["story"]["zoomed"])
    assert {name.partition("_")[0] for name in seen["story"]["zoomed"]} == {
        *("timeline", "focus", "nuclei", "tracks", "calcium")
    }
