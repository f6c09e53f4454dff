"""A night of a real queue in a small data folder, for tests: started, fed, broken and read."""

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from parfocal.catalog import DataFolder, open_catalog, stop_server
from parfocal.queue import ask, connect, find_queue, start_queue, stop_queue

PROFILE = Path(__file__).parents[1] / "profiles" / "simulated"
LIVE_ANALYSES = """
from parfocal.callbacks import Nuclei, NucleiParameters, Puncta

session.add(Nuclei(NucleiParameters(backend="watershed"), emit=session.writer))
session.add(Puncta(emit=session.writer))
"""


HANGS_ONCE = """
from pathlib import Path

_move, _moves, _has_hung = microscope.backend.stage.move, [], Path(__file__).with_name("has_hung")


def _hang_once(axis, position_um):
    _moves.append(axis)
    if len(_moves) > 12 and not _has_hung.exists():
        _has_hung.touch()
        while True:  # as a driver that never comes back
            pass
    _move(axis, position_um)


microscope.backend.stage.move = _hang_once
"""


def small_profile(folder: Path, *, analyses: bool = False, also: str = "") -> Path:
    """Return the simulated profile with small frames and short time-outs; live nuclei and puncta where asked."""
    shutil.copytree(PROFILE, folder)
    devices = folder / "devices.yml"
    devices.write_text(devices.read_text().replace("256", "96"))
    startup = folder / "startup.py"
    text = startup.read_text()
    here = "\n# In this order at the end"
    assert here in text
    quick = "\nmicroscope.camera.timeout_s = 1.0\nmicroscope.xyz.z.timeout_s = 1.0\n"
    startup.write_text(text.replace(here, quick + (LIVE_ANALYSES if analyses else "") + also + here))
    return folder


def item(name, on_failure="", /, *, sample="", **kwargs):
    """Return a queue item; `sample` is how a test knows its runs again."""
    meta = {"parfocal": {"on_failure": on_failure}} if on_failure else {}
    if sample:
        kwargs["md"] = {"sample": sample}
    return {"item_type": "plan", "name": name, "args": ["microscope"], "kwargs": kwargs, "meta": meta}


class Night:
    """A running queue with its supervisor; `close` stops all of it."""

    def __init__(self, root, profile, **options):
        self.folder = DataFolder(root)
        self.began_s = time.time()
        start_queue(self.folder, profile, **options)

    @property
    def info(self):
        """Of the queue, as it is now."""
        info = find_queue(self.folder)
        assert info is not None
        return info

    def call(self, act):
        """Return what a client's call gives."""
        with connect(self.info) as client:
            return ask(lambda: act(client))

    def add(self, *items):
        """Add items to the queue and start it."""
        with connect(self.info) as client:
            ask(lambda: client.item_add_batch(list(items)))
            ask(client.queue_start)

    def status(self):
        """Return the manager's status, None where it does not answer just now."""
        try:
            return self.call(lambda client: client.status(reload=True))
        except Exception:
            return None

    def until(self, is_so, timeout_s=600.0):
        """Wait until something is so, looking five times a second."""
        tick, until_s = threading.Event(), time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < until_s, f"not within {timeout_s:g} s: {self.said()}"
            tick.wait(0.2)

    def wait_for_events(self, sample, n_events):
        """Wait until a run of the worker has so many events in its write-ahead log."""

        def has_them():
            for log in self.folder.wal.glob("*.jsonl"):
                with contextlib.suppress(OSError):
                    text = log.read_text()
                    if f'"sample":"{sample}"' in text and text.count('"name":"event"') >= n_events:
                        return True
            return False

        self.until(has_them)

    def is_done(self):
        """Say whether the queue has come to its end, and stays there."""
        for _ in range(4):
            status = self.status()
            if status is None or status["manager_state"] != "idle" or status["items_in_queue"]:
                return False
            threading.Event().wait(0.4)
        return True

    def kill_worker(self):
        """Kill the worker's process as a power cut would."""
        worker = max(psutil.Process(self.info.manager_pid).children(), key=lambda one: one.create_time())
        os.kill(worker.pid, 9)
        return worker.pid

    def said(self):
        """Return the supervisor's log."""
        log = self.folder.root / "queue" / "supervisor.log"
        return log.read_text() if log.exists() else ""

    def history(self):
        """Return (plan, exit status) of every item that has ended."""
        items = self.call(lambda client: client.history_get(reload=True))["items"]
        return [(one["name"], one["result"]["exit_status"]) for one in items]

    def stop(self):
        """Stop the queue in order."""
        with contextlib.suppress(Exception):
            stop_queue(self.folder, now=True)

    def close(self):
        """Stop the queue and the catalog's server."""
        self.stop()
        stop_server(self.folder)


def incidents(catalog):
    """Return the incidents of all sessions, as a list of dicts, oldest first."""
    runs = catalog.runs()
    told = []
    for uid in runs[runs["plan"] == "supervisor"]["uid"][::-1]:
        run = catalog.run(uid)
        if "incidents" not in run:
            continue
        rows = run["incidents"].read()
        keys = [key for key in rows if key.startswith("incident_")]
        told += [
            {key.removeprefix("incident_"): rows[key].values[n].item() for key in keys}
            for n in range(rows.sizes["time"])
        ]
    return told


def assert_nothing_is_missing(folder):
    """Every event's frame is there and can be read, every run is closed, and no log is left to recover."""
    assert not list(folder.wal.glob("*.jsonl"))
    with open_catalog(folder) as catalog:
        n_frames = 0
        for uid in catalog.runs()["uid"]:
            run = catalog.run(uid)
            stop = run.metadata["stop"]
            for stream, n_events in stop["num_events"].items():
                if n_events:
                    assert len(run[stream]["seq_num"].read()) == n_events, f"{uid}/{stream}"
            for stream in run:
                keys = [key for key in run[stream] if key in ("camera_frame", "focus_camera_frame")]
                for key in keys:
                    frames = run[stream][key.removesuffix("_frame")]
                    numbers = np.asarray(run[stream][key].read())
                    assert numbers.max() < frames.shape[0], f"{uid}/{stream}/{key}"
                    for number in numbers:
                        assert np.asarray(frames[int(number)]).any(), f"{uid}: frame {number} is empty"
                    n_frames += len(numbers)
        return n_frames
