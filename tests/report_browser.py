"""A page opened in a headless browser: what it shows, what it complains of, and what it prints."""

import os
import shutil
import signal
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-extensions "
    "--allow-file-access-from-files --enable-logging=stderr --virtual-time-budget=20000"
).split()

# What becomes of each figure of a page when it is dragged over, and its buttons and keys are used.
ZOOM = """
const pointer = (target, kind, x, y) => {
  const place = {clientX: x, clientY: y, button: 0, bubbles: true, pointerId: 1, pointerType: "mouse"};
  target.dispatchEvent(new PointerEvent(kind, place));
};
const zoomed = page => {
  const view = figure => figure.querySelector("svg").dataset.view, seen = {};
  for (const figure of page.querySelectorAll("figure.plot")) {
    const svg = figure.querySelector("svg"), box = figure.querySelector(".frame").getBoundingClientRect();
    const told = {full: svg.dataset.full, before: view(figure), is_picture: svg.dataset.equal};
    const [y0, y1] = [box.top + 0.5 * box.height, box.top + 0.52 * box.height];
    pointer(svg, "pointerdown", box.left + 0.25 * box.width, y0);
    pointer(svg, "pointermove", box.left + 0.5 * box.width, y1);
    pointer(svg, "pointerup", box.left + 0.5 * box.width, y1);
    told.dragged = view(figure);
    const [nearer, , whole] = figure.querySelectorAll("button");
    whole.click(); told.whole = view(figure);
    nearer.click(); told.nearer = view(figure);
    told.scale = figure.querySelector(".data").transform.baseVal.consolidate().matrix.a;
    svg.dispatchEvent(new KeyboardEvent("keydown", {key: "0"}));
    told.again = view(figure);
    seen[figure.id] = told;
  }
  return seen;
};
"""


def check_zoom(figures):
    """Check that figures went where they were told to, and back."""
    assert figures
    for name, figure in figures.items():
        told = ("full", "before", "whole", "again", "nearer", "dragged")
        views = {key: [float(v) for v in figure[key].split()] for key in told}
        left, right, _, _ = views["full"]
        span = right - left
        assert views["before"] == views["whole"] == views["again"] == views["full"], name
        assert views["nearer"][:2] == pytest.approx([left + span / 4, right - span / 4]), name
        assert figure["scale"] == pytest.approx(2.0), name
        if figure["is_picture"] == "0":  # a picture is moved by it
            assert views["dragged"][:2] == pytest.approx([left + span / 4, left + span / 2], abs=0.01 * span), name


def browsed(profile, *arguments):
    """Return what the browser wrote and what it logged; skip where there is none."""
    if BROWSER is None:
        pytest.skip("none of chromium, chromium-browser, google-chrome is on PATH")
    process = subprocess.Popen(
        [BROWSER, *OPTIONS, f"--user-data-dir={profile}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=120)
    finally:
        if process.poll() is None:  # its children too
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
