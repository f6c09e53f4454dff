"""A camera's own numbers out of dark frames and of evenly spaced levels of light: the photon transfer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics._camera_noise import CameraNoise, TransferLevel
from parfocal.robust import robust_sd

Part = Literal["dark", "flat"]

_BLOCK = 8  # frames within which light and sample stand still
_NOISY_SD = 5.0
_CLIPPED_SD = 4.0
_LEAST_SIGNAL_SD = 5.0
_FEWEST = 8


@dataclass
class LevelMoments:
    """Mean and variance of every pixel over the frames of one level, gathered frame by frame.

    The variance is that within blocks of 8 frames: what drifts more slowly (a lamp, a sample) does not enter.
    Frames of a level with light are first scaled to the light of its first, so that a lamp that flickers does not
    either; `flicker` tells by how much it did.

    Parameters
    ----------
    part : {"dark", "flat"}
        Without light, or with.
    exposure_s : float
        Of its frames.
    light : float
        Intensity of the light, of whatever unit.
    offset_adu : ndarray of shape (height, width), optional
        Dark level, above which `flat` frames are scaled.
    """

    part: Part
    exposure_s: float
    light: float = 1.0
    offset_adu: NDArray[np.float64] | None = None
    n_frames: int = 0
    top_adu: float = -math.inf
    n_at_top: int = 0
    _sum: NDArray[np.float64] | None = None
    _in_block: int = 0
    _block_mean: NDArray[np.float64] | None = None
    _m2: NDArray[np.float64] | None = None
    _dof: int = 0
    _signals: list[float] = field(default_factory=list[float])

    def add(self, frame: NDArray[np.generic]) -> None:
        """Take one frame `[y, x]`, ADU."""
        top = float(frame.max())
        if top > self.top_adu:
            self.top_adu, self.n_at_top = top, 0
        if top == self.top_adu:
            self.n_at_top += int(np.count_nonzero(frame == frame.dtype.type(top)))
        values = np.asarray(frame, np.float64)
        if self.part == "flat" and self.offset_adu is not None:
            above = values - self.offset_adu
            signal = float(above.mean())
            self._signals.append(signal)
            if self._signals[0] > 0 and signal > 0:
                values = self.offset_adu + above * (self._signals[0] / signal)
        if self._sum is None or self._m2 is None or self._block_mean is None:
            self._sum, self._m2, self._block_mean = (np.zeros(values.shape) for _ in range(3))
        self.n_frames += 1
        self._sum += np.asarray(frame, np.float64)
        self._in_block += 1
        step = values - self._block_mean  # Welford, from zero at the beginning of each block
        self._block_mean += step / self._in_block
        self._m2 += step * (values - self._block_mean)
        if self._in_block > 1:
            self._dof += 1
        if self._in_block == _BLOCK:
            self._in_block, self._block_mean = 0, np.zeros(values.shape)

    @property
    def mean_adu(self) -> NDArray[np.float64]:
        """Mean of every pixel, ADU."""
        return self._whole(self._sum) / max(self.n_frames, 1)

    @property
    def variance_adu2(self) -> NDArray[np.float64]:
        """Variance of every pixel from frame to frame, ADU²."""
        scale = float(np.mean(self._signals)) / self._signals[0] if self._signals and self._signals[0] > 0 else 1.0
        return self._whole(self._m2) * (scale**2 / max(self._dof, 1))

    @property
    def dof(self) -> int:
        """Degrees of freedom of the variances."""
        return self._dof

    @property
    def flicker(self) -> float:
        """Standard deviation of the light over its mean."""
        if len(self._signals) < 2:
            return 0.0
        mean = float(np.mean(self._signals))
        return float(np.std(self._signals)) / mean if mean > 0 else math.nan

    @staticmethod
    def _whole(values: NDArray[np.float64] | None) -> NDArray[np.float64]:
        if values is None:
            raise BadInputError("photon transfer: a level has no frames")
        return values


class PhotonTransfer:
    """Gathers the frames of a photon transfer: dark ones first, then levels of light, one after the other.

    Parameters
    ----------
    saturation_adu : float
        The largest value that the camera can report, where the frames do not show it.
    excess_noise : float
        Factor on the variance of shot noise: 2 behind a multiplying register.
    """

    def __init__(self, saturation_adu: float = 65535.0, excess_noise: float = 1.0) -> None:
        self._saturation_adu = saturation_adu
        self._excess_noise = excess_noise
        self._levels: dict[int, LevelMoments] = {}
        self._seen: set[tuple[int, int]] = set()
        self._offset_adu: NDArray[np.float64] | None = None

    @property
    def n_frames(self) -> int:
        """Frames taken so far."""
        return sum(level.n_frames for level in self._levels.values())

    def add(
        self,
        frame: NDArray[np.generic],
        part: Part,
        level: int,
        number: int,
        exposure_s: float,
        light: float = 1.0,
    ) -> None:
        """Take frame `number` of a level; one that is repeated counts once.

        Raises
        ------
        BadInputError
            It is of another shape than those before, or has light before there were dark frames.
        """
        if (level, number) in self._seen:
            return
        self._seen.add((level, number))
        if part == "flat" and self._offset_adu is None:
            dark = [one for one in self._levels.values() if one.part == "dark"]
            if not dark:
                raise BadInputError("photon transfer: dark frames are to come before those with light")
            self._offset_adu = min(dark, key=lambda one: one.exposure_s).mean_adu
        if level not in self._levels:
            self._levels[level] = LevelMoments(part, exposure_s, light, self._offset_adu)
        first = next(iter(self._levels.values()))
        if first.n_frames and frame.shape != first.mean_adu.shape:
            raise BadInputError(
                f"photon transfer: a frame of {frame.shape} px after frames of {first.mean_adu.shape} px"
            )
        self._levels[level].add(frame)

    def result(self) -> CameraNoise:
        """Return what the frames say of the camera."""
        return photon_transfer(list(self._levels.values()), self._saturation_adu, self._excess_noise)


def photon_transfer(
    levels: list[LevelMoments], saturation_adu: float = 65535.0, excess_noise: float = 1.0
) -> CameraNoise:
    """Return offset, gain and read noise of every pixel, with their standard errors.

    The offset is the mean of the dark frames with the shortest exposure, and their variance the read noise. The
    variance that light adds over the light is the gain: each pixel's slope by weighted least squares [1]_, with
    weights from the expected variance, not the measured one, which would favour levels that happen to be quiet.
    One slope is as uncertain as sqrt(2 / frames), most often more than pixels differ. So how much they truly
    differ is estimated from all pixels, and each slope is drawn towards their mean by that (empirical Bayes):
    where light does not suffice, the map is nearly flat, and its standard errors say how far that may be wrong.

    Parameters
    ----------
    levels : list of LevelMoments
        One or two `dark` ones and one or more `flat` ones.
    saturation_adu : float
        The largest value that the camera can report, where the frames do not show it.
    excess_noise : float
        Factor on the variance of shot noise.

    Returns
    -------
    CameraNoise

    Raises
    ------
    BadInputError
        No dark frames, or fewer than 8 of them.

    References
    ----------
    .. [1] F. Huang et al., Nat. Methods 10, 653 (2013), supplementary note 1.
    .. [2] EMVA Standard 1288, release 4.0 (2021), section 2.
    """
    darks = sorted((one for one in levels if one.part == "dark"), key=lambda one: one.exposure_s)
    flats = [one for one in levels if one.part == "flat" and one.n_frames > 1]
    if not darks or darks[0].dof < _FEWEST - 1:
        raise BadInputError(f"photon transfer: {_FEWEST} dark frames or more were expected")
    dark = darks[0]
    issues: list[tuple[str, str]] = []
    offset, dark_var = dark.mean_adu, dark.variance_adu2
    floor = max(float(np.median(dark_var)), 1.0 / 12)  # no converter's steps are finer
    dark_var_se = np.sqrt(2 / dark.dof) * np.maximum(dark_var, 0.1 * floor)
    saturates_at, is_seen = _saturation(levels, saturation_adu)
    if (leak := _leak_adu_per_s(darks)) > 0 and flats:
        light = max(float(np.mean(one.mean_adu - offset)) / one.exposure_s for one in flats)
        if leak > 0.01 * light:
            issues.append(
                ("refuses", f"frames without light are not dark: they gain {leak:.3g} ADU/s; cap the camera")
            )
    dark_rate = _dark_rate(darks)
    slopes = _slopes(flats, dark, dark_rate[0], floor, saturates_at, excess_noise)
    if slopes is None:
        issues.append(
            ("refuses", "no level of light exceeds the read noise: brighter light or longer exposures are needed")
        )
        gain, gain_se, mean, mean_se, scatter = 1.0, math.nan, 1.0, math.nan, math.nan
        gains, gains_se = np.ones_like(offset), np.full_like(offset, math.nan)
    else:
        gains, gains_se, mean, mean_se, scatter = _shrunk(*slopes)
        gain, gain_se = mean, mean_se
        brightest = max(flats, key=lambda one: float(one.mean_adu.mean()) if one.top_adu < saturates_at else 0.0)
        excess, excess_se = _steep_excess(*slopes, brightest.mean_adu)
        if excess > 3 * excess_se and excess > 0.01 * mean:
            issues.append(
                (
                    "warns",
                    f"where the picture is steep, gain seems {excess / mean:.1%} higher: what is in view moves; "
                    "go out of focus, or take an even slide",
                )
            )
        if mean_se > 0.02 * mean:
            issues.append(("warns", f"the mean gain is uncertain by {mean_se / mean:.1%}: take more frames"))
    read = np.sqrt(np.maximum(dark_var, 1e-3 * floor)) / gains
    ratio_se = dark_var_se / (2 * np.maximum(dark_var, 0.1 * floor))
    read_se = read * np.hypot(ratio_se, np.nan_to_num(gains_se / gains))
    logs = np.log(read)
    is_hot = logs > float(np.median(logs)) + max(_NOISY_SD * robust_sd(logs), math.log(2.0))
    rows, nonlinearity = _curve(darks, flats, offset, dark_rate[0], gain, float(np.median(dark_var)), excess_noise)
    if nonlinearity > 0.02:
        issues.append(
            ("warns", f"signal departs from a straight line by {nonlinearity:.1%}: is the light steady?")
        )
    if any(one.flicker > 0.05 for one in flats):
        issues.append(("warns", f"the light changed by {max(one.flicker for one in flats):.1%} within a level"))
    if not is_seen:
        issues.append(("tells", "no level saturates: the largest value is as the driver tells it"))
    return CameraNoise(
        offset_adu=offset.astype(np.float32),
        offset_se_adu=np.sqrt(dark_var / dark.n_frames).astype(np.float32),
        gain_adu_per_e=gains.astype(np.float32),
        gain_se_adu_per_e=gains_se.astype(np.float32),
        read_noise_e=read.astype(np.float32),
        read_noise_se_e=read_se.astype(np.float32),
        is_hot=is_hot,
        mean_gain_adu_per_e=gain,
        mean_gain_se_adu_per_e=gain_se,
        gain_scatter=scatter / mean if mean else math.nan,
        saturation_adu=saturates_at,
        is_saturation_seen=is_seen,
        dark_current_e_per_s=max(dark_rate[0] / gain, 0.0),
        dark_current_se_e_per_s=dark_rate[1] / gain,
        nonlinearity=nonlinearity,
        levels=tuple(rows),
        issues=tuple(issues),
    )


def _saturation(levels: list[LevelMoments], told_adu: float) -> tuple[float, bool]:
    """Return the largest value, and whether frames show it: many pixels at exactly the same top."""
    top = max(one.top_adu for one in levels)
    n_at_top = sum(one.n_at_top for one in levels if one.top_adu == top)
    n_pixels = levels[0].mean_adu.size
    if n_at_top > max(20, 0.001 * n_pixels) and any(one.part == "flat" and one.top_adu == top for one in levels):
        return top, True
    return told_adu, False


def _dark_rate(darks: list[LevelMoments]) -> tuple[float, float]:
    """Return what gathers without light, ADU/s a pixel, and its standard error."""
    first, last = darks[0], darks[-1]
    span_s = last.exposure_s - first.exposure_s
    if span_s <= 0:
        return 0.0, math.nan
    more = (last.mean_adu - first.mean_adu) / span_s
    middle = np.abs(more - np.median(more)) <= _NOISY_SD * max(robust_sd(more), 1e-12)
    return float(more[middle].mean()), float(more[middle].std() / math.sqrt(max(int(middle.sum()), 1)))


def _leak_adu_per_s(darks: list[LevelMoments]) -> float:
    rate, se = _dark_rate(darks)
    return rate if rate > 5 * se else 0.0


def _slopes(
    flats: list[LevelMoments],
    dark: LevelMoments,
    dark_rate_adu_per_s: float,
    floor_adu2: float,
    saturates_at: float,
    excess_noise: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return each pixel's gain and its standard error (infinite where no light); None where there is none."""
    offset, dark_var = dark.mean_adu, dark.variance_adu2
    # A pixel's own dark variance weighs only where it is far off: what is low by chance is not to be favoured.
    read_adu2 = np.where(dark_var > 4 * floor_adu2, dark_var, floor_adu2)
    usable: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], int]] = []
    for one in flats:
        signal = one.mean_adu - offset - dark_rate_adu_per_s * one.exposure_s
        var = one.variance_adu2
        is_clear = one.mean_adu + _CLIPPED_SD * np.sqrt(np.maximum(var, floor_adu2)) < saturates_at
        ok = is_clear & (signal > _LEAST_SIGNAL_SD * math.sqrt(floor_adu2))
        # The square of a mean is too large by the mean's own variance.
        signal_var = np.maximum(var, 0.0) / one.n_frames + dark_var / dark.n_frames
        usable.append((signal, var - dark_var, np.where(ok, signal_var, 0.0), ok, one.dof))
    top = sum(float((s * more)[ok].sum()) for s, more, _, ok, _ in usable)
    bottom = sum(float((s * s)[ok].sum()) for s, _, _, ok, _ in usable)
    if bottom <= 0 or top <= 0:
        return None
    rough = top / bottom
    slope, var = np.full_like(offset, rough), np.full_like(offset, np.inf)
    for _ in range(2):  # the second time, with weights from a gain that is right
        sum_wss, sum_ws, sum_wsv = (np.zeros_like(offset) for _ in range(3))
        for signal, more, signal_var, ok, dof in usable:
            expected = read_adu2 + rough * np.maximum(signal, 0.0)
            w = np.where(ok, dof / (2 * expected**2), 0.0)
            sum_wss += w * (signal**2 - signal_var)
            sum_ws += w * signal
            sum_wsv += w * signal * more
        has = sum_wss > 0
        if not has.any():
            return None
        slope = np.where(has, sum_wsv / np.where(has, sum_wss, 1.0), rough)
        # The dark variance is subtracted from every level: what it is wrong by is wrong in all of them.
        shared = 2 * read_adu2**2 / dark.dof
        var = np.where(
            has, (1 + sum_ws**2 / np.where(has, sum_wss, 1.0) * shared) / np.where(has, sum_wss, 1.0), np.inf
        )
        sure = np.where(has, 1 / var, 0.0)
        rough = float((slope * sure).sum() / sure.sum())
    return np.asarray(slope / excess_noise, np.float64), np.asarray(np.sqrt(var) / excess_noise, np.float64)


def _steep_excess(
    slope: NDArray[np.float64], se: NDArray[np.float64], picture: NDArray[np.float64]
) -> tuple[float, float]:
    """Return by how much the slope is higher in the steeper half of the picture, and the standard error."""
    steep = np.hypot(*np.gradient(picture)) / np.maximum(picture, 1.0)
    has = np.isfinite(se)
    if int(has.sum()) < 16:
        return 0.0, math.inf
    is_steep = steep > float(np.median(steep[has]))

    def mean(chosen: NDArray[np.bool_]) -> tuple[float, float]:
        w = 1 / se[chosen] ** 2
        return float((slope[chosen] * w).sum() / w.sum()), 1 / float(w.sum())

    (high, high_var), (low, low_var) = mean(has & is_steep), mean(has & ~is_steep)
    return high - low, math.sqrt(high_var + low_var)


def _shrunk(
    slope: NDArray[np.float64], se: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float, float]:
    """Draw slopes to their mean by how much pixels truly differ; return them, errors, mean, its error, scatter."""
    has = np.isfinite(se)
    w = np.where(has, 1 / np.where(has, se, 1.0) ** 2, 0.0)
    mean = float((w * slope).sum() / w.sum())
    near = has & (np.abs(slope - mean) < 6 * np.where(has, se, 1.0))
    squares, vw = (slope[near] - mean) ** 2 - se[near] ** 2, w[near] ** 2
    tau2 = float((vw * squares).sum() / vw.sum()) if near.any() else 0.0
    tau2_se = float(np.sqrt((vw**2 * 2 * se[near] ** 4).sum()) / vw.sum()) if near.any() else math.inf
    tau2 = max(tau2, 0.0)
    if tau2 < 2 * tau2_se:
        # Not told from none: the map is flat, and its error the largest scatter that would not have been seen.
        drawn, drawn_se = np.full_like(slope, mean), np.full_like(slope, math.sqrt(tau2 + 2 * tau2_se))
        scatter = 0.0
    else:
        keep = np.where(has, tau2 / (tau2 + np.where(has, se, 1.0) ** 2), 0.0)
        drawn, drawn_se = mean + keep * (slope - mean), np.sqrt(tau2 * (1 - keep))
        scatter = math.sqrt(tau2)
    weights = np.where(has, 1 / (np.where(has, se, 1.0) ** 2 + tau2), 0.0)
    mean_se = 1 / math.sqrt(float(weights.sum()))
    return np.maximum(drawn, 0.05 * mean), np.hypot(drawn_se, mean_se), mean, mean_se, scatter


def _curve(
    darks: list[LevelMoments],
    flats: list[LevelMoments],
    offset: NDArray[np.float64],
    dark_rate: float,
    gain: float,
    read_adu2: float,
    excess_noise: float,
) -> tuple[list[TransferLevel], float]:
    """Return the photon transfer curve, and how far signal over dose departs from its mean, below saturation."""
    rows: list[TransferLevel] = []
    for one in [*darks, *flats]:
        signal = float(np.mean(one.mean_adu - offset)) - (
            dark_rate * one.exposure_s if one.part == "flat" else 0.0
        )
        variance = float(np.mean(one.variance_adu2))
        at_top = one.n_at_top / (one.n_frames * offset.size)
        told = read_adu2 + (gain * excess_noise * max(signal, 0.0) if one.part == "flat" else 0.0)
        rows.append(
            TransferLevel(
                one.part, one.exposure_s, one.light, one.n_frames, signal, variance, told, at_top, one.flicker
            )
        )
    lit = [row for row in rows if row.part == "flat" and row.signal_adu > 0]
    peak = max((row.signal_adu for row in lit), default=0.0)
    # The first part of the scale is left to read noise and stray light, and clipped levels to saturation.
    told = [row for row in lit if row.signal_adu > 0.05 * peak and row.share_at_top < 1e-3]
    if len(told) < 3:
        return rows, math.nan
    per_dose = np.array([row.signal_adu / (row.exposure_s * row.light) for row in told])
    return rows, float(np.max(np.abs(per_dose / np.median(per_dose) - 1)))
