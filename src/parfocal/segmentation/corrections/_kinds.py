"""What a correction did, told from the masks before and after it."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]


class Kind(StrEnum):
    """What a person did to one or more objects."""

    ACCEPT = "accept"
    SPLIT = "split"
    MERGE = "merge"
    DELETE = "delete"
    ADD = "add"
    MODIFY = "modify"


def kinds_of(before: Labels, after: Labels) -> tuple[Kind, ...]:
    """Tell what was done, from labels of the same shape before and after.

    A part counts as lying inside an object where at least half of it does. Ids do not matter: an object that
    only got another number was not changed.

    Parameters
    ----------
    before, after : int32[...]
        Labels; 0 is background.

    Returns
    -------
    tuple of Kind
        What happened, in the order of `Kind`; `(Kind.ACCEPT,)` where no object changed. `MODIFY` is told only
        where nothing else explains the change.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if before.shape != after.shape:
        raise ValueError(f"labels before are {before.shape}, after {after.shape}: expected the same")
    table, sizes_before, sizes_after = _overlaps(before, after)
    inside_after = table >= 0.5 * sizes_before[:, None]  # [b, a]: at least half of b lies in a
    inside_before = table >= 0.5 * sizes_after[None, :]
    same = (table == sizes_before[:, None]) & (table == sizes_after[None, :])
    same[0, :] = same[:, 0] = False
    changed_before = ~same.any(axis=1)
    changed_after = ~same.any(axis=0)
    changed_before[0] = changed_after[0] = False
    if not changed_before.any() and not changed_after.any():
        return (Kind.ACCEPT,)
    kinds: set[Kind] = set()
    if ((inside_before[1:, 1:]) & changed_after[None, 1:]).sum(axis=1).max(initial=0) > 1:
        kinds.add(Kind.SPLIT)
    if ((inside_after[1:, 1:]) & changed_before[1:, None]).sum(axis=0).max(initial=0) > 1:
        kinds.add(Kind.MERGE)
    # Gone: no object that follows holds a part of it worth naming.
    followed = inside_after[:, 1:].any(axis=1) | inside_before[:, 1:].any(axis=1)
    if (changed_before & ~followed)[1:].any():
        kinds.add(Kind.DELETE)
    preceded = inside_before[1:, :].any(axis=0) | inside_after[1:, :].any(axis=0)
    if (changed_after & ~preceded)[1:].any():
        kinds.add(Kind.ADD)
    return tuple(kind for kind in Kind if kind in kinds) or (Kind.MODIFY,)


def _overlaps(before: Labels, after: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return shared voxels `[before, after]`, row and column 0 being background, and the sizes."""
    ids_before, at_before = np.unique(np.append(before.ravel(), 0), return_inverse=True)
    ids_after, at_after = np.unique(np.append(after.ravel(), 0), return_inverse=True)
    n_after = ids_after.size
    pairs = at_before.ravel()[:-1] * n_after + at_after.ravel()[:-1]
    table = np.bincount(pairs, minlength=ids_before.size * n_after).reshape(ids_before.size, n_after)
    return table.astype(np.int64), table.sum(axis=1), table.sum(axis=0)
