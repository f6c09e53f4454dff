"""Focus cameras and stages by name: what `--camera` and `--stage` mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from parfocal.devices._light import LightDriver, NoLight
from parfocal.devices._microscope import Backend
from parfocal.devices._stage_driver import StageDriver
from parfocal.devices._told_optics import OpticsTold, told_camera_model
from parfocal.devices.micromanager import MicroManagerCamera, MicroManagerLight, MicroManagerStage, load_core
from parfocal.devices.simulated import (
    SampleName,
    SimulatedCamera,
    SimulatedFaults,
    SimulatedMicroscopeCore,
    SimulatedStage,
    simulated_core,
)
from parfocal.errors import BadInputError
from parfocal.frames import FrameSource
from parfocal.optics import CameraModel

FOCUS_CAMERAS = ("simulate", "orca", "andor", "micromanager")
STAGES = ("simulate", "mcl", "micromanager")


def open_focus_camera(kind: str, **options: Any) -> FrameSource:
    """Open the camera that sees the bead.

    Parameters
    ----------
    kind : {"simulate", "orca", "andor", "micromanager"}
        Which.
    **options
        `simulate`: `sample`, `seed`, `height_px`, `width_px`, `realtime`, or `core`, the world of a stage that is
        there already. `orca`: `pixel_size_um`, `index`, `serial`, `library`, `readout_speed`, `na`,
        `wavelength_um`, `buffer_mb`. `andor`: the same, with `gain_mode` for `readout_speed`. `micromanager`:
        `config`, `pixel_size_um`, `na`, `wavelength_um`, `buffer_mb`, or `core`, loaded already. All but
        `simulate`: the noise, which no driver tells, as `offset_adu`, `gain_adu_per_e`, `read_noise_e`,
        `em_gain` (of an EMCCD), or as `noise_maps`, a `.npz` file with arrays of the first three, of the whole
        sensor.

    Raises
    ------
    BadInputError
        No such kind or option, or something that it needs is not installed.
    HardwareError
        The camera is not there, or does not open.
    """
    if kind == "simulate":
        return _called(_simulated_camera, "camera simulate", options)
    if (noise := told_camera_model(options)) is not None:
        options["camera_model"] = noise
    if kind == "orca":
        from parfocal.devices.vendors import OrcaOptions, open_orca

        return open_orca(_called(OrcaOptions, "camera orca", options))
    if kind == "andor":
        from parfocal.devices.vendors import AndorOptions, open_andor

        return open_andor(_called(AndorOptions, "camera andor", options))
    if kind == "micromanager":
        return _called(_micromanager_camera, "camera micromanager", options)
    raise BadInputError(f"camera is {kind!r}, expected one of {', '.join(FOCUS_CAMERAS)}")


def open_stage_driver(kind: str, axis: str = "z", **options: Any) -> StageDriver:
    """Open the stage that focuses; whichever of its axes does, it is the driver's `z`.

    Parameters
    ----------
    kind : {"simulate", "mcl", "micromanager"}
        Which.
    axis : {"x", "y", "z"}
        Which of its axes focuses; with `mcl` alone another than z can.
    **options
        `simulate`: as `open_focus_camera`, of whose world it has to be for images to change. `mcl`: `backend`
        (`dll`, `wrapper` or `memory`), `serial`, `library`, `wrapper`, `wrapper_folder`, `range_um`, `settle_um`,
        `settle_s`, `velocity_um_per_s`. `micromanager`: `config` or `core`.

    Raises
    ------
    BadInputError
        No such kind, option or axis, or something that it needs is not installed.
    HardwareError
        The stage is not there, or does not open.
    """
    if kind not in STAGES:
        raise BadInputError(f"stage is {kind!r}, expected one of {', '.join(STAGES)}")
    if axis not in ("x", "y", "z") or (axis != "z" and kind != "mcl"):
        expected = "x, y or z" if kind == "mcl" else "z: with mcl alone another axis can focus"
        raise BadInputError(f"stage {kind}: axis is {axis!r}, expected {expected}")
    if kind == "simulate":
        return _called(_simulated_stage, "stage simulate", options)
    if kind == "mcl":
        from parfocal.devices.vendors import open_mcl_stage

        return _called(open_mcl_stage, "stage mcl", {**options, "axis": axis})
    return _called(_micromanager_stage, "stage micromanager", options)


def open_focus_backend(
    camera: str = "simulate",
    stage: str = "simulate",
    axis: str = "z",
    camera_options: Mapping[str, Any] | None = None,
    stage_options: Mapping[str, Any] | None = None,
) -> Backend:
    """Open a focus camera and a stage; simulated ones share a world, Micro-Manager's share a core.

    Parameters
    ----------
    camera, stage, axis : str
        See `open_focus_camera` and `open_stage_driver`.
    camera_options, stage_options : mapping, optional
        Their options; the camera's `noise_maps` may also name what `parfocal characterize` measured: `newest`,
        `told` (none of it), a file's name or how its hash begins (see `find_noise`). Where both are simulated, or
        both Micro-Manager's, the camera's tell which world or configuration.
    """
    of_camera, of_stage = dict(camera_options or {}), dict(stage_options or {})
    # `newest`, `told`, a hash or a characterization: looked up where the data folder is known.
    maps = of_camera.get("noise_maps")
    noise_maps = str(of_camera.pop("noise_maps")) if maps is not None and not str(maps).endswith(".npz") else ""
    light: LightDriver = NoLight()
    unload: Callable[[], None] | None = None
    if camera == "simulate":
        world = of_camera.get("core") or _called(_world, "camera simulate", of_camera)
        of_camera = {"core": world}
        light = world.light
        if stage == "simulate":
            of_stage.setdefault("core", world)
    if "micromanager" in (camera, stage):
        told = of_camera if camera == "micromanager" else of_stage
        core = told.get("core")
        if core is None:
            core = load_core(told.pop("config", None) or None)
            unload = core.unloadAllDevices
        if camera == "micromanager":
            of_camera["core"] = core
        if stage == "micromanager":
            of_stage.pop("config", None)
            of_stage.setdefault("core", core)
    opened: list[Any] = []
    try:
        source = open_focus_camera(camera, **of_camera)
        opened.append(source)
        driver = open_stage_driver(stage, axis, **of_stage)
        opened.append(driver)
        if camera == "micromanager":
            light = MicroManagerLight(of_camera["core"])
    except Exception:
        for each in opened:
            with suppress(Exception):
                each.close()
        if unload is not None:
            unload()
        raise

    def close() -> None:
        closer = getattr(driver, "close", None)
        if closer is not None:
            closer()
        if unload is not None:
            unload()

    faults = None
    if isinstance(source, SimulatedCamera) and isinstance(driver, SimulatedStage) and source.world is driver.world:
        faults = SimulatedFaults(driver, source)
    name = f"{camera} camera, {stage} stage"
    return Backend(name, source, driver, light, noise_maps=noise_maps, close=close, faults=faults)


def _world(
    *,
    sample: str = "beads",
    seed: int = 0,
    height_px: int = 128,
    width_px: int = 128,
    realtime: bool = True,
) -> SimulatedMicroscopeCore:
    return simulated_core(cast(SampleName, sample), seed, (height_px, width_px), realtime)


def _simulated_camera(
    *,
    sample: str = "beads",
    seed: int = 0,
    height_px: int = 128,
    width_px: int = 128,
    realtime: bool = True,
    core: Any = None,
) -> FrameSource:
    world = core or _world(sample=sample, seed=seed, height_px=height_px, width_px=width_px, realtime=realtime)
    return world.camera


def _simulated_stage(
    *,
    sample: str = "beads",
    seed: int = 0,
    height_px: int = 128,
    width_px: int = 128,
    realtime: bool = True,
    core: Any = None,
) -> StageDriver:
    world = core or _world(sample=sample, seed=seed, height_px=height_px, width_px=width_px, realtime=realtime)
    return world.stage


def _micromanager_camera(
    *,
    config: str | None = None,
    pixel_size_um: float | None = None,
    na: float | None = None,
    wavelength_um: float | None = None,
    buffer_mb: int = 1024,
    core: Any = None,
    camera_model: CameraModel | None = None,
) -> FrameSource:
    told = OpticsTold(pixel_size_um, na, wavelength_um, camera_model)
    return MicroManagerCamera(core or load_core(config or None), told, buffer_mb)


def _micromanager_stage(*, config: str | None = None, core: Any = None) -> StageDriver:
    return MicroManagerStage(core or load_core(config or None))


def _called(opener: Callable[..., Any], what: str, options: Mapping[str, Any]) -> Any:
    """Call an opener with options by name, after each was checked: names and plain types."""
    parameters = inspect.signature(opener).parameters
    unknown = [name for name in options if name not in parameters]
    if unknown:
        raise BadInputError(f"{what}: no option {unknown[0]!r}, expected one of {', '.join(sorted(parameters))}")
    hints = get_type_hints(opener)
    for name, value in options.items():
        allowed = _types(hints[name])
        if Any in allowed or (
            isinstance(value, allowed) and not (isinstance(value, bool) and bool not in allowed)
        ):
            continue
        names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
        raise BadInputError(f"{what}: {name} is {value!r}, expected {names}")
    return opener(**options)


def _types(hint: Any) -> tuple[Any, ...]:
    """Return the plain types that a hint names; where a float is asked for, an int will do."""
    kinds = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    return (*kinds, int) if float in kinds and int not in kinds else kinds
