"""The first stage: which slices there are, and which are left out from the start."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Literal, Protocol

from parfocal.errors import BadInputError
from parfocal.files import natural_key
from parfocal.slices.ledger._cells import as_slice_id
from parfocal.slices.ledger._stage import Metric, StageResult, Stamp

CALIBRATION_NOTE = "calibration_slice"
MOSAICS = r".*z(\d+).*\.ome\.zarr"
TILES = r".*tile_.*z(\d+).*"
_LEADING = 3  # a calibration slice is cut first; a thick slice further in is something else


class GalvoFinding(Protocol):
    """What galvo detection says of a slice."""

    @property
    def confidence(self) -> float:
        """That the way back stands where it should not, 0 to 1."""
        ...

    @property
    def shift_lines(self) -> int:
        """Roll of the lines that brings it to the end of the tile."""
        ...


def slice_ids_in(
    folder: str | os.PathLike[str], pattern: str = MOSAICS, *, many: bool = False
) -> dict[str, tuple[Path, ...]]:
    r"""Return the slices of a folder by the names in it, in natural order, each with its files.

    Parameters
    ----------
    folder : str or path
        Where mosaics (`MOSAICS`) or raw tiles (`TILES`, such as `tile_x00_y03_z07`) are.
    pattern : str
        Regular expression that a whole name must match; its one group is the slice's number.
    many : bool
        Whether a slice may have several files, as with tiles.

    Raises
    ------
    BadInputError
        There is no such folder, nothing in it matches, or two files are one slice.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("mosaic_z100.ome.zarr", "mosaic_z09.ome.zarr", "notes.txt"):
    ...     (folder / name).mkdir()
    >>> list(slice_ids_in(folder))
    ['09', '100']
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder")
    try:
        matcher = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise BadInputError(f"pattern {pattern!r}: {error}") from None
    if matcher.groups != 1:
        raise BadInputError(f"pattern {pattern!r}: one group, the slice's number, was expected")
    found: dict[str, list[Path]] = {}
    for path in sorted(root.iterdir(), key=lambda p: natural_key(p.name)):
        match = matcher.fullmatch(path.name)
        if match is None or not match[1] or path.name.startswith("."):
            continue
        sid = as_slice_id(match[1])
        if sid in found and not many:
            raise BadInputError(f"{root}: {found[sid][0].name} and {path.name} are both slice {sid}")
        found.setdefault(sid, []).append(path)
    if not found:
        raise BadInputError(f"{root}: no name fits {pattern!r}")
    return {sid: tuple(found[sid]) for sid in sorted(found, key=natural_key)}


def generate(
    slice_ids: Iterable[object],
    *,
    exclude: Collection[object] = (),
    exclude_first: int | Literal["auto"] = "auto",
    depth_planes: Mapping[str, int] | None = None,
    thick_factor: float = 1.5,
    galvo: Mapping[str, GalvoFinding] | None = None,
    galvo_threshold: float = 0.6,
) -> StageResult:
    """Begin a ledger: one row a slice, in natural order.

    Parameters
    ----------
    slice_ids : iterable of str or int
        All slices there are.
    exclude : collection of str or int
        Slices not to use.
    exclude_first : int or "auto"
        How many leading slices are calibration slices. "auto" leaves out leading slices (of the first three)
        that are thicker than `thick_factor` times the median depth, and none where depths are not known.
    depth_planes : mapping of slice id to number of planes, optional
        Depth of each slice.
    thick_factor : float
        See `exclude_first`.
    galvo : mapping of slice id to GalvoFinding, optional
        What galvo detection found in the slice's tiles.
    galvo_threshold : float
        Confidence from which `galvo_fix` is true.

    Returns
    -------
    StageResult
        Stamps `use`, `notes`, and of galvo detection; messages say who is left out and why.

    Raises
    ------
    BadInputError
        There is no slice, an excluded one does not exist, or none is left to use.
    """
    ids = sorted(dict.fromkeys(as_slice_id(one) for one in slice_ids), key=natural_key)
    if not ids:
        raise BadInputError("generate: there is no slice")
    left_out = dict.fromkeys(_known(exclude, ids), "excluded on request")
    messages: list[str] = []
    if exclude_first == "auto":
        leading = _thick(ids, depth_planes or {}, thick_factor)
        if not depth_planes:
            messages.append("depths are not known: no leading slice was left out as a calibration slice")
    elif exclude_first < 0:
        raise BadInputError(f"exclude_first: {exclude_first}; 0 or more was expected, or auto")
    else:
        leading = ids[:exclude_first]
    left_out |= dict.fromkeys(leading, CALIBRATION_NOTE)
    if len(left_out) == len(ids):
        raise BadInputError(f"generate: none of {len(ids)} slices is left to use")
    stamps: list[Stamp] = []
    for sid in ids:
        stamps.append(Stamp(sid, "use", sid not in left_out))
        if sid in left_out:
            stamps.append(Stamp(sid, "notes", left_out[sid], append=True))
        if galvo and sid in galvo:
            confidence = float(galvo[sid].confidence)
            stamps.append(Stamp(sid, "galvo_confidence", confidence))
            stamps.append(Stamp(sid, "galvo_fix", confidence >= galvo_threshold))
    included = [sid for sid in ids if sid not in left_out]
    messages.append(f"included ({len(included)}): {', '.join(included)}")
    if left_out:
        told = (f"{sid} ({left_out[sid]})" for sid in ids if sid in left_out)
        messages.append(f"excluded ({len(left_out)}): {', '.join(told)}")
    metrics: dict[str, dict[str, Metric]] = {sid: {"depth_planes": n} for sid, n in (depth_planes or {}).items()}
    for sid, one in (galvo or {}).items():
        found = metrics.setdefault(sid, {})
        found |= {"galvo_shift_lines": int(one.shift_lines), "galvo_confidence": float(one.confidence)}
    return StageResult("generate", tuple(stamps), metrics, tuple(messages))


def _known(given: Collection[object], ids: Collection[str]) -> list[str]:
    asked = [as_slice_id(one) for one in given]
    missing = [sid for sid in asked if sid not in ids]
    if missing:
        raise BadInputError(f"exclude: there is no slice {', '.join(missing)}")
    return asked


def _thick(ids: list[str], depth_planes: Mapping[str, int], factor: float) -> list[str]:
    """Return the run of slices from the first on that are much thicker than most."""
    if not depth_planes:
        return []
    limit = factor * median(depth_planes.values())
    thick: list[str] = []
    for sid in ids[:_LEADING]:
        if depth_planes.get(sid, 0) <= limit:
            break
        thick.append(sid)
    return thick
