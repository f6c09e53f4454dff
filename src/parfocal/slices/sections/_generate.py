"""The first stage: which slices there are, and which are left out from the start."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.files import natural_key
from parfocal.slices.ledger import Metric, StageResult, Stamp, as_slice_id
from parfocal.slices.sections._galvo import GalvoReturn, find_galvo_return
from parfocal.slices.sections._thickness import CALIBRATION_NOTE, detect_calibration_slices
from parfocal.slices.sections._tiles import open_tile

MOSAICS = r".*z(\d+).*\.ome\.zarr"
TILES = r".*tile_.*z(\d+).*"


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


def galvo_in_tiles(
    folder: str | os.PathLike[str], slice_ids: Collection[str], n_extra: int | None = None, pattern: str = TILES
) -> dict[str, GalvoReturn]:
    """Return what galvo detection finds in the raw tiles of each slice that has some.

    Parameters
    ----------
    folder : str or path
        Where the tiles are.
    slice_ids : collection of str
        Slices to look at; tiles of others are passed over.
    n_extra : int, optional
        Lines of the galvo's way back, where the tiles do not say.
    pattern : str
        As in `slice_ids_in`.

    Raises
    ------
    BadInputError
        No tile fits the pattern, one cannot be read, or nobody says how many lines the way back has.
    """
    found: dict[str, GalvoReturn] = {}
    for sid, paths in slice_ids_in(folder, pattern, many=True).items():
        if sid not in slice_ids:
            continue
        tiles = [open_tile(path) for path in paths]
        n_lines = n_extra if n_extra is not None else tiles[0].n_extra
        if n_lines is None:
            raise BadInputError(f"{tiles[0].path}: does not say how many lines the way back has; give n_extra")
        found[sid] = find_galvo_return([tile.projection for tile in tiles], n_lines)
    return found


def generate(
    slice_ids: Iterable[object],
    *,
    exclude: Collection[object] | Mapping[str, str] = (),
    exclude_first: int | Literal["auto"] = "auto",
    depth_planes: Mapping[str, int] | None = None,
    thick_factor: float = 1.5,
    galvo: Mapping[str, GalvoReturn] | None = None,
    galvo_threshold: float = 0.6,
) -> StageResult:
    """Begin a ledger: one row a slice, in natural order.

    Parameters
    ----------
    slice_ids : iterable of str or int
        All slices there are.
    exclude : collection of str or int, or mapping of slice id to reason
        Slices not to use.
    exclude_first : int or "auto"
        How many leading slices are calibration slices. "auto" leaves out those that are much thicker than the
        others (see `detect_calibration_slices`), and none where depths are not known.
    depth_planes : mapping of slice id to number of planes, optional
        Depth of each slice.
    thick_factor : float
        See `exclude_first`.
    galvo : mapping of slice id to GalvoReturn, optional
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
    left_out = _reasons(exclude, ids)
    messages: list[str] = []
    leading: list[str] = []
    if exclude_first != "auto":
        if exclude_first < 0:
            raise BadInputError(f"exclude_first: {exclude_first}; 0 or more was expected, or auto")
        leading = ids[:exclude_first]
    elif depth_planes:
        known = {sid: depth_planes[sid] for sid in ids if sid in depth_planes}
        thick = detect_calibration_slices(known, thickness_ratio=thick_factor)
        leading = list(thick.slice_ids)
        messages += thick.messages
    else:
        messages.append("depths are not known: no leading slice was left out as a calibration slice")
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


def _reasons(exclude: Collection[object] | Mapping[str, str], ids: Collection[str]) -> dict[str, str]:
    why = exclude if isinstance(exclude, Mapping) else dict.fromkeys(exclude, "excluded on request")
    reasons = {as_slice_id(one): reason for one, reason in why.items()}
    missing = [sid for sid in reasons if sid not in ids]
    if missing:
        raise BadInputError(f"exclude: there is no slice {', '.join(missing)}")
    return reasons
