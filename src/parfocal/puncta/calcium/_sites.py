"""Calcium events anywhere in the image, whether there is a punctum or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta.calcium._reading import ReadSettings, read_signals
from parfocal.robust import robust_sd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SiteSettings:
    """What counts as a rise of light somewhere.

    Parameters
    ----------
    min_sd : float
        Standard deviations of the filtered rise.
    rise_frames : int
        Frames whose mean is compared ...
    rest_frames : int
        ... with that of so many before.
    refractory_frames : int
        What rises again at the same place so soon is the same event.
    """

    min_sd: float = 6.0
    rise_frames: int = 3
    rest_frames: int = 8
    refractory_frames: int = 8

    def __post_init__(self) -> None:
        if min(self.rise_frames, self.rest_frames, self.refractory_frames) < 1 or not self.min_sd > 0:
            raise BadInputError("calcium sites: frames must be 1 or more, min_sd above 0")


@dataclass(frozen=True, eq=False)
class CalciumSites:
    """Where and when light rose, a row each.

    Parameters
    ----------
    frame : int64[n]
        First frame of the rise.
    y_px, x_px : float64[n]
    se_px : float64[n]
        Standard error of either.
    photons : float64[n]
        A frame, above what was there before.
    snr : float64[n]
    n_frames : int
        Of the movie.
    shape_px : (int, int)
        Of a frame.
    """

    frame: Ints
    y_px: Floats
    x_px: Floats
    se_px: Floats
    photons: Floats
    snr: Floats
    n_frames: int
    shape_px: tuple[int, int]

    def __len__(self) -> int:
        return len(self.frame)


def find_sites(
    calcium_movie: Iterable[NDArray[Any]],
    psf_sigma_px: float,
    *,
    camera_model: CameraModel | None = None,
    settings: SiteSettings | None = None,
) -> CalciumSites:
    """Find where light of the width of a punctum rises, from the movie of calcium alone.

    The mean of a few frames less that of some before, filtered with the PSF less its surround, so that a wave,
    which is wide, leaves nothing; maxima over space and time; the place from the moments of the light.

    Parameters
    ----------
    calcium_movie : iterable of ndarray of shape (height, width)
        Only as many frames as are compared are held.
    psf_sigma_px : float
    camera_model : CameraModel, optional
        Turns frames into photoelectrons; without it they are taken to be that.
    settings : SiteSettings, optional
    """
    how = settings or SiteSettings()
    read = ReadSettings(psf_sigma_px)
    held: deque[Floats] = deque(maxlen=how.rest_frames + how.rise_frames)
    found: list[tuple[float, ...]] = []
    count, shape = 0, (0, 0)
    for count, frame in enumerate(calcium_movie, 1):
        raw = np.asarray(frame)
        image = (
            raw.astype(np.float64) if camera_model is None else camera_model.to_electrons(raw).astype(np.float64)
        )
        shape = (int(image.shape[0]), int(image.shape[1]))
        held.append(image)
        if len(held) < how.rest_frames + how.rise_frames:
            continue
        stack = np.stack(held)
        rise = stack[how.rest_frames :].mean(axis=0) - stack[: how.rest_frames].mean(axis=0)
        for y, x, snr in _maxima(rise, psf_sigma_px, how.min_sd):
            found.append((count - how.rise_frames, y, x, snr, *_refined(rise, y, x, read)))
    kept = _first_of_each(np.array(found).reshape(len(found), 7), how, psf_sigma_px)
    frame_of, _, _, snr, y, x, photons = kept.T
    se = np.sqrt(2.0) * psf_sigma_px / np.maximum(snr, 1e-9)
    return CalciumSites(frame_of.astype(np.int64), y, x, se, photons, snr, count, shape)


def _maxima(rise: Floats, sigma: float, min_sd: float) -> list[tuple[int, int, float]]:
    filtered = gaussian_filter(rise, sigma) - gaussian_filter(rise, 2.5 * sigma)
    # Light makes shot noise: what is bright scatters more. The local scatter of the rise stands for it.
    scatter = np.sqrt(gaussian_filter(filtered**2, 6.0 * sigma))
    floor = robust_sd(filtered)
    noise = np.maximum(floor, np.minimum(scatter, 2.0 * floor))
    snr = filtered / max(floor, 1e-12)
    is_top = (filtered == maximum_filter(filtered, size=2 * round(2 * sigma) + 1)) & (filtered > min_sd * noise)
    return [(int(y), int(x), float(snr[y, x])) for y, x in np.argwhere(is_top)]


def _refined(rise: Floats, y: int, x: int, read: ReadSettings) -> tuple[float, float, float]:
    """Return the place of the light near a pixel, from its moments, and its amount."""
    at_y, at_x = float(y), float(x)
    photons = 0.0
    for _ in range(3):
        light = read_signals(rise, [at_y], [at_x], read)
        photons = float(light.signal[0])
        if not photons > 0:
            break
        step = np.clip([light.moment_y[0] / photons, light.moment_x[0] / photons], -1.0, 1.0)
        at_y, at_x = at_y + float(step[0]), at_x + float(step[1])
    return at_y, at_x, photons


def _first_of_each(found: Floats, how: SiteSettings, sigma: float) -> Floats:
    """Return the strongest row of each rise: of those near in place and time."""
    if not len(found):
        return found
    kept: list[int] = []
    for i in np.argsort(-found[:, 3], kind="stable"):
        others = found[kept]
        near = np.hypot(others[:, 4] - found[i, 4], others[:, 5] - found[i, 5]) < 3.0 * sigma
        soon = np.abs(others[:, 0] - found[i, 0]) <= how.refractory_frames
        if not (near & soon).any():
            kept.append(int(i))
    return found[sorted(kept, key=lambda i: (found[i, 0], found[i, 4]))]
