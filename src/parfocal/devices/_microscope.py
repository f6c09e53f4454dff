"""One device for the whole microscope, so that a plan takes one argument."""

from __future__ import annotations

import html
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ophyd import Component, Device, Kind

from parfocal.devices._camera import Camera, default_frames_root
from parfocal.devices._characterization_shelf import CharacterizationShelf
from parfocal.devices._faults import Fault, FaultInjector, FaultOrder, FaultSwitch
from parfocal.devices._light import Light, LightDriver, NoLight
from parfocal.devices._measured_noise import find_noise
from parfocal.devices._stage import Stage, StageAxis
from parfocal.devices._stage_driver import StageDriver
from parfocal.devices.lock import FocusLock
from parfocal.errors import HardwareError
from parfocal.frames import FrameSource


@dataclass(frozen=True)
class Backend:
    """The drivers behind a microscope: simulated, recorded, Micro-Manager, or a bench of your own.

    `name` goes into every start document as `instrument`. `focus_camera` sees the bead of the focus lock, where
    the bench has a camera for that. `lock_in_camera_thread` is for simulated worlds that do not run in real time.
    `noise_maps` says by which measured noise the cameras go: see `find_noise`. `close` lets go of what the drivers
    share. `faults` breaks them on demand, where they are simulated.
    """

    name: str
    camera: FrameSource
    stage: StageDriver
    light: LightDriver = field(default_factory=NoLight)
    focus_camera: FrameSource | None = None
    lock_in_camera_thread: bool = False
    noise_maps: str = ""
    close: Callable[[], None] = lambda: None
    faults: FaultInjector | None = None


class Microscope(Device):
    """Camera, stage and light of one backend.

    The stage is `microscope.xyz` (`stage` is a verb in Bluesky). In documents the parts are called `camera`,
    `stage` and `light`, whatever the microscope is called, unless `part_prefix` tells several microscopes of
    one session apart.

    Parameters
    ----------
    backend : Backend
        The drivers.
    frames_root : Path, optional
        Where frames go; see `Camera`.
    limits_um : dict, optional
        Soft limits by axis, such as `{"z": (-50, 50)}`.
    part_prefix : str
        Put before the names of the parts.

    Attributes
    ----------
    focus_camera : Camera
        Sees the bead: its own device where the bench has two, else `camera`.
    lock : FocusLock
        Holds `xyz.z` on the bead.
    resting
        The `parfocal.catalog.RestingFile` of a session that uses it, None without one.
    faults : FaultSwitch
        Movable that breaks simulated hardware, as `inject_fault` does.
    """

    camera = Component(Camera, kind=Kind.normal)
    # Not `stage`: that is what the RunEngine calls to make a device ready.
    xyz = Component(Stage, kind=Kind.normal)
    light = Component(Light, kind=Kind.normal)

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        backend: Backend,
        frames_root: Path | str | None = None,
        limits_um: dict[str, tuple[float, float]] | None = None,
        part_prefix: str = "",
        **kwargs: Any,
    ) -> None:
        self.backend = backend
        self.resting: Any = None
        self._is_let_go = False
        self._characterizations_root: Path | None = None
        super().__init__(prefix, name=name, **kwargs)
        for part, short in ((self.camera, "camera"), (self.xyz, "stage"), (self.light, "light")):
            _rename(part, f"{part_prefix}{short}")
        if frames_root is not None:
            self.camera.frames_root = frames_root
        self.focus_camera: Camera = (
            Camera(name=f"{part_prefix}focus_camera", source=backend.focus_camera, frames_root=frames_root)
            if backend.focus_camera is not None
            else self.camera
        )
        self.lock = FocusLock(
            f"{part_prefix}lock", self.focus_camera, self.xyz.z, synchronous=backend.lock_in_camera_thread
        )
        self.faults = FaultSwitch(f"{part_prefix}injected", lambda order: self.need_faults().inject(order))
        for axis, limits in (limits_um or {}).items():
            getattr(self.xyz, axis).limits_um = (float(limits[0]), float(limits[1]))

    @property
    def characterizations(self) -> CharacterizationShelf:
        """The data folder's characterizations."""
        root = self._characterizations_root or default_frames_root().with_name("characterizations")
        return CharacterizationShelf(root)

    def use_characterizations(self, root: Path | str | None = None) -> dict[str, str]:
        """Go by what was measured of this bench: noise of its cameras, latency and sign of its focus axis.

        Parameters
        ----------
        root : path, optional
            The folder of characterizations, from now on; default: the one before.

        Returns
        -------
        dict of str to str
            What is gone by -> the run that it was measured in; see `characterized`.

        Raises
        ------
        BadInputError
            A file was changed after it was saved, or those named in `noise_maps` are of another camera.
        """
        if root is not None:
            self._characterizations_root = Path(root)
        shelf = self.characterizations
        for camera in {id(c): c for c in (self.camera, self.focus_camera)}.values():
            camera.noise = None
            camera.noise = find_noise(shelf, camera.facts, self.backend.noise_maps)
        about = self.focus_identity()
        latency, stage = shelf.newest("latency", about), shelf.newest("stage", about)
        self.lock.command_to_motion_s = (
            max(0.0, float(latency.found.numbers["command_to_motion_s"])) if latency is not None else 0.0
        )
        self.lock.latency_run = latency.run_uid if latency is not None else ""
        self.lock.expected_slope = str(stage.found.numbers["expected_slope"]) if stage is not None else "unknown"
        self.lock.stage_run = stage.run_uid if stage is not None else ""
        return self.characterized()

    def focus_identity(self) -> dict[str, Any]:
        """Return what a measurement of the focus axis, by the focus camera, holds for."""
        facts, z = self.focus_camera.facts, self.xyz.z
        stage = str(getattr(z.driver, "backend", type(z.driver).__name__))
        return {"camera": facts.model, "serial": facts.serial, "stage": stage, "axis": "z"}

    def characterized(self) -> dict[str, str]:
        """Return the runs that what is gone by was measured in: `camera`, `focus_camera`, `latency`, `stage`."""
        runs = {
            "camera": self.camera.facts.noise_run,
            "focus_camera": self.focus_camera.facts.noise_run,
            "latency": self.lock.latency_run,
            "stage": self.lock.stage_run,
        }
        return {what: uid for what, uid in runs.items() if uid}

    def facts(self) -> dict[str, str]:
        """Return how the microscope stands, in words; the drivers are asked, and one may not answer."""
        camera, light, lock = self.camera, self.backend.light, self.lock
        settings = camera.facts.settings
        height, width = camera.facts.shape
        pixel_um = "x".join(f"{size:g}" for size in camera.facts.pixel_size_um)
        said: dict[str, Callable[[], str]] = {
            "backend": lambda: self.backend.name,
            "camera": lambda: (
                f"{camera.facts.model}, {height}x{width} px of {pixel_um} um, exposure {settings.exposure_s:g} s"
            ),
            **{f"stage {axis}": partial(_axis_words, getattr(self.xyz, axis)) for axis in self.backend.stage.axes},
            "light": lambda: f"{light.channel or 'no channel'}, {'on' if light.is_on else 'off'}",
            "channels": lambda: ", ".join(light.channels),
            "lock": lambda: "engaged" if lock.is_engaged else "released",
        }
        facts = {key: _or_why_not(words) for key, words in said.items()}
        return {key: words for key, words in facts.items() if words}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        lines = [f"{self.name}: {type(self).__name__}", *(f"  {key:<9}  {v}" for key, v in self.facts().items())]
        printer.text(repr(self) if cycle else "\n".join(lines))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(key)}</th><td style='text-align:left'>{html.escape(words)}</td></tr>"
            for key, words in self.facts().items()
        )
        return f"<b>{html.escape(self.name)}</b><table>{rows}</table>"

    def make_safe(self) -> None:
        """Release the lock, stop all motion and put the light out, whatever state the plan left behind."""
        self.lock.release()
        for axis in (self.xyz.x, self.xyz.y, self.xyz.z):
            self.backend.stage.stop(axis.axis)
        self.backend.light.set_on(False)

    def inject_fault(
        self,
        fault: Fault,
        after_frames: int = 0,
        n_times: int = 1,
        duration_s: float = 10.0,
        *,
        by_um: float = 8.0,
        axis: Literal["x", "y", "z"] = "z",
        camera: Literal["camera", "focus_camera"] = "camera",
    ) -> None:
        """Let simulated hardware fail as real hardware would; see `FaultOrder` for what there is.

        Raises
        ------
        HardwareError
            The hardware is not simulated.
        BadInputError
            There is no such fault, or something about it makes no sense.
        """
        self.need_faults().inject(FaultOrder(fault, after_frames, n_times, duration_s, by_um, axis, camera))

    def need_faults(self) -> FaultInjector:
        """Return what breaks the hardware on demand; `HardwareError` where that is not simulated."""
        if self.backend.faults is None:
            raise HardwareError(
                f"{self.name}: its backend is {self.backend.name!r}, faults can be had of simulated hardware alone"
            )
        return self.backend.faults

    def destroy(self) -> None:
        """Let go of the hardware: all of it, also where a part of it fails. Doing so again does nothing."""
        if self._is_let_go:
            return
        self._is_let_go = True
        with ExitStack() as left:  # the last one first
            left.callback(self.backend.close)
            left.callback(super().destroy)
            left.callback(self.camera.destroy)  # ophyd destroys a part's signals, and leaves the part alone
            if self.focus_camera is not self.camera:
                left.callback(self.focus_camera.destroy)
            left.callback(self.lock.close)
            left.callback(self.make_safe)


def _axis_words(axis: StageAxis) -> str:
    low_um, high_um = axis.limits
    limits = f", limits {low_um:g} to {high_um:g} um" if axis.limits_um is not None else ""
    held = f", held by {axis.leased_to}" if axis.leased_to else ""
    return f"{axis.position:.3f} um{limits}{held}"


def _or_why_not(words: Callable[[], str]) -> str:
    try:
        return words()
    except Exception as error:  # showing a microscope must not fail where one of its drivers does
        return f"does not answer: {' '.join(str(error).split())}"


def _rename(device: Device, name: str) -> None:
    old = device.name
    device.name = name
    for attribute in device.component_names:
        part = getattr(device, attribute)
        if part.name.startswith(old):
            part.name = name + part.name[len(old) :]
