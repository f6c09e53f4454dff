"""Ranking: right where others are, and no surer than the numbers allow."""

import numpy as np
import pytest
from scipy.stats import kendalltau, mannwhitneyu, norm

from parfocal.errors import BadInputError
from parfocal.slices.references import auc_interval, rank_metrics

TEN = ["bad"] * 4 + ["okay"] * 3 + ["great"] * 3
LEVELS = np.repeat([0, 1, 2], [4, 3, 3])


def labels(n_bad, n_great):
    return ["bad"] * n_bad + ["great"] * n_great


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_tau_are_those_of_scipy(ties):
    rng = np.random.default_rng(3)
    values = rng.normal(size=10) + 0.7 * LEVELS
    values = np.round(values) if ties else values
    metric = rank_metrics({"m": values}, TEN).of("m")
    bad, great = values[LEVELS == 0], values[LEVELS == 2]
    assert metric.auc == pytest.approx(mannwhitneyu(great, bad).statistic / 12)
    assert metric.kendall_tau == pytest.approx(kendalltau(values, LEVELS).statistic)
    if not ties:
        assert metric.p_value == pytest.approx(
            mannwhitneyu(great, bad, alternative="greater", method="exact").pvalue
        )


def test_metrics_that_should_fall_are_turned_round():
    share_of_bad_pairs = [0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.05, 0.0, 0.0, 0.01]
    metric = rank_metrics({"m": share_of_bad_pairs}, TEN, {"m": False}).of("m")
    assert metric.auc == 1.0
    assert 0.01 < metric.threshold < 0.2
    assert metric.threshold_interval[0] <= metric.threshold <= metric.threshold_interval[1]
    assert metric.kept == (0, 3, 3)
    assert metric.keeps([0.0, 0.3, np.nan]).tolist() == [True, False, False]
    assert rank_metrics({"m": share_of_bad_pairs}, TEN).of("m").auc == 0.0


def test_a_perfect_split_of_ten_is_not_called_certain():
    values = {"sharp": np.arange(10.0), "noise": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]}
    ranking = rank_metrics(values, TEN)
    best = ranking.of("sharp")
    assert best.auc == 1.0
    assert best.auc_interval[0] < 0.65  # the bootstrap alone says 1
    assert best.p_value == pytest.approx(1 / 35)
    assert ranking.winner == ""
    assert ranking.tied == ("sharp", "noise")
    assert "no winner" in ranking.why
    assert "4 bad and 3 great" in ranking.why


def test_a_winner_is_named_where_its_interval_lies_above_all_others():
    rng = np.random.default_rng(5)
    truth = np.repeat([0.0, 4.0], 40)
    values = {"good": truth + rng.normal(size=80), "blind": rng.normal(size=80), "worse": rng.normal(size=80)}
    ranking = rank_metrics(values, labels(40, 40))
    assert ranking.winner == "good"
    assert ranking.metrics[0].name == "good"
    assert ranking.tied == ()
    twins = rank_metrics(values | {"twin": values["good"] + 0.1}, labels(40, 40))
    assert twins.winner == ""
    assert set(twins.tied) == {"good", "twin"}


def test_chance_does_not_win_alone():
    rng = np.random.default_rng(8)
    ranking = rank_metrics({"blind": rng.normal(size=20)}, labels(10, 10))
    assert ranking.winner == ""
    assert "chance" in ranking.why


@pytest.mark.parametrize("shift", [0.0, 2.5])
def test_the_interval_of_the_auc_covers_the_truth(shift):
    truth = norm.cdf(shift / np.sqrt(2))
    rng = np.random.default_rng(11)
    covered = 0
    for k in range(80):
        values = np.concatenate([rng.normal(size=8), rng.normal(size=8) + shift])
        low, high = rank_metrics({"m": values}, labels(8, 8), n_bootstrap=100, seed=k).of("m").auc_interval
        covered += low <= truth <= high
    assert covered >= 72  # 95 % of 80 is 76, less 2 standard errors


def test_newcombes_interval_is_symmetric_and_narrows_with_numbers():
    low, high = auc_interval(0.5, 10, 10)
    assert low == pytest.approx(1 - high)
    assert auc_interval(1.0, 100, 100)[0] > auc_interval(1.0, 5, 5)[0]
    assert auc_interval(1.0, 5, 5)[1] == 1.0
    assert auc_interval(0.0, 5, 5)[0] == 0.0


def test_the_threshold_lies_in_the_middle_of_the_gap():
    metric = rank_metrics({"m": [1, 2, 3, 4, 5, 6, 7, 10, 11, 12]}, TEN).of("m")
    assert metric.threshold == 7.0
    assert metric.kept == (0, 1, 3)
    overlapping = rank_metrics({"m": [1.0, 2, 3, 9, 8, 10, 11]}, labels(4, 3)).of("m")
    assert overlapping.threshold == 5.5  # the widest of those that get six of seven right


def test_leaving_one_out_finds_what_hangs_on_one_reference():
    sturdy = rank_metrics({"m": [0.0, 0.1, 0.2, 9.8, 9.9, 10.0]}, labels(3, 3)).of("m")
    assert (sturdy.loo_correct, sturdy.loo_n) == (6, 6)
    # the lowest great one is right only as long as it sets the threshold itself
    fragile = rank_metrics({"m": [0.0, 1.0, 1.4, 3.0, 9.0, 10.0]}, labels(3, 3)).of("m")
    assert fragile.auc == 1.0
    assert fragile.loo_correct == 5


def test_the_same_seed_gives_the_same_intervals():
    values = {"m": np.random.default_rng(0).normal(size=10) + LEVELS}
    assert rank_metrics(values, TEN, seed=4) == rank_metrics(values, TEN, seed=4)


def test_references_without_a_number_are_counted_out():
    nan = float("nan")
    ranking = rank_metrics(
        {"pairs": [nan] * 3 + [1, 2, 3, 4, 5, 6, 7], "some": [nan, 1, 2, 3, nan, 4, 5, 6, 7, nan]}, TEN
    )
    assert ranking.of("some").n == (3, 2, 2)
    assert list(ranking.left_out) == ["pairs"]
    with pytest.raises(BadInputError, match="not applicable: a number for 1 bad and 3 great only"):
        ranking.of("pairs")


def test_a_constant_metric_tells_nothing():
    metric = rank_metrics({"m": np.ones(10)}, TEN).of("m")
    assert metric.auc == 0.5
    assert np.isnan(metric.kendall_tau)


@pytest.mark.parametrize(
    ("values", "categories", "said"),
    [
        ([1, 2], ["bad", "great"], "1 bad and 1 great references, expected at least two of each"),
        ([1, 2, 3, 4], ["bad", "bad", "great", "good"], "category 'good'"),
        ([1, 2, 3], labels(2, 2), "3 values of m for 4 references"),
    ],
)
def test_what_cannot_be_ranked_is_said(values, categories, said):
    with pytest.raises(BadInputError, match=said):
        rank_metrics({"m": values}, categories)


def test_of_equal_aucs_the_one_that_also_puts_okay_between_is_first():
    # All three tell bad from great; "off" puts okay below bad.
    flat = np.repeat([2.0, 3.0, 3.0], [4, 3, 3])
    off = np.repeat([2.0, 1.0, 3.0], [4, 3, 3])
    assert [m.name for m in rank_metrics({"off": off, "right": LEVELS + 0.0, "flat": flat}, TEN).metrics] == [
        "right",
        "flat",
        "off",
    ]


def test_a_tau_that_points_the_wrong_way_or_is_not_defined_is_no_merit():
    rng = np.random.default_rng(0)
    half = np.array([1.0, 2.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.5])
    ranking = rank_metrics({"constant": np.ones(10), "half": half, "noise": rng.normal(size=10)}, TEN)
    assert ranking.of("half").auc == ranking.of("constant").auc == 0.5
    assert ranking.of("half").kendall_tau < 0
    names = [m.name for m in ranking.metrics]
    assert names.index("constant") < names.index("half")
