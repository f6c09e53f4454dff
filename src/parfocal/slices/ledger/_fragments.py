"""Fragments: what was written slice by slice, by many at once, merged by one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from parfocal.errors import BadInputError
from parfocal.files import csv_text, natural_key, read_csv, write_atomically
from parfocal.slices.ledger._cells import Rows, as_slice_id, parse_cell
from parfocal.slices.ledger._rows import AnyRows, apply_stamps
from parfocal.slices.ledger._stage import CellValue, Stamp

_log = logging.getLogger("parfocal.slices")
_PATTERN = "*manifest*.csv"
_METHODS = ("zmorph", "weighted", "average")
_NEEDED = ("slice_id", "interpolation_failed")
_COLUMNS = ("slice_id", "method", "method_used", "fallback_reason", "interpolation_failed", "output_path")
_TARGETS = {
    "method_used": "interpolation_method_used",
    "fallback_reason": "interpolation_fallback_reason",
    "interpolation_method_used": "interpolation_method_used",
    "interpolation_fallback_reason": "interpolation_fallback_reason",
}

Fragments = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def merge_fragments(rows: AnyRows, fragments: Fragments) -> Rows:
    """Merge the manifests that `write_fragment` or linumpy wrote, one a slice, into rows.

    The result does not depend on the order of the fragments, and merging them again changes nothing. A slice
    that the rows do not have is added, not to be used.

    Parameters
    ----------
    rows : mapping of slice id to mapping of column to value
        As `read` returns them.
    fragments : path, or iterable of paths
        A folder (all `*manifest*.csv` in and below it), or the files.

    Raises
    ------
    BadInputError
        A fragment does not say whether interpolation failed, contradicts itself, or two of them contradict each
        other.
    """
    return apply_stamps(rows, fragment_stamps(rows, fragments))


def fragment_stamps(rows: AnyRows, fragments: Fragments) -> tuple[Stamp, ...]:
    """Return what the fragments come to, by slice in natural order."""
    cells: dict[tuple[str, str], tuple[CellValue, Path]] = {}
    conflicts: list[str] = []
    for path in _files_of(fragments):
        for sid, values in _read(path).items():
            for column, value in values.items():
                known, where = cells.setdefault((sid, column), (value, path))
                if known != value:
                    conflicts.append(
                        f"slice {sid}, {column}: {_said(known)} in {where.name}, {_said(value)} in {path.name}"
                    )
    if conflicts:
        raise BadInputError(f"fragments contradict each other: {'; '.join(conflicts)}")
    stamps: list[Stamp] = []
    for sid in sorted({sid for sid, _ in cells}, key=natural_key):
        if sid not in rows:
            _log.warning("fragments: slice %s is not in the ledger; it is added, not to be used", sid)
            stamps.append(Stamp(sid, "use", False))
        stamps.extend(Stamp(sid, column, value) for (of, column), (value, _) in cells.items() if of == sid)
    return tuple(stamps)


def write_fragment(
    folder: str | os.PathLike[str],
    slice_id: object,
    *,
    method: str,
    method_used: str = "",
    fallback_reason: str = "",
    interpolation_failed: bool,
    output_path: str = "",
) -> Path:
    """Write the manifest of one interpolated slice: `slice_z03_manifest.csv`, in a folder that many write to.

    Parameters
    ----------
    folder : str or path
        Where; it must exist.
    slice_id : str or int
        Which slice; no two writers share one, so none waits for another.
    method, method_used : str
        What was asked for, and what was done (empty where it failed).
    fallback_reason : str
        Why it failed; empty where it did not.
    interpolation_failed : bool
        Whether the slot stays a gap.
    output_path : str
        The volume that was made.
    """
    sid = as_slice_id(slice_id)
    cells = (sid, method, method_used, fallback_reason, "true" if interpolation_failed else "false", output_path)
    _checked(f"slice {sid}", interpolation_failed, method_used or None, fallback_reason or None)
    target = Path(folder) / f"slice_z{sid}_manifest.csv"
    with write_atomically(target) as temporary:
        temporary.write_text(csv_text(_COLUMNS, [[cell] for cell in cells]), encoding="utf-8", newline="\n")
    return target


def _files_of(fragments: Fragments) -> list[Path]:
    if isinstance(fragments, str | os.PathLike):
        folder = Path(fragments)
        if not folder.is_dir():
            raise BadInputError(f"{folder}: no such folder of fragments")
        files = list(folder.rglob(_PATTERN))
    else:
        files = [Path(path) for path in fragments]
    return sorted(set(files), key=lambda path: (natural_key(path), str(path)))


def _read(path: Path) -> dict[str, dict[str, CellValue]]:
    table = read_csv(path)
    for needed in _NEEDED:
        if needed not in table.header:
            raise BadInputError(f"{path}, row 1: there is no column {needed!r}; found {', '.join(table.header)}")
    found: dict[str, dict[str, CellValue]] = {}
    for number, cells in zip(table.row_numbers, table.rows):
        values: dict[str, CellValue] = {}
        told = dict(zip(table.header, cells))
        column = "slice_id"
        try:
            sid = as_slice_id(told[column])
            column = "interpolation_failed"
            failed = parse_cell(column, told[column])
            if not isinstance(failed, bool):
                raise BadInputError("blank; true or false was expected")
            for column, target in _TARGETS.items():
                if column in told:
                    values[target] = parse_cell(target, told[column])
        except BadInputError as error:
            raise BadInputError(f"{path}, row {number}, column {column}: {error}") from None
        method, reason = (values.get(name) for name in dict.fromkeys(_TARGETS.values()))
        _checked(f"{path}, row {number}", failed, method, reason)
        if sid in found:
            raise BadInputError(f"{path}, row {number}: slice {sid} stands here twice")
        found[sid] = {
            "interpolated": not failed,
            "interpolation_failed": failed,
            "interpolation_method_used": method,
            "interpolation_fallback_reason": reason,
        }
    return found


def _checked(where: str, failed: bool, method: CellValue, reason: CellValue) -> None:
    if failed and (method is not None or reason is None):
        raise BadInputError(f"{where}: failed interpolation has a fallback_reason and no method_used")
    if not failed and (reason is not None or method not in _METHODS):
        raise BadInputError(
            f"{where}: interpolation has no fallback_reason, and method_used {', '.join(_METHODS)}"
        )


def _said(value: CellValue) -> str:
    return "blank" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
