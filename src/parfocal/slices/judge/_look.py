"""What a frame looks like, in numbers that do not depend on how much of the sample is in it."""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple, dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel

_N_SECTORS = 12
_TILES_A_SIDE = 8
_SMALLEST_PX = 32


@dataclass(frozen=True)
class LookSettings:
    """Which part of a frame's spectrum says what.

    Attributes
    ----------
    coarse_px, fine_px : (float, float)
        Periods, px, of what shows that there is something, and of what blur takes away first.
    offset_adu, saturation_adu : float
        Of the camera.
    """

    coarse_px: tuple[float, float] = (33.0, 100.0)
    fine_px: tuple[float, float] = (5.0, 17.0)
    offset_adu: float = 0.0
    saturation_adu: float = 65535.0

    @classmethod
    def of_camera(cls, model: CameraModel | None) -> LookSettings:
        """Return the settings for a camera's frames: its offset and end, where it tells them."""
        if model is None:
            return cls()
        return cls(offset_adu=float(np.mean(model.offset_adu)), saturation_adu=float(model.saturation_adu))


@dataclass(frozen=True)
class SliceLook:
    """One frame in numbers.

    Attributes
    ----------
    content : float
        ln of the coarse structure's power over the noise's: below about 2 the field is empty.
    sharpness : float
        Half the ln of fine over coarse power, noise taken away from both: which share of what is there is sharp.
        Neither brightness nor the number of objects enters.
    direction : float
        How much less power the fine structure has along one direction than across it, as the amplitude of the
        second angular harmonic of its ln: 0 for a picture that looks alike in all directions.
    direction_deg : float
        The direction that lacks it, in which the sample moved: degrees from x towards y, 0 to 180.
    darkest : float
        ln of the background, ADU, in the darkest sixteenth of the field.
    saturated : float
        Share of pixels at the camera's end.
    mean_adu : float
        Mean above the offset.
    """

    content: float
    sharpness: float
    direction: float
    direction_deg: float
    darkest: float
    saturated: float
    mean_adu: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the numbers, in order."""
        return tuple(field.name for field in fields(cls))

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return dict(zip(self.names(), astuple(self), strict=True))


def look_at(image: ArrayLike, settings: LookSettings = LookSettings()) -> SliceLook:
    """Return what a frame looks like.

    With P the power spectrum of the frame less its mean under a Hann window, N the noise's (white: the median of
    P beyond the largest circle of frequencies, over ln 2, where an image that is sampled as its optics ask for
    has no light), and < > the mean over a band::

        content   = ln((<P>_coarse - N) / N)
        sharpness = 1/2 ln((<P>_fine - N) / (<P>_coarse - N))
        direction = 2 |mean over angles of exp(2 i angle) ln(P_angle - N)|, mean over rings of the fine band

    Defocus takes all fine structure away [1]_; motion by d takes away what varies along it, as sinc²(f d).

    Parameters
    ----------
    image : array_like of shape (height, width)
        A raw frame, 32x32 or larger.
    settings : LookSettings
        Bands, and the camera's offset and end.

    Returns
    -------
    SliceLook

    Raises
    ------
    BadInputError
        The image is not 2D, or too small.

    References
    ----------
    .. [1] M.-A. Bray et al., "Workflow and metrics for image quality control in large-scale high-content
       screens", J. Biomol. Screen. 17, 266 (2012): ratios of spectral power as a flag for blur.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 2 or min(pixels.shape) < _SMALLEST_PX:
        raise BadInputError(
            f"slice judge: a frame has shape {pixels.shape}, [y, x] of {_SMALLEST_PX} px or more was expected"
        )
    saturated = float(np.mean(pixels >= settings.saturation_adu))
    above = pixels.astype(np.float32)
    above -= np.float32(settings.offset_adu)
    grid = _grid(pixels.shape)
    mean_adu = float(above.mean(dtype=np.float64))
    windowed = (above - np.float32(np.vdot(grid.window, above) / grid.window.sum())) * grid.window
    power = np.square(np.abs(np.fft.rfft2(windowed))) / grid.window_power
    noise = max(float(np.median(power[grid.beyond])) / math.log(2), 1e-9)
    coarse = _mean(power, grid, settings.coarse_px) - noise
    fine = _mean(power, grid, settings.fine_px) - noise
    least = 0.02 * noise
    direction, direction_deg = _direction(power, noise, grid, settings.fine_px)
    return SliceLook(
        content=math.log(max(coarse, least) / noise),
        sharpness=0.5 * math.log(max(fine, least) / max(coarse, least)),
        direction=direction,
        direction_deg=direction_deg,
        darkest=math.log(max(_darkest(above), 0.5)),
        saturated=saturated,
        mean_adu=mean_adu,
    )


@dataclass(frozen=True)
class _Grid:
    """What every frame of one shape shares."""

    window: NDArray[np.float32]
    window_power: float
    radius: NDArray[np.float32]
    sector: NDArray[np.intp]
    weight: NDArray[np.float32]
    beyond: NDArray[np.bool_]


@lru_cache(maxsize=8)
def _grid(shape: tuple[int, int]) -> _Grid:
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    radius = np.hypot(fy, fx)
    angle = np.arctan2(fy, np.broadcast_to(fx, radius.shape)) % np.pi
    sector = np.minimum((angle / np.pi * _N_SECTORS).astype(np.intp), _N_SECTORS - 1)
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in shape)).astype(np.float32)
    # The half spectrum holds each frequency but those of fx = 0 for its mirror image too.
    weight = np.broadcast_to(np.where(fx == 0, 1.0, 2.0), radius.shape).astype(np.float32)
    return _Grid(
        window,
        float(np.sum(np.square(window, dtype=np.float64))),
        radius.astype(np.float32),
        sector,
        weight,
        radius > 0.5,
    )


def _band(grid: _Grid, periods_px: tuple[float, float]) -> NDArray[np.bool_]:
    return (grid.radius >= 1 / periods_px[1]) & (grid.radius < 1 / periods_px[0])


def _mean(power: NDArray[np.float64], grid: _Grid, periods_px: tuple[float, float]) -> float:
    chosen = _band(grid, periods_px)
    weight = grid.weight[chosen]
    total = float(weight.sum())
    return float(np.vdot(power[chosen], weight)) / total if total else math.nan


def _direction(
    power: NDArray[np.float64], noise: float, grid: _Grid, periods_px: tuple[float, float], n_rings: int = 5
) -> tuple[float, float]:
    """Return amplitude and angle (degrees) of the second angular harmonic of ln power, mean over rings."""
    edges_px = np.geomspace(periods_px[0], periods_px[1] * 1.2, n_rings + 1)
    angles = (np.arange(_N_SECTORS) + 0.5) * np.pi / _N_SECTORS
    found: list[complex] = []
    for low_px, high_px in itertools.pairwise(edges_px):
        ring = _band(grid, (float(low_px), float(high_px)))
        weight, sector = grid.weight[ring], grid.sector[ring]
        filled = np.bincount(sector, weight, _N_SECTORS)
        if (filled == 0).any():
            continue
        by_sector = np.bincount(sector, power[ring] * weight, _N_SECTORS) / filled - noise
        mean = float(by_sector.mean())
        if mean < 0.5 * noise:  # this ring is empty: its directions are chance
            continue
        logs = np.log(np.maximum(by_sector, 0.02 * mean))
        found.append(complex(2 * np.mean(logs * np.exp(2j * angles))))
    if not found:
        return 0.0, 0.0
    harmonic = sum(found) / len(found)
    # The harmonic points to where the power is; what moved lacks it, a right angle away.
    return abs(harmonic), (math.degrees(np.angle(harmonic)) / 2 + 90.0) % 180.0


def _darkest(above: NDArray[np.float32]) -> float:
    """Return the background in the darkest sixteenth of the tiles: each tile's 20th percentile, their mean."""
    height, width = (n // _TILES_A_SIDE for n in above.shape)
    cut = above[: height * _TILES_A_SIDE, : width * _TILES_A_SIDE]
    tiles = cut.reshape(_TILES_A_SIDE, height, _TILES_A_SIDE, width).swapaxes(1, 2)
    flat = tiles.reshape(_TILES_A_SIDE**2, height * width)
    at = int(0.2 * flat.shape[1])
    low = np.sort(np.partition(flat, at, axis=1)[:, at])
    return float(low[: _TILES_A_SIDE**2 // 16].mean())
