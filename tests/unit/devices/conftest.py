"""A camera driver of a few lines, which does what each test tells it; the RunEngine is the real one."""

import asyncio
import threading

import numpy as np
import pytest
from bluesky import RunEngine

from parfocal.devices import Camera
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, CapturedFrame, FrameRing, SourceDescription, clock_s


class CountingSource:
    """Frame n is filled with n, so that a test can see which frame it got."""

    def __init__(self, shape=(8, 6)):
        self.shape = shape
        self.settings = CameraSettings(exposure_s=0.001)
        self.taken = 0
        self.fault = None
        self.gate = threading.Event()
        self.gate.set()
        self.running = False
        self._left = 0

    def describe(self):
        height, width = self.shape
        b = self.settings.binning
        return SourceDescription(
            "counting", (height // b, width // b), np.dtype(np.uint16), self.settings, (0.2 * b, 0.1 * b), 0.9
        )

    def apply(self, settings):
        if settings.exposure_s <= 0:
            raise BadInputError("counting: exposure_s must be above 0")
        self.settings = settings

    def snap(self, timeout_s):
        if not self.gate.wait(timeout_s):
            raise HardwareError(f"counting: no frame within {timeout_s:g} s")
        fault, self.fault = self.fault, None
        if fault == "timeout":
            raise HardwareError("counting: no frame within 5 s")
        self.taken += 1
        shape, dtype = self.describe().shape, np.uint16
        if fault == "shape":
            shape = (shape[0], shape[1] + 1)
        if fault == "dtype":
            dtype = np.float32
        return CapturedFrame(
            np.full(shape, self.taken - 1, dtype), clock_s(), dropped_before=int(fault == "drop")
        )

    def start_sequence(self, n_frames, z_um=None):
        self.running, self._left = True, n_frames

    def next_frame(self, timeout_s):
        self._left -= 1
        return self.snap(timeout_s)

    def stop_sequence(self):
        self.running = False

    def close(self):
        self.running = False


class Documents:
    """Everything a RunEngine emitted."""

    def __init__(self):
        self.all = []

    def __call__(self, name, doc):
        self.all.append((name, doc))

    def of(self, name):
        return [doc for n, doc in self.all if n == name]


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
