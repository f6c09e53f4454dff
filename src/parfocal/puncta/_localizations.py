"""Spots found in frames, as columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _none() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Localizations:
    """Spots of one recording, a row each. All columns are as long as `frame`; what was not told is NaN.

    Positions are in pixels with a pixel's centre at its integer index; `x_um` and `y_um` are those times the
    pixel size. ThunderSTORM and the original count from the image's corner: half a pixel more.

    Parameters
    ----------
    pixel_size_um : (float, float)
        Of the camera in the sample, (y, x).
    frame : int64[n]
        From 0, rising.
    x_px, y_px : float64[n]
    photons : float64[n]
        Detected, of the whole spot.
    background : float64[n]
        Photons per pixel.
    sigma_x_px, sigma_y_px : float64[n]
        Widths of the spot.
    x_se_px, y_se_px : float64[n]
        Standard errors of the position.
    photons_se : float64[n]
    background_sd : float64[n]
        Scatter of what the fit left over, photons per pixel.
    z_um, z_se_um : float64[n]
        Defocus, where the light path is astigmatic and calibrated.
    probability : float64[n]
        That there is such a spot; 1 where it was not asked.
    misfit : float64[n]
        (deviance or chi² - degrees of freedom) / sqrt(2 degrees of freedom).
    n_emitters : int64[n]
        With how many others (and itself) it was fitted; 1 is an isolated spot.
    calcium_probability : float64[n]
        That there is calcium at it in its frame, where a network looked at that channel too.
    """

    pixel_size_um: tuple[float, float]
    frame: Ints
    x_px: Floats
    y_px: Floats
    photons: Floats
    background: Floats = field(default_factory=_none)
    sigma_x_px: Floats = field(default_factory=_none)
    sigma_y_px: Floats = field(default_factory=_none)
    x_se_px: Floats = field(default_factory=_none)
    y_se_px: Floats = field(default_factory=_none)
    photons_se: Floats = field(default_factory=_none)
    background_sd: Floats = field(default_factory=_none)
    z_um: Floats = field(default_factory=_none)
    z_se_um: Floats = field(default_factory=_none)
    probability: Floats = field(default_factory=_none)
    misfit: Floats = field(default_factory=_none)
    n_emitters: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    calcium_probability: Floats = field(default_factory=_none)

    def __repr__(self) -> str:
        return f"Localizations({len(self)} spots in {self.n_frames} frames)"

    def __post_init__(self) -> None:
        n = len(self.frame)
        for name in COLUMNS:
            column: NDArray[Any] = getattr(self, name)
            if len(column) == n:
                continue
            if len(column):
                raise BadInputError(f"localizations: {len(column)} values of {name} for {n} spots")
            unknown = {"probability": 1.0, "n_emitters": 1}.get(name, np.nan)
            object.__setattr__(self, name, np.full(n, unknown))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def x_um(self) -> Floats:
        """Positions along x, um."""
        return self.x_px * self.pixel_size_um[1]

    @property
    def y_um(self) -> Floats:
        """Positions along y, um."""
        return self.y_px * self.pixel_size_um[0]

    @property
    def n_frames(self) -> int:
        """One more than the last frame with a spot."""
        return int(self.frame.max()) + 1 if len(self.frame) else 0

    def take(self, which: ArrayLike) -> Localizations:
        """Return some rows, by mask or by index."""
        rows = np.asarray(which)
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Localizations) if f.name != "pixel_size_um")


def no_localizations(pixel_size_um: tuple[float, float]) -> Localizations:
    """Return a table without rows."""
    return Localizations(pixel_size_um, np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))


def join_localizations(parts: Iterable[Localizations]) -> Localizations:
    """Return the rows of all, in order. `BadInputError` where pixel sizes differ or there is no part."""
    kept = list(parts)
    sizes = {part.pixel_size_um for part in kept}
    if len(sizes) != 1:
        raise BadInputError(f"localizations: pixel sizes {sorted(sizes)} um, expected one")
    return Localizations(
        sizes.pop(), **{name: np.concatenate([getattr(part, name) for part in kept]) for name in COLUMNS}
    )
