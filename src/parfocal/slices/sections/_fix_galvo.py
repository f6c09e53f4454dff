"""The galvo's way back brought to the end of its tile, by the shift that was found when it was looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import write_ome_zarr
from parfocal.slices.ledger import CellValue, Metric, StageResult, Stamp
from parfocal.slices.sections._source import SectionSource

STAGE = "fix-galvo"
SHIFT_METRIC = "galvo_shift_lines"
_FIXED = "galvo fix applied"
_UNDONE = "galvo fix undone"


@dataclass(frozen=True)
class GalvoFix:
    """Which sections are to be rolled, and by how many lines.

    Attributes
    ----------
    shifts_lines : mapping of slice id to int
        Roll of each section that is to be fixed; sections that are not are not in it.
    stage : StageResult
        Stamps `galvo_fix`, `galvo_confidence` and `notes`.
    """

    shifts_lines: Mapping[str, int]
    stage: StageResult


@dataclass(frozen=True, eq=False)
class RolledSections:
    """Sections of a source, some of them rolled when they are read.

    Attributes
    ----------
    source : SectionSource
        The sections as they are.
    shifts_lines : mapping of slice id to int
        As `GalvoFix.shifts_lines`; sections that are not in it stay as they are.
    tile_lines : int, optional
        See `fix_galvo`.
    """

    source: SectionSource
    shifts_lines: Mapping[str, int]
    tile_lines: int | None = None

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """Ids of the source."""
        return self.source.slice_ids

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """Voxel size of the source."""
        return self.source.voxel_size_um

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Shape of a section; rolling keeps it."""
        return self.source.shape(slice_id)

    def volume(self, slice_id: str) -> NDArray[np.generic]:
        """Pixels of a section, rolled."""
        shift = self.shifts_lines.get(slice_id, 0)
        volume = self.source.volume(slice_id)
        return fix_galvo(volume, shift, tile_lines=self.tile_lines) if shift else volume

    def write(self, folder: Path, slice_ids: Iterable[str]) -> dict[str, Path]:
        """Write sections into a folder, made where it is not there, as `slice_z<id>.ome.zarr`; return where."""
        folder.mkdir(parents=True, exist_ok=True)
        written: dict[str, Path] = {}
        for sid in slice_ids:
            attributes = {"parfocal": {"galvo_shift_lines": self.shifts_lines.get(sid, 0)}}
            path = folder / f"slice_z{sid}.ome.zarr"
            written[sid] = write_ome_zarr(path, self.volume(sid), self.voxel_size_um, attributes=attributes)
        return written


def fix_galvo(
    volume: NDArray[Any], shift_lines: int, *, tile_lines: int | None = None, axis: int = 1
) -> NDArray[Any]:
    """Return a volume with the lines of each tile rolled by `shift_lines`, a negative number back again.

    Parameters
    ----------
    volume : ndarray, shape (z, line, b_scan)
        One tile, or a mosaic of tiles on a grid.
    shift_lines : int
        As `GalvoReturn.shift_lines` tells.
    tile_lines : int, optional
        Lines of one tile; the whole axis by default.
    axis : int
        Along which the lines lie.

    Raises
    ------
    BadInputError
        The axis does not hold a whole number of tiles.
    """
    n_lines = volume.shape[axis]
    size = n_lines if tile_lines is None else tile_lines
    if size < 1 or n_lines % size:
        raise BadInputError(f"fix galvo: {n_lines} lines are no whole number of tiles of {size}")
    lines = np.moveaxis(volume, axis, 0)
    tiles = lines.reshape(n_lines // size, size, *lines.shape[1:])
    rolled = np.roll(tiles, shift_lines, axis=1).reshape(lines.shape)
    return np.ascontiguousarray(np.moveaxis(rolled, 0, axis))


def decide_galvo_fix(
    rows: Mapping[str, Mapping[str, CellValue]],
    metrics: Mapping[str, Mapping[str, Mapping[str, Metric]]],
    *,
    threshold: float = 0.6,
    undo: bool = False,
) -> GalvoFix:
    """Decide which sections are to be rolled: those whose stored confidence is at or above the threshold.

    The shift is the one that was stored with that confidence. Nothing is detected again: other tiles might be
    drawn, and answer differently.

    Parameters
    ----------
    rows : mapping of slice id to row
        The ledger's rows, with `galvo_confidence`.
    metrics : mapping of slice id to mapping of stage to numbers
        As `read_metrics` gives them, with `galvo_shift_lines`.
    threshold : float
        Confidence from which a section is rolled.
    undo : bool
        Roll back the sections that were rolled.

    Raises
    ------
    BadInputError
        The threshold is no share, no section has a confidence, one has no stored shift, or was rolled already
        (or never, for `undo`).
    """
    if not 0 <= threshold <= 1:
        raise BadInputError(f"galvo_threshold: expected a confidence from 0 to 1, got {threshold!r}")
    told = {sid: row.get("galvo_confidence") for sid, row in rows.items()}
    if all(value is None for value in told.values()):
        raise BadInputError("fix-galvo: no slice has a galvo_confidence; run `generate --detect-galvo` first")
    stamps: list[Stamp] = []
    shifts: dict[str, int] = {}
    numbers: dict[str, dict[str, Metric]] = {}
    for sid, confidence in told.items():
        if confidence is None:
            continue
        notes = str(rows[sid].get("notes") or "")
        is_fixed = notes.rfind(_FIXED) > notes.rfind(_UNDONE)
        sure = float(confidence)
        wanted = is_fixed if undo else sure >= threshold
        stamps.append(Stamp(sid, "galvo_confidence", sure))
        stamps.append(Stamp(sid, "galvo_fix", wanted and not undo))
        if not wanted:
            continue
        if is_fixed and not undo:
            raise BadInputError(
                f"slice {sid}: its galvo shift was applied already; roll it back first (--mode undo)"
            )
        shift = _stored_shift(sid, metrics)
        if shift:
            shifts[sid] = -shift if undo else shift
            numbers[sid] = {"applied_shift_lines": shifts[sid], "galvo_confidence": sure}
            note = f"{_UNDONE if undo else _FIXED}: {abs(shift)} lines"
            stamps.append(Stamp(sid, "notes", note, append=True))
    if undo and not shifts:
        raise BadInputError("fix-galvo: no slice was fixed, so there is nothing to undo")
    rolled = ", ".join(f"{sid} ({shift:+d} lines)" for sid, shift in shifts.items())
    unknown = [sid for sid, value in told.items() if value is None]
    said = [f"{len(shifts)} of {len(told)} slices rolled{': ' if shifts else ''}{rolled}"]
    if unknown:
        said.append(f"not looked at, left as they are: {', '.join(unknown)}")
    return GalvoFix(shifts, StageResult(STAGE, tuple(stamps), numbers, tuple(said)))


def _stored_shift(sid: str, metrics: Mapping[str, Mapping[str, Mapping[str, Metric]]]) -> int:
    for numbers in metrics.get(sid, {}).values():
        shift = numbers.get(SHIFT_METRIC)
        if isinstance(shift, int) and not isinstance(shift, bool):
            return shift
    raise BadInputError(
        f"slice {sid}: its galvo shift is not stored ({SHIFT_METRIC}); it is written by "
        "`generate --detect-galvo --metrics FOLDER`"
    )
