"""Whether a frame may steer the stage: one small gate an idea, answering with an alarm or with nothing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from parfocal.fitting import DefocusModel
from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._measurement import Measurement

_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_BASELINE_SHARE = 0.02  # of each good frame in the running mean of photons, as in the original


@dataclass(frozen=True)
class Alarm:
    """What a safeguard has to say: a code for programs, and plain words."""

    code: str
    reason: str


class Gate(Protocol):
    """Judges one measurement."""

    def judge(self, m: Measurement) -> Alarm | None:
        """Return why the measurement is refused, or None."""
        ...


@dataclass(frozen=True)
class FitGate:
    """Refuses a frame whose fit found no spot, or no number."""

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `fit_failed` or None."""
        if m.is_fit_ok and math.isfinite(m.z_um) and math.isfinite(m.z_se_um) and m.z_se_um > 0:
            return None
        return Alarm("fit_failed", m.reason or "no spot could be fitted")


@dataclass(frozen=True)
class SaturationGate:
    """Refuses a frame whose brightest pixel is at the camera's ceiling: its widths are wrong."""

    max_peak_fraction: float

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `saturated` or None."""
        if not m.peak_fraction >= self.max_peak_fraction:
            return None
        return Alarm("saturated", f"brightest pixel at {m.peak_fraction:.0%} of what the camera can report")


class LowSignalGate:
    """Refuses a spot of few photoelectrons, outright or beside its own running mean.

    Net photoelectrons of the fit count, not the light of the region, which is mostly background. Only good
    frames enter the mean, so that bleaching is followed and a shutter is not.
    """

    def __init__(self, min_photons: float, min_fraction: float) -> None:
        self._min_photons = min_photons
        self._min_fraction = min_fraction
        self.baseline = math.nan

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `low_signal` or None."""
        floor = self._min_photons
        if math.isfinite(self.baseline):
            floor = max(floor, self._min_fraction * self.baseline)
        if m.photons >= floor:
            return None
        return Alarm("low_signal", f"{m.photons:.0f} photoelectrons in the spot, expected {floor:.0f} or more")

    def accept(self, m: Measurement) -> None:
        """Take a good frame into the running mean."""
        if math.isnan(self.baseline):
            self.baseline = m.photons
        else:
            self.baseline += _BASELINE_SHARE * (m.photons - self.baseline)

    def reset(self) -> None:
        """Forget the running mean."""
        self.baseline = math.nan


@dataclass(frozen=True)
class WidthGate:
    """Refuses widths that no spot of this microscope has."""

    fwhm_min_px: float
    fwhm_max_px: float
    ellipticity_min: float
    ellipticity_max: float

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `implausible_width` or None."""
        if not (m.sigma_x_px > 0 and m.sigma_y_px > 0):
            return Alarm("implausible_width", "a width is not above 0")
        fwhm_px = _FWHM_PER_SIGMA * math.sqrt(m.sigma_x_px * m.sigma_y_px)
        if not self.fwhm_min_px <= fwhm_px <= self.fwhm_max_px:
            expected = f"{self.fwhm_min_px:g} to {self.fwhm_max_px:g}"
            return Alarm("implausible_width", f"spot {fwhm_px:.1f} px wide (FWHM), expected {expected}")
        ellipticity = math.sqrt(m.sigma_x_px / m.sigma_y_px)
        if not self.ellipticity_min <= ellipticity <= self.ellipticity_max:
            expected = f"{self.ellipticity_min:g} to {self.ellipticity_max:g}"
            return Alarm("implausible_width", f"ellipticity {ellipticity:.2f}, expected {expected}")
        return None


@dataclass(frozen=True)
class PrecisionGate:
    """Refuses a measurement that hardly tells z."""

    max_z_se_um: float

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `imprecise` or None."""
        if m.z_se_um <= self.max_z_se_um:
            return None
        return Alarm("imprecise", f"z known to {m.z_se_um:.3f} um, expected {self.max_z_se_um:g} um or better")


class BrightGate:
    """Refuses a spot much brighter than its own running mean: another one shines in.

    Beads that merge fit well, at a wrong z; their light tells them.
    """

    def __init__(self, low_signal: LowSignalGate, max_fraction: float) -> None:
        self._low_signal = low_signal
        self._max_fraction = max_fraction

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `too_bright` or None."""
        usual = self._low_signal.baseline
        if not m.photons > self._max_fraction * usual:
            return None
        return Alarm(
            "too_bright", f"{m.photons:.0f} photoelectrons in the spot, {m.photons / usual:.1f} times its mean"
        )


class MisfitGate:
    """Refuses a spot that fits worse than it used to at that z: something else is in the region.

    No real spot is quite the fitted shape, and the brighter it is the more that shows. So what is usual is
    learnt from good frames, per photon, apart for each 0.1 um of z: mean and scatter. Where nothing was learnt
    yet, three times the worst mean of other z is let pass, or twice the worst of the calibration's own sweep: a
    diffraction spot may fit four times worse at focus than beside it.
    """

    _LEARNT_FROM = 20
    _LEARNT_TO = 200  # then no more: a bead that comes near slowly must not be got used to
    _BIN_UM = 0.1

    def __init__(self, max_excess: float, told_per_photon: float = 0.0) -> None:
        self._max_excess = max_excess
        self._told_per_photon = told_per_photon
        self.reset()

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `poor_fit` or None."""
        n, mean, variance = self._usual.get(self._bin(m), (0, 0.0, 0.0))
        if n >= self._LEARNT_FROM:
            limit = mean * m.photons + self._max_excess * max(1.0, math.sqrt(variance) * m.photons)
        elif self._usual:
            worst = 3 * max(mean for _, mean, _ in self._usual.values())
            limit = max(worst, 2 * self._told_per_photon) * m.photons + self._max_excess
        else:
            return None
        if not m.excess_deviance > limit:
            return None
        return Alarm("poor_fit", f"fit off by {m.excess_deviance:.0f} standard deviations of its deviance")

    def accept(self, m: Measurement) -> None:
        """Learn from a good frame."""
        n, mean, variance = self._usual.get(self._bin(m), (0, 0.0, 0.0))
        if n >= self._LEARNT_TO or not m.photons > 0:
            return
        share = 1 / (n + 1)
        off = max(m.excess_deviance, 0.0) / m.photons - mean
        self._usual[self._bin(m)] = (n + 1, mean + share * off, (1 - share) * (variance + share * off * off))

    def reset(self) -> None:
        """Learn anew."""
        self._usual: dict[int, tuple[int, float, float]] = {}

    def _bin(self, m: Measurement) -> int:
        return round(m.z_um / self._BIN_UM) if math.isfinite(m.z_um) else 0


class EdgeGate:
    """Refuses a spot near the border of its region, by the fitted position: it is cut off there."""

    def __init__(self, margin_px: float, shape_px: tuple[int, int] | None) -> None:
        self._margin_px = margin_px
        self.shape_px = shape_px

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `edge_of_roi` or None."""
        if self.shape_px is None or self._margin_px == 0:
            return None
        height, width = self.shape_px
        distances = (m.x_px, m.y_px, width - 1 - m.x_px, height - 1 - m.y_px)
        if all(distance >= self._margin_px for distance in distances):
            return None
        distance = min(distances)
        return Alarm(
            "edge_of_roi", f"spot {distance:.1f} px from the border, expected {self._margin_px:g} or more"
        )


@dataclass(frozen=True)
class SecondBeadGate:
    """Refuses a region with more than one spot."""

    max_peaks: int

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `second_bead` or None."""
        if m.n_peaks <= self.max_peaks:
            return None
        return Alarm("second_bead", f"{m.n_peaks} spots in the region, expected {self.max_peaks}")


@dataclass(frozen=True)
class DomainGate:
    """Refuses z outside what was calibrated. There is no way round it."""

    low_um: float
    high_um: float

    def judge(self, m: Measurement) -> Alarm | None:
        """Return `outside_calibration` or None."""
        if self.low_um <= m.z_um <= self.high_um:
            return None
        expected = f"{self.low_um:.2f} to {self.high_um:.2f} um"
        return Alarm("outside_calibration", f"z {m.z_um:.3f} um is outside the calibrated range, {expected}")


class DetectionWindow:
    """Asks that more than a share of the last frames were good, not this one alone."""

    def __init__(self, size: int, threshold: float) -> None:
        self._threshold = threshold
        self._passed = deque([True] * size, maxlen=size)

    @property
    def pass_fraction(self) -> float:
        """Share of good frames."""
        return sum(self._passed) / len(self._passed)

    def judge(self, is_good: bool) -> Alarm | None:
        """Take in a frame; return `unsteady` for a good one among too many bad ones."""
        self._passed.append(is_good)
        if not is_good or self.pass_fraction > self._threshold:
            return None
        return Alarm("unsteady", f"only {self.pass_fraction:.0%} of the last {len(self._passed)} frames were good")

    def reset(self) -> None:
        """Begin as if all had been good."""
        self._passed.extend([True] * len(self._passed))


class QualityGates:
    """All gates of a frame, and how far it can be trusted."""

    def __init__(
        self,
        s: LockSettings,
        domain_um: tuple[float, float],
        shape_px: tuple[int, int] | None,
        usual_misfit: float = 0.0,
    ) -> None:
        self._low_signal = LowSignalGate(s.min_photons, s.min_roi_intensity_fraction)
        self._misfit = MisfitGate(s.max_excess_deviance, usual_misfit)
        self._window = DetectionWindow(s.detection_window_size, s.detection_pass_threshold)
        self._edge = EdgeGate(s.edge_margin_px, shape_px)
        margin = s.domain_margin_um
        self._gates: tuple[Gate, ...] = (
            FitGate(),
            SaturationGate(s.max_peak_fraction),
            self._low_signal,
            BrightGate(self._low_signal, s.max_roi_intensity_fraction),
            self._edge,
            SecondBeadGate(s.max_peaks),
            WidthGate(s.fwhm_min_px, s.fwhm_max_px, s.ellipticity_min, s.ellipticity_max),
            DomainGate(domain_um[0] + margin, domain_um[1] - margin),
            PrecisionGate(s.max_z_se_um),
            self._misfit,
        )

    def judge(self, m: Measurement) -> tuple[Alarm, ...]:
        """Return every objection to a frame; none is a good frame, which the gates learn from."""
        alarms: Sequence[Alarm] = [alarm for gate in self._gates if (alarm := gate.judge(m)) is not None]
        if not alarms:
            self._low_signal.accept(m)
            self._misfit.accept(m)
        unsteady = self._window.judge(not alarms)
        return (*alarms, unsteady) if unsteady else tuple(alarms)

    def confidence(self, m: Measurement) -> float:
        """Return 0 to 1: 0.45 for the fit, 0.35 for light beside its mean, 0.2 for the share of good frames."""
        fit = math.exp(-max(m.excess_deviance, 0.0) / 8.0) if m.is_fit_ok else 0.0
        light = m.photons / self._low_signal.baseline if self._low_signal.baseline > 0 else 0.0
        if not math.isfinite(light):
            light = 0.0
        total = 0.45 * fit + 0.35 * min(max(light, 0.0), 1.0) + 0.2 * self._window.pass_fraction
        return min(max(total, 0.0), 1.0)

    def resize(self, shape_px: tuple[int, int]) -> None:
        """Take the region's new shape (height, width)."""
        self._edge.shape_px = shape_px

    def reset(self) -> None:
        """Forget what was learnt of the spot."""
        self._low_signal.reset()
        self._misfit.reset()
        self._window.reset()


def arming_alarms(model: DefocusModel, s: LockSettings) -> tuple[Alarm, ...]:
    """Return why a calibration must not be locked on; none where it may.

    Parameters
    ----------
    model : DefocusModel
        The calibration.
    s : LockSettings
        `min_cal_q_span`, `min_cal_usable_half_range_um` and `min_cal_slope_per_um` count.
    """
    low, high = model.usable_um
    half = min(-low, high)
    if not half >= s.min_cal_usable_half_range_um:
        words = (
            f"calibrated {low:.2f} to {high:.2f} um, expected {s.min_cal_usable_half_range_um:g} um to both sides"
        )
        return (Alarm("calibration_range", words),)
    alarms: list[Alarm] = []
    q_low, q_high = model.q([low, high])
    span = abs(float(q_high - q_low))
    if not span >= s.min_cal_q_span:
        words = f"ln(sigma_x/sigma_y) changes by {span:.3f} over the range, expected {s.min_cal_q_span:g}"
        alarms.append(Alarm("calibration_span", words))
    step = 0.01
    q_below, q_above = model.q([-step, step])
    slope = abs(float(q_above - q_below)) / (2 * step)
    if not slope >= s.min_cal_slope_per_um:
        words = f"slope at focus is {slope:.3f}/um, expected {s.min_cal_slope_per_um:g}/um"
        alarms.append(Alarm("calibration_slope", words))
    return tuple(alarms)
