"""Raw tiles of a section, as an OCT microscope leaves them, or as images."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import AxesUnknownError, natural_key, open_stack

_INFO = "info.txt"
_LINE = re.compile(r"(\w+): (-?\d+)\s*")
_LIMIT = 2**31  # values; a tile beyond it is a mistake in its header


@dataclass(frozen=True)
class RawTile:
    """One tile: a folder of `info.txt` and `image_*.bin`, or an image file.

    Attributes
    ----------
    path : Path
        Where it is.
    n_extra : int, optional
        A-lines that the galvo takes on its way back, where the tile says so.
    """

    path: Path
    n_extra: int | None = None

    def volume(self) -> NDArray[Any]:
        """Read the tile, `[z, line, b_scan]`; a single image has one z.

        Raises
        ------
        BadInputError
            Its files do not fit what it says of itself.
        """
        if self.path.is_dir() and (self.path / _INFO).is_file():
            return _read_bin(self.path)
        try:
            stack = open_stack(self.path)
        except AxesUnknownError:
            stack = open_stack(self.path, "ZYX")
        pixels = stack.read()
        return pixels.reshape(-1, *pixels.shape[-2:])

    def projection(self) -> NDArray[np.float64]:
        """Return the mean over depth, `[line, b_scan]`."""
        return self.volume().mean(axis=0, dtype=np.float64)


def open_tile(path: str | os.PathLike[str]) -> RawTile:
    """Return a tile; its pixels are read when asked for.

    Raises
    ------
    BadInputError
        There is no such tile, or its `info.txt` cannot be read.
    """
    where = Path(path)
    if not where.exists():
        raise BadInputError(f"{where}: no such tile")
    if where.is_dir() and (where / _INFO).is_file():
        return RawTile(where, _info(where).get("n_extra"))
    return RawTile(where)


def _info(folder: Path) -> dict[str, int]:
    try:
        text = (folder / _INFO).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInputError(f"{folder / _INFO}: is not text") from None
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1]: int(match[2]) for match in found if match is not None and len(match[2]) < 12}


def _read_bin(folder: Path) -> NDArray[np.float32]:
    info = _info(folder)
    missing = [name for name in ("nx", "n_extra", "top_z", "bottom_z") if name not in info]
    if missing:
        raise BadInputError(f"{folder / _INFO}: does not say {', '.join(missing)}")
    n_lines, n_z = info["nx"] + info["n_extra"], info["bottom_z"] - info["top_z"] + 1
    if not (0 < n_lines and 0 < n_z and n_lines * n_z < _LIMIT):
        raise BadInputError(f"{folder / _INFO}: {n_lines} lines of {n_z} values cannot be")
    files = sorted(folder.glob("image_*.bin"), key=natural_key)
    if not files:
        raise BadInputError(f"{folder}: no image_*.bin in it")
    parts: list[NDArray[np.float32]] = []
    for file in files:
        size = file.stat().st_size
        if not size or size % (4 * n_lines * n_z):
            raise BadInputError(
                f"{file}: {size} bytes are no whole number of B-scans, {n_lines} lines of {n_z} values"
            )
        parts.append(np.fromfile(file, np.dtype("<f4")).reshape((n_z, n_lines, -1), order="F"))
    return np.concatenate(parts, axis=2)
