"""ThunderSTORM's tables of localizations, read and written, in both of its dialects."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import CsvTable, read_csv, write_atomically
from parfocal.puncta._localizations import Localizations
from parfocal.puncta.detection._uncertainty import uncertainty_nm

Dialect = Literal["current", "1.3"]
Floats = NDArray[np.float64]

_NAME = re.compile(r"(?P<name>[^\[\]]+?)\s*(?:\[(?P<unit>[^\[\]]*)\])?\s*")
_NM = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "mm": 1e6, "m": 1e9}


def write_thunderstorm(
    path: str | os.PathLike[str],
    localizations: Localizations,
    dialect: Dialect = "current",
    *,
    quantum_efficiency: float = 1.0,
) -> None:
    """Write localizations as ThunderSTORM does, so that its users and their programs can read them.

    Positions are counted from the image's corner (half a pixel more than ours), in nm; frames and ids from 1;
    intensities in photons before the detector. Columns of which nothing is known are left out. Standard errors are
    our own where the fit told them, else those of `uncertainty_nm`.

    Parameters
    ----------
    path : str or path
    localizations : Localizations
    dialect : {"current", "1.3"}
        1.3 calls the standard error `uncertainty [nm]`, the current source `uncertainty_xy [nm]`.
    quantum_efficiency : float
        Photoelectrons a photon; intensities, offsets and their scatter are divided by it.

    Raises
    ------
    BadInputError
        Dialect or quantum efficiency cannot be used, or the file cannot be written.
    """
    if dialect not in ("current", "1.3"):
        raise BadInputError(f"thunderstorm: dialect is {dialect!r}, expected 'current' or '1.3'")
    if not 0 < quantum_efficiency <= 1:
        raise BadInputError(f"thunderstorm: quantum_efficiency is {quantum_efficiency}, expected above 0 to 1")
    spots = localizations
    y_nm, x_nm = (1e3 * size for size in spots.pixel_size_um)
    has_z = bool(np.isfinite(spots.z_um).any())
    columns: dict[str, Floats] = {
        "id": np.arange(1.0, len(spots) + 1),
        "frame": spots.frame + 1.0,
        "x [nm]": (spots.x_px + 0.5) * x_nm,
        "y [nm]": (spots.y_px + 0.5) * y_nm,
    }
    if has_z:
        columns["z [nm]"] = 1e3 * spots.z_um
    if _are_elliptical(spots):
        columns["sigma1 [nm]"] = spots.sigma_x_px * x_nm
        columns["sigma2 [nm]"] = spots.sigma_y_px * y_nm
    else:
        columns["sigma [nm]"] = spots.sigma_x_px * x_nm
    columns["intensity [photon]"] = spots.photons / quantum_efficiency
    columns["offset [photon]"] = spots.background / quantum_efficiency
    columns["bkgstd [photon]"] = spots.background_sd / quantum_efficiency
    columns["uncertainty [nm]" if dialect == "1.3" else "uncertainty_xy [nm]"] = _errors_nm(spots)
    if has_z:
        columns["uncertainty_z [nm]"] = 1e3 * spots.z_se_um
    columns = {name: c for name, c in columns.items() if np.isfinite(c).any() or not len(c)}
    lines = [",".join(f'"{name}"' for name in columns)]
    lines += [",".join(map(_cell, row)) for row in zip(*(c.tolist() for c in columns.values()))]
    with write_atomically(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_thunderstorm(
    path: str | os.PathLike[str],
    pixel_size_um: tuple[float, float] | float | None = None,
    *,
    quantum_efficiency: float = 1.0,
    photons_per_adu: float | None = None,
) -> Localizations:
    """Read a table of localizations in ThunderSTORM's form, of either dialect.

    Units are read from the brackets of the header: positions and widths in nm, um or px, photons or ADU. Ids are
    not needed. Positions are counted from the image's corner, frames from 1.

    Parameters
    ----------
    path : str or path
    pixel_size_um : float or (float, float), optional
        (y, x); the file does not say it. 0.1 is taken where positions are in px and it is not given.
    quantum_efficiency : float
        Photoelectrons a photon.
    photons_per_adu : float, optional
        Needed where intensities are in ADU.

    Returns
    -------
    Localizations
        In order of the frames.

    Raises
    ------
    BadInputError
        It is no such table, a value is no number, a unit is not known, or a pixel size has to be said.
    """
    source = Path(path)
    table = read_csv(source, lenient=True)
    values = {name: (unit, column) for name, unit, column in _columns(source, table)}
    in_px = values.get("x", ("", None))[0] in ("px", "pixel")
    if pixel_size_um is None and not in_px:
        raise BadInputError(f"{source}: its positions are not in pixels; say the pixel size")
    size = pixel_size_um if pixel_size_um is not None else 0.1
    size_um = (float(size), float(size)) if isinstance(size, int | float) else (float(size[0]), float(size[1]))
    if not all(math.isfinite(one) and one > 0 for one in size_um):
        raise BadInputError(f"{source}: pixel size {size_um} um, expected numbers above 0")
    for name in ("frame", "x", "y"):
        if name not in values:
            raise BadInputError(
                f"{source}: no column {name!r}; ThunderSTORM's tables have frame, x [nm] and y [nm]"
            )
    n = len(values["x"][1])

    def lengths(name: str, nm: float) -> Floats:
        """Return a column in pixels of so many nm."""
        if name not in values:
            return np.full(n, np.nan)
        unit, column = values[name]
        if unit in ("px", "pixel"):
            return column
        if unit not in _NM:
            raise BadInputError(f"{source}: column {name!r} is in {unit or 'no unit'!r}, expected nm, um or px")
        return column * (_NM[unit] / nm)

    def electrons(name: str) -> Floats:
        if name not in values:
            return np.full(n, np.nan)
        unit, column = values[name]
        if unit in ("photon", "photons"):
            return column * quantum_efficiency
        if unit in ("ADU", "adu", "AD", "counts", "digital units"):
            if photons_per_adu is None:
                raise BadInputError(f"{source}: column {name!r} is in {unit}; say the photons an ADU")
            return column * (photons_per_adu * quantum_efficiency)
        raise BadInputError(f"{source}: column {name!r} is in {unit or 'no unit'!r}, expected photon or ADU")

    frame = values["frame"][1]
    if not (np.isfinite(frame).all() and (frame == np.floor(frame)).all() and (frame >= 1).all()):
        raise BadInputError(f"{source}: frames are whole numbers from 1")
    y_nm, x_nm = (1e3 * one for one in size_um)
    round_sigma = lengths("sigma", x_nm) if "sigma" in values else None
    error = "uncertainty_xy" if "uncertainty_xy" in values else "uncertainty"
    as_px: Callable[[str, float], Floats] = lengths
    spots = Localizations(
        size_um,
        frame.astype(np.int64) - 1,
        lengths("x", x_nm) - 0.5,
        lengths("y", y_nm) - 0.5,
        electrons("intensity"),
        background=electrons("offset"),
        sigma_x_px=round_sigma if round_sigma is not None else lengths("sigma1", x_nm),
        sigma_y_px=lengths("sigma", y_nm) if round_sigma is not None else lengths("sigma2", y_nm),
        x_se_px=as_px(error, x_nm),
        y_se_px=as_px(error, y_nm),
        background_sd=electrons("bkgstd"),
        z_um=lengths("z", 1e3),
        z_se_um=lengths("uncertainty_z", 1e3),
    )
    return spots.take(np.argsort(spots.frame, kind="stable"))


def _columns(source: Path, table: CsvTable) -> list[tuple[str, str, Floats]]:
    found: list[tuple[str, str, Floats]] = []
    for header, cells in table.columns().items():
        parts = _NAME.fullmatch(header)
        if parts is None:
            raise BadInputError(f"{source}: column {header!r} is not understood")
        try:
            column = np.array([float(cell) if cell.strip() else math.nan for cell in cells])
        except ValueError:
            row = next(k for k, cell in enumerate(cells) if not _is_number(cell))
            raise BadInputError(
                f"{source}, row {table.row_numbers[row]}: {header} is {cells[row]!r}, expected a number"
            ) from None
        found.append((parts["name"].strip(), (parts["unit"] or "").strip(), column))
    return found


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True


def _are_elliptical(spots: Localizations) -> bool:
    ratio = spots.pixel_size_um[1] / spots.pixel_size_um[0]
    known = np.isfinite(spots.sigma_y_px)
    return bool(np.any(np.abs(spots.sigma_x_px[known] * ratio - spots.sigma_y_px[known]) > 1e-9))


def _errors_nm(spots: Localizations) -> Floats:
    """Return one standard error for both axes, nm, root mean square; by the formula where the fit told none."""
    y_nm, x_nm = (1e3 * size for size in spots.pixel_size_um)
    told = np.sqrt(0.5 * ((spots.x_se_px * x_nm) ** 2 + (spots.y_se_px * y_nm) ** 2))
    formula = uncertainty_nm(spots.photons, spots.background_sd, spots.sigma_x_px * x_nm, x_nm)
    return np.where(np.isfinite(told), told, formula)


def _cell(value: float) -> str:
    """Return a number as ThunderSTORM prints it: a decimal point, no grouping, no zeros at the end."""
    if not math.isfinite(value):
        return ""
    text = f"{value:.5f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
