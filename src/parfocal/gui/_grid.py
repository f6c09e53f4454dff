"""Where the frames of a run stand among positions, tiles, times and planes; arrays that read plane by plane."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

AXES = ("position", "tile", "time_point", "plane")
"""Slowest first: tracks and labels of one place have the last ones alone, and napari aligns axes at their ends."""

Place = tuple[int, int, int, int]


@dataclass(frozen=True)
class TakenFrame:
    """One frame of a run.

    Attributes
    ----------
    index : int
        In its array.
    place : (int, int, int, int)
        Position, tile, time point and plane, counted from 0 as in the run's `point_` columns.
    channel : str
    z_um, t_s : float
        NaN where the run does not tell.
    attempt : int
        Of several at one place the last one counts.
    """

    index: int
    place: Place
    channel: str = ""
    z_um: float = math.nan
    t_s: float = math.nan
    attempt: int = 1


@dataclass(frozen=True)
class GridAxis:
    """An axis of sliders.

    Attributes
    ----------
    name : str
    n : int
        Steps.
    step : float
        Distance between steps, in `unit`; above 0.
    first : float
        Where the first step is.
    unit : str
        `s`, `um`, or `pixel` where an axis only counts.
    is_reversed : bool
        Whether the run went the other way: planes from the top down.
    """

    name: str
    n: int
    step: float = 1.0
    first: float = 0.0
    unit: str = "pixel"
    is_reversed: bool = False


@dataclass(frozen=True)
class FrameGrid:
    """All axes along which frames of a run differ: sliders, and y and x.

    Attributes
    ----------
    axes : tuple of GridAxis
        Those of more than one step.
    """

    axes: tuple[GridAxis, ...] = ()
    _planes: dict[tuple[int, int, int], list[int]] = field(
        default_factory=dict[tuple[int, int, int], list[int]], compare=False
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps of each axis."""
        return tuple(axis.n for axis in self.axes)

    def at(self, place: Sequence[int]) -> tuple[int, ...]:
        """Return where a place (position, tile, time point, plane) lies on the axes."""
        numbers: dict[str, int] = dict(zip(AXES, place, strict=True))
        return tuple(
            axis.n - 1 - numbers[axis.name] if axis.is_reversed else numbers[axis.name] for axis in self.axes
        )

    def place_at(self, where: Sequence[int]) -> Place:
        """Return which place lies there: the inverse of `at`."""
        numbers: dict[str, int] = dict.fromkeys(AXES, 0)
        for axis, k in zip(self.axes, where, strict=True):
            numbers[axis.name] = axis.n - 1 - k if axis.is_reversed else k
        return (numbers["position"], numbers["tile"], numbers["time_point"], numbers["plane"])

    def planes_of(self, position: int, tile: int, time_point: int) -> list[int]:
        """Return the planes that were taken at a place, in their order."""
        return self._planes.get((position, tile, time_point), [])

    def scale(self, pixel_um: tuple[float, float]) -> tuple[float, ...]:
        """Return the size of a step along all axes."""
        return (*(axis.step for axis in self.axes), *pixel_um)

    @property
    def translate(self) -> tuple[float, ...]:
        """Where the first step of all axes is."""
        return (*(axis.first for axis in self.axes), 0.0, 0.0)

    @property
    def axis_labels(self) -> tuple[str, ...]:
        """Names of all axes."""
        return (*(axis.name for axis in self.axes), "y", "x")

    @property
    def units(self) -> tuple[str, ...]:
        """Units of all axes."""
        return (*(axis.unit for axis in self.axes), "um", "um")

    def placed(self, pixel_um: tuple[float, float]) -> dict[str, Any]:
        """Return what puts a layer of napari on all axes, and names them."""
        return {
            "scale": self.scale(pixel_um),
            "translate": self.translate,
            "axis_labels": self.axis_labels,
            "units": self.units,
        }


def grid_of(frames: Iterable[TakenFrame]) -> FrameGrid:
    """Return the axes along which frames differ; z and time by what was measured, not by what was asked for."""
    taken = list(frames)
    planes: dict[tuple[int, int, int], set[int]] = {}
    for one in taken:
        planes.setdefault(one.place[:3], set()).add(one.place[3])
    axes: list[GridAxis] = []
    for k, name in enumerate(AXES):
        n = 1 + max((one.place[k] for one in taken), default=0)
        if n == 1:
            continue
        step, first, is_reversed, unit = 1.0, 0.0, False, "pixel"
        if name in ("time_point", "plane"):
            measured = _steps(taken, k, "t_s" if name == "time_point" else "z_um")
            if measured is not None:
                first, step = measured
                is_reversed = step < 0
                unit = "s" if name == "time_point" else "um"
                if is_reversed:
                    first, step = first + step * (n - 1), -step
        # Time counts from the first frame on.
        axes.append(GridAxis(name, n, step, 0.0 if unit == "s" else first, unit, is_reversed))
    return FrameGrid(tuple(axes), {place: sorted(numbers) for place, numbers in planes.items()})


def _steps(frames: list[TakenFrame], axis: int, name: str) -> tuple[float, float] | None:
    """Return first value and step along an axis: medians, or None where nothing was measured."""
    values: dict[int, list[float]] = {}
    for one in frames:
        value = float(getattr(one, name))
        if math.isfinite(value):
            values.setdefault(one.place[axis], []).append(value)
    numbers = sorted(values)
    if len(numbers) < 2:
        return None
    at = np.array([np.median(values[number]) for number in numbers])
    step = float(np.median(np.diff(at) / np.diff(numbers)))
    if not math.isfinite(step) or abs(step) < 1e-9:
        return None
    return float(at[0]) - step * numbers[0], step


class PlaneArray:
    """An array `[..., y, x]` whose planes are read when they are looked at; napari takes it for one of numpy.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy dtype
    read : callable
        Takes the indices of all axes but the last two, returns the plane `[y, x]`; None for one that is not there,
        which is shown as zeros.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[tuple[int, ...]], NDArray[Any] | None],
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._read = read

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        given = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in [one for one in given if not isinstance(one, np.ndarray)]:
            where = next(k for k, one in enumerate(given) if one is Ellipsis)
            given[where : where + 1] = [slice(None)] * (self.ndim - len(given) + 1)
        given += [slice(None)] * (self.ndim - len(given))
        outer, (y, x) = given[:-2], given[-2:]
        chosen: list[list[int]] = []
        lengths: list[int] = []
        for one, n in zip(outer, self.shape, strict=False):
            if isinstance(one, slice):
                chosen.append(list(range(*one.indices(n))))
                lengths.append(len(chosen[-1]))
            elif np.ndim(one):
                chosen.append([int(k) for k in np.asarray(one)])
                lengths.append(len(chosen[-1]))
            else:
                k = operator.index(one)
                if not -n <= k < n:
                    raise IndexError(f"index {k} is out of bounds for an axis of {n}")
                chosen.append([k % n])
        planes = [self._plane(where)[y, x] for where in itertools.product(*chosen)]
        shape = np.empty(self.shape[-2:], np.bool_)[y, x].shape
        return np.array(planes, self.dtype).reshape((*lengths, *shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def _plane(self, where: tuple[int, ...]) -> NDArray[Any]:
        plane = self._read(where)
        return np.zeros(self.shape[-2:], self.dtype) if plane is None else np.asarray(plane)
