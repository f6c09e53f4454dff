"""Draw docs/images/queue-watch.svg: `parfocal queue watch` beside a real queue, of simulated hardware that fails.

python docs/queue_watch_picture.py
"""

import io
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console

from parfocal.catalog import DataFolder, stop_server
from parfocal.cli._queue_watch_picture import picture
from parfocal.queue import NightWatch, connect, start_queue, stop_queue

SECTIONS_UM = [[60.0, 0.0], [120.0, 0.0], [120.0, 60.0], [60.0, 60.0], [0.0, 60.0], [0.0, 0.0]]
LAPSE = {"n_time_points": 40, "interval_s": 0.5, "half_range_um": 0.4, "step_um": 0.2}
NIGHT = [
    ("calibrate_focus", [], {"go_to_focus": True}, {}),
    ("inject_fault", ["camera_timeout"], {"after_frames": 4}, {}),
    ("z_stack", [2, 0.5], {}, {"sample": "embryo 6"}),
    ("acquire_sections", [SECTIONS_UM], {"exposure_s": 0.02}, {"sample": "block 3"}),
    ("inject_fault", ["lost_focus"], {"after_frames": 20, "duration_s": 1.5}, {}),
    ("run_locked", ["time_lapse", LAPSE], {}, {"sample": "embryo 7"}),
    ("z_stack", [6, 0.5], {}, {"sample": "embryo 7"}),
    ("calibrate_focus", [], {}, {}),
]


def wait(watch, is_over, longest_s=300.0):
    until_s, pause = time.monotonic() + longest_s, threading.Event()
    while not is_over(watch.view) and time.monotonic() < until_s:
        pause.wait(0.1)


def main(path):
    with tempfile.TemporaryDirectory() as root:
        folder = DataFolder(Path(root) / "scope1")
        info = start_queue(folder)
        try:
            with NightWatch(folder) as watch, connect(info) as client:
                for name, args, kwargs, meta in NIGHT:
                    item = {"item_type": "plan", "name": name, "args": ["microscope", *args], "kwargs": kwargs}
                    client.item_add({**item, "meta": meta})
                client.queue_start()
                wait(watch, lambda view: view.run is not None and view.run.n_done > 60 and view.lock is not None)
                view, now_s = watch.view, time.time()
        finally:
            stop_queue(folder, now=True)
            stop_server(folder)
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
    console.print(picture(view, now_s, "/data/scope1"))
    svg = console.export_svg(title="parfocal queue watch")
    svg = re.sub(r"\s*@font-face {.*?}", "", svg, flags=re.DOTALL)  # nothing is loaded from elsewhere
    path.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "queue-watch.svg")
