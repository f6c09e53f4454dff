"""Points are followed over frames, gaps, splits and merges."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.linking import link_points


def walkers(n_frames=60, n=80, side=400.0, step=1.5, missing=0.05, seed=0):
    """Points that diffuse, shuffled and sometimes missing: frames of points, and who each is."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, side, (n, 2))
    frames, names = [], []
    for _ in range(n_frames):
        seen = rng.permutation(np.flatnonzero(rng.random(n) >= missing))
        frames.append(at[seen])
        names.append(seen)
        at = at + rng.normal(0, step, at.shape)
    return frames, names


def true_links(names, max_gap):
    frame = np.repeat(np.arange(len(names)), [len(one) for one in names])
    last, links = {}, set()
    for k, name in enumerate(np.concatenate(names).tolist()):
        if name in last and frame[k] - frame[last[name]] <= max_gap:
            links.add((last[name], k))
        last[name] = k
    return links


def test_diffusing_points_keep_their_names_over_gaps():
    frames, names = walkers()
    tracks = link_points(frames, max_distance=7.0, max_missing_frames=2)
    truth, found = true_links(names, 3), set(map(tuple, tracks.links.tolist()))
    assert len(truth & found) >= 0.995 * len(truth)
    assert len(truth & found) >= 0.995 * len(found)


def test_a_point_missing_longer_than_allowed_is_another():
    frames = [[[0.0, 0.0]], [], [], [[0.1, 0.0]]]
    assert link_points(frames, 2.0, 1).n_tracks == 2
    assert link_points(frames, 2.0, 2).n_tracks == 1


def test_crossing_points_are_told_apart_by_the_sum_not_by_the_nearest():
    # greedy takes the pair 1 apart and leaves one of 3; the sum of squares is least for 2 and 2
    tracks = link_points([[[0.0], [2.0]], [[2.0 - 1.0 + 0.9], [4.0]]], 5.0)
    assert tracks.of_frame(1).tolist() == [0, 1]


def test_tracks_are_numbered_by_their_first_point():
    tracks = link_points([[[5.0]], [[5.0], [50.0]], [[50.0]]], 1.0)
    assert tracks.track.tolist() == [0, 0, 1, 1]
    assert (tracks.frame.tolist(), tracks.index.tolist()) == ([0, 1, 1, 2], [0, 0, 1, 0])


def line(start, step, n):
    return [[start[0] + step[0] * t, start[1] + step[1] * t] for t in range(n)]


def test_one_point_that_becomes_two_has_two_daughters():
    left, right = line((0, 0), (-1, 0), 6), line((0, 0), (1, 0), 6)
    frames = [[[0.0, 0.0]]] * 5 + [[a, b] for a, b in zip(left[1:], right[1:])]
    tracks = link_points(frames, 2.0, max_split_distance=3.0)
    assert tracks.n_tracks == 3
    assert tracks.parents.tolist() == [[0, 1], [0, 2]]
    assert tracks.of_frame(7).tolist() == [1, 2]


def test_two_points_that_become_one_merge():
    left, right = line((-5, 0), (1, 0), 5), line((5, 0), (-1, 0), 5)
    frames = [[a, b] for a, b in zip(left, right)] + [[[0.0, 0.0]]] * 5
    tracks = link_points(frames, 2.0, max_merge_distance=3.0)
    assert tracks.n_tracks == 3
    assert tracks.parents.tolist() == [[0, 2], [1, 2]]


def test_a_spot_of_one_frame_is_no_daughter():
    frames = [[[0.0]]] * 4 + [[[0.0], [1.5]]] + [[[0.0]]] * 4
    assert link_points(frames, 1.0, max_split_distance=3.0).parents.tolist() == []


def test_sizes_tell_two_points_apart_that_distance_does_not():
    frames, sizes = [[[0.0], [2.0]], [[1.0], [3.0]]], [[1.0, 9.0], [9.0, 1.0]]
    assert link_points(frames, 4.0).of_frame(1).tolist() == [0, 1]
    assert link_points(frames, 4.0, sizes=sizes, size_weight=1.0).of_frame(1).tolist() == [1, 0]


def test_nothing_to_link_is_no_track():
    assert link_points([], 1.0).n_tracks == 0
    assert link_points([[], []], 1.0, 2, max_split_distance=1.0).n_tracks == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([[[0.0]], [[0.0, 1.0]]], 1.0), "expected"),
        (([[[np.nan]]], 1.0), "not finite"),
        (([[[0.0]]], 0.0), "max_distance"),
        (([[[0.0]]], 1.0, -1), "max_missing_frames"),
    ],
)
def test_points_that_cannot_be_linked_are_refused(arguments, said):
    with pytest.raises(BadInputError, match=said):
        link_points(*arguments)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(BadInputError, match="sizes do not fit"):
        link_points([[[0.0]]], 1.0, sizes=[[1.0, 2.0]])


def test_a_neighbour_that_stepped_in_for_a_missing_point_is_found_out_by_its_own_steps():
    rng = np.random.default_rng(0)
    one, new = (rng.normal((x, 0), 0.3, (40, 2)) for x in (0.0, 4.0))
    # the new one appears in the very frame in which the first is missing
    frames = (
        [one[t : t + 1] for t in range(20)] + [new[20:21]] + [np.stack([one[t], new[t]]) for t in range(21, 40)]
    )
    plain, own = link_points(frames, 6.0, 2), link_points(frames, 6.0, 2, own_steps=True)
    assert plain.of_frame(30).tolist() == [1, 0]
    assert own.of_frame(30).tolist() == [0, 1]
    assert own.of_frame(20).tolist() == [1]


def test_a_split_whose_parts_do_not_add_up_is_none():
    frames = [np.array([[0.0, 0.0]])] * 5 + [np.array([[-0.5, 0.0], [0.5, 0.0]])] * 5
    for parts, n_parents in (([50.0, 55.0], 2), ([100.0, 100.0], 0)):
        sizes = [np.array([100.0])] * 5 + [np.array(parts)] * 5
        found = link_points(frames, 2.0, max_split_distance=2.0, sizes=sizes, max_size_change=0.2)
        assert len(found.parents) == n_parents
    with pytest.raises(BadInputError, match="sizes"):
        link_points(frames, 2.0, max_size_change=0.2)
