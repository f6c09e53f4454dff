"""Sparse assignment is exact; sets grow together; overlaps are what a dense table says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from parfocal.errors import BadInputError
from parfocal.linking import assign, compact, merge_pairs, overlaps


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_no_other_choice_of_links_costs_less(seed, whole_numbers):
    rng = np.random.default_rng(seed)
    n_rows, n_cols = (int(n) for n in rng.integers(1, 12, 2))
    cells = rng.permutation(n_rows * n_cols)[: rng.integers(0, n_rows * n_cols + 1)]
    rows, cols = cells // n_cols, cells % n_cols
    cost = rng.integers(-2, 5, cells.size).astype(float) if whole_numbers else rng.normal(2, 3, cells.size)
    no_link = float(rng.uniform(0, 6))
    pairs = assign(rows, cols, cost, n_rows, n_cols, no_link)

    dense = np.full((n_rows, n_cols + n_rows), 1e6)
    dense[rows, cols] = cost
    dense[np.arange(n_rows), n_cols + np.arange(n_rows)] = no_link
    expected = dense[linear_sum_assignment(dense)].sum()
    assert len(set(pairs[:, 0].tolist())) == len(pairs) == len(set(pairs[:, 1].tolist()))
    assert dense[pairs[:, 0], pairs[:, 1]].sum() + no_link * (n_rows - len(pairs)) == pytest.approx(expected)


def test_an_infinite_cost_of_no_link_links_as_many_as_can_be():
    pairs = assign([0, 0, 1], [0, 1, 0], [1.0, 50.0, 1.0], 2, 2, np.inf)
    assert pairs.tolist() == [[0, 1], [1, 0]]


def test_no_links_offered_are_no_links():
    assert assign([], [], [], 3, 2, 1.0).shape == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0], [2], [1.0], 1, 2, 1.0), "outside"),
        (([0], [0, 1], [1.0], 1, 2, 1.0), "as many"),
        (([0], [0], [np.inf], 1, 1, 1.0), "finite"),
    ],
)
def test_links_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(BadInputError, match=said):
        assign(*arguments)


def test_each_element_names_the_smallest_of_its_set():
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, 2000, (1500, 2))
    roots = merge_pairs(2000, pairs)
    assert np.array_equal(roots[pairs[:, 0]], roots[pairs[:, 1]])
    assert np.array_equal(roots[roots], roots)
    assert np.all(roots <= np.arange(2000))
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(1500), pairs.T), (2000, 2000))
    assert np.unique(roots).size == connected_components(graph, directed=False)[0]
    with pytest.raises(BadInputError, match="elements 0 to 2"):
        merge_pairs(3, [(0, 3)])


@pytest.mark.parametrize("scale", [1, 1_000_003])
def test_overlaps_are_what_a_dense_table_says(scale):
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 6, (2, 5, 12, 9)) * scale
    found = overlaps(a, b)
    assert found.ids_a.tolist() == [i * scale for i in range(1, 6)]
    for i, j, n, iou, contained in zip(
        found.ids_a[found.index_a], found.ids_b[found.index_b], found.shared, found.iou, found.containment
    ):
        both = np.count_nonzero((a == i) & (b == j))
        areas = np.count_nonzero(a == i), np.count_nonzero(b == j)
        assert n == both
        assert iou == pytest.approx(both / (sum(areas) - both))
        assert contained == pytest.approx(both / min(areas))
    assert found.shared.sum() == np.count_nonzero((a > 0) & (b > 0))
    assert found.area_b.tolist() == [np.count_nonzero(b == j) for j in found.ids_b]


def test_a_table_grows_with_what_is_in_it():
    a = np.arange(1, 40_001).reshape(200, 200)
    found = overlaps(a, a.T)
    assert found.shared.size == 40_000
    assert np.array_equal(found.ids_b[found.index_b], a.T.ravel())


def test_ids_that_do_not_occur_are_not_named():
    found = overlaps(np.array([0, 9, 9]), np.array([4, 4, 0]))
    assert (found.ids_a.tolist(), found.ids_b.tolist()) == ([9], [4])
    assert (found.index_a.tolist(), found.index_b.tolist(), found.shared.tolist()) == ([0], [0], [1])


def test_labels_that_are_none_are_refused():
    with pytest.raises(BadInputError, match="whole numbers"):
        compact(np.zeros((2, 2)))
    with pytest.raises(BadInputError, match="-1 is among"):
        compact(np.array([-1, 2]))
    with pytest.raises(BadInputError, match="one shape"):
        overlaps(np.zeros((2, 2), int), np.zeros((2, 3), int))
