"""A stack of image planes with named axes, read plane by plane when asked for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from parfocal.errors import BadInputError

AXES = "TPCZYX"
"""Axis names: time, position, channel, z, y, x."""

PlaneReader = Callable[[Sequence[tuple[int, ...]]], Iterator[NDArray[Any]]]
"""Yields the planes of the given indices (all axes before YX, in order); opens its file once a call."""

VoxelSize = tuple[float | None, float | None, float | None]


class AxesUnknownError(BadInputError):
    """Nothing in a file says what its axes are; the message names its shape and the choices for `--axes`."""

    def __init__(self, source: str, shape: Sequence[int]) -> None:
        choices = {3: "ZYX, TYX or CYX", 4: "TZYX, CZYX or PZYX", 5: "TCZYX or PTZYX", 6: "TPCZYX"}
        super().__init__(
            f"{source}: shape {tuple(shape)} without axis names; say what they are with "
            f"--axes {choices.get(len(shape), 'of the letters ' + AXES)}"
        )


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes `[y, x]` of a file or folder, addressed by axis name.

    Attributes
    ----------
    axes : str
        Letters of "TPCZYX", slowest first, always ending in "YX".
    shape : tuple of int
        Length of each axis.
    dtype : dtype
        As stored, in native byte order.
    source : str
        The path (and data set) that was opened.
    voxel_size_um : tuple of three float or None
        (z, y, x), um; None where the file does not say.
    z_um : tuple of tuple of float, optional
        Recorded z of each plane, um: `z_um[p][z]`, one row a position.
    xy_um : tuple of (float, float), optional
        Recorded stage x, y of each position, um.
    time_s : tuple of float, optional
        Recorded time of each time point, s, from any start.
    na, wavelength_um : float, optional
        Numerical aperture and emission wavelength, um.
    channels : tuple of str
        Names of the channels, empty where unknown.
    warnings : tuple of str
        What a reader must know: metadata that disagree, colour that was dropped, axes that were overruled.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    source: str
    read_planes: PlaneReader = field(repr=False)
    voxel_size_um: VoxelSize = (None, None, None)
    z_um: tuple[tuple[float, ...], ...] | None = None
    xy_um: tuple[tuple[float, float], ...] | None = None
    time_s: tuple[float, ...] | None = None
    na: float | None = None
    wavelength_um: float | None = None
    channels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def sizes(self) -> dict[str, int]:
        """Length by axis letter, in order."""
        return dict(zip(self.axes, self.shape, strict=True))

    def size(self, axis: str) -> int:
        """Return the length of an axis, 1 where the stack has none of that name."""
        return self.sizes.get(axis, 1)

    def plane(self, **index: int) -> NDArray[Any]:
        """Read one plane, `[y, x]`.

        Parameters
        ----------
        **index : int
            0-based index by axis letter, either case (`plane(t=0, z=3)`). An axis of length 1 may be
            left out.

        Raises
        ------
        BadInputError
            An axis is missing, unknown or out of range, or the plane cannot be read.
        """
        (plane,) = self.read_planes([self._position(index)])
        return plane

    def read(self) -> NDArray[Any]:
        """Read everything into one array of `shape`."""
        out = np.empty(self.shape, self.dtype)
        indices = list(itertools.product(*(range(n) for n in self.shape[:-2])))
        for where, plane in zip(indices, self.read_planes(indices), strict=True):
            out[where] = plane
        return out

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a Stack lies in a file: reading it always makes a new array")
        data = self.read()
        return data if dtype is None else data.astype(dtype, copy=False)

    def _position(self, index: dict[str, int]) -> tuple[int, ...]:
        asked = {axis.upper(): value for axis, value in index.items()}
        for axis, value in asked.items():
            if axis not in AXES[:-2] or not 0 <= value < self.size(axis):
                raise BadInputError(
                    f"{self.source}: no plane {axis.lower()}={value}; the stack is {describe(self.sizes)}"
                )
        missing = [axis for axis in self.axes[:-2] if axis not in asked and self.size(axis) > 1]
        if missing:
            raise BadInputError(
                f"{self.source}: which plane along {', '.join(missing)}? The stack is {describe(self.sizes)}"
            )
        return tuple(asked.get(axis, 0) for axis in self.axes[:-2])


def describe(sizes: dict[str, int]) -> str:
    """Return sizes in words: `T 3, Z 7, Y 193, X 174`."""
    return ", ".join(f"{axis} {n}" for axis, n in sizes.items())


def checked_axes(source: str, axes: str, shape: Sequence[int]) -> str:
    """Return axes as given by a person, upper case, or say what is wrong with them.

    Raises
    ------
    BadInputError
        Letters other than "TPCZYX", a letter twice, not ending in "YX", or another number than `shape` has.
    """
    upper = axes.strip().upper()
    wrong = ""
    if len(upper) != len(shape):
        wrong = f"names {len(upper)} axes"
    elif set(upper) - set(AXES):
        wrong = f"has letters other than {AXES}"
    elif len(set(upper)) != len(upper):
        wrong = "names an axis twice"
    elif not upper.endswith("YX"):
        wrong = "does not end in YX"
    if wrong:
        raise BadInputError(
            f"{source}: --axes {axes} {wrong}; expected {len(shape)} of {AXES}, ending in YX, "
            f"for shape {tuple(shape)}"
        )
    return upper


def chosen_axes(source: str, found: str, shape: Sequence[int], asked: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the axes to use, and what to warn of: the person's word, else the file's, else an error."""
    known = set(found) <= set(AXES) and len(set(found)) == len(found)
    if asked is not None:
        axes = checked_axes(source, asked, shape)
        if known and axes != found:
            return axes, (f"axes {axes} as asked, though the file says {found}",)
        return axes, ()
    if not known:
        raise AxesUnknownError(source, shape)
    return found, ()


def positive_or_none(value: Any) -> float | None:
    """Return a number as a positive finite float, None for everything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def pixels_or_refuse(source: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in native byte order; `BadInputError` where it is no image of real numbers."""
    if dtype.kind not in "buif":
        raise BadInputError(f"{source}: pixels of type {dtype}, expected integers or real numbers")
    return dtype.newbyteorder("=")


def one_line(error: BaseException) -> str:
    """Return an error's text on one line, its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def to_native(planes: Iterable[NDArray[Any]], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield planes as arrays of their own, in the given (native) dtype."""
    for plane in planes:
        yield np.array(plane, dtype=dtype, order="C")
