"""Fixtures that many rooms share; the RunEngine is the real one."""

import asyncio

import pytest
from bluesky import RunEngine

from parfocal.devices import Camera
from parfocal.frames import FrameRing
from support import CountingSource, Documents


@pytest.fixture
def source():
    return CountingSource()


@pytest.fixture
def camera(source, tmp_path):
    camera = Camera(name="camera", source=source, frames_root=tmp_path, timeout_s=1, ring=FrameRing())
    yield camera
    camera.destroy()


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
