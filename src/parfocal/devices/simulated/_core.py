"""A microscope that does not exist: camera, stage and light that share one simulated world.

::

    SimulatedMicroscopeCore    clock, scene, light and the motion of x, y, z: the truth
        |-- SimulatedStage     a StageDriver: moves the axes, reports what an encoder would
        |-- SimulatedCamera    a FrameSource: exposes what is under the axes while it exposes
        `-- SimulatedLight     which channel shines, and whether

Every motion is a closed formula of time, and past motions are kept, so a frame shows the stage as it was in
the middle of that frame's exposure, however late the frame is fetched.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Literal

import numpy as np

from parfocal.devices.simulated._camera import SimulatedCamera
from parfocal.devices.simulated._motion import Z_AXIS, Axis, AxisModel, Twitch, sample_path
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import clock_s
from parfocal.optics import (
    Channel,
    Drift,
    Objective,
    SimulatedScene,
    Surface,
    bead_sample,
    nuclei_sample,
    puncta_sample,
    scmos_camera,
)

StageFault = Literal["stall"]
SampleName = Literal["nuclei", "beads", "puncta"]


class SimulatedMicroscopeCore:
    """The world that camera, stage and light share, and the truth about it.

    Parameters
    ----------
    scene : SimulatedScene
        Sample, optics, camera noise and drift.
    axes : mapping of str to AxisModel, optional
        The axes `x`, `y` and `z`.
    realtime : bool
        True: exposures and moves take their time. False: time jumps to their end, so that nothing waits.
    z_sign : {1, -1}
        -1 for a stage whose z grows towards the objective.
    seed : int
        Of the encoder noise.
    bead_scene : SimulatedScene, optional
        What a second camera sees, for a focus lock.
    """

    def __init__(
        self,
        scene: SimulatedScene,
        axes: dict[str, AxisModel] | None = None,
        realtime: bool = True,
        z_sign: Literal[1, -1] = 1,
        seed: int = 0,
        bead_scene: SimulatedScene | None = None,
    ) -> None:
        models = {"x": AxisModel(), "y": AxisModel(), "z": Z_AXIS} | (axes or {})
        self.scene = scene
        self.realtime = realtime
        self.z_sign = z_sign
        self.lock = threading.RLock()
        self.axes = {name: Axis(model, 0.0) for name, model in models.items()}
        self.rng = np.random.default_rng([seed, 0x57A6E])
        self.light = SimulatedLight(tuple(scene.channels))
        self.stage = SimulatedStage(self)
        self.camera = SimulatedCamera(self)
        self.focus_camera = SimulatedCamera(self, bead_scene) if bead_scene is not None else None
        self._epoch_s = clock_s()
        self._start_s = time.monotonic()
        self._virtual_s = 0.0
        self._bumps: list[tuple[float, float]] = []
        self._twitches: list[Twitch] = []

    def now_s(self) -> float:
        """Return seconds since the start."""
        return time.monotonic() - self._start_s if self.realtime else self._virtual_s

    def utc_s(self, t_s: float) -> float:
        """Return a time since the start as seconds since the Unix epoch."""
        return self._epoch_s + t_s

    def wait_until(self, t_s: float, cancelled: threading.Event | None = None) -> None:
        """Wait for a time since the start, or until `cancelled` is set; jump there when not in real time."""
        if self.realtime:
            left = t_s - self.now_s()
            if left > 0:
                (cancelled or threading.Event()).wait(left)
            return
        with self.lock:
            self._virtual_s = max(self._virtual_s, t_s)

    def focal_plane_um(self, t_s: float | None = None) -> float:
        """Return the true height of the focal plane, um: backlash in, encoder noise out."""
        when = self.now_s() if t_s is None else t_s
        bumped_um = sum(by_um for bump_s, by_um in self._bumps if bump_s <= when)
        return self.z_sign * self.axes["z"].load_um(when) + bumped_um

    def bump(self, by_um: float) -> None:
        """Knock against the stage: the focal plane jumps, and stays, and no encoder tells."""
        with self.lock:
            self._bumps.append((self.now_s(), float(by_um)))

    def twitch(
        self, by_um: tuple[float, float, float], duration_s: float = 0.2, start_s: float | None = None
    ) -> None:
        """Let the sample move out by (dz, dy, dx) and back, as an animal does; from now, or later, on."""
        with self.lock:
            begins_s = self.now_s() if start_s is None else start_s
            self._twitches.append(Twitch(begins_s, duration_s, by_um))

    def sample_path_um(
        self, start_s: float, end_s: float, step_um: float
    ) -> tuple[tuple[float, float, float], ...]:
        """Return where twitches carry the sample through an exposure, (dz, dy, dx) at even times; empty for none."""
        return sample_path(self._twitches, start_s, end_s, step_um) if self._twitches else ()

    def true_defocus_um(self, t_s: float | None = None) -> float:
        """Return how far the sample's mid-plane at the centre of the view lies beyond the focal plane, um."""
        when = self.now_s() if t_s is None else t_s
        x_um, y_um = self.axes["x"].load_um(when), self.axes["y"].load_um(when)
        return self.scene.focus_um(x_um, y_um, max(when, 0.0)) - self.focal_plane_um(when)


class SimulatedLight:
    """The channel selector and shutter. Off, or at intensity 0, frames are dark."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self._channels = channels
        self._channel = channels[0]
        self._on = True
        self._intensity = dict.fromkeys(channels, 1.0)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self._channels

    @property
    def channel(self) -> str:
        """The channel in the light path."""
        return self._channel

    @property
    def is_on(self) -> bool:
        """Whether the shutter is open."""
        return self._on

    @property
    def intensity(self) -> float:
        """Intensity of the present channel, 0 to 1."""
        return self._intensity[self._channel]

    def set_channel(self, name: str, /) -> None:
        """Put a channel into the light path."""
        self._check(name)
        self._channel = name

    def set_on(self, on: bool, /) -> None:
        """Open or close the shutter."""
        self._on = on

    def set_intensity(self, name: str, intensity: float) -> None:
        """Set a channel's intensity, 0 to 1."""
        self._check(name)
        if not 0 <= intensity <= 1:
            raise BadInputError(f"light: intensity of {name!r} is {intensity}, expected 0 to 1")
        self._intensity[name] = intensity

    def _check(self, name: str) -> None:
        if name not in self._channels:
            raise BadInputError(f"light: channel is {name!r}, expected one of {list(self._channels)}")


class SimulatedStage:
    """The stage of a simulated world; a `StageDriver`. A larger z looks deeper into the sample.

    Not in real time, asking whether an axis moves lets it arrive.
    """

    backend = "simulated"

    def __init__(self, core: SimulatedMicroscopeCore) -> None:
        self._core = core
        self._stalls: set[str] = set()

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(self._core.axes)

    def fail_next(self, fault: StageFault, axis: str = "z") -> None:
        """Let the next move of an axis stop short and never arrive, until it is stopped or moved again."""
        if fault != "stall":
            raise BadInputError(f"simulated stage: fault is {fault!r}, expected 'stall'")
        self._axis(axis)
        self._stalls.add(axis)

    def bump(self, by_um: float) -> None:
        """Knock against it: the focal plane jumps by so much, and the encoder does not tell."""
        self._core.bump(by_um)

    def move(self, axis: str, position_um: float) -> None:
        """Start a move; `HardwareError` beyond the travel."""
        low, high = self._axis(axis).model.travel_um
        if not low <= position_um <= high:
            raise HardwareError(
                f"simulated stage: {axis} cannot go to {position_um:g} um, its travel is {low:g} to {high:g} um"
            )
        with self._core.lock:
            stalls = axis in self._stalls
            self._stalls.discard(axis)
            self._axis(axis).command(self._core.now_s(), float(position_um), stalls)

    def position_um(self, axis: str) -> float:
        """Return what the encoder reads now, um."""
        with self._core.lock:
            return self.encoder_um(axis, self._core.now_s())

    def encoder_um(self, axis: str, t_s: float) -> float:
        """Return what the encoder read at a time since the start, um; every reading has its own noise."""
        with self._core.lock:
            found = self._axis(axis)
            return found.motor_um(t_s) + float(self._core.rng.normal(0.0, found.model.encoder_noise_um))

    def is_moving(self, axis: str) -> bool:
        """Say whether the axis is on its way; a stalled one says so for ever."""
        with self._core.lock:
            now = self._core.now_s()
            arrival = self._axis(axis).arrival_s(now)
            if not self._core.realtime and now < arrival < math.inf:
                self._core.wait_until(arrival)
                return False
            return now < arrival

    def stop(self, axis: str) -> None:
        """Stop the axis where it is."""
        with self._core.lock:
            found, now = self._axis(axis), self._core.now_s()
            found.command(now, found.motor_um(now))

    def velocity_um_per_s(self, axis: str) -> float:
        """Return the axis's speed, um/s."""
        return self._axis(axis).model.velocity_um_per_s

    def _axis(self, axis: str) -> Axis:
        if axis not in self._core.axes:
            raise BadInputError(f"simulated stage: axis is {axis!r}, expected one of {list(self._core.axes)}")
        return self._core.axes[axis]


def simulated_core(
    sample: SampleName = "nuclei",
    seed: int = 0,
    shape: tuple[int, int] = (256, 256),
    realtime: bool = True,
    drift: Drift | None = None,
    z_sign: Literal[1, -1] = 1,
    astigmatism_waves: float | None = None,
) -> SimulatedMicroscopeCore:
    """Return a world with a tilted, drifting sample.

    The sample has no edges; within 250 um of the origin its mid-plane stays within 3.5 um of z = 0, so that a
    stack of +-6 um finds the best plane inside. Nuclei come with puncta in a second channel.

    Parameters
    ----------
    sample : {"nuclei", "beads", "puncta"}
        Nuclei under 40x/0.8 water; beads and puncta under 60x/1.2 water, beads with astigmatism.
    seed : int
        Of everything: the sample, its tilt, drift, noise.
    shape : (int, int)
        Sensor height and width, px.
    realtime : bool
        Whether exposures and moves take their time.
    drift : Drift, optional
        Default: 2 nm/s along z, less sideways, a thermal wave of 0.4 um in ten minutes and a random walk.
    z_sign : {1, -1}
        -1 for a stage whose z grows towards the objective.
    astigmatism_waves : float, optional
        Vertical astigmatism (Noll 6), waves RMS. Default: 0.12 for beads, else 0.

    Raises
    ------
    BadInputError
        If there is no such sample.
    """
    rng = np.random.default_rng([seed, 0x71])
    tilt_y, tilt_x = (rng.uniform(0.003, 0.006, 2) * rng.choice([-1.0, 1.0], 2)).tolist()
    surface = Surface(0.0, tilt_y, tilt_x, wave_um=0.4)
    waves = astigmatism_waves if astigmatism_waves is not None else (0.12 if sample == "beads" else 0.0)
    zernike = {6: waves} if waves else {}
    low = (0.8, (0.1625, 0.1625))
    high = (1.2, (0.108, 0.108))
    if sample == "nuclei":
        specimen, (na, pixel), names = nuclei_sample(seed, surface), low, {"nuclei": 0.61, "puncta": 0.52}
    elif sample == "beads":
        specimen, (na, pixel), names = bead_sample(seed, surface), high, {"bead": 0.60}
    elif sample == "puncta":
        specimen, (na, pixel), names = puncta_sample(seed, surface), high, {"puncta": 0.60}
    else:
        raise BadInputError(f"simulated microscope: sample is {sample!r}, expected nuclei, beads or puncta")
    channels = {
        name: Channel(Objective(na, 1.33, wavelength, pixel), 100.0, zernike) for name, wavelength in names.items()
    }
    motion = drift or Drift(
        linear_um_per_s=(0.002, 0.0008, -0.0005),
        random_walk_um_per_sqrt_s=(0.01, 0.004, 0.004),
        thermal_um=(0.4, 0.15, -0.1),
        seed=seed,
    )
    scene = SimulatedScene(specimen, channels, scmos_camera(shape, seed), shape, motion, seed)
    beads = _bead_scene(seed, surface, motion)
    return SimulatedMicroscopeCore(scene, realtime=realtime, z_sign=z_sign, seed=seed, bead_scene=beads)


def _bead_scene(seed: int, surface: Surface, motion: Drift, shape: tuple[int, int] = (128, 128)) -> SimulatedScene:
    """Return beads on the same sample, seen through a cylindrical lens."""
    objective = Objective(1.2, 1.33, 0.68, (0.108, 0.108))
    sample = bead_sample(seed + 7, surface, photons_per_s=6e5)
    channels = {"bead": Channel(objective, 100.0, {6: 0.12})}
    return SimulatedScene(sample, channels, scmos_camera(shape, seed + 7), shape, motion, seed + 7)
