"""A golden template: one image known to be good, with where it comes from, that frames are held against."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.imaging import band_limited, ncc, phase_shift

_FORMAT = "parfocal golden template"
_FORMAT_VERSION = 1
_MOST_PIXELS = 2**28


@dataclass(frozen=True, eq=False)
class GoldenTemplate:
    """An image that good frames look like.

    Attributes
    ----------
    image : ndarray of float32, shape (height, width)
        Mean of the registered frames.
    sigma_px : float
        Width of the band limit under which frames are compared with it.
    version : int
        Counted up by whoever replaces a template by a better one; stored results name it.
    provenance : mapping
        Where it comes from: `source`, `frames`, `shifts_px` (dy, dx of each frame), `made_at` (UTC), `note`.
    """

    image: NDArray[np.float32]
    sigma_px: float = 2.0
    version: int = 1
    provenance: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def sha256(self) -> str:
        """Hash of the pixels and of the band limit: what decides what it accepts."""
        digest = hashlib.sha256(repr((self.image.shape, float(self.sigma_px))).encode())
        digest.update(np.ascontiguousarray(self.image, "<f4").tobytes())
        return digest.hexdigest()


def make_template(
    frames: Sequence[ArrayLike] | NDArray[Any],
    chosen: Sequence[int],
    *,
    sigma_px: float = 2.0,
    max_shift_px: float | None = None,
    source: str = "",
    note: str = "",
    version: int = 1,
) -> GoldenTemplate:
    """Make a template of one chosen frame, or of the mean of several, registered to the first of them.

    Parameters
    ----------
    frames : array_like of shape (n, height, width)
        A stack.
    chosen : sequence of int
        The frames to use, 5 to 10 as a rule; the first is the one that the others are moved onto.
    sigma_px : float
        Width of the band limit for comparisons.
    max_shift_px : float, optional
        The farthest a frame may be moved; a tenth of the smaller side by default.
    source, note : str
        Where the frames come from, and what a reader should know.
    version : int
        Of the template.

    Raises
    ------
    BadInputError
        No frame is chosen, one does not exist or is chosen twice, or one does not fit the first (correlation under
        0.5 after registration): such a mean would be a picture of nothing.
    """
    n = len(frames)
    if not chosen or len(set(chosen)) != len(chosen) or not all(0 <= i < n for i in chosen):
        raise BadInputError(
            f"golden template: chosen frames {list(chosen)}; expected different ones of 0 to {n - 1}"
        )
    first = np.asarray(frames[chosen[0]], np.float32)
    if max_shift_px is None:
        max_shift_px = min(first.shape) / 10
    total = first.astype(np.float64)
    shifts: list[tuple[float, float]] = [(0.0, 0.0)]
    for i in chosen[1:]:
        moved, shift = registered(first, np.asarray(frames[i], np.float32), sigma_px, max_shift_px)
        if not shift[2] >= 0.5:
            raise BadInputError(
                f"golden template: frame {i} does not fit frame {chosen[0]} (correlation {shift[2]:.2f} after "
                "registration); choose frames of one place and focus"
            )
        shifts.append(shift[:2])
        total += moved
    provenance = {
        "source": source,
        "frames": [int(i) for i in chosen],
        "shifts_px": [[round(dy, 3), round(dx, 3)] for dy, dx in shifts],
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "note": note,
    }
    return GoldenTemplate((total / len(chosen)).astype(np.float32), sigma_px, version, provenance)


def registered(
    fixed: NDArray[np.float32], moving: NDArray[np.float32], sigma_px: float, max_shift_px: float
) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """Return `moving` laid on `fixed`, and dy, dx and the correlation after that."""
    a, b = band_limited(fixed, sigma_px), band_limited(moving, sigma_px)
    shift = phase_shift(a, b, max_shift_px=max_shift_px, upsample=10)
    dy, dx = float(shift.dy_px), float(shift.dx_px)
    if max(abs(dy), abs(dx)) < 0.05:  # interpolation would cost more sharpness than the shift does
        return moving, (0.0, 0.0, float(shift.ncc))
    laid = np.asarray(ndimage.shift(moving, (dy, dx), order=3, mode="nearest"), np.float32)
    return laid, (dy, dx, float(shift.ncc))


def template_ncc(frames: Sequence[ArrayLike] | NDArray[Any], template: GoldenTemplate) -> NDArray[np.float64]:
    """Return the correlation of each frame with the template, both band-limited; nothing is moved.

    Raises
    ------
    BadInputError
        Frames have another shape than the template.
    """
    limited = band_limited(template.image, template.sigma_px)
    found = np.empty(len(frames))
    for i, frame in enumerate(frames):
        pixels = np.asarray(frame)
        if pixels.shape != template.image.shape:
            raise BadInputError(
                f"golden template: frame {i} has shape {pixels.shape}, the template {template.image.shape}"
            )
        found[i] = ncc(limited, band_limited(pixels, template.sigma_px))
    return found


def save_template(path: str | os.PathLike[str], template: GoldenTemplate) -> Path:
    """Write a template as `.npz`: the image, and its facts as JSON. Nothing in it is pickled.

    Raises
    ------
    BadInputError
        The name does not end in `.npz`, or its folder does not exist.
    """
    target = Path(path)
    if target.suffix.lower() != ".npz":
        raise BadInputError(f"{target}: a golden template is saved as .npz")
    facts = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "sigma_px": float(template.sigma_px),
        "version": int(template.version),
        "sha256": template.sha256,
        "provenance": dict(template.provenance),
    }
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with write_atomically(target) as temporary:
        np.savez_compressed(temporary, image=np.asarray(template.image, np.float32), facts=text)
    return target


def load_template(path: str | os.PathLike[str]) -> GoldenTemplate:
    """Read a template that `save_template` wrote.

    Raises
    ------
    BadInputError
        There is no such file, it is no template, of a later format, holds pickled objects, or was changed since.
    """
    source = Path(path)
    if not source.is_file():
        raise BadInputError(f"{source}: no such file, expected a golden template (.npz)")
    try:
        # opened here: numpy leaves the file of a damaged archive open
        with source.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            if int(np.prod(_shape_of(source, "image"))) > _MOST_PIXELS:
                raise BadInputError(f"{source}: an image of more than {_MOST_PIXELS} pixels is no golden template")
            image, facts = np.asarray(stored["image"]), json.loads(stored["facts"].tobytes())
            template = GoldenTemplate(
                image, float(facts["sigma_px"]), int(facts["version"]), dict(facts["provenance"])
            )
            kind, later = facts["format"], int(facts["format_version"]) > _FORMAT_VERSION
            said = facts["sha256"]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BadInputError(f"{source}: no golden template: {' '.join(str(error).split())}") from error
    if kind != _FORMAT or later or image.ndim != 2 or image.dtype != np.float32:
        raise BadInputError(f"{source}: no golden template of format version {_FORMAT_VERSION}")
    if template.sha256 != said:
        raise BadInputError(f"{source}: the image is not the one that was saved (its hash differs)")
    return template


def _shape_of(source: Path, name: str) -> tuple[int, ...]:
    """Return an array's shape from its header: before memory is taken for it."""
    with zipfile.ZipFile(source) as archive, archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(stream)[0]
