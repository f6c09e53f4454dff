"""Labelled stacks, from wherever they come: an ND2 file by a gallery, a folder a category, arrays."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.files import Stack, natural_key, open_stack
from parfocal.slices.references._gallery import CATEGORIES, Category, Gallery, locate
from parfocal.slices.references._nd2_frames import Nd2Frame, read_z_stack

_ALIASES = {"ok": "okay"}


@dataclass(frozen=True, eq=False)
class LabelledStack:
    """A stack that a person has judged; its pixels are read when asked for, and not kept.

    Attributes
    ----------
    name : str
        How reports call it; unlike any other's.
    category : {"bad", "okay", "great"}
        The judgement.
    read : callable
        Returns the frames `[z, y, x]`; one frame where only a single image was judged.
    source : str
        Where it lies.
    z_um : tuple of float
        Position of each frame, um; empty where not known.
    mask : ndarray of bool, shape (y, x), optional
        The object that was judged; without it, the whole frame counts.
    """

    name: str
    category: Category
    read: Callable[[], NDArray[np.generic]] = field(repr=False)
    source: str = ""
    z_um: tuple[float, ...] = ()
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        name: str,
        category: Category,
        frames: ArrayLike,
        z_um: Sequence[float] = (),
        mask: NDArray[np.bool_] | None = None,
    ) -> LabelledStack:
        """Return one of frames `[z, y, x]` (or one image `[y, x]`) that are in memory."""
        stack = np.asarray(frames)
        stack = stack[np.newaxis] if stack.ndim == 2 else stack
        return cls(name, category, lambda: stack, "memory", tuple(float(z) for z in z_um), mask)


def labelled_nd2(frames: Sequence[Nd2Frame]) -> tuple[LabelledStack, ...]:
    """Return the true z-stacks of a gallery's frames, read from their ND2 files."""
    steps: dict[Path, float | None] = {}
    made: list[LabelledStack] = []
    for frame in frames:
        if frame.nd2 not in steps:
            steps[frame.nd2] = open_stack(frame.nd2).voxel_size_um[0]
        step = steps[frame.nd2]
        z_um = () if step is None else tuple(step * z for z in range(len(frame.sequence)))
        made.append(
            LabelledStack(
                frame.reference.name,
                frame.reference.category,
                lambda frame=frame: read_z_stack(frame),
                f"{frame.nd2}, series {frame.nd2_series_num}, frames {frame.sequence[0]} to {frame.sequence[-1]}",
                z_um,
            )
        )
    return tuple(made)


def labelled_images(gallery: Gallery, root: str | os.PathLike[str]) -> tuple[LabelledStack, ...]:
    """Return the gallery's own images, one frame each, for where there is no ND2 file.

    Such images were made of z-stacks already: metrics of single frames can be ranked by them, those of motion
    cannot.

    Raises
    ------
    BadInputError
        An image is not below `root`, or cannot be read.
    """
    made: list[LabelledStack] = []
    for reference in gallery.references:
        path = locate(reference, root)
        made.extend(_of_file(path, reference.name, reference.category, None))
    return tuple(made)


def read_labelled_folder(root: str | os.PathLike[str], axes: str | None = None) -> tuple[LabelledStack, ...]:
    """Return what lies in the folders `bad`, `okay` and `great` of a folder: a stack or an image each.

    A file with time points, positions or channels holds a stack for each of them.

    Parameters
    ----------
    root : path
        Holds the folders; `okay` may be missing. In each of them, files that `open_stack` reads, and folders of
        planes.
    axes : str, optional
        What the axes of each are, as `open_stack` takes it.

    Raises
    ------
    BadInputError
        A folder is missing or empty, or something in it cannot be read.
    """
    base = Path(root)
    if not base.is_dir():
        raise BadInputError(f"{base}: no such folder; expected one with folders bad, okay and great")
    folders: dict[Category, Path] = {}
    for path in sorted(base.iterdir()):
        name = path.name.lower()
        category: Category | None = next((c for c in CATEGORIES if c == _ALIASES.get(name, name)), None)
        if category is not None and path.is_dir():
            if category in folders:
                raise BadInputError(f"{base}: folders {folders[category].name} and {path.name}, expected one")
            folders[category] = path
    for category in (CATEGORIES[0], CATEGORIES[-1]):
        if category not in folders:
            raise BadInputError(f"{base}: no folder {category}; expected folders bad, okay and great")
    made: list[LabelledStack] = []
    for category in CATEGORIES:
        if category not in folders:
            continue
        entries = [path for path in folders[category].iterdir() if not path.name.startswith(".")]
        if not entries:
            raise BadInputError(f"{folders[category]}: the folder is empty, expected stacks or images")
        for path in sorted(entries, key=lambda path: natural_key(path.name)):
            made.extend(_of_file(path, f"{category}/{path.stem}", category, axes))
    return _told_apart(made)


def _of_file(path: Path, name: str, category: Category, axes: str | None) -> list[LabelledStack]:
    stack = open_stack(path, axes)
    others = [axis for axis in stack.axes[:-2] if axis != "Z" and stack.size(axis) > 1]
    z_um = stack.z_um[0] if stack.z_um is not None else ()
    if not z_um and stack.voxel_size_um[0] is not None:
        z_um = tuple(stack.voxel_size_um[0] * z for z in range(stack.size("Z")))
    made: list[LabelledStack] = []
    for place in itertools.product(*(range(stack.size(axis)) for axis in others)):
        at = dict(zip(others, place, strict=True))
        tail = "".join(f" {axis.lower()}{number}" for axis, number in at.items())
        made.append(
            LabelledStack(name + tail, category, lambda at=at: _frames(stack, at), f"{path}{tail}", tuple(z_um))
        )
    return made


def _frames(stack: Stack, at: dict[str, int]) -> NDArray[np.generic]:
    indices = [
        tuple(z if axis == "Z" else at.get(axis, 0) for axis in stack.axes[:-2]) for z in range(stack.size("Z"))
    ]
    return np.stack(list(stack.read_planes(indices)))


def _told_apart(stacks: Sequence[LabelledStack]) -> tuple[LabelledStack, ...]:
    seen: dict[str, str] = {}
    for stack in stacks:
        if stack.name in seen:
            raise BadInputError(
                f"{stack.source}: is called {stack.name}, as is {seen[stack.name]}; expected names that differ"
            )
        seen[stack.name] = stack.source
    return tuple(stacks)
