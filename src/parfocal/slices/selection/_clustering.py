"""Groups of frames in a correlation matrix: cliques, blocks, dense regions, k-means."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.sparse.csgraph import connected_components

_MOST_STEPS = 200_000


def largest_clique(linked: NDArray[np.bool_], weight: NDArray[np.float64]) -> tuple[list[int], bool]:
    """Return the largest set of nodes that are all linked, and whether the search went to its end.

    Bron and Kerbosch's search with a pivot [1]_, branches that cannot grow larger than the best left out; of
    equally large cliques the one of larger summed weight. Sets of nodes are bits of an integer.

    References
    ----------
    .. [1] C. Bron, J. Kerbosch, "Algorithm 457: finding all cliques of an undirected graph", Commun. ACM 16, 575
       (1973).
    """
    n = linked.shape[0]
    neighbours = [sum(1 << int(j) for j in np.flatnonzero(linked[i]) if j != i) for i in range(n)]
    best: list[int] = []
    best_weight = -np.inf
    steps = 0
    # Each entry: the clique so far, what may still join, what was looked at before.
    waiting: list[tuple[tuple[int, ...], int, int]] = [((), (1 << n) - 1, 0)]
    while waiting:
        steps += 1
        if steps > _MOST_STEPS:
            return sorted(best), False
        clique, may_join, done = waiting.pop()
        if not may_join and not done:
            summed = float(weight[list(clique)].sum())
            if (len(clique), summed) > (len(best), best_weight):
                best, best_weight = list(clique), summed
            continue
        if len(clique) + may_join.bit_count() < len(best):
            continue
        pivot = max(_bits(may_join | done), key=lambda node: (may_join & neighbours[node]).bit_count())
        for node in _bits(may_join & ~neighbours[pivot]):
            waiting.append(((*clique, node), may_join & neighbours[node], done & neighbours[node]))
            may_join &= ~(1 << node)
            done |= 1 << node
    return sorted(best), True


def _bits(mask: int) -> list[int]:
    found: list[int] = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def largest_block(linked: NDArray[np.bool_], weight: NDArray[np.float64]) -> list[int]:
    """Return the longest run of consecutive nodes that are all linked; of equally long ones the heavier.

    Two pointers: the first node of the run that ends at j is never before that of the run ending at j - 1.
    """
    best: tuple[int, float, list[int]] = (0, -np.inf, [])
    first = 0
    for last in range(linked.shape[0]):
        apart = np.flatnonzero(~linked[last, first:last])
        if apart.size:
            first += int(apart[-1]) + 1
        run = list(range(first, last + 1))
        best = max(best, (len(run), float(weight[run].sum()), run), key=lambda found: found[:2])
    return best[2]


def dbscan(distance: NDArray[np.float64], eps: float, min_samples: int) -> NDArray[np.int64]:
    """Return the cluster of each node, -1 for noise, from a matrix of distances (DBSCAN [1]_).

    Core nodes have `min_samples` nodes within `eps`, themselves included; cores within `eps` of each other are one
    cluster; a node that is no core joins that of its nearest core within `eps`.

    References
    ----------
    .. [1] M. Ester, H.-P. Kriegel, J. Sander, X. Xu, "A density-based algorithm for discovering clusters in large
       spatial databases with noise", Proc. KDD 226 (1996).
    """
    close = distance <= eps
    core = close.sum(axis=1) >= min_samples
    labels = np.full(distance.shape[0], -1, np.int64)
    if not core.any():
        return labels
    _, of_core = connected_components(close[np.ix_(core, core)], directed=False)
    labels[core] = of_core
    cores = np.flatnonzero(core)
    for node in np.flatnonzero(~core).tolist():
        nearest = int(cores[np.argmin(distance[node, cores])])
        if close[node, nearest]:
            labels[node] = labels[nearest]
    return labels


def k_means(points: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the cluster of each row; starts are the row nearest the mean, then the farthest from all so far.

    The start is the same each time, so the answer is.
    """
    chosen = [int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    while len(chosen) < k:
        away = np.min(np.linalg.norm(points[:, np.newaxis] - points[chosen], axis=2), axis=1)
        chosen.append(int(np.argmax(away)))
    with warnings.catch_warnings():
        # scipy warns where a cluster ran empty: fewer clusters are an answer, too
        warnings.simplefilter("ignore", UserWarning)
        _, labels = kmeans2(points, points[chosen], iter=100, minit="matrix")
    return np.asarray(labels, np.int64)


def silhouette(distance: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean silhouette [1]_ of a partition, -1 to 1; a cluster of one counts 0; 0 for a single cluster.

    References
    ----------
    .. [1] P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster
       analysis", J. Comput. Appl. Math. 20, 53 (1987).
    """
    names = np.unique(labels)
    if names.size < 2:
        return 0.0
    values = np.zeros(labels.size)
    for i, label in enumerate(labels.tolist()):
        own = labels == label
        if own.sum() == 1:
            continue
        inside = float(distance[i, own].sum()) / (int(own.sum()) - 1)
        outside = min(float(distance[i, labels == other].mean()) for other in names if other != label)
        if max(inside, outside) > 0:
            values[i] = (outside - inside) / max(inside, outside)
    return float(values.mean())
