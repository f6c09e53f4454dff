"""Who goes with whom: sparse assignment, and sets merged by pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.linking._assign_kernel import assign_links, merge_into


def assign(
    rows: ArrayLike, cols: ArrayLike, cost: ArrayLike, n_rows: int, n_cols: int, no_link_cost: float
) -> NDArray[np.int32]:
    """Choose links so that what is linked, plus `no_link_cost` for each row that is not, costs least.

    Each row and each column is linked at most once, by one of the links that are offered, so a link that costs
    more than `no_link_cost` is never chosen. Exact (linear assignment problem; shortest augmenting paths, R.
    Jonker and A. Volgenant, Computing 38, 325, 1987) on the sparse graph: time goes with its connected blocks.

    Parameters
    ----------
    rows, cols : array_like of int, shape (n,)
        The links that may be chosen.
    cost : array_like of float, shape (n,)
        What each costs; negative is allowed.
    n_rows, n_cols : int
        How many of each there are.
    no_link_cost : float
        What a row without a link costs. Infinite: no finite sum is refused; a row that has a link offered
        is linked wherever as many links as possible allow it.

    Returns
    -------
    ndarray of int32, shape (n_links, 2)
        Row and column, by row.

    Raises
    ------
    BadInputError
        Lengths differ, an index is outside, or a cost is not a finite number.
    """
    row, col = np.asarray(rows, np.int64).ravel(), np.asarray(cols, np.int64).ravel()
    price = np.asarray(cost, np.float64).ravel()
    if not row.size == col.size == price.size:
        raise BadInputError(
            f"assign: {row.size} rows, {col.size} columns and {price.size} costs, expected as many"
        )
    if not row.size:
        return np.empty((0, 2), np.int32)
    if np.isinf(no_link_cost):  # dearer than any change of the others could be
        no_link_cost = 2.0 * (float(np.abs(price).max()) + 1.0) * (min(n_rows, n_cols) + 1)
    pairs = assign_links(row, col, price, n_rows, n_cols, float(no_link_cost))
    if pairs is None or np.isnan(no_link_cost):
        if not np.isfinite(price).all() or np.isnan(no_link_cost):
            raise BadInputError("assign: a cost is not a finite number; leave out links that are forbidden")
        raise BadInputError(f"assign: a link is outside of {n_rows} rows and {n_cols} columns")
    return pairs


def merge_pairs(n: int, pairs: ArrayLike) -> NDArray[np.int32]:
    """Return for each of `n` elements the smallest element of its set, after joining all pairs.

    Parameters
    ----------
    n : int
        Elements are 0 to n - 1.
    pairs : array_like of int, shape (k, 2)
        Elements that belong together, such as labels that touch across a face.

    Returns
    -------
    ndarray of int32, shape (n,)

    Raises
    ------
    BadInputError
        A pair names an element that is not there.

    Examples
    --------
    >>> merge_pairs(6, [(1, 2), (4, 2)])
    array([0, 1, 1, 3, 1, 5], dtype=int32)
    """
    joined = np.asarray(pairs, np.int64).reshape(-1, 2)
    if joined.size and (joined.min() < 0 or joined.max() >= n):
        raise BadInputError(f"merge pairs: {joined.min()} to {joined.max()}, expected elements 0 to {n - 1}")
    roots = np.arange(n, dtype=np.int32)
    merge_into(roots, joined)
    return roots
