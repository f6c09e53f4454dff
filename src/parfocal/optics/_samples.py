"""What lies under the objective: layers of points and of glowing matter, drawn where looked at.

A layer is a pure function of its seed: it is cut into cells, and a cell's content is drawn from a generator
seeded with (seed, cell), so that the same place always holds the same things, whatever was looked at before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Box(NamedTuple):
    """A rectangle of the sample, um."""

    y_min_um: float
    x_min_um: float
    y_max_um: float
    x_max_um: float

    def contains(self, y_um: Floats, x_um: Floats) -> NDArray[np.bool_]:
        """Say which points are inside."""
        inside_y = (y_um >= self.y_min_um) & (y_um <= self.y_max_um)
        return inside_y & (x_um >= self.x_min_um) & (x_um <= self.x_max_um)


class PointLayer(Protocol):
    """Emitters too small to see."""

    def points_in(self, box: Box) -> tuple[Floats, Floats]:
        """Return positions `[n, (z, y, x)]`, um, and detected photons/s `[n]` of those in the box."""
        ...


class VolumeLayer(Protocol):
    """Glowing matter."""

    def z_extent_um(self, box: Box) -> tuple[float, float]:
        """Return the lowest and highest z that glows inside the box, um."""
        ...

    def density(self, z_um: Floats, y_um: Floats, x_um: Floats) -> NDArray[np.float32]:
        """Return detected photons/(s um^3) on the grid of the three axes, `[z, y, x]`."""
        ...


class PointEvents(NamedTuple):
    """Events: positions `[n, (z, y, x)]`, um; onsets, s; detected photons/s at the peak."""

    positions_um: Floats
    onset_s: Floats
    photons_per_s: Floats


class EventLayer(Protocol):
    """Places that light up for a while."""

    @property
    def lasts_s(self) -> float:
        """How long after its onset an event is gone."""
        ...

    @property
    def sigma_um(self) -> float:
        """How far its light is spread, sideways."""
        ...

    def events_in(self, box: Box, begin_s: float, end_s: float) -> PointEvents:
        """Return the events in the box with an onset in begin..end, in order of their onset."""
        ...

    def share(self, begin_s: Floats, length_s: float) -> Floats:
        """Return the mean of events over an exposure that begins so long after their onset; 1 at the peak."""
        ...


@dataclass(frozen=True)
class Surface:
    """The height of the sample's mid-plane: a tilted, gently wavy cover glass; `wave_um` is the amplitude."""

    z_um: float = 0.0
    tilt_y: float = 0.0
    tilt_x: float = 0.0
    wave_um: float = 0.0
    wave_period_um: float = 310.0

    def height_um(self, y_um: ArrayLike, x_um: ArrayLike) -> Floats:
        """Return the height at places of the sample, um."""
        y, x = np.asarray(y_um, dtype=np.float64), np.asarray(x_um, dtype=np.float64)
        turn = 2 * np.pi / self.wave_period_um
        wave = self.wave_um * np.sin(turn * x + 0.9) * np.cos(0.77 * turn * y - 0.4)
        return self.z_um + self.tilt_y * y + self.tilt_x * x + wave


@dataclass(frozen=True)
class Sample:
    """Layers by channel, and the surface that they follow."""

    surface: Surface = field(default_factory=Surface)
    points: Mapping[str, tuple[PointLayer, ...]] = field(default_factory=dict[str, tuple[PointLayer, ...]])
    volumes: Mapping[str, tuple[VolumeLayer, ...]] = field(default_factory=dict[str, tuple[VolumeLayer, ...]])
    events: Mapping[str, tuple[EventLayer, ...]] = field(default_factory=dict[str, tuple[EventLayer, ...]])

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels in which something glows, in order of first mention."""
        return tuple(dict.fromkeys([*self.volumes, *self.points, *self.events]))


def jittered_cells(
    box: Box, spacing_um: float, seed: int, salt: int, jitter: float
) -> Iterator[tuple[np.random.Generator, float, float]]:
    """Yield (generator, y, x) of every cell of a grid that touches the box; places are off-grid by `jitter`.

    `jitter` is the share of the cell in which the place may fall; the rest keeps neighbours apart.
    """
    for row in range(math.floor(box.y_min_um / spacing_um), math.floor(box.y_max_um / spacing_um) + 1):
        for column in range(math.floor(box.x_min_um / spacing_um), math.floor(box.x_max_um / spacing_um) + 1):
            rng = np.random.default_rng([seed, salt, row + 2**20, column + 2**20])
            dy, dx = (rng.random(2) - 0.5) * jitter + 0.5
            yield rng, (row + float(dy)) * spacing_um, (column + float(dx)) * spacing_um


def surface_range(surface: Surface, box: Box) -> tuple[float, float]:
    """Return the lowest and highest of the surface inside a box, um."""
    y = np.linspace(box.y_min_um, box.y_max_um, 9)[:, None]
    x = np.linspace(box.x_min_um, box.x_max_um, 9)[None, :]
    height = surface.height_um(y, x)
    return float(height.min()), float(height.max())
