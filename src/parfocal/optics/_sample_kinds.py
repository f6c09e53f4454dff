"""Samples ready to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from parfocal.optics._events import CalciumField
from parfocal.optics._nuclei import NucleusField
from parfocal.optics._points import BeadField, CellField, PointList, PunctaField
from parfocal.optics._samples import EventLayer, PointLayer, Sample, Surface, VolumeLayer

_CALCIUM_PHOTONS_PER_S_UM3 = 12_000.0  # an event then rises to about twice the baseline of a dome 4 um high


def point_sample(
    positions_um: ArrayLike, photons_per_s: ArrayLike, channel: str = "bead", surface: Surface | None = None
) -> Sample:
    """Return a sample of given points: positions `[n, (z, y, x)]`, um, and detected photons/s each."""
    positions = np.atleast_2d(np.asarray(positions_um, dtype=np.float64))
    photons = np.broadcast_to(np.asarray(photons_per_s, dtype=np.float64), (positions.shape[0],)).copy()
    return Sample(surface or Surface(), points={channel: (PointList(positions, photons),)})


def bead_sample(
    seed: int,
    surface: Surface | None = None,
    channel: str = "bead",
    spacing_um: float = 7.0,
    photons_per_s: float = 4e5,
) -> Sample:
    """Return beads on a cover glass."""
    ground = surface or Surface()
    beads = BeadField(seed, ground, spacing_um=spacing_um, photons_per_s=photons_per_s)
    return Sample(ground, points={channel: (beads,)})


def puncta_sample(
    seed: int,
    surface: Surface | None = None,
    channel: str = "puncta",
    cytoplasm_photons_per_s_um3: float = 1500.0,
    calcium_channel: str | None = None,
    events_per_s: float = 0.08,
) -> Sample:
    """Return puncta in cells, with a faint cytoplasm unless its brightness is 0.

    In a second channel, where one is named, the cytoplasm shows calcium, which rises now and then at puncta:
    `events_per_s` of each, in the time of the scene.
    """
    ground = surface or Surface()
    puncta = PunctaField(seed, ground)
    cells = CellField(puncta, photons_per_s_um3=cytoplasm_photons_per_s_um3)
    volumes: dict[str, tuple[VolumeLayer, ...]] = {channel: (cells,)} if cytoplasm_photons_per_s_um3 > 0 else {}
    events: dict[str, tuple[EventLayer, ...]] = {}
    if calcium_channel is not None:
        volumes[calcium_channel] = (CellField(puncta, photons_per_s_um3=_CALCIUM_PHOTONS_PER_S_UM3),)
        events[calcium_channel] = (CalciumField(puncta, events_per_s),)
    return Sample(ground, points={channel: (puncta,)}, volumes=volumes, events=events)


def nuclei_sample(
    seed: int, surface: Surface | None = None, channels: tuple[str, str | None] = ("nuclei", "puncta")
) -> Sample:
    """Return nuclei in the first channel and, where a second is named, puncta around them in that."""
    ground = surface or Surface()
    volumes: dict[str, tuple[VolumeLayer, ...]] = {channels[0]: (NucleusField(seed, ground),)}
    points: dict[str, tuple[PointLayer, ...]] = {}
    if channels[1] is not None:
        points[channels[1]] = (PunctaField(seed + 1, ground, cell_spacing_um=16.0, cell_radius_um=7.0),)
    return Sample(ground, points=points, volumes=volumes)
