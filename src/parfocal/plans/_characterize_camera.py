"""Characterize a camera: offset, gain and read noise of every pixel, linearity and saturation."""

from dataclasses import replace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, plan

from parfocal.devices import DarkSwitch, LightLevel, NoLight, camera_identity
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import stubs
from parfocal.plans._characterize_run import CharacterizeRun, camera_named, characterize_run, check_number
from parfocal.plans._parts import parts_of

_FULL = 0.6  # of the scale: the brightest level stays below saturation
_LONGEST_S = 0.5
_PLAN = "characterize_camera"


@plan
def characterize_camera(
    microscope: Readable[Any],
    camera: str = "camera",
    n_dark: int = 64,
    n_flat: int = 32,
    n_levels: int = 8,
    over: str = "exposure",
    shortest_exposure_s: float = 0.001,
    longest_exposure_s: float | None = None,
    channel: str = "",
    dark: str = "auto",
    defocus_um: float = 0.0,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Measure offset, gain and read noise of every pixel by photon transfer, and go by them from then on.

    Dark frames at the shortest and the longest exposure, then levels of light. Light need not be even over the
    sensor, but steady: a uniform fluorescent slide, or a sample moved out of focus. Binning has to be 1; the whole
    sensor is read. At the end the light is off, and exposure, region and z are as they were.

    Parameters
    ----------
    microscope : Microscope
        Has the camera.
    camera : {"camera", "focus_camera"}
        Which.
    n_dark : int
        Dark frames at each of the two exposures; the read noise of a pixel is known to 1 / sqrt(2 n_dark).
    n_flat : int
        Frames a level of light.
    n_levels : int
        Levels of light.
    over : {"exposure", "light"}
        What goes from level to level: the exposure, or the intensity of a light that can be dimmed.
    shortest_exposure_s : float
        Of the dark frames, and the least of the levels.
    longest_exposure_s : float, optional
        Default: such that the brightest pixels come to 0.6 of the scale, at most 0.5 s.
    channel : str
        Of the light; empty for the one that is chosen.
    dark : {"auto", "light", "shutter", "hand"}
        How frames are made dark: the light goes off, the camera's own shutter closes, or a person is asked to cap
        the camera. `auto`: the light for `camera`, else its shutter, else a person.
    defocus_um : float
        How far z goes for the levels of light, um: out of focus, a sample is smoother.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    HardwareError
        What came out is not fit for use: dark frames that are not dark, or no light.
    """
    bench: Any = microscope
    device = camera_named(bench, camera, _PLAN)
    parts, z = parts_of(bench), bench.xyz.z
    for name, value, low in (("n_dark", n_dark, 16), ("n_flat", n_flat, 8), ("n_levels", n_levels, 3)):
        check_number(_PLAN, name, value, low, 10_000)
    check_number(_PLAN, "shortest_exposure_s", shortest_exposure_s, 1e-6, 10)
    if longest_exposure_s is not None:
        check_number(_PLAN, "longest_exposure_s", longest_exposure_s, 4 * shortest_exposure_s, 60)
    if over not in ("exposure", "light"):
        raise BadInputError(f"{_PLAN}: over is {over!r}, expected exposure or light")
    settings = device.facts.settings
    if settings.binning != 1:
        raise BadInputError(f"{_PLAN}: {device.name} bins {settings.binning} x; set its binning to 1")
    how = _way_to_dark(bench, device, dark)
    known: tuple[str, ...] = tuple(bench.light.driver.channels)
    if channel and channel not in known:
        raise BadInputError(f"{_PLAN}: no channel {channel!r}, there are {', '.join(known)}")
    home_um = yield from stubs.position_of(z)
    z.check_value(home_um + defocus_um)
    level = LightLevel(bench.light, channel) if over == "light" else None
    full = level.position if level is not None else 1.0

    def darken(is_dark: bool) -> MsgGenerator[None]:
        if how == "hand":
            say = "cap" if is_dark else "uncap"
            yield from bps.input_plan(f"{_PLAN}: {say} {device.name}, then press Enter: ")
        elif how == "shutter":
            yield from stubs.move_all({DarkSwitch(device): int(is_dark)})
        if is_dark and how != "shutter":
            yield from stubs.light_off(parts.light)
        elif not is_dark:
            yield from stubs.light_on(parts.light, channel)

    def run() -> MsgGenerator[str]:
        if settings.roi_px is not None:
            yield from bps.mv(device.roi_px, [0, 0, *_sensor(device)])
        saturation_adu = _saturation_adu(device)
        yield from darken(True)
        if longest_exposure_s is None:
            floor_adu = yield from _look(device, shortest_exposure_s)
            yield from darken(False)
            if defocus_um:
                yield from bps.mv(z, home_um + defocus_um)
            longest_s = yield from _longest(device, floor_adu, saturation_adu, shortest_exposure_s)
            yield from darken(True)
        else:
            longest_s = longest_exposure_s
        doses = _doses(over, n_levels, shortest_exposure_s, longest_s, full)
        model = device.facts.camera_model
        about = camera_identity(device.facts) | {"em_gain": model.em_gain if model is not None else 1.0}
        told = {"saturation_adu": saturation_adu, "excess_noise": model.excess_noise if model is not None else 1.0}

        def body(taking: CharacterizeRun) -> MsgGenerator[None]:
            from parfocal.focus import Probed

            point = Probed(part="dark")
            for number, exposure_s in enumerate((shortest_exposure_s, longest_s)):
                yield from stubs.move_all({device.exposure_s: exposure_s})
                actual_s = device.facts.settings.exposure_s
                for k in range(n_dark):
                    yield from taking.take(replace(point, level=number, number=k, exposure_s=actual_s, light=0.0))
            yield from darken(False)
            if defocus_um:
                yield from bps.mv(z, home_um + defocus_um)
            for number, (exposure_s, light) in enumerate(doses, start=2):
                moves: dict[Any, Any] = {device.exposure_s: exposure_s}
                if level is not None:
                    moves[level] = light
                yield from stubs.move_all(moves)
                actual_s = device.facts.settings.exposure_s
                point = Probed(part="flat", level=number, exposure_s=actual_s, light=light)
                for k in range(n_flat):
                    yield from taking.take(replace(point, number=k))

        start = {
            "plan_name": _PLAN,
            "plan_args": {
                "camera": camera,
                "n_dark": n_dark,
                "n_flat": n_flat,
                "n_levels": n_levels,
                "over": over,
                "shortest_exposure_s": shortest_exposure_s,
                "longest_exposure_s": longest_s,
                "channel": channel,
                "dark": how,
                "defocus_um": defocus_um,
            },
            "motors": [z.name],
        } | (md or {})
        return (yield from characterize_run(bench, device, "camera", about, told, start, body))

    def make_safe() -> MsgGenerator[None]:
        yield from stubs.light_off(parts.light)
        if how == "shutter":
            yield from stubs.move_all({DarkSwitch(device): 0})
        if level is not None:
            yield from stubs.move_all({level: full})
        yield from stubs.move_all({device.exposure_s: settings.exposure_s})
        if defocus_um:
            yield from bps.mv(z, home_um)

    def put_region_back() -> MsgGenerator[None]:
        if settings.roi_px is not None:  # after the camera was unstaged: no run is open any more
            yield from bps.mv(device.roi_px, list(settings.roi_px))

    staged = bpp.stage_wrapper(bpp.finalize_wrapper(run(), make_safe), [device, z])
    return (yield from bpp.finalize_wrapper(staged, put_region_back))


def _way_to_dark(microscope: Any, camera: Any, wanted: str) -> str:
    has_light = not isinstance(microscope.light.driver, NoLight)
    if wanted == "auto":
        if has_light and camera is microscope.camera:
            return "light"
        return "shutter" if DarkSwitch.fits(camera) else "hand"
    if wanted not in ("light", "shutter", "hand"):
        raise BadInputError(f"{_PLAN}: dark is {wanted!r}, expected auto, light, shutter or hand")
    if wanted == "light" and not has_light:
        raise BadInputError(f"{_PLAN}: {microscope.name} has no light to switch off: cap the camera (dark='hand')")
    if wanted == "shutter" and not DarkSwitch.fits(camera):
        raise BadInputError(f"{_PLAN}: {camera.name} has no shutter of its own, expected light or hand")
    return wanted


def _sensor(camera: Any) -> tuple[int, int]:
    """Return height and width of the whole sensor."""
    now = camera.facts.settings
    camera.apply_settings(replace(now, roi_px=None))
    return camera.facts.shape


def _saturation_adu(camera: Any) -> float:
    """Return the largest value, as driver and data type tell."""
    dtype, model = camera.facts.dtype, camera.facts.camera_model
    largest = float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 65535.0
    return min(largest, float(model.saturation_adu)) if model is not None else largest


def _look(camera: Any, exposure_s: float) -> MsgGenerator[float]:
    """Return the brightest pixels but a thousandth, of one frame that goes into no run."""
    yield from stubs.move_all({camera.exposure_s: exposure_s})
    yield from bps.trigger(camera, wait=True)
    frame = camera.last_frame
    return float(np.percentile(frame, 99.9)) if frame is not None else 0.0


def _longest(camera: Any, floor_adu: float, saturation_adu: float, shortest_s: float) -> MsgGenerator[float]:
    """Return the exposure at which the brightest pixels come to 0.6 of the scale."""
    exposure_s = 4 * shortest_s
    while True:
        top_adu = yield from _look(camera, exposure_s)
        if top_adu > 0.9 * saturation_adu and exposure_s > shortest_s:
            if exposure_s <= 4 * shortest_s:
                raise HardwareError(f"{_PLAN}: frames of {1e3 * exposure_s:g} ms saturate: dim the light")
            return exposure_s / 4
        per_s = (top_adu - floor_adu) / exposure_s
        is_bright = top_adu - floor_adu > 0.05 * (saturation_adu - floor_adu)
        if is_bright or exposure_s >= _LONGEST_S or camera.last_frame is None:
            wanted_s = _FULL * (saturation_adu - floor_adu) / max(per_s, 1e-9)
            return float(np.clip(wanted_s, 4 * shortest_s, _LONGEST_S))
        exposure_s = min(4 * exposure_s, _LONGEST_S)


def _doses(over: str, n: int, shortest_s: float, longest_s: float, full: float) -> list[tuple[float, float]]:
    """Return exposure and light of each level, the faintest first; evenly spaced in the root of the dose."""
    if over == "light":
        return [(longest_s, float(full * share)) for share in np.linspace(0.2, 1.0, n) ** 2]
    low = max(shortest_s, longest_s / 25)
    return [(float(root**2), full) for root in np.linspace(np.sqrt(low), np.sqrt(longest_s), n)]
