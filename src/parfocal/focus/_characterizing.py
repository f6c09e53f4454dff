"""From the frames of a `characterize_...` run to its result: one collector a kind, live and replayed the same.

Each takes frames with what the plan knew of them (`Probed`), and gives a `Characterization` in the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import (
    Estimate,
    StageAffine,
    StepResponse,
    backlash_um,
    cut_rois,
    find_beads,
    moments_error,
    stage_affine,
    step_response,
)
from parfocal.focus._characterization import Characterization
from parfocal.imaging import MotionProbe, mean_frame, phase_shift
from parfocal.optics import PhotonTransfer
from parfocal.robust import robust_sd

_SIDE_PX = 512  # the middle of a large sensor tells motion as well as all of it
_ROI_PX = 21
_MOST_BEADS = 5
_SURE = 4.0
_FOLDS = 0.45
_LEAST_NCC = 0.3

Issue = tuple[str, str]


@dataclass(frozen=True)
class Probed:
    """What is known of one frame of a characterization.

    Attributes
    ----------
    part : str
        `dark`, `flat`, `step`, `probe`, `side`, `delay` or `shift`.
    level, number : int
        Which level, and which frame of it.
    side : int
        -1, 0 or 1: which side a place was come to from, or of the middle it lies on.
    exposure_s, light : float
        The dose.
    from_um, to_um : float
        Ends of a move, on the axis that is measured.
    y_um, x_um : float
        Where the stage was.
    asked_s, sent_s, read_s : float
        When the frame was asked for, the move was sent, and the frame was there; the camera's clock.
    """

    part: str = ""
    level: int = 0
    number: int = 0
    side: int = 0
    exposure_s: float = math.nan
    light: float = 1.0
    from_um: float = math.nan
    to_um: float = math.nan
    y_um: float = math.nan
    x_um: float = math.nan
    asked_s: float = math.nan
    sent_s: float = math.nan
    read_s: float = math.nan


@dataclass(frozen=True)
class Trace:
    """A readback looked at often: s from the command, and um."""

    t_s: NDArray[np.float64]
    position_um: NDArray[np.float64]


class Characterizing(Protocol):
    """Takes the frames of one run; see `characterizing`."""

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        """Take a frame, what is known of it, the middle of its exposure, and the readback's trace of a step."""
        ...

    def result(self) -> Characterization:
        """Return what all of them say."""
        ...


def characterizing(kind: str, about: Mapping[str, Any], settings: Mapping[str, Any]) -> Characterizing:
    """Return what collects the frames of a kind.

    Parameters
    ----------
    kind : {"camera", "stage", "latency", "pixel_size"}
        What is measured.
    about : mapping
        What it holds for.
    settings : mapping
        As the start document has them: `saturation_adu` and `excess_noise` of a camera, `half_step_um` and
        `beyond_focus_signal` of a stage, `tolerance_um`.

    Raises
    ------
    BadInputError
        There is no such kind.
    """
    if kind == "camera":
        return _Camera(
            about,
            PhotonTransfer(float(settings["saturation_adu"]), float(settings["excess_noise"])),
            str(settings.get("light", "")),
        )
    if kind == "stage":
        return _Stage(
            about,
            float(settings["half_step_um"]),
            float(settings["tolerance_um"]),
            str(settings.get("beyond_focus_signal", "")),
        )
    if kind == "latency":
        return _Latency(about, float(settings["half_step_um"]))
    if kind == "pixel_size":
        return _PixelSize(about, float(settings["told_pixel_size_um"]))
    raise BadInputError(f"characterize: kind is {kind!r}, expected camera, stage, latency or pixel_size")


@dataclass
class _Camera:
    about: Mapping[str, Any]
    transfer: PhotonTransfer
    light: str = ""

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        part = "dark" if told.part == "dark" else "flat"
        self.transfer.add(frame, part, told.level, told.number, told.exposure_s, told.light)

    def result(self) -> Characterization:
        found = self.transfer.result()
        rows = tuple(found.curve())
        return Characterization("camera", self.about, found.numbers(), rows, found.issues, found.maps())


@dataclass
class _Stage:
    about: Mapping[str, Any]
    half_step_um: float
    tolerance_um: float
    beyond_focus_signal: str
    _steps: dict[int, StepResponse] = field(default_factory=dict[int, StepResponse])
    _traces: dict[int, Trace] = field(default_factory=dict[int, Trace])
    _pictures: dict[int, list[NDArray[np.generic]]] = field(default_factory=dict[int, list[NDArray[np.generic]]])
    _sides: dict[int, tuple[int, float, NDArray[np.generic]]] = field(
        default_factory=dict[int, tuple[int, float, NDArray[np.generic]]]
    )
    _seen: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        if told.part == "step" and trace is not None:
            self._steps[told.number] = step_response(
                trace.t_s, trace.position_um, told.from_um, told.to_um, self.tolerance_um
            )
            self._traces[told.number] = trace
        elif told.part == "probe":
            if (told.side, told.number) not in self._seen:
                self._seen.add((told.side, told.number))
                self._pictures.setdefault(told.side, []).append(_middle(frame))
        elif told.part == "side":
            self._sides[told.number] = (told.side, t_s, _middle(frame))

    def result(self) -> Characterization:
        issues: list[Issue] = []
        numbers: dict[str, Any] = {"n_steps": len(self._steps), **self._of_steps(issues)}
        play, moved = self._play(issues)
        numbers |= {"backlash_um": play.value, "backlash_se_um": play.se}
        slope, here, n_beads = self._slope()
        # Far from focus the signal folds back, and its slope is that of the other side.
        is_sure = abs(slope.value) > _SURE * slope.se and abs(here) < _FOLDS
        numbers |= {
            "signal_slope_per_um": slope.value,
            "signal_slope_se_per_um": slope.se,
            "n_beads": n_beads,
            "expected_slope": ("positive" if slope.value > 0 else "negative") if is_sure else "unknown",
            "z_sign": 0,
        }
        if is_sure and self.beyond_focus_signal:
            # A focal plane that rises with z leaves the bead behind: its distance beyond the plane falls.
            beyond = 1 if self.beyond_focus_signal == "positive" else -1
            numbers["z_sign"] = int(-beyond * np.sign(slope.value))
        elif is_sure:
            issues.append(
                ("tells", "which way z goes to the sample is not known: tell beyond_focus_signal of the lens")
            )
        rows = [
            {"part": "step", "number": k, **asdict(step), **_thinned(self._traces[k])}
            for k, step in sorted(self._steps.items())
        ]
        rows += [
            {"part": "side", "number": k, "side": side, "t_s": t_s, "moved_um": at}
            for (k, (side, t_s, _)), at in zip(sorted(self._sides.items()), moved)
        ]
        return Characterization("stage", self.about, numbers, tuple(rows), tuple(issues))

    def _of_steps(self, issues: list[Issue]) -> dict[str, float]:
        steps = [self._steps[k] for k in sorted(self._steps)]
        found: dict[str, float] = {}
        for name in ("dead_s", "delay_s", "rise_s", "settling_s", "overshoot_um"):
            one = Estimate.of_middle([getattr(step, name) for step in steps])
            short, unit = name.rsplit("_", 1)
            found |= {name: one.value, f"{short}_se_{unit}": one.se}
        if steps:
            # How coarsely the readback was looked at does not average out where steps are alike.
            coarse = float(np.median([step.settling_se_s for step in steps]))
            for name in ("settling_se_s", "delay_se_s", "dead_se_s"):
                found[name] = math.hypot(found[name], coarse) if len(steps) > 1 else coarse
            found["settling_max_s"] = float(np.max([step.settling_s for step in steps]))
        found["noise_um"] = float(np.median([step.noise_um for step in steps])) if steps else math.nan
        found["miss_um"] = float(np.max([abs(step.miss_um) for step in steps])) if steps else math.nan
        if not steps or not math.isfinite(found["delay_s"]):
            issues.append(("refuses", "the axis did not answer the steps it was sent"))
        return found

    def _play(self, issues: list[Issue]) -> tuple[Estimate, list[float]]:
        """Return the play, and where each frame was seen to be."""
        unknown = Estimate(math.nan, math.nan)
        taken = [self._sides[k] for k in sorted(self._sides)]
        if not taken:
            return unknown, []
        try:
            probe = self._probe()
            moved = [probe.displacement_um(frame) for _, _, frame in taken]
            play = backlash_um(moved, [side for side, _, _ in taken], [t_s for _, t_s, _ in taken])
        except BadInputError as error:
            issues.append(("warns", f"no backlash: {error}"))
            return unknown, [math.nan] * len(taken)
        if play.se > 0.1 * self.half_step_um:
            issues.append(("warns", f"backlash is uncertain by {play.se:.3g} um: is there a sample in focus?"))
        return play, moved

    def _probe(self) -> MotionProbe:
        return _probe_of(self._pictures, self.half_step_um)

    def _slope(self) -> tuple[Estimate, float, int]:
        """Return how the error signal of beads changes along the axis, per um, the signal, and how many beads."""
        low, high = self._pictures.get(-1, []), self._pictures.get(1, [])
        if not low or not high:
            return Estimate(math.nan, math.nan), math.nan, 0
        beads = find_beads(np.stack([mean_frame(low), mean_frame(high)]), roi_px=_ROI_PX)[:_MOST_BEADS]
        if not len(beads):
            return Estimate(math.nan, math.nan), math.nan, 0
        each: list[float] = []
        means: list[float] = []
        for before, beyond in zip(low, high):
            rois = np.concatenate([cut_rois(np.stack([before, beyond]), y, x, _ROI_PX) for y, x in beads.tolist()])
            signals = np.asarray(moments_error(rois), np.float64).reshape(len(beads), 2)
            each.append(float(np.nanmedian(signals[:, 1] - signals[:, 0])) / (2 * self.half_step_um))
            means.append(float(np.nanmedian(signals)))
        return Estimate.of(each), float(np.median(means)), len(beads)


@dataclass
class _Latency:
    about: Mapping[str, Any]
    half_step_um: float
    _pictures: dict[int, list[NDArray[np.generic]]] = field(default_factory=dict[int, list[NDArray[np.generic]]])
    _taken: dict[tuple[int, int], tuple[Probed, float, NDArray[np.generic]]] = field(
        default_factory=dict[tuple[int, int], tuple[Probed, float, NDArray[np.generic]]]
    )
    _timed: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    _seen: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        if told.part == "probe":
            if (told.side, told.number) in self._seen:
                return
            self._seen.add((told.side, told.number))
            self._pictures.setdefault(told.side, []).append(_middle(frame))
            began_s, ended_s = t_s - told.exposure_s / 2, t_s + told.exposure_s / 2
            self._timed.append((began_s - told.asked_s, told.read_s - ended_s))
        elif told.part == "delay":
            self._taken[told.level, told.number] = (told, t_s, _middle(frame))

    def result(self) -> Characterization:
        timed = np.array(self._timed).reshape(-1, 2)
        begins, reads = Estimate.of_middle(timed[:, 0]), Estimate.of_middle(timed[:, 1])
        numbers: dict[str, Any] = {
            "trigger_to_exposure_s": begins.value,
            "trigger_to_exposure_se_s": begins.se,
            "exposure_to_read_s": reads.value,
            "exposure_to_read_se_s": reads.se,
            "exposure_to_read_max_s": float(timed[:, 1].max()) if len(timed) else math.nan,
        }
        issues: list[Issue] = []
        rows: list[dict[str, Any]] = []
        delay = Estimate(math.nan, math.nan)
        try:
            probe = _probe_of(self._pictures, self.half_step_um)
            for (level, number), (told, t_s, frame) in sorted(self._taken.items()):
                at_um = probe.displacement_um(frame)
                up = 1.0 if told.to_um > told.from_um else -1.0
                after_s = t_s - told.sent_s
                rows.append(
                    {"level": level, "number": number, "after_s": after_s, "at_um": at_um, "up": up, "t_s": t_s}
                )
            delay, share, left = _delay(rows, self.half_step_um)
            if not (0.6 < share < 1.4 and left < 0.3):
                issues.append(
                    ("refuses", "pictures do not follow the moves: is there a sample in focus, and still?")
                )
        except BadInputError as error:
            issues.append(("refuses", f"no latency: {error}"))
        if math.isfinite(delay.value) and not -1e-3 - 3 * delay.se < delay.value:
            issues.append(
                (
                    "refuses",
                    f"frames show a move {-delay.value:.3g} s before it was sent: check the camera's clock",
                )
            )
        elif not math.isfinite(delay.value) and not issues:
            issues.append(("refuses", "no latency: the frames do not follow the moves"))
        numbers |= {"command_to_motion_s": delay.value, "command_to_motion_se_s": delay.se, "n_frames": len(rows)}
        return Characterization("latency", self.about, numbers, tuple(rows), tuple(issues))


@dataclass
class _PixelSize:
    about: Mapping[str, Any]
    told_um: float
    _first: NDArray[np.generic] | None = None
    _moved: dict[int, tuple[float, float, float, float, float, float]] = field(
        default_factory=dict[int, tuple[float, float, float, float, float, float]]
    )

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        if self._first is None:
            self._first = frame.copy()
        found = phase_shift(self._first, frame, upsample=20)
        is_good = found.ncc > _LEAST_NCC
        dy, dx = (-found.dy_px, -found.dx_px) if is_good else (math.nan, math.nan)
        self._moved[told.number] = (told.y_um, told.x_um, dy, dx, t_s, found.ncc)

    def result(self) -> Characterization:
        table = np.array([self._moved[k] for k in sorted(self._moved)]).reshape(-1, 6)
        rows: tuple[dict[str, Any], ...] = tuple(
            dict(zip(("y_um", "x_um", "moved_y_px", "moved_x_px", "t_s", "ncc"), row)) for row in table.tolist()
        )
        try:
            found = stage_affine(table[:, :2], table[:, 2:4], table[:, 4])
        except BadInputError as error:
            return Characterization("pixel_size", self.about, {}, rows, (("refuses", str(error)),))
        issues: list[Issue] = []
        size = found.pixel_size_um
        if abs(size.value / self.told_um - 1) > 0.02 + 3 * size.se / size.value:
            issues.append(
                ("warns", f"pixels are {size.value:.4g} um, the configuration says {self.told_um:.4g} um: mend "
                 "pixel_size_um")
            )  # fmt: skip
        if found.residual_px > 0.5:
            issues.append(("warns", f"moves and pictures disagree by {found.residual_px:.2f} px: play, or drift?"))
        return Characterization("pixel_size", self.about, _affine_numbers(found), rows, tuple(issues))


def _affine_numbers(found: StageAffine) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "pixel_size_um": found.pixel_size_um.value,
        "pixel_size_se_um": found.pixel_size_um.se,
        "pixel_size_y_um": found.pixel_sizes_um[0],
        "pixel_size_x_um": found.pixel_sizes_um[1],
        "rotation_deg": found.rotation_deg,
        "shear_rad": found.shear,
        "is_mirrored": int(found.is_mirrored),
        "residual_px": found.residual_px,
    }
    for i, camera in enumerate("yx"):
        for j, stage in enumerate("yx"):
            numbers[f"px_{camera}_per_um_{stage}"] = float(found.px_per_um[i, j])
            numbers[f"px_{camera}_per_um_{stage}_se"] = float(found.px_per_um_se[i, j])
    return numbers


def _delay(rows: list[dict[str, Any]], half_step_um: float) -> tuple[Estimate, float, float]:
    """Return the time by which pictures follow commands, the share of moves that they show, and what is left.

    Time is as if moves were sudden, its error by leaving out one round after the other, and what is left is
    in half steps. The answer is fitted as a dead time and a lag of first order, with a steady drift of the sample
    and a scale of the pictures beside it; what is wild counts little.
    """
    from scipy.optimize import least_squares

    kept = [row for row in rows if math.isfinite(row["at_um"])]
    levels = sorted({row["level"] for row in kept})

    def pooled(left_out: int | None, start: NDArray[np.float64]) -> NDArray[np.float64]:
        used = [row for row in kept if row["level"] != left_out]
        after, at, up, t = (np.array([row[key] for row in used]) for key in ("after_s", "at_um", "up", "t_s"))
        since = t - t[0]

        def rest(p: NDArray[np.float64]) -> NDArray[np.float64]:
            return (at - _answer_um(p, after, up, since, half_step_um)) / half_step_um

        found = least_squares(rest, start, loss="soft_l1", f_scale=0.1, x_scale=[1.0, 1.0, 0.01, 1e-3, 0.1])
        return np.asarray(found.x, np.float64)

    if len(kept) < 8 or len(levels) < 2:
        return Estimate(math.nan, math.nan), math.nan, math.nan
    starts = [np.array([dead, lag, 0.0, 0.0, 1.0]) for dead in (0.0, 5.0) for lag in (1.0, 5.0, 20.0)]
    tried = [pooled(None, start) for start in starts]
    whole = float(np.median([p[0] + max(p[1], 0.05) for p in tried]))
    best = min(tried, key=lambda p: abs(p[0] + max(float(p[1]), 0.05) - whole))
    each = np.array([(p := pooled(level, best))[0] + max(float(p[1]), 0.05) for level in levels])
    n = len(levels)
    found = Estimate(1e-3 * whole, 1e-3 * math.sqrt((n - 1) / n * float(((each - each.mean()) ** 2).sum())))
    return found, float(best[4]), _left(kept, best, half_step_um)


def _answer_um(p: NDArray[np.float64], after_s: Any, up: Any, since_s: Any, half_step_um: float) -> Any:
    """Return where the load is by dead time and lag (ms), drift (um, um/s) and scale."""
    lag_ms = max(float(p[1]), 0.05)
    gone = np.where(1e3 * after_s > p[0], -np.expm1(-np.maximum(1e3 * after_s - p[0], 0.0) / lag_ms), 0.0)
    return p[4] * up * half_step_um * (2 * gone - 1) + p[2] + p[3] * since_s


def _left(rows: list[dict[str, Any]], p: NDArray[np.float64], half_step_um: float) -> float:
    after, at, up, t = (np.array([row[key] for row in rows]) for key in ("after_s", "at_um", "up", "t_s"))
    return robust_sd(at - _answer_um(p, after, up, t - t[0], half_step_um)) / half_step_um


def _probe_of(pictures: Mapping[int, list[NDArray[np.generic]]], half_step_um: float) -> MotionProbe:
    low, middle, high = (mean_frame(pictures.get(side, [])) for side in (-1, 0, 1))
    return MotionProbe(low, middle, high, half_step_um)


def _middle(frame: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the middle of a frame, as a copy."""
    cuts = tuple(slice(max(0, (n - _SIDE_PX) // 2), max(0, (n - _SIDE_PX) // 2) + _SIDE_PX) for n in frame.shape)
    return frame[cuts].copy()


def _thinned(trace: Trace, most: int = 120) -> dict[str, list[float]]:
    step = max(1, math.ceil(trace.t_s.size / most))
    return {"t_s": trace.t_s[::step].tolist(), "position_um": trace.position_um[::step].tolist()}
