"""Faults to plant in a simulated world: what spoils a slice on a real microscope."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from parfocal.errors import BadInputError
from parfocal.optics import Disturbance, Obstruction, OffCentreLamp, straight_path

FaultKind = Literal["blur", "motion", "shading"]


@dataclass(frozen=True)
class PlantedFault:
    """What goes wrong at one exposure.

    Attributes
    ----------
    kind : {"blur", "motion", "shading"}
        What it is called.
    kick_um : float
        The focal plane jumps by this, and stays: no encoder tells.
    disturbance : Disturbance
        What the sample and the light do during the exposure.
    """

    kind: FaultKind
    kick_um: float = 0.0
    disturbance: Disturbance = field(default_factory=Disturbance)


def planted_faults(
    n_slices: int, share: float = 0.2, seed: int = 0, shape: tuple[int, int] = (256, 256), first: int = 1
) -> dict[int, PlantedFault]:
    """Draw faults for a share of slices, a third of each kind.

    Blur: the focus jumps by 4 to 8 um, either way. Motion: the sample moves by 1.5 to 4 um in any direction while
    the shutter is open. Shading: the lamp has slipped, or a bubble takes the light from a third of the field.

    Parameters
    ----------
    n_slices : int
        How many slices there are.
    share : float
        How many of them are spoilt, 0 to 1.
    seed : int
        Of what is drawn.
    shape : (int, int)
        Of the sensor, px.
    first : int
        The first slice that may be spoilt.

    Returns
    -------
    dict of int to PlantedFault
        By number of the slice.

    Raises
    ------
    BadInputError
        The share is none, or there are not enough slices.
    """
    n_spoilt = round(share * n_slices)
    if not 0 <= share <= 1 or n_spoilt > n_slices - first:
        raise BadInputError(f"planted faults: a share of {share} of {n_slices} slices, 0 to 1 was expected")
    rng = np.random.default_rng([seed, 0xFA17])
    numbers = sorted((first + rng.choice(n_slices - first, n_spoilt, replace=False)).tolist())
    kinds: list[FaultKind] = ["blur", "motion", "shading"]
    drawn = [kinds[k % 3] for k in rng.permutation(n_spoilt).tolist()]
    return {number: _draw(kind, rng, shape) for number, kind in zip(numbers, drawn, strict=True)}


def _draw(kind: FaultKind, rng: np.random.Generator, shape: tuple[int, int]) -> PlantedFault:
    height, width = shape
    if kind == "blur":
        return PlantedFault(kind, kick_um=float(rng.uniform(4, 8) * rng.choice([-1, 1])))
    angle = float(rng.uniform(0, 2 * math.pi))
    if kind == "motion":
        way_um = float(rng.uniform(1.5, 4))
        path = straight_path((0.0, way_um * math.sin(angle), way_um * math.cos(angle)))
        return PlantedFault(kind, disturbance=Disturbance(path))
    side = math.sqrt(height * width)
    if rng.random() < 0.5:
        off = 0.7 * side
        centre = (height / 2 + off * math.sin(angle), width / 2 + off * math.cos(angle))
        lamp = OffCentreLamp(*centre, width_px=float(rng.uniform(0.45, 0.6)) * side)
        return PlantedFault(kind, disturbance=Disturbance(illumination=lamp))
    y, x = rng.uniform(0.25, 0.75, 2) * (height, width)
    bubble = Obstruction(float(y), float(x), radius_px=float(rng.uniform(0.28, 0.4)) * side)
    return PlantedFault(kind, disturbance=Disturbance(illumination=bubble))
