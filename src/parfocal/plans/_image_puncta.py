"""A movie of puncta, with their calcium, as densely lit as they can be told apart."""

import math
import time
from typing import Any, Literal

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, plan

from parfocal.devices import POINT, Columns
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._acquire import readables_of
from parfocal.plans._audit import AuditOptions
from parfocal.plans._check import check_light_and_exposure, is_count, is_number
from parfocal.plans._density import DensityControl, density_control, look
from parfocal.plans._focus_lock import focus_locked as under_lock
from parfocal.plans._frame_run import end_safely, start_document
from parfocal.plans._parts import Parts, parts_of


@plan
def image_puncta(
    microscope: Readable[Any],
    channels: list[str] | None = None,
    n_frames: int | None = None,
    duration_s: float | None = None,
    interval_s: float = 0.0,
    *,
    focus_locked: bool = True,
    lock: dict[str, Any] | None = None,
    exposure_s: float | None = None,
    density_per_um2: list[float] | None = None,
    density_by: Literal["exposure", "light"] = "exposure",
    activation: str = "",
    look_every: int = 0,
    max_looks: int = 12,
    threshold: str = "auto",
    auditor: Readable[Any] | None = None,
    judge_timeout_s: float = 5.0,
    on_timeout: Literal["accept", "reject", "fail"] = "accept",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take a movie of puncta, one frame of each channel a time point, at one place.

    With `density_per_um2`, light is first changed until there are as many puncta in a frame of the first channel
    as can be told apart; frames of that search are not kept. Stream `density` says what was tried. Focus is held
    meanwhile, unless `focus_locked` is False.

    Parameters
    ----------
    microscope : Microscope
        What to image with.
    channels : list of str, optional
        Light channels in order: that of the puncta first, then calcium. Default: the one that is chosen.
    n_frames : int, optional
        How many time points; either this or `duration_s`.
    duration_s : float, optional
        How long.
    interval_s : float
        From the start of one time point to the start of the next; a slower microscope goes on at once.
    focus_locked : bool
        Hold focus with the microscope's lock, as `focus_locked` does.
    lock : dict, optional
        How: `calibration`, `roi_px`, `law`, `measure`, `settings`, `patience_s` of that preprocessor.
    exposure_s : float, optional
        Default: as the camera is set.
    density_per_um2 : list of float, optional
        [low, high], spots per square micrometer of a frame of the first channel.
    density_by : {"exposure", "light"}
        What is changed: the exposure (of all channels), or the intensity of a light channel.
    activation : str
        The channel whose intensity is changed, such as that of an activation laser. Empty: that of the puncta.
    look_every : int
        Look again after so many time points, and change light by what is seen; 0: only before the first.
    max_looks : int
        How often it looks before the first at most; then the movie is taken as it is, and the documents say so.
    threshold : str
        Of the detector that counts, as in `parfocal.puncta.detection.LocalizeSettings`.
    auditor : Auditor, optional
        One of your own, with a `parfocal.callbacks.DensityJudge`; then `density_per_um2`, `threshold`,
        `judge_timeout_s` and `on_timeout` are left alone.
    judge_timeout_s : float
        How long to wait for a verdict.
    on_timeout : {"accept", "reject", "fail"}
        What holds when it is late.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    BadInputError
        Something cannot be done; nothing has moved.
    """
    parts = parts_of(microscope)
    if parts.camera is None:
        raise BadInputError(f"image_puncta: {parts.name} has no camera that takes an exposure")
    names = list(channels) if channels else [""]
    for channel in names:
        check_light_and_exposure("image_puncta", parts, channel, exposure_s)
    total = _n_time_points(n_frames, duration_s, interval_s, len(names), exposure_s, parts)
    if not (is_count(look_every, 0) and is_count(max_looks, 1) and len(set(names)) == len(names)):
        raise BadInputError(
            f"image_puncta: look_every={look_every}, max_looks={max_looks}, channels={channels}: 0 or more, "
            "1 or more, and each channel once were expected"
        )
    known = ("calibration", "roi_px", "law", "measure", "settings", "timeout_s", "suspend", "patience_s")
    unknown = sorted(set(lock or {}) - set(known))
    if unknown:
        raise BadInputError(f"image_puncta: lock has no option {unknown[0]!r}, there are: {', '.join(known)}")
    if focus_locked and getattr(microscope, "lock", None) is None:
        raise BadInputError(f"image_puncta: {parts.name} has no focus lock; give focus_locked=False")
    options = AuditOptions(judge_timeout_s, on_timeout)
    aim = activation or names[0]
    control = density_control(parts, density_per_um2, auditor, density_by, aim, exposure_s, threshold, options)
    home_um = (yield from stubs.position_of(parts.z)) if parts.z is not None else 0.0
    before_s = float(parts.camera.exposure_s.get())
    start = start_document(
        parts,
        "image_puncta",
        {
            "channels": channels,
            "n_frames": n_frames,
            "duration_s": duration_s,
            "interval_s": interval_s,
            "focus_locked": focus_locked,
            "density_per_um2": density_per_um2,
            "density_by": density_by,
            "activation": activation,
            "look_every": look_every,
        },
        num_points=total * len(names),
        shape=[total, len(names)] if len(names) > 1 else [total],
        dimensions=[(["time"], "primary")],
        about={"density": control.about()} if control is not None else {},
        md=md,
    )

    def inner() -> MsgGenerator[str]:
        uid = yield from bps.open_run(start)
        if exposure_s is not None:
            yield from stubs.move_all({parts.camera.exposure_s: exposure_s})
        if control is not None:
            yield from _find_density(parts, control, names[0], max_looks)
        yield from _movie(parts, names, total, duration_s, interval_s, control, look_every)
        yield from bps.close_run()
        return uid

    def as_before() -> MsgGenerator[None]:
        yield from stubs.move_all({parts.camera.exposure_s: before_s})
        if control is not None and control.by == "light":
            yield from stubs.move_all({control.knob: control.before})

    whole = end_safely(parts, bpp.finalize_wrapper(inner(), as_before), home_um)
    return (yield from under_lock(whole, microscope, **(lock or {})) if focus_locked else whole)


def _n_time_points(
    n_frames: int | None,
    duration_s: float | None,
    interval_s: float,
    n_channels: int,
    exposure_s: float | None,
    parts: Parts,
) -> int:
    """Return how many time points are meant to be taken; of a duration, as many as fit at the most."""
    if not (is_number(interval_s) and interval_s >= 0):
        raise BadInputError(f"image_puncta: interval_s={interval_s!r}, 0 s or more was expected")
    if (n_frames is None) == (duration_s is None):
        raise BadInputError(
            f"image_puncta: n_frames={n_frames}, duration_s={duration_s}: one of the two was expected"
        )
    if n_frames is not None:
        if not is_count(n_frames, 1):
            raise BadInputError(f"image_puncta: n_frames={n_frames!r}, 1 or more was expected")
        return int(n_frames)
    if not (is_number(duration_s) and duration_s > 0):  # pyright: ignore[reportOptionalOperand]
        raise BadInputError(f"image_puncta: duration_s={duration_s!r}, a time above 0 s was expected")
    each_s = exposure_s if exposure_s is not None else float(parts.camera.exposure_s.get())
    return max(1, math.ceil(float(duration_s or 0.0) / max(interval_s, each_s * n_channels, 1e-4)))


def _find_density(parts: Parts, control: DensityControl, channel: str, max_looks: int) -> MsgGenerator[None]:
    for _ in range(max_looks):
        yield from stubs.light_on(parts.light, channel)
        # Triggered and not read: the next frame takes its place.
        yield from stubs.trigger_all(parts.detectors)
        if not (yield from look(control, 0)):
            return


def _movie(
    parts: Parts,
    channels: list[str],
    total: int,
    duration_s: float | None,
    interval_s: float,
    control: DensityControl | None,
    look_every: int,
) -> MsgGenerator[None]:
    point = Columns("point", POINT)
    readables = readables_of(parts, point)
    began_s = time.monotonic()
    for time_point in range(total):
        if duration_s is not None and time_point and time.monotonic() - began_s >= duration_s:
            return
        if interval_s:
            yield from stubs.wait_until(began_s + time_point * interval_s)
        for number, channel in enumerate(channels):
            if number or not time_point or len(channels) > 1:
                yield from stubs.light_on(parts.light, channel)
            point.note(time_point=time_point, channel=channel, exposure_s=float(parts.camera.exposure_s.get()))
            yield from stubs.image_point(parts.detectors, readables)
            if control is not None and look_every and not number and (time_point + 1) % look_every == 0:
                yield from look(control, time_point + 1)
