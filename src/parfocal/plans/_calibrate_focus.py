"""Calibrate focus: sweep a bead through it, fit, say what is wrong, and arm the lock."""

from dataclasses import asdict, replace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Readable
from bluesky.utils import Msg, MsgGenerator, plan
from ophyd.utils import LimitError

from parfocal.devices import Columns, FocusCalibrator, LeasedError, optics_facts
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import stubs
from parfocal.plans._failures import FAILURES, reason_of

_STEP: dict[str, Any] = {"number": 0, "direction": 1, "attempt": 0}
_MISSED: dict[str, Any] = {"step": 0, "direction": 1, "z_um": float("nan"), "reason": ""}
_MOST_IN_A_ROW = 5  # a stage that is gone would keep the plan for minutes


@plan
def calibrate_focus(
    microscope: Readable[Any],
    roi_px: tuple[int, int, int, int] | None = None,
    half_range_um: float = 0.75,
    n_steps: int = 21,
    bidirectional: bool = True,
    settle_s: float = 0.05,
    model: str = "zhuang",
    expected_slope: str = "auto",
    exposure_s: float | None = None,
    roi_side_px: int = 17,
    retry: bool = True,
    arm: bool = True,
    go_to_focus: bool = False,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Sweep z up and down through the focus of a bead, fit the sweep, and arm `microscope.lock` with it.

    Each attempt is a run: stream `sweep`, a frame and the encoder's z a step, and stream `calibration`, what came
    out. Where up and down disagree, it sweeps again: shorter, finer and slower, then one way. A step that the
    stage does not get to is left out, and told in stream `failures`; too many of them refuse the calibration, five
    in a row end the plan.

    Parameters
    ----------
    microscope : Microscope
        With a `focus_camera` and a `lock`.
    roi_px : tuple of int, optional
        y, x, height, width of the bead's region, square. Default: round the brightest bead that stands alone.
    half_range_um : float
        Reach of the sweep to either side of where z is.
    n_steps : int
        Positions one way.
    bidirectional : bool
        Up and down again, so that hysteresis shows.
    settle_s : float
        Wait after each move.
    model : {"zhuang", "linear", "poly2", "piecewise"}
        What is fitted.
    expected_slope : {"auto", "positive", "negative"}
        Sign of the error signal's change with z, where it is known; `auto` takes what `characterize_stage` found.
    exposure_s : float, optional
        Of the focus camera.
    roi_side_px : int
        Side of the region, where it is found here.
    retry : bool
        Sweep again after hysteresis.
    arm : bool
        Arm the lock with the result.
    go_to_focus : bool
        Leave z at the focus that was found, not where it was.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run that calibrated.

    Raises
    ------
    HardwareError
        The calibration is not fit to arm with; the message says why and what to do.
    """
    from parfocal.fitting import SweepSettings, next_sweep

    _check(microscope, model, expected_slope, roi_px)
    settings = SweepSettings(half_range_um, n_steps, bidirectional, settle_s)
    device: Any = microscope
    camera, z, lock = device.focus_camera, device.xyz.z, device.lock
    if expected_slope == "auto" and lock.expected_slope != "unknown":
        expected_slope = lock.expected_slope  # it was measured
    home_um = yield from stubs.position_of(z)
    end_um = home_um

    def run() -> MsgGenerator[str]:
        nonlocal end_um, settings
        if exposure_s is not None:
            yield from stubs.move_all({camera.exposure_s: float(exposure_s)})
        region = roi_px if roi_px is not None else (yield from _find_region(camera, roi_side_px))
        attempt: Any = settings
        while True:
            uid, calibration = yield from _one_sweep(
                microscope, region, home_um, attempt, model, expected_slope, md or {}
            )
            following = next_sweep(calibration, attempt) if retry else None
            if following is None:
                break
            attempt = following
        lock.keep(calibration, uid)
        if not calibration.is_armable:
            raise HardwareError(f"calibrate_focus: not fit to lock with: {calibration.why_not()}")
        if arm:
            lock.arm(calibration, region, run_uid=uid)
        if go_to_focus:
            end_um = float(calibration.focus_um)
        return uid

    def make_safe() -> MsgGenerator[None]:
        yield from bps.mv(z, end_um)

    return (yield from bpp.finalize_wrapper(bpp.stage_wrapper(run(), [camera, z]), make_safe))


def _check(microscope: Any, model: str, expected_slope: str, roi_px: Any) -> None:
    if not hasattr(microscope, "focus_camera") or not hasattr(microscope, "lock"):
        raise BadInputError(
            f"calibrate_focus: {microscope!r} has no focus camera and lock; a Microscope was expected"
        )
    if microscope.lock.is_engaged:
        raise BadInputError("calibrate_focus: the lock holds z; release it first")
    if model not in ("zhuang", "linear", "poly2", "piecewise"):
        raise BadInputError(f"calibrate_focus: model is {model!r}, expected zhuang, linear, poly2 or piecewise")
    if expected_slope not in ("auto", "positive", "negative"):
        raise BadInputError(
            f"calibrate_focus: expected_slope is {expected_slope!r}, expected auto, positive or negative"
        )
    if roi_px is not None and len(tuple(roi_px)) != 4:
        raise BadInputError(f"calibrate_focus: roi_px is {roi_px}, expected y, x, height, width")


def _find_region(camera: Any, side_px: int) -> MsgGenerator[tuple[int, int, int, int]]:
    """Take a look, and return the region round the brightest bead that stands alone."""
    from parfocal.fitting import find_beads

    yield from bps.trigger(camera, wait=True)
    frame = camera.last_frame
    if frame is None:  # a simulated RunEngine takes none
        return 0, 0, side_px, side_px
    beads = find_beads(frame[None], roi_px=side_px)
    if not len(beads):
        raise HardwareError(
            f"calibrate_focus: no bead stands alone in the view of {camera.name}; "
            "focus roughly, move to one, or tell roi_px"
        )
    y, x = (int(v) for v in beads[0])
    return y - side_px // 2, x - side_px // 2, side_px, side_px


def _one_sweep(
    microscope: Any,
    region: tuple[int, int, int, int],
    centre_um: float,
    settings: Any,
    kind: Any,
    expected_slope: Any,
    md: dict[str, Any],
) -> MsgGenerator[tuple[str, Any]]:
    from parfocal.focus import sweep_document
    from parfocal.optics import CameraModel

    camera, z = microscope.focus_camera, microscope.xyz.z
    known = camera.facts.camera_model
    camera_model = (known if known is not None else CameraModel()).cropped(region)
    facts = replace(optics_facts(camera), roi_px=region, stage=z.name)
    calibrator = FocusCalibrator("calibration", camera_model, facts, kind, expected_slope)
    point, missed = Columns("step", _STEP), Columns("failure", _MISSED)
    told = sweep_document(facts, camera_model)
    about = {
        "plan_name": "calibrate_focus",
        "plan_args": {"roi_px": list(region), **asdict(settings)},
        "detectors": [camera.name],
        "motors": [z.name],
        "hints": {"dimensions": [([z.name], "sweep")]},
        "instrument": microscope.backend.name,
        "parfocal": {
            "axes": {"z": z.name},
            "camera": camera.name,
            "characterized": microscope.characterized(),
            "sweep": told | {"kind": kind, "expected_slope": expected_slope, "attempt": settings.attempt},
        },
    } | md
    uid = yield from bps.open_run(about)
    n_in_a_row = 0
    places, directions = settings.positions_um(centre_um)
    for number, (z_um, direction) in enumerate(zip(places.tolist(), directions.tolist(), strict=True)):
        point.note(number=number, direction=direction, attempt=settings.attempt)
        yield Msg("checkpoint")
        try:
            yield from stubs.move_all({z: z_um})
        except FAILURES as error:
            n_in_a_row += 1
            if not _may_go_on(error):
                raise
            if n_in_a_row >= _MOST_IN_A_ROW:
                raise HardwareError(
                    f"calibrate_focus: {n_in_a_row} moves in a row failed, the last: {reason_of(error)}"
                ) from error
            calibrator.miss(number)
            told_why = {"step": number, "direction": direction, "z_um": z_um, "reason": reason_of(error)}
            yield from stubs.record(missed, told_why, stream="failures")
            continue
        n_in_a_row = 0
        if settings.settle_s:
            yield Msg("sleep", None, settings.settle_s)
        reading = yield from stubs.image_point((camera,), (camera, z, point), stream="sweep")
        if reading:
            t_s = reading[f"{camera.name}_t_s"]["value"]
            calibrator.add(number, camera.last_frame, reading[z.name]["value"], t_s, direction)
    yield from bps.trigger(calibrator, wait=True)
    yield Msg("create", None, name="calibration")
    yield Msg("read", calibrator)
    yield Msg("save")
    yield from bps.close_run()
    return uid, calibrator.calibration


def _may_go_on(error: BaseException) -> bool:
    """Say whether the next step is worth a try: not where z is beyond its limits, or held by another."""
    return not isinstance(error, LimitError | LeasedError)
