"""Each rule keeps what it says, says why not the rest, and is never empty without a word of it."""

import itertools

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.slices.selection import (
    RULES,
    StackEvidence,
    dbscan_segments,
    kmeans_segments,
    rule_parameters,
    select,
)
from parfocal.slices.selection._clustering import dbscan, largest_block, largest_clique

N = 21
FOCUS = 100 * np.exp(-0.5 * ((np.arange(N) - 10.3) / 4) ** 2)


def evidence(sharpness=FOCUS, matrix=None, z_um=None, **facts):
    """Evidence of frames that fit each other the less the farther apart they are, or as `matrix` says."""
    sharpness = np.asarray(sharpness, float)
    n = sharpness.size
    if matrix is None:
        matrix = 0.995 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return StackEvidence(
        sharpness=sharpness,
        score_name="tenengrad",
        adjacent=np.diagonal(matrix, 1).astype(float),
        skip=np.diagonal(matrix, 2).astype(float),
        z_um=np.arange(n, dtype=float) if z_um is None else np.asarray(z_um, float),
        matrix=np.asarray(matrix, np.float32),
        facts=facts,
    )


def moved(n, frames, to=0.4):
    """Return a matrix in which `frames` moved: they fit nothing but themselves."""
    matrix = 0.995 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    for i in frames:
        matrix[i, :] = matrix[:, i] = to
    np.fill_diagonal(matrix, 1)
    return matrix


def blocks(*sizes, across=0.6):
    n = sum(sizes)
    matrix = np.full((n, n), across)
    start = 0
    for size in sizes:
        matrix[start : start + size, start : start + size] = 0.99
        start += size
    np.fill_diagonal(matrix, 1)
    return matrix


# -- what holds for all rules ------------------------------------------------------------------------------

DEGENERATE = {
    "one frame": [3.0],
    "two frames": [1.0, 2.0],
    "all equal": [5.0] * 8,
    "nothing above noise": [-1.0, -2.0, -0.5, -3.0],
    "not scored": [np.nan] * 5,
    "one not scored": [1.0, 2.0, np.nan, 2.0, 1.0, 0.5],
    "a spike": [1.0] * 9 + [1e9] + [1.0] * 9,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scores", DEGENERATE.values(), ids=DEGENERATE.keys())
@pytest.mark.parametrize("fit", [0.99, 0.1, np.nan], ids=["steady", "shaken", "flat"])
def test_no_rule_is_silent_about_an_empty_answer(rule, scores, fit):
    n = len(scores)
    matrix = np.full((n, n), fit)
    np.fill_diagonal(matrix, 1)
    found = select(evidence(scores, matrix, template_ncc=np.full(n, fit)), rule)
    assert found.rule == rule
    assert found.keep.shape == (n,)
    assert len(found.reasons) == n
    assert all(bool(reason) != kept for reason, kept in zip(found.reasons, found.keep))
    if not found.keep.any():
        assert any(note.startswith("nothing survived") for note in found.notes)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_what_it_was_told(rule):
    given = evidence(template_ncc=np.full(N, 0.99))
    assert select(given, rule).parameters == rule_parameters(rule)


def test_an_unknown_rule_or_parameter_is_named():
    with pytest.raises(BadInputError, match="'sharpest' is unknown; expected one of peak_relative"):
        select(evidence(), "sharpest")
    with pytest.raises(BadInputError, match=r"peak_relative: no parameter 'beta'; it has alpha"):
        select(evidence(), "peak_relative", beta=1)


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("peak_relative", {"alpha": 0}),
        ("peak_relative", {"peak": "mean"}),
        ("mad_sharpness", {"k": 0}),
        ("otsu", {"min_share": 1.5}),
        ("motion", {"limit": "sd"}),
        ("motion", {"blame": "none"}),
        ("hybrid", {"sharp": "otsu"}),
        ("anchor", {"tau": 1.5}),
        ("centre_of_mass_anchor", {"top_k": 0}),
        ("chained_anchor", {"top_k": 0}),
        ("dbscan", {"min_samples": 0}),
        ("dbscan", {"rank": -1}),
        ("kmeans", {"k": 0}),
        ("curve_residuals", {"model": "spline"}),
        ("sharpness_or_residual", {"sharp": "x"}),
        ("morphseq_ncc", {"min_ncc": 2}),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_line(rule, wrong):
    with pytest.raises(BadInputError) as refused:
        select(evidence(template_ncc=np.ones(N)), rule, **wrong)
    assert "\n" not in str(refused.value)
    assert "expected" in str(refused.value)


def test_a_rule_that_needs_the_matrix_says_how_to_get_it():
    without = StackEvidence(FOCUS, "x", np.ones(N - 1), np.ones(N - 2), np.arange(N, dtype=float))
    for rule in ("anchor", "clique", "dbscan", "kmeans", "block", "chained_anchor", "centre_of_mass_anchor"):
        with pytest.raises(BadInputError, match="matrix=True"):
            select(without, rule)
    with pytest.raises(BadInputError, match="template="):
        select(without, "golden_template")


# -- sharpness ---------------------------------------------------------------------------------------------


def test_peak_relative_keeps_what_is_70_percent_of_the_peak_between_frames():
    found = select(evidence(), "peak_relative")
    assert found.frames == tuple(np.flatnonzero(FOCUS >= 70))
    assert found.threshold == pytest.approx(70.0, rel=0.01)  # the curve's top, 100, lies between two frames
    assert "blurred: tenengrad" in found.reasons[0]


def test_one_frame_high_by_chance_does_not_set_the_threshold_alone():
    scores = FOCUS.copy()
    scores[10] *= 1.3
    by_vertex = select(evidence(scores), "peak_relative")
    by_max = select(evidence(scores), "peak_relative", peak="max")
    assert by_vertex.keep.sum() > by_max.keep.sum()


def test_frames_in_any_order_of_z_are_judged_alike():
    order = np.random.default_rng(1).permutation(N)
    shuffled = evidence(FOCUS[order], z_um=np.arange(N)[order])
    for rule in ("peak_relative", "curve_residuals", "otsu"):
        straight = select(evidence(), rule)
        assert np.array_equal(select(shuffled, rule).keep, straight.keep[order])
        assert select(shuffled, rule).threshold == pytest.approx(straight.threshold, nan_ok=True)


def test_a_peak_at_the_edge_is_noted():
    rising = np.linspace(1, 50, N) ** 2
    for rule in ("peak_relative", "mad_sharpness", "curve_residuals", "sharpness_or_residual", "hybrid"):
        notes = select(evidence(rising), rule).notes
        assert sum(note.startswith("peak_at_edge") for note in notes) == 1, rule
    assert not any(note.startswith("peak_at_edge") for note in select(evidence(), "peak_relative").notes)


def test_only_frames_next_to_the_peak_where_asked():
    scores = np.array([1, 1, 9, 10, 9, 1, 9, 1, 1.0])
    assert select(evidence(scores), "peak_relative", alpha=0.6).frames == (2, 3, 4, 6)
    alone = select(evidence(scores), "peak_relative", alpha=0.6, contiguous=True)
    assert alone.frames == (2, 3, 4)
    assert "blurred frames lie between" in alone.reasons[6]


def test_mad_finds_the_few_blurred_among_many_sharp():
    scores = np.random.default_rng(2).normal(100, 2, 40)
    scores[[7, 30]] = 60
    found = select(evidence(scores), "mad_sharpness", k=3.0)
    assert set(np.flatnonzero(~found.keep)) == {7, 30}


def test_mad_of_scores_that_are_mostly_equal_is_not_zero():
    scores = np.r_[np.full(20, 50.0), 49.9, 10.0]
    found = select(evidence(scores), "mad_sharpness", k=2.0)
    assert set(np.flatnonzero(~found.keep)) == {21}


def test_otsu_is_the_split_of_largest_variance_between():
    rng = np.random.default_rng(3)
    scores = rng.permutation(np.r_[rng.normal(10, 2, 15), rng.normal(60, 3, 12)])
    found = select(evidence(scores), "otsu")
    ordered = np.sort(scores)
    between = [k * (27 - k) * (ordered[k:].mean() - ordered[:k].mean()) ** 2 for k in range(1, 27)]
    k = int(np.argmax(between)) + 1
    assert found.threshold == pytest.approx((ordered[k - 1] + ordered[k]) / 2)
    assert found.keep.sum() == 12


def test_otsu_refuses_what_is_not_bimodal_and_keeps_all():
    rng = np.random.default_rng(4)
    draws = [rng.normal(50, 8, 25) for _ in range(150)] + [rng.uniform(0, 100, 25) for _ in range(150)]
    said = [select(evidence(scores), "otsu") for scores in draws]
    refused = [any(n.startswith("not applicable") for n in one.notes) for one in said]
    assert np.mean(refused) >= 0.93  # 5 % of evenly scattered scores look bimodal by chance
    assert all(one.keep.all() for one, not_done in zip(said, refused) if not_done)


# -- motion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["floor", "mean_sd", "mad", "either", "both", "dip"])
def test_one_moved_frame_costs_that_frame_and_not_its_neighbours(limit):
    # mean - 3 SD reaches so far down with two bad pairs only where there are many good ones
    given = evidence(np.full(60, 9.0), moved(60, [25]))
    assert set(np.flatnonzero(~select(given, "motion", limit=limit).keep)) == {25}
    both = select(given, "motion", limit=limit, blame="both")
    assert set(np.flatnonzero(~both.keep)) == {24, 25, 26}


def test_one_moved_frame_is_blamed_without_the_matrix_too():
    matrix = moved(N, [8])
    given = evidence(matrix=matrix)
    without = StackEvidence(given.sharpness, "x", given.adjacent, given.skip, given.z_um)
    assert set(np.flatnonzero(~select(without, "motion").keep)) == {8}


@pytest.mark.parametrize("frames", [[0], [1], [19], [20], [5, 6], [4, 12], [0, 10, 20]])
def test_moved_frames_anywhere_are_the_only_ones_blamed(frames):
    found = select(evidence(matrix=moved(N, frames)), "motion", limit="floor")
    assert set(np.flatnonzero(~found.keep)) == set(frames)


@pytest.mark.parametrize("frame", range(N))
def test_a_dip_that_is_above_the_floor_is_found_at_every_place(frame):
    found = select(evidence(matrix=moved(N, [frame], to=0.88)), "motion")
    assert set(np.flatnonzero(~found.keep)) == {frame}


def test_correlation_that_falls_slowly_with_defocus_is_no_motion():
    z = np.arange(N) - 10.0
    adjacent = 1 - 0.003 * np.exp(np.abs(z[:-1] + 0.5) / 2.1)  # 0.997 in focus, 0.74 at the ends
    assert adjacent.min() < 0.75
    steps = np.r_[0, np.cumsum(-np.log(adjacent))]
    matrix = np.exp(-np.abs(np.subtract.outer(steps, steps)))
    assert select(evidence(matrix=matrix), "motion").keep.all()
    assert not select(evidence(matrix=matrix), "motion", limit="floor").keep.all()


def test_a_step_is_noted_and_blamed_on_both_sides():
    found = select(evidence(np.full(16, 5.0), blocks(8, 8)), "motion")
    assert set(np.flatnonzero(~found.keep)) == {7, 8}
    assert any(note.startswith("step:") for note in found.notes)


def test_a_flat_frame_is_a_bad_pair():
    matrix = moved(N, [6], to=np.nan)
    assert set(np.flatnonzero(~select(evidence(matrix=matrix), "motion").keep)) == {6}


def test_hybrid_falls_back_to_the_sharp_frames_and_says_so():
    scores = np.array([0.0, 0.0, 10.0, 0.0, 0.0])
    found = select(evidence(scores, moved(5, [2])), "hybrid")
    assert found.frames == (2,)
    assert any(note.startswith("fell back") for note in found.notes)


def test_hybrid_leaves_out_both_kinds():
    found = select(evidence(matrix=moved(N, [10])), "hybrid")
    sharp = set(np.flatnonzero(FOCUS >= 70))
    assert set(found.frames) == sharp - {10}
    assert found.reasons[10].startswith("moved")
    assert found.reasons[0].startswith("blurred")


# -- anchors -----------------------------------------------------------------------------------------------


def test_anchor_keeps_the_drifted_out():
    matrix = blocks(9, 12)  # before the sharpest frame, 10, the sample jumped
    found = select(evidence(matrix=matrix), "anchor")
    sharp = np.flatnonzero(FOCUS >= 70)
    assert found.frames == tuple(sharp[sharp >= 9])
    assert "does not fit the anchor, frame 10" in found.reasons[8]


def test_a_sharpest_frame_that_is_an_outlier_does_not_anchor_the_mean():
    scores = FOCUS.copy()
    scores[10] = 108.0
    matrix = moved(N, [10], to=0.93)
    mean = select(evidence(scores, matrix, centre_of_mass_5_ncc=np.where(np.arange(N) == 10, 0.9, 0.97)),
                  "centre_of_mass_anchor")  # fmt: skip
    alone = select(evidence(scores, matrix), "anchor")
    assert alone.frames == (10,)
    assert 10 not in mean.frames
    assert len(mean.frames) >= 4


def test_correlation_with_a_mean_follows_from_the_matrix():
    rng = np.random.default_rng(5)
    frames = rng.normal(size=(6, 500)) + rng.normal(size=500)
    rows = (frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)
    matrix = np.corrcoef(rows)
    from parfocal.slices.selection._anchor_rules import correlation_with_mean

    found = correlation_with_mean(matrix, [1, 3, 4])
    assert found[0] == pytest.approx(np.corrcoef(rows[0], rows[[1, 3, 4]].mean(0))[0, 1])
    assert found[3] == pytest.approx(np.corrcoef(rows[3], rows[[1, 4]].mean(0))[0, 1])


def test_chained_anchor_judges_motion_only_between_neighbours_of_the_stack():
    # frames 4 and 6 lie beside each other in the pool, not in the stack: 5, between them, is blurred
    scores = np.full(12, 10.0)
    scores[5] = 1.0
    matrix = 0.97 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    matrix[5, :] = matrix[:, 5] = 0.2
    np.fill_diagonal(matrix, 1)
    found = select(evidence(scores, matrix), "chained_anchor", tau=0.6, floor=0.96, limit="floor")
    assert set(found.frames) == set(range(12)) - {5}


def test_chained_anchor_goes_through_focus_motion_and_drift():
    matrix = moved(N, [9])
    matrix[13:, :13] *= 0.8
    matrix[:13, 13:] *= 0.8
    found = select(evidence(matrix=matrix), "chained_anchor")
    assert found.reasons[9].startswith("moved")
    assert found.reasons[3].startswith("blurred")
    assert "does not fit the anchor" in found.reasons[13] or found.reasons[13].startswith("moved")
    assert {8, 10, 11} <= set(found.frames)


def test_golden_template_keeps_what_fits_it():
    fits = np.where(np.arange(N) % 2 == 0, 0.97, 0.9)
    assert select(evidence(template_ncc=fits), "golden_template", alpha=None).frames == tuple(range(0, N, 2))
    with_focus = select(evidence(template_ncc=fits), "golden_template")
    assert set(with_focus.frames) == {i for i in np.flatnonzero(FOCUS >= 70) if i % 2 == 0}


# -- groups in the matrix ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_the_largest_clique_is_the_largest_there_is(seed):
    rng = np.random.default_rng(seed)
    n = 9
    linked = np.triu(rng.random((n, n)) < rng.uniform(0.3, 0.9), 1)
    linked |= linked.T | np.eye(n, dtype=bool)
    weight = rng.random(n)
    cliques = [
        c for r in range(1, n + 1) for c in itertools.combinations(range(n), r) if linked[np.ix_(c, c)].all()
    ]
    expected = max(cliques, key=lambda c: (len(c), weight[list(c)].sum()))
    assert largest_clique(linked, weight) == (list(expected), True)
    runs = [c for c in cliques if c[-1] - c[0] == len(c) - 1]
    assert largest_block(linked, weight) == list(max(runs, key=lambda c: (len(c), weight[list(c)].sum())))


def test_a_clique_search_among_200_frames_of_a_drifting_stack_ends():
    n = 200
    linked = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 30
    found, complete = largest_clique(linked, np.ones(n))
    assert complete
    assert len(found) == 31


def test_clique_and_block_find_the_steady_part():
    matrix = blocks(7, 8, 6)
    assert select(evidence(np.full(21, 5.0), matrix), "clique").frames == tuple(range(7, 15))
    matrix[10, :] = matrix[:, 10] = 0.3
    matrix[10, 10] = 1
    assert set(select(evidence(np.full(21, 5.0), matrix), "clique").frames) == set(range(7, 15)) - {10}
    assert select(evidence(np.full(21, 5.0), matrix), "block").frames == tuple(range(7))


def test_of_equally_large_groups_the_sharper_is_kept():
    scores = np.r_[np.full(5, 8.0), np.full(5, 9.0)]
    for rule in ("clique", "block", "dbscan", "kmeans"):
        assert select(evidence(scores, blocks(5, 5)), rule).frames == (5, 6, 7, 8, 9)


def test_dbscan_and_kmeans_name_all_segments_ranked():
    given = evidence(np.r_[np.full(4, 10.0), np.full(9, 8.0), np.full(6, 9.0)], blocks(4, 9, 6))
    for segments in (dbscan_segments(given), kmeans_segments(given)):
        assert [s.frames for s in segments] == [tuple(range(4, 13)), tuple(range(13, 19)), tuple(range(4))]
        assert segments[0].rank_by == pytest.approx(9 * 0.8)
        assert segments[0].least_correlation == pytest.approx(0.99)
    second = select(given, "dbscan", rank=1)
    assert second.frames == tuple(range(13, 19))
    assert second.reasons[0] == "in segment 2"
    assert sum(note.startswith("segment ") for note in second.notes) == 3
    assert not select(given, "dbscan", rank=7).keep.any()


def test_dbscan_agrees_with_its_definition():
    rng = np.random.default_rng(6)
    points = np.r_[rng.normal(0, 0.1, (12, 2)), rng.normal(3, 0.1, (9, 2)), [[1.5, 1.5]], [[0.0, 0.35]]]
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    labels = dbscan(distance, 0.3, 4)
    core = (distance <= 0.3).sum(1) >= 4
    for i in np.flatnonzero(core):
        near_cores = core & (distance[i] <= 0.3)
        assert (labels[near_cores] == labels[i]).all()
        assert (labels[distance[i] <= 0.3] >= 0).all()
    assert labels[21] == -1
    assert len(set(labels[labels >= 0])) == 2


def test_a_stack_of_one_group_is_not_cut_by_kmeans():
    assert len(kmeans_segments(evidence(np.full(12, 5.0), blocks(12)))) == 1


def test_dbscan_without_any_group_keeps_the_sharpest_frame_and_says_so():
    found = select(evidence(matrix=np.eye(N)), "dbscan")
    assert found.frames == (10,)
    assert any(note.startswith("fell back") for note in found.notes)


# -- curves and whole stacks -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["parabola", "gaussian"])
@pytest.mark.parametrize("frame", [7, 10, 13])
def test_a_frame_off_the_focus_curve_is_found_though_it_is_sharp_enough(model, frame):
    rng = np.random.default_rng(7)
    scores = FOCUS * rng.normal(1, 0.01, N) + 1
    scores[frame] *= 0.75
    found = select(evidence(scores), "curve_residuals", model=model)
    assert set(np.flatnonzero(~found.keep)) == {frame}
    both = select(evidence(scores), "sharpness_or_residual", model=model, alpha=0.3)
    assert not both.keep[frame]
    assert both.keep[[9, 11]].all()


@pytest.mark.parametrize("model", ["parabola", "gaussian"])
def test_clean_curves_lose_nothing(model):
    rng = np.random.default_rng(8)
    lost = [
        (~select(evidence(FOCUS * rng.normal(1, 0.01, N) + 1), "curve_residuals", model=model).keep).sum()
        for _ in range(20)
    ]
    assert np.mean(lost) < 0.4


def test_five_frames_make_no_curve():
    found = select(evidence([1.0, 5, 9, 5, 1]), "curve_residuals")
    assert found.keep.all()
    assert found.notes[0].startswith("not applicable")


def test_a_vertex_outside_the_sampled_range_is_noted():
    z = np.arange(12.0)
    scores = 100 * np.exp(-0.5 * ((z - 14) / 6) ** 2)
    notes = select(evidence(scores), "curve_residuals", model="gaussian").notes
    assert any(note.startswith("peak_at_edge: the curve's vertex") for note in notes)


def test_the_ncc_rule_gives_its_verdict_on_the_stack():
    def verdict(adjacent, **facts):
        n = len(adjacent) + 1
        given = StackEvidence(
            np.ones(n), "x", np.asarray(adjacent, float), np.ones(n - 2), np.arange(n) * 1.0, None, facts
        )
        return select(given, "morphseq_ncc")

    assert verdict([0.97] * 14).notes[0].startswith("verdict PASS")
    warned = verdict([0.97] * 13 + [0.89])
    assert warned.notes[0].startswith("verdict WARN")
    assert set(np.flatnonzero(~warned.keep)) == {13, 14}
    for failing in ([0.97] * 13 + [0.84], [0.97] * 12 + [0.89, 0.89], [0.97] * 12 + [np.nan, np.nan]):
        failed = verdict(failing)
        assert failed.notes[0].startswith("verdict FAIL")
        assert not failed.keep.any()
    blurred = verdict([0.97] * 14, relative_entropy=np.full(15, -0.6))
    assert "relative entropy -0.60" in blurred.notes[0]
