"""Drivers of a few lines, which do what each test tells them, for the tests of what stands above drivers."""

import threading

import numpy as np
from ophyd import Device

from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, CapturedFrame, SourceDescription, clock_s
from parfocal.optics import CameraModel


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
        self.fail_at = set()
        self.at_frame = {}
        self.asked = 0

    def describe(self):
        height, width = self.shape
        b = self.settings.binning
        return SourceDescription(
            "counting",
            (height // b, width // b),
            np.dtype(np.uint16),
            self.settings,
            (0.2 * b, 0.1 * b),
            0.9,
            None,
            CameraModel(),
        )

    def apply(self, settings):
        if settings.exposure_s <= 0:
            raise BadInputError("counting: exposure_s must be above 0")
        self.settings = settings

    def snap(self, timeout_s):
        if not self.gate.wait(timeout_s):
            raise HardwareError(f"counting: no frame within {timeout_s:g} s")
        fault, self.fault = self.fault, None
        asked, self.asked = self.asked, self.asked + 1
        self.at_frame.get(asked, lambda: None)()
        if asked in self.fail_at:
            fault = "timeout"
        if fault == "timeout":
            raise HardwareError("counting: no frame within 5 s")
        self.taken += 1
        shape, dtype = self.describe().shape, np.uint16
        if fault == "shape":
            shape = (shape[0], shape[1] + 1)
        if fault == "dtype":
            dtype = np.float32
        return CapturedFrame(np.full(shape, self.taken - 1, dtype), clock_s(), dropped_before=int(fault == "drop"))

    def start_sequence(self, n_frames, z_um=None):
        self.running, self._left = True, n_frames if n_frames is not None else float("inf")

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

    def column(self, key, stream):
        """Return what the events of a stream say of a key."""
        descriptors = {d["uid"] for d in self.of("descriptor") if d["name"] == stream}
        return [e["data"][key] for e in self.of("event") if e["descriptor"] in descriptors]


class InstantStage:
    """A stage that arrives at once, and remembers every move."""

    def __init__(self):
        self.axes = ("x", "y", "z")
        self.at = {"x": 0.0, "y": 0.0, "z": 0.0}
        self.moves = []

    def move(self, axis, position_um):
        self.moves.append((axis, position_um))
        self.at[axis] = position_um

    def position_um(self, axis):
        return self.at[axis]

    def is_moving(self, axis):
        return False

    def stop(self, axis):
        pass

    def velocity_um_per_s(self, axis):
        return 1e4


class Lamp:
    """Two channels and a shutter."""

    def __init__(self):
        self.channels = ("green", "red")
        self.channel = "green"
        self.is_on = False

    def set_channel(self, channel):
        self.channel = channel

    def set_on(self, on):
        self.is_on = on


class NeverConnected(Device):
    """A device whose network is down."""

    def wait_for_connection(self, all_signals=False, timeout=2.0):
        raise TimeoutError("not connected")
