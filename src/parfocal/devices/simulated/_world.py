"""What a simulated camera, stage and light share: time, the sample, and where everything truly is.

Every motion is a closed formula of time, and past motions are kept, so a frame shows the stage as it was in
the middle of that frame's exposure, however late the frame is fetched.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Literal

import numpy as np

from parfocal.devices.simulated._light import SimulatedLight
from parfocal.devices.simulated._motion import Z_AXIS, Axis, AxisModel, Twitch, sample_path
from parfocal.devices.simulated._planted import PlantedFault
from parfocal.devices.simulated._spell import Spell
from parfocal.errors import BadInputError
from parfocal.frames import clock_s
from parfocal.optics import Path, SimulatedScene


class SimulatedWorld:
    """What camera, stage and light share, and the truth about it: clock, scene, light and the motion of x, y, z.

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
    """

    def __init__(
        self,
        scene: SimulatedScene,
        axes: dict[str, AxisModel] | None = None,
        realtime: bool = True,
        z_sign: Literal[1, -1] = 1,
        seed: int = 0,
    ) -> None:
        models = {"x": AxisModel(), "y": AxisModel(), "z": Z_AXIS} | (axes or {})
        self.scene = scene
        self.realtime = realtime
        self.z_sign = z_sign
        self.lock = threading.RLock()
        self.axes = {name: Axis(model, 0.0) for name, model in models.items()}
        self.rng = np.random.default_rng([seed, 0x57A6E])
        self.light = SimulatedLight(tuple(scene.channels))
        self._epoch_s = clock_s()
        self._start_s = time.monotonic()
        self._virtual_s = 0.0
        self._bumps: list[tuple[float, float]] = []
        self._leans: list[tuple[float, Spell]] = []
        self._twitches: list[Twitch] = []
        self._planted: list[tuple[float, float, PlantedFault]] = []

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

    def axis(self, name: str) -> Axis:
        """Return an axis; `BadInputError` where there is none of that name."""
        if name not in self.axes:
            raise BadInputError(f"simulated stage: axis is {name!r}, expected one of {list(self.axes)}")
        return self.axes[name]

    def encoder_um(self, axis: str, t_s: float) -> float:
        """Return what the encoder read at a time since the start, um; every reading has its own noise."""
        with self.lock:
            found = self.axis(axis)
            return found.motor_um(t_s) + float(self.rng.normal(0.0, found.model.encoder_noise_um))

    def focal_plane_um(self, t_s: float | None = None) -> float:
        """Return the true height of the focal plane, um: backlash in, encoder noise out."""
        when = self.now_s() if t_s is None else t_s
        bumped_um = sum(by_um for bump_s, by_um in self._bumps if bump_s <= when)
        bumped_um += sum(by_um for by_um, spell in self._leans if spell.covers(when))
        return self.z_sign * self.axes["z"].load_um(when) + bumped_um

    def bump(self, by_um: float, at_s: float | None = None) -> None:
        """Knock against the stage: the focal plane jumps, and stays, and no encoder tells."""
        with self.lock:
            self._bumps.append((self.now_s() if at_s is None else at_s, float(by_um)))

    def lean(self, by_um: float, spell: Spell) -> None:
        """Lean against the stage: the focal plane is elsewhere for a while, and no encoder tells."""
        with self.lock:
            self._leans.append((float(by_um), spell))

    def plant(self, x_um: float, y_um: float, fault: PlantedFault) -> None:
        """Let something go wrong at the first exposure within 1 um of a place."""
        with self.lock:
            self._planted.append((x_um, y_um, fault))

    def fault_at(self, x_um: float, y_um: float) -> PlantedFault | None:
        """Return what goes wrong at a place, and forget it."""
        for entry in self._planted:
            if math.hypot(entry[0] - x_um, entry[1] - y_um) < 1.0:
                self._planted.remove(entry)
                return entry[2]
        return None

    def twitch(
        self, by_um: tuple[float, float, float], duration_s: float = 0.2, start_s: float | None = None
    ) -> None:
        """Let the sample move out by (dz, dy, dx) and back, as an animal does; from now, or later, on."""
        with self.lock:
            begins_s = self.now_s() if start_s is None else start_s
            self._twitches.append(Twitch(begins_s, duration_s, by_um))

    def sample_path_um(self, start_s: float, end_s: float, step_um: float) -> Path:
        """Return where twitches carry the sample in an exposure, (dz, dy, dx) at even times; empty for none."""
        return sample_path(self._twitches, start_s, end_s, step_um) if self._twitches else ()

    def true_defocus_um(self, t_s: float | None = None) -> float:
        """Return how far the sample's mid-plane at the centre of the view lies beyond the focal plane, um."""
        when = self.now_s() if t_s is None else t_s
        x_um, y_um = self.axes["x"].load_um(when), self.axes["y"].load_um(when)
        return self.scene.focus_um(x_um, y_um, max(when, 0.0)) - self.focal_plane_um(when)
