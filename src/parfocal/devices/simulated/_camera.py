"""The camera of a simulated world, with its faults."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.simulated._motion import Move
from parfocal.devices.simulated._spell import Spell
from parfocal.devices.simulated._world import SimulatedWorld
from parfocal.errors import BadInputError, HardwareError
from parfocal.frames import CameraSettings, CapturedFrame, SourceDescription
from parfocal.optics import CameraModel, Disturbance, SimulatedScene

_MOMENTS = 16  # of an exposure
_READOUT_S = 0.0005
_RING_FRAMES = 16

CameraFault = Literal["timeout", "drop", "shape", "dtype"]


@dataclass
class _Sequence:
    """A sequence under way: frame k is exposed from ``start_s + k period_s`` on, after `settle_s`."""

    start_s: float
    period_s: float
    settle_s: float
    n_frames: int | None
    fetched: int = 0
    moves_z: bool = False


class SimulatedCamera:
    """The camera of a simulated world; a `FrameSource` that can step z in a sequence.

    Frames of a counted sequence wait for as long as it takes to be fetched. Of an endless one only the latest
    16 are kept; `dropped_before` tells how many were lost.

    Parameters
    ----------
    world : SimulatedWorld
        Whose axes move under it.
    scene : SimulatedScene, optional
        What it sees, by a light of its own in the first channel; default: the world's scene, in its light.

    Attributes
    ----------
    scene : SimulatedScene
        What forms its frames.
    after_frame : list of callable
        Called when a frame has come, before anybody has it.
    """

    def __init__(self, world: SimulatedWorld, scene: SimulatedScene | None = None) -> None:
        self.world = world
        self.scene = scene if scene is not None else world.scene
        self._own_channel = "" if scene is None else next(iter(scene.channels))
        self._settings = CameraSettings()
        self._sequence: _Sequence | None = None
        self._faults: list[CameraFault] = []
        self._disturbances: list[Disturbance] = []
        self._dark: list[Spell] = []
        self.after_frame: list[Callable[[], None]] = []
        self._number = 0
        self._stopped = threading.Event()
        self._is_shut = False

    def set_shutter(self, is_open: bool) -> None:
        """Open or close the camera's own shutter: closed, frames are dark."""
        self._is_shut = not is_open

    def fail_next(self, fault: CameraFault) -> None:
        """Spoil the next frame: it never comes, is lost, or has the wrong shape or dtype."""
        if fault not in ("timeout", "drop", "shape", "dtype"):
            raise BadInputError(f"simulated camera: fault is {fault!r}, expected timeout, drop, shape or dtype")
        self._faults.append(fault)

    def disturb_next(self, disturbance: Disturbance) -> None:
        """Spoil what the next frame shows: it comes as it should, of a sample that moves or is lit unevenly."""
        self._disturbances.append(disturbance)

    def darken(self, spell: Spell) -> None:
        """Let no light reach it for a while: a lamp that is out, a bead that is gone."""
        self._dark.append(spell)

    def mend(self) -> None:
        """Forget what was to go wrong with the next frames."""
        self._faults.clear()

    def describe(self) -> SourceDescription:
        """Return what the camera delivers with its present settings, in the present channel."""
        settings, scene = self._settings, self.scene
        objective = scene.channels[self._channel].objective
        pixel_y, pixel_x = objective.pixel_size_um
        return SourceDescription(
            model="parfocal simulated sCMOS",
            shape=self._shape(settings),
            dtype=np.dtype(np.uint16),
            settings=settings,
            pixel_size_um=(pixel_y * settings.binning, pixel_x * settings.binning),
            na=objective.na,
            wavelength_um=objective.wavelength_um,
            camera_model=self._camera_model(),
            temperature_c=-10.0,
            can_sequence_z=True,
            simulated=True,
            serial=f"seed {self.scene.seed}",
        )

    def apply(self, settings: CameraSettings) -> None:
        """Set exposure, gain, binning and ROI; refused while a sequence runs."""
        if self._sequence is not None:
            raise HardwareError("simulated camera: a sequence is running, stop it before changing settings")
        if not 1e-5 <= settings.exposure_s <= 60:
            raise BadInputError(f"simulated camera: exposure_s is {settings.exposure_s}, expected 1e-5 to 60")
        if settings.gain <= 0:
            raise BadInputError(f"simulated camera: gain is {settings.gain}, expected above 0")
        if settings.binning not in (1, 2, 4):
            raise BadInputError(f"simulated camera: binning is {settings.binning}, expected 1, 2 or 4")
        height, width = self._shape(replace(settings, roi_px=None))
        if settings.roi_px is not None:
            y, x, roi_height, roi_width = settings.roi_px
            fits = 0 <= y <= height - roi_height and 0 <= x <= width - roi_width
            if not fits or min(roi_height, roi_width) < 1:
                raise BadInputError(
                    f"simulated camera: ROI (y, x, height, width) is {settings.roi_px}, "
                    f"expected inside {height} x {width} px at binning {settings.binning}"
                )
        self._settings = settings

    def now_s(self) -> float:
        """Return the present time on the clock of the frames: the world's own, where it is not in real time."""
        return self.world.utc_s(self.world.now_s())

    def snap(self, timeout_s: float) -> CapturedFrame:
        """Take one frame, exposed from now on."""
        if self._sequence is not None:
            raise HardwareError("simulated camera: a sequence is running, stop it before a snap")
        start_s = self.world.now_s()
        if "drop" in self._faults:
            self._faults.remove("drop")
            self._number += 1
            raise HardwareError("simulated camera: the frame was lost on its way from the camera, take it again")
        frame = self._capture(start_s, start_s + timeout_s, timeout_s)
        self._tell()
        return frame

    def start_sequence(self, n_frames: int | None, z_um: Sequence[float] | None = None) -> None:
        """Start a sequence; with `z_um`, z steps before each exposure and settles."""
        if self._sequence is not None:
            raise HardwareError("simulated camera: a sequence is already running, stop it first")
        if n_frames is not None and n_frames < 1:
            raise BadInputError(f"simulated camera: n_frames is {n_frames}, expected 1 or more, or None")
        if z_um is not None and len(z_um) != n_frames:
            raise BadInputError(
                f"simulated camera: {len(z_um)} z positions for n_frames={n_frames}, expected one a frame"
            )
        self._stopped.clear()
        exposure_s = self._settings.exposure_s + _READOUT_S
        with self.world.lock:
            start_s = self.world.now_s()
            settle_s = 0.0 if z_um is None else self._plan_z(start_s, z_um, exposure_s)
            self._sequence = _Sequence(
                start_s, exposure_s + settle_s, settle_s, n_frames, moves_z=z_um is not None
            )

    def next_frame(self, timeout_s: float) -> CapturedFrame:
        """Return the next frame of the sequence."""
        sequence = self._sequence
        if sequence is None:
            raise HardwareError("simulated camera: no sequence is running, start one first")
        asked_s = self.world.now_s()
        dropped = 0
        if sequence.n_frames is None:
            behind = int((asked_s - sequence.start_s) / sequence.period_s) - sequence.fetched - _RING_FRAMES
            dropped += max(0, behind)
        if "drop" in self._faults:
            self._faults.remove("drop")
            dropped += 1
        sequence.fetched += dropped
        self._number += dropped
        if sequence.n_frames is not None and sequence.fetched >= sequence.n_frames:
            self._wait_in_vain(timeout_s)
        start_s = sequence.start_s + sequence.fetched * sequence.period_s + sequence.settle_s
        frame = self._capture(start_s, asked_s + timeout_s, timeout_s)
        sequence.fetched += 1
        self._tell()
        return replace(frame, dropped_before=dropped)

    def stop_sequence(self) -> None:
        """Stop the sequence; z stays where it is."""
        sequence, self._sequence = self._sequence, None
        self._stopped.set()
        if sequence is not None and sequence.moves_z:
            with self.world.lock:
                self.world.axes["z"].forget_after(self.world.now_s())

    def close(self) -> None:
        """Stop whatever runs."""
        self.stop_sequence()

    def _plan_z(self, start_s: float, z_um: Sequence[float], exposure_s: float) -> float:
        """Queue the moves of a sequence and return the time that the slowest of them needs to settle."""
        axis = self.world.axes["z"]
        low, high = axis.model.travel_um
        if min(z_um) < low or max(z_um) > high:
            raise HardwareError(f"simulated camera: z sequence leaves the stage's travel, {low:g} to {high:g} um")
        steps = np.abs(np.diff([axis.motor_um(start_s), *z_um]))
        longest = Move(0.0, 0.0, float(steps.max()), 0.0)
        settle_s = longest.arrival_s(axis.model)
        for k, z in enumerate(z_um):
            axis.command(start_s + k * (exposure_s + settle_s), float(z))
        return settle_s

    def _capture(self, start_s: float, deadline_s: float, timeout_s: float) -> CapturedFrame:
        """Expose from `start_s` on, wait for the end, and return the frame."""
        world, settings = self.world, self._settings
        end_s = start_s + settings.exposure_s
        fault = self._faults.pop(0) if self._faults else None
        if fault == "timeout" or end_s > deadline_s:
            self._wait_in_vain(timeout_s)
        world.wait_until(end_s, self._stopped if self._sequence is not None else None)
        middle_s = start_s + settings.exposure_s / 2
        with world.lock:
            places = {name: axis.load_um(middle_s) for name, axis in world.axes.items()}
            planted = world.fault_at(places["x"], places["y"]) if not self._own_channel else None
            if planted is not None:
                world.bump(planted.kick_um, start_s)
                self._disturbances.insert(0, planted.disturbance)
            focal_plane_um = world.focal_plane_um(middle_s)
            if self._sequence is None:
                focal_plane_um = _mean_um(world.focal_plane_um, start_s, settings.exposure_s)
            z_um = world.encoder_um("z", middle_s)
            number, self._number = self._number, self._number + 1
            disturbance = self._disturbances.pop(0) if self._disturbances else Disturbance()
            if not disturbance.path_um:
                path_um = self.world.sample_path_um(start_s, end_s, self.scene.smallest_pixel_um(self._channel))
                disturbance = replace(disturbance, path_um=path_um)
        is_lit = not self._is_shut and (bool(self._own_channel) or world.light.is_on)
        raw = self.scene.frame(
            places["x"],
            places["y"],
            focal_plane_um,
            self._channel if is_lit and not any(spell.covers(middle_s) for spell in self._dark) else None,
            settings.exposure_s,
            max(middle_s, 0.0),
            number,
            roi_px=self._sensor_roi(),
            light=1.0 if self._own_channel else world.light.intensity,
            gain=settings.gain,
            disturbance=disturbance,
        )
        pixels: NDArray[np.generic] = _binned(raw, settings.binning)
        if fault == "shape":
            pixels = pixels[:-1].copy()
        elif fault == "dtype":
            pixels = pixels.astype(np.float32)
        return CapturedFrame(pixels, world.utc_s(middle_s), z_um)

    def _tell(self) -> None:
        for told in self.after_frame:
            told()

    def _wait_in_vain(self, timeout_s: float) -> NoReturn:
        self.world.wait_until(self.world.now_s() + timeout_s, self._stopped if self._sequence else None)
        raise HardwareError(f"simulated camera: no frame came within {timeout_s:g} s; check exposure and trigger")

    @property
    def _channel(self) -> str:
        return self._own_channel or self.world.light.channel

    def _shape(self, settings: CameraSettings) -> tuple[int, int]:
        if settings.roi_px is not None:
            return settings.roi_px[2], settings.roi_px[3]
        height, width = self.scene.shape
        return height // settings.binning, width // settings.binning

    def _sensor_roi(self) -> tuple[int, int, int, int]:
        """Return the ROI in pixels of the sensor, before binning."""
        b = self._settings.binning
        y, x, height, width = self._settings.roi_px or (0, 0, *self._shape(self._settings))
        return y * b, x * b, height * b, width * b

    def _camera_model(self) -> CameraModel:
        model = self.scene.camera_model.cropped(self._sensor_roi())
        return model.with_gain(self._settings.gain).binned(self._settings.binning)


def _binned(raw: NDArray[np.uint16], binning: int) -> NDArray[np.uint16]:
    """Add up blocks of pixels after readout, as an sCMOS does; clipped at 65535."""
    if binning == 1:
        return raw
    height, width = raw.shape[0] // binning, raw.shape[1] // binning
    blocks = raw.reshape(height, binning, width, binning).sum(axis=(1, 3), dtype=np.uint32)
    return np.minimum(blocks, 65535).astype(np.uint16)


def _mean_um(at_um: Callable[[float], float], start_s: float, exposure_s: float) -> float:
    """Return the mean of where something was during an exposure; where it stood still, exactly that."""
    return math.fsum(at_um(start_s + exposure_s * (k + 0.5) / _MOMENTS) for k in range(_MOMENTS)) / _MOMENTS
