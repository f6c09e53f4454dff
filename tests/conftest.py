"""Fixtures that many rooms share; the RunEngine is the real one."""

import asyncio
import gc
import logging
import os

# Before PyTorch is imported: one test's network must not take the cores from another's real-time loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from bluesky import RunEngine

from parfocal.catalog import DataFolder, stop_server
from parfocal.devices import Backend, Camera, Microscope
from parfocal.frames import FrameRing, shared_ring
from support import CountingSource, Documents, InstantStage, Lamp


@pytest.fixture(scope="session", autouse=True)
def small_memory():
    """Keep fewer frames in memory than a microscope does: workers share a machine, and read the rest from disk."""
    shared_ring().max_bytes = 64 * 2**20


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory):
    """One data folder a worker, with the one server that comes up when it is opened first: a start costs seconds.

    For tests that ask about runs of their own, whatever else the catalog holds.
    """
    folder = DataFolder(tmp_path_factory.mktemp("served"))
    yield folder
    stop_server(folder)


@pytest.fixture
def source():
    return CountingSource()


@pytest.fixture
def camera(source, tmp_path):
    camera = Camera(name="camera", source=source, frames_root=tmp_path, timeout_s=1, ring=FrameRing())
    yield camera
    camera.destroy()


@pytest.fixture
def stage():
    return InstantStage()


@pytest.fixture
def lamp():
    return Lamp()


@pytest.fixture
def microscope(source, stage, lamp, tmp_path):
    """A whole instrument of drivers that do what they are told."""
    backend = Backend("bench", source, stage, lamp)
    microscope = Microscope(name="microscope", backend=backend, frames_root=tmp_path, limits_um={"z": (-100, 100)})
    yield microscope
    microscope.destroy()


@pytest.fixture
def documents():
    return Documents()


@pytest.fixture
def RE(documents):
    loop = asyncio.new_event_loop()
    engine = RunEngine({}, call_returns_result=True, loop=loop)
    engine.subscribe(documents)
    yield engine
    if engine.state != "idle":
        engine.halt()
    loop.call_soon_threadsafe(loop.stop)
    engine._th.join(5)
    loop.close()


def pytest_runtest_setup():
    """Log as a session does: when it is imported, pymmcore-plus asks for every message of every plan."""
    logging.root.setLevel(logging.WARNING)


def pytest_collection_finish():
    """Leave modules and tests, which stay, out of every later search for garbage: half a second each time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Give what takes minutes the time that it takes on a busy machine."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
