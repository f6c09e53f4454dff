"""What metadata say about a stack: gathered from whichever dialect the file speaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from parfocal.files._stack import VoxelSize, positive_or_none

_UM_PER_UNIT = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "centimeter": 1e4, "mm": 1e3, "millimeter": 1e3, "inch": 25_400.0,
    "in": 25_400.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "å": 1e-4, "angstrom": 1e-4, "pm": 1e-6,
}  # fmt: skip
_S_PER_UNIT = {
    "h": 3600.0,
    "min": 60.0,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "ms": 1e-3,
    "µs": 1e-6,
    "us": 1e-6,
}


@dataclass(frozen=True)
class Facts:
    """What one source of metadata says; None where it is silent."""

    voxel_size_um: VoxelSize = (None, None, None)
    time_step_s: float | None = None
    time_s: tuple[float, ...] | None = None
    na: float | None = None
    wavelength_um: float | None = None
    z_um: float | None = None
    xy_um: tuple[float, float] | None = None
    channels: tuple[str, ...] = ()


def from_name(name: str) -> Facts:
    """Return what a file name such as `psf_wl520nm_z300nm_x130nm_na0.85.tif` says."""

    def length(letter: str) -> float | None:
        found = re.search(rf"(?:^|[_\-\s]){letter}[=_]?(\d+(?:\.\d+)?)(nm|um)(?=[_\-\s.]|$)", name, re.IGNORECASE)
        return None if found is None else positive_or_none(float(found[1]) * _UM_PER_UNIT[found[2].lower()])

    x = length("x")
    aperture = re.search(r"(?:^|[_\-\s])na(\d(?:\.\d+)?)(?=[_\-\s.]|$)", name, re.IGNORECASE)
    return Facts(
        voxel_size_um=(length("z"), length("y") or x, x),
        na=None if aperture is None else positive_or_none(aperture[1]),
        wavelength_um=length("wl"),
    )


def from_json(description: Mapping[str, Any]) -> Facts:
    """Return what a JSON image description says (`z_step_nm`, `pixel_nm`, `voxel_um`, `frame_s`, `NA`...)."""

    def um(*stems: str) -> float | None:
        for stem in stems:
            for unit in ("um", "nm"):
                value = positive_or_none(description.get(f"{stem}_{unit}"))
                if value is not None:
                    return round(value * _UM_PER_UNIT[unit], 9)
        return None

    z, y, x = um("z_step", "z"), um("pixel_y", "pixel"), um("pixel_x", "pixel")
    whole = description.get("voxel_um")
    if isinstance(whole, list) and len(whole) == 3:  # pyright: ignore[reportUnknownArgumentType]
        z, y, x = (positive_or_none(value) for value in whole)  # pyright: ignore[reportUnknownVariableType]
    return Facts(
        voxel_size_um=(z, y, x),
        time_step_s=positive_or_none(description.get("frame_s")),
        na=positive_or_none(description.get("NA")),
        wavelength_um=um("emission"),
    )


def from_imagej(metadata: Mapping[str, Any], pixels_per_unit: tuple[float | None, float | None]) -> Facts:
    """Return what an ImageJ header says; `pixels_per_unit` (y, x) comes from the resolution tags."""
    unit = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), str(metadata.get("unit", "")))
    um = _UM_PER_UNIT.get(unit.strip().lower())
    time = _S_PER_UNIT.get(str(metadata.get("tunit", "s")).strip().lower())
    interval = positive_or_none(metadata.get("finterval"))
    y, x = (None if um is None or n is None else round(um / n, 9) for n in pixels_per_unit)
    spacing = positive_or_none(metadata.get("spacing"))
    return Facts(
        voxel_size_um=(None if um is None or spacing is None else spacing * um, y, x),
        time_step_s=None if interval is None or time is None else interval * time,
    )


def from_ome(ome: Mapping[str, Any]) -> Facts:
    """Return what OME-XML (as a dict, first image) says."""
    images = _listed(ome.get("OME", {}).get("Image"))
    pixels: Mapping[str, Any] = images[0].get("Pixels", {}) if images else {}

    def um(axis: str) -> float | None:
        size = positive_or_none(pixels.get(f"PhysicalSize{axis}"))
        unit = _UM_PER_UNIT.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).lower())
        return None if size is None or unit is None else round(size * unit, 9)

    step = positive_or_none(pixels.get("TimeIncrement"))
    time = _S_PER_UNIT.get(str(pixels.get("TimeIncrementUnit", "s")))
    channels = _listed(pixels.get("Channel"))
    names = tuple(str(channel.get("Name", "")) for channel in channels)
    wavelength = positive_or_none(channels[0].get("EmissionWavelength")) if channels else None
    instruments = _listed(ome.get("OME", {}).get("Instrument"))
    objectives = _listed(instruments[0].get("Objective")) if instruments else []
    return Facts(
        voxel_size_um=(um("Z"), um("Y"), um("X")),
        time_step_s=None if step is None or time is None else step * time,
        na=positive_or_none(objectives[0].get("LensNA")) if objectives else None,
        wavelength_um=None if wavelength is None else wavelength * 1e-3,
        channels=names if any(names) else (),
    )


def from_metaxpress(metadata: Mapping[str, Any]) -> Facts:
    """Return what a MetaXpress (MetaSeries) plane header says."""
    plane = metadata.get("PlaneInfo", {})
    um = _UM_PER_UNIT.get(str(plane.get("spatial-calibration-units", "")).lower())
    calibrated = bool(plane.get("spatial-calibration-state", False)) and um is not None
    y, x = (
        positive_or_none(float(plane.get(f"spatial-calibration-{axis}", 0)) * (um or 0)) if calibrated else None
        for axis in "yx"
    )
    wavelength = positive_or_none(plane.get("wavelength"))
    stage = plane.get("stage-position-x"), plane.get("stage-position-y")
    z = plane.get("z-position")
    return Facts(
        voxel_size_um=(None, y, x),
        na=positive_or_none(plane.get("_MagNA_")),
        wavelength_um=None if wavelength is None else wavelength * 1e-3,
        z_um=None if z is None else float(z),
        xy_um=None if stage[0] is None or stage[1] is None else (float(stage[0]), float(stage[1])),
    )


def merged(metadata: Facts, name: Facts) -> tuple[Facts, tuple[str, ...]]:
    """Return the header's facts, gaps filled from the file name, and a warning for each disagreement."""
    warnings: list[str] = []
    voxel = list(metadata.voxel_size_um)
    for i, axis in enumerate("zyx"):
        header, named = metadata.voxel_size_um[i], name.voxel_size_um[i]
        if header is None and named is not None:
            voxel[i] = named
            warnings.append(f"{axis} size {named:g} um comes from the file name")
        elif header is not None and named is not None and abs(header - named) > 0.01 * named:
            warnings.append(f"{axis} size: the header says {header:g} um (used), the file name {named:g} um")
    for label, header, named in (
        ("NA", metadata.na, name.na),
        ("wavelength", metadata.wavelength_um, name.wavelength_um),
    ):
        if header is not None and named is not None and abs(header - named) > 0.01 * named:
            warnings.append(f"{label}: the header says {header:g} (used), the file name {named:g}")
    return (
        replace(
            metadata,
            voxel_size_um=(voxel[0], voxel[1], voxel[2]),
            na=metadata.na or name.na,
            wavelength_um=metadata.wavelength_um or name.wavelength_um,
        ),
        tuple(warnings),
    )


def _listed(value: Any) -> list[Mapping[str, Any]]:
    """Return XML children as a list: one alone comes as a dict, none as None."""
    every: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    return [one for one in every if isinstance(one, dict)]
