"""PNG and JPEG images: one plane each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files._grey import grey_of
from parfocal.files._stack import Stack, chosen_axes, one_line, pixels_or_refuse, to_native

_DECODERS = {
    ".png": ("PNG", imagecodecs.png_decode),
    ".jpg": ("JPEG", imagecodecs.jpeg8_decode),
    ".jpeg": ("JPEG", imagecodecs.jpeg8_decode),
}


def open_png(path: Path, axes: str | None) -> Stack:
    """Open a PNG or JPEG file as a `Stack` of one plane; see `open_stack`."""
    pixels = _decoded(path)
    colour = pixels.ndim == 3
    used, axes_warnings = chosen_axes(str(path), "YX", pixels.shape[:2], axes)

    def read_planes(indices: Sequence[tuple[int, ...]]) -> Iterator[NDArray[Any]]:
        for _ in indices:
            again = _decoded(path)
            yield from to_native([_grey(again)], again.dtype.newbyteorder("="))

    return Stack(
        axes=used,
        shape=tuple(pixels.shape[:2]),
        dtype=pixels_or_refuse(str(path), pixels.dtype),
        source=str(path),
        read_planes=read_planes,
        warnings=(*axes_warnings, *(("colour (RGB) was made grey, by ITU-R 601 weights",) if colour else ())),
    )


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels
    samples = pixels.shape[2]
    return pixels[..., 0] if samples <= 2 else grey_of(pixels, samples)


def _decoded(path: Path) -> NDArray[Any]:
    kind, decode = _DECODERS[path.suffix.lower()]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from error
    if not data:
        raise BadInputError(f"{path}: the file is empty, expected a {kind} image")
    try:
        return np.asarray(decode(data))
    except Exception as error:
        raise BadInputError(f"{path}: not a {kind} image that can be read: {one_line(error)}") from error
