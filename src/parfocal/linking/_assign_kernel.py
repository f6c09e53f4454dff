"""Sparse assignment by shortest augmenting paths, and sets that grow together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # pyright: ignore[reportMissingTypeStubs]


@njit(nogil=True, cache=True)
def _push(keys: Any, nodes: Any, size: int, key: float, node: int) -> int:
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if keys[above] <= key:
            break
        keys[at], nodes[at] = keys[above], nodes[above]
        at = above
    keys[at], nodes[at] = key, node
    return size + 1


@njit(nogil=True, cache=True)
def _pop(keys: Any, nodes: Any, size: int) -> int:
    """Take the first off; the caller has read it."""
    size -= 1
    key, node = keys[size], nodes[size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and keys[below + 1] < keys[below]:
            below += 1
        if keys[below] >= key:
            break
        keys[at], nodes[at] = keys[below], nodes[below]
        at = below
    keys[at], nodes[at] = key, node
    return size


@njit(nogil=True, cache=True)
def assign_rows(first: Any, columns: Any, costs: Any, n_columns: int, no_link_cost: float) -> Any:
    """Return the column of each row, -1 for none: least cost, where a row without a column costs `no_link_cost`.

    A row's search (Dijkstra on reduced costs, as Jonker and Volgenant, but over the links that exist) never leaves
    its connected block, and ends where giving up a row becomes cheaper: no blocks need to be told apart
    beforehand.

    Parameters
    ----------
    first : ndarray of int64, shape (n_rows + 1,)
        Where each row's links begin.
    columns : ndarray of int32
    costs : ndarray of float64
    """
    n_rows = first.size - 1
    column_of = np.full(n_rows, -1, np.int32)
    row_of = np.full(n_columns, -1, np.int32)
    row_price = np.zeros(n_rows)
    column_price = np.zeros(n_columns)
    distance = np.full(n_columns, np.inf)
    came_from = np.empty(n_columns, np.int32)
    done = np.zeros(n_columns, np.bool_)
    seen = np.empty(n_columns, np.int32)
    heap_keys = np.empty(columns.size + 1)
    heap_nodes = np.empty(columns.size + 1, np.int32)
    passed = np.empty(n_rows + 1, np.int32)

    for start in range(n_rows):
        n_seen = n_passed = size = 0
        row = start
        so_far = 0.0
        given_up, giving_up_costs = -1, np.inf
        end = -1
        while True:
            passed[n_passed] = row
            n_passed += 1
            none = so_far + no_link_cost - row_price[row]
            if none < giving_up_costs:
                giving_up_costs, given_up = none, row
            for k in range(first[row], first[row + 1]):
                column = columns[k]
                if done[column]:
                    continue
                new = so_far + costs[k] - row_price[row] - column_price[column]
                if new < distance[column] and new < giving_up_costs:
                    if distance[column] == np.inf:
                        seen[n_seen] = column
                        n_seen += 1
                    distance[column] = new
                    came_from[column] = row
                    size = _push(heap_keys, heap_nodes, size, new, column)
            nearest = -1
            while size > 0:
                key, column = heap_keys[0], heap_nodes[0]
                size = _pop(heap_keys, heap_nodes, size)
                if not done[column] and key <= distance[column]:
                    nearest = column
                    break
            if nearest < 0 or distance[nearest] >= giving_up_costs:
                so_far = giving_up_costs
                break
            so_far = distance[nearest]
            done[nearest] = True
            if row_of[nearest] < 0:
                end = nearest
                break
            row = row_of[nearest]

        row_price[start] += so_far
        for k in range(1, n_passed):
            row_price[passed[k]] += so_far - distance[column_of[passed[k]]]
        for k in range(n_seen):
            column = seen[k]
            if done[column]:
                column_price[column] -= so_far - distance[column]
                done[column] = False
            distance[column] = np.inf

        if end < 0:
            row = given_up
            end = column_of[row]  # its column goes to the row before it on the path
            column_of[row] = -1
            if row == start:
                continue
        while True:
            row = came_from[end]
            row_of[end] = row
            before = column_of[row]
            column_of[row] = end
            if row == start:
                break
            end = before
    return column_of


@njit(nogil=True, cache=True)
def assign_links(rows: Any, columns: Any, costs: Any, n_rows: int, n_columns: int, no_link_cost: float) -> Any:
    """Put links in order by row and choose; return pairs, or None where an index or a cost cannot be."""
    first = np.zeros(n_rows + 2, np.int64)
    for k in range(rows.size):
        row, column = rows[k], columns[k]
        if row < 0 or row >= n_rows or column < 0 or column >= n_columns or not np.isfinite(costs[k]):
            return None
        first[row + 2] += 1
    for row in range(n_rows):
        first[row + 2] += first[row + 1]
    # counting sort: `first[row + 1]` runs from where a row begins to where it ends
    by_row, of_row = np.empty(rows.size, np.int32), np.empty(rows.size, np.float64)
    for k in range(rows.size):
        at = first[rows[k] + 1]
        by_row[at], of_row[at] = columns[k], costs[k]
        first[rows[k] + 1] += 1
    column_of = assign_rows(first[: n_rows + 1], by_row, of_row, n_columns, no_link_cost)
    n = 0
    for row in range(n_rows):
        n += column_of[row] >= 0
    pairs = np.empty((n, 2), np.int32)
    n = 0
    for row in range(n_rows):
        if column_of[row] >= 0:
            pairs[n, 0], pairs[n, 1] = row, column_of[row]
            n += 1
    return pairs


@njit(nogil=True, cache=True)
def merge_into(roots: Any, pairs: Any) -> None:
    """Let each element point to the smallest of those it is joined to."""
    for k in range(pairs.shape[0]):
        a, b = pairs[k, 0], pairs[k, 1]
        while roots[a] != a:
            roots[a] = roots[roots[a]]
            a = roots[a]
        while roots[b] != b:
            roots[b] = roots[roots[b]]
            b = roots[b]
        if a < b:
            roots[b] = a
        elif b < a:
            roots[a] = b
    for k in range(roots.size):  # a root lies before what points to it
        roots[k] = roots[roots[k]]
