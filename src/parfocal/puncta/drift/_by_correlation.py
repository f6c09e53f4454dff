"""Drift by redundant cross-correlation: every part of a recording against every other.

Y. Wang et al., "Localization events-based sample drift correction for localization microscopy with redundant
cross-correlation algorithm", Opt. Express 22, 15982 (2014): the recording is cut into segments; the shift of each
pair is the peak of the cross-correlation of their images; shifts that do not fit the others are left out, the rest
is solved by least squares; a cubic spline gives every frame its drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, interpolate, optimize

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations
from parfocal.puncta.drift._drift import Drift

Floats = NDArray[np.float64]
_BLUR_PX = 1.0
_FIT_RADIUS_PX = 4
_LARGEST_SIDE_PX = 2048
_N_SEGMENTS = 12


@dataclass(frozen=True)
class CorrelationSettings:
    """How drift is found by correlation.

    Parameters
    ----------
    frames_per_segment : int
        0: a twelfth of the recording.
    max_shift_um : float
        Farthest that two segments can be apart.
    pixel_um : float
        Of the images that are correlated. 0: 1.5 times the median precision, from 20 to 50 nm.
    max_residual_um : float
        A pair that is farther from what the others say is left out. 0: four times what pairs scatter by, at least
        half a pixel.
    min_localizations : int
        That a segment must have.
    """

    frames_per_segment: int = 0
    max_shift_um: float = 1.0
    pixel_um: float = 0.0
    max_residual_um: float = 0.0
    min_localizations: int = 20

    def __post_init__(self) -> None:
        if min(self.frames_per_segment, self.pixel_um, self.max_residual_um) < 0 or not self.max_shift_um > 0:
            raise BadInputError(
                f"drift: frames_per_segment={self.frames_per_segment}, max_shift_um={self.max_shift_um:g}, "
                f"pixel_um={self.pixel_um:g}, max_residual_um={self.max_residual_um:g}: numbers of 0 or more, "
                "and a largest shift above 0 were expected"
            )


def drift_by_correlation(
    localizations: Localizations, settings: CorrelationSettings | None = None, n_frames: int | None = None
) -> Drift:
    """Return the drift that makes all parts of a recording lie on each other.

    Parameters
    ----------
    localizations : Localizations
        Of one recording. What moves by itself blurs the correlation, what stays makes its peak.
    settings : CorrelationSettings, optional
    n_frames : int, optional
        Of the recording. Default: to the last localization.

    Raises
    ------
    BadInputError
        A segment has too few localizations, or there are fewer than two segments.
    """
    told = settings or CorrelationSettings()
    total = max(localizations.n_frames, n_frames or 0)
    length = told.frames_per_segment or max(1, -(-total // _N_SEGMENTS))
    segment = localizations.frame // length
    n_segments = -(-total // length)
    if n_segments > 2 and total - (n_segments - 1) * length < length / 2:  # the rest goes to the last whole one
        n_segments -= 1
        segment = np.minimum(segment, n_segments - 1)
    if n_segments < 2:
        raise BadInputError(
            f"drift: {total} frames are {n_segments} segment of {length}, two or more were expected: give a "
            "smaller frames_per_segment"
        )
    counts = np.bincount(segment, minlength=n_segments)
    if counts.min() < told.min_localizations:
        poor = int(counts.argmin())
        raise BadInputError(
            f"drift: frames {poor * length} to {min(total, (poor + 1) * length) - 1} have {counts[poor]} "
            f"localizations, {told.min_localizations} or more were expected: give a larger frames_per_segment"
        )
    pixel_um = told.pixel_um or _pixel_of(localizations)
    knots = np.array([localizations.frame[segment == k].mean() for k in range(n_segments)])
    shifts_um, pairs = _pairwise_shifts_um(localizations, segment, n_segments, told.max_shift_um, pixel_um)
    limit_um = told.max_residual_um or None
    at_knots, used, residual_um = _solved(shifts_um, pairs, n_segments, limit_um, 0.5 * pixel_um)
    y_um, x_um = (_spline(knots, axis, total) for axis in at_knots.T)
    return Drift(
        y_um - y_um[0],
        x_um - x_um[0],
        residual_um,
        int(used.sum()),
        int((~used).sum()),
        "correlation",
    )


def _pixel_of(localizations: Localizations) -> float:
    se_um = localizations.x_se_px * localizations.pixel_size_um[1]
    known = se_um[np.isfinite(se_um)]
    return float(np.clip(1.5 * np.median(known), 0.02, 0.05)) if known.size else 0.03


def _pairwise_shifts_um(
    localizations: Localizations, segment: NDArray[np.int64], n_segments: int, reach_um: float, pixel_um: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Return (dy, dx) of the later segment against the earlier one, um, and which two they are, for all pairs."""
    places = [localizations.y_um, localizations.x_um]
    extent_um = max(float(np.ptp(p)) for p in places) + reach_um
    pixel_um = max(pixel_um, extent_um / _LARGEST_SIDE_PX)
    places = [(p - p.min()) / pixel_um for p in places]
    reach_px = int(np.ceil(reach_um / pixel_um)) + _FIT_RADIUS_PX
    # As much empty room as a shift may be long: a wrap round the edge then adds nothing.
    shape = tuple(_fast(int(p.max()) + 2 + reach_px) for p in places)
    blur = _blur(shape)
    spectra = [_spectrum([p[segment == k] for p in places], shape) * blur for k in range(n_segments)]
    pairs = np.array([(i, j) for i in range(n_segments) for j in range(i + 1, n_segments)])
    shifts = np.empty((len(pairs), 2))
    for row, (i, j) in enumerate(pairs):
        whole: Any = fft.irfft2(spectra[j] * np.conj(spectra[i]), shape)
        lags = np.arange(-reach_px, reach_px + 1)
        shifts[row] = _peak(whole[np.ix_(lags, lags)], reach_px) * pixel_um
    return shifts, pairs


def _spectrum(places: list[Floats], shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Return the spectrum of an image of points, each shared out to the four pixels round it."""
    image = np.zeros(shape, np.float32)
    low = [np.floor(p).astype(np.int64) for p in places]
    part = [p - corner for p, corner in zip(places, low)]
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dy - part[0]) * np.abs(1 - dx - part[1])
            np.add.at(image, (low[0] + dy, low[1] + dx), share)
    spectrum: Any = fft.rfft2(image)
    spectrum[0, 0] = 0  # the mean says nothing of where things are
    return spectrum


def _fast(side: int) -> int:
    found: Any = fft.next_fast_len(side, real=True)
    return int(found)


def _blur(shape: tuple[int, ...]) -> NDArray[np.float32]:
    ky = fft.fftfreq(shape[0])[:, None]
    kx = fft.rfftfreq(shape[1])[None, :]
    return np.exp(-2 * (np.pi * _BLUR_PX) ** 2 * (ky**2 + kx**2)).astype(np.float32)


def _peak(correlation: NDArray[np.float32], reach_px: int) -> Floats:
    """Return where a correlation is highest, (y, x) px from its middle, by a Gaussian fitted round that pixel."""
    radius = _FIT_RADIUS_PX
    inner = correlation[radius:-radius, radius:-radius]
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    window = correlation[row : row + 2 * radius + 1, column : column + 2 * radius + 1].astype(np.float64)
    axis = np.arange(-radius, radius + 1, dtype=np.float64)
    low = float(window.min())
    scale = float(window.max()) - low
    if scale <= 0:
        return np.array([row + radius - reach_px, column + radius - reach_px], float)
    data = (window - low) / scale

    def misfit(p: Floats) -> Floats:
        along_y = np.exp(-0.5 * ((axis - p[0]) / p[2]) ** 2)
        along_x = np.exp(-0.5 * ((axis - p[1]) / p[3]) ** 2)
        return (p[4] * np.outer(along_y, along_x) + p[5] - data).ravel()

    fitted: Floats = optimize.least_squares(misfit, [0.0, 0.0, 2.0, 2.0, 1.0, 0.0], method="lm", max_nfev=200).x
    # A fit that ran away from its window knows less than the pixel that it began at.
    offset = fitted[:2] if np.abs(fitted[:2]).max() <= radius / 2 else np.zeros(2)
    return np.array([row, column], float) + radius - reach_px + offset


def _solved(
    shifts_um: Floats, pairs: NDArray[np.int64], n_segments: int, limit_um: float | None, least_um: float
) -> tuple[Floats, NDArray[np.bool_], float]:
    """Return drift at the segments `[segment, (y, x)]`, which pairs it rests on, and what these scatter by.

    While a pair lies beyond the limit, the worst is left out, unless it is all that ties a segment to the others.
    """
    matrix = np.zeros((len(pairs), n_segments - 1))
    for row, (i, j) in enumerate(pairs):
        if i:
            matrix[row, i - 1] = -1
        matrix[row, j - 1] = 1
    used, fixed = np.ones(len(pairs), bool), np.zeros(len(pairs), bool)
    while True:
        solution = np.linalg.lstsq(matrix[used], shifts_um[used], rcond=None)[0]
        residual = shifts_um - matrix @ solution
        distance = np.hypot(residual[:, 0], residual[:, 1])
        scatter_um = float(np.median(distance[used])) / 1.1774  # of a Rayleigh distribution, per axis
        limit = limit_um if limit_um is not None else max(least_um, 4 * scatter_um)
        wrong = np.flatnonzero(used & ~fixed & (distance > limit))
        if not wrong.size:
            break
        worst = wrong[distance[wrong].argmax()]
        used[worst] = False
        if np.linalg.matrix_rank(matrix[used]) < n_segments - 1:
            used[worst] = fixed[worst] = True
    left_over = float(np.sqrt(np.mean(residual[used] ** 2)))
    return np.vstack([np.zeros(2), solution]), used, left_over


def _spline(knots: Floats, values: Floats, n_frames: int) -> Floats:
    """Return a natural cubic spline through the values, in every frame; straight beyond its ends."""
    frames = np.arange(n_frames, dtype=np.float64)
    if len(knots) == 2:
        slope = (values[1] - values[0]) / (knots[1] - knots[0])
        return values[0] + slope * (frames - knots[0])
    spline: Any = interpolate.CubicSpline(knots, values, bc_type="natural")
    inside = np.clip(frames, knots[0], knots[-1])
    return spline(inside) + spline(inside, 1) * (frames - inside)
