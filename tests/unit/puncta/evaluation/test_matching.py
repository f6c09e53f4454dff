import math
from itertools import permutations

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations, no_localizations
from parfocal.puncta.evaluation import efficiency, match_localizations

PIXEL_UM = (0.1, 0.1)


def spots(frame, x_px, y_px, photons=None, **columns):
    n = len(frame)
    photons = np.full(n, 1000.0) if photons is None else np.asarray(photons, float)
    return Localizations(
        PIXEL_UM, np.asarray(frame, np.int64), np.asarray(x_px, float), np.asarray(y_px, float), photons, **columns
    )


def test_what_is_there_missed_and_false_is_counted_within_its_own_frame():
    truth = spots([0, 0, 1], [10, 20, 10], [10, 20, 10])
    found = spots([0, 1, 1], [10.1, 30.0, 20.0], [10.0, 30.0, 20.0])
    got = match_localizations(truth, found)
    assert (got.n_matched, got.n_missed, got.n_false) == (1, 2, 2)
    assert got.truth_row.tolist() == [0]
    assert got.missed_row.tolist() == [1, 2]
    assert got.false_row.tolist() == [1, 2]
    assert got.precision == pytest.approx(1 / 3)
    assert got.recall == pytest.approx(1 / 3)
    assert got.jaccard == pytest.approx(1 / 5)
    assert got.rmse_nm == pytest.approx(10.0)
    assert got.efficiency == pytest.approx(100 - math.hypot(80, 10))


def test_a_spot_between_two_true_ones_costs_no_pair():
    # greedy takes 0 with 11.9 and leaves 12 alone: 13.9 is too far
    truth = spots([0, 0], [10.0, 12.0], [5, 5])
    found = spots([0, 0], [11.2, 14.0], [5, 5])
    got = match_localizations(truth, found)
    assert got.n_matched == 2
    assert got.dx_nm.tolist() == pytest.approx([120, 200])


def test_pairs_are_as_many_as_can_be_and_then_the_nearest():
    rng = np.random.default_rng(3)
    for _ in range(30):
        truth = spots(np.zeros(5, int), *rng.uniform(0, 8, (2, 5)))
        found = spots(np.zeros(5, int), *rng.uniform(0, 8, (2, 5)))
        got = match_localizations(truth, found)
        best = (0, 0.0)
        for order in permutations(range(5)):
            square = (truth.x_um - found.x_um[list(order)]) ** 2 + (truth.y_um - found.y_um[list(order)]) ** 2
            near = square <= 0.25**2
            best = max(best, (int(near.sum()), -float(square[near].sum())))
        assert got.n_matched == best[0]
        assert np.sum(got.dx_nm**2 + got.dy_nm**2) == pytest.approx(-best[1] * 1e6, abs=1e-6)


def test_the_tolerance_is_a_circle_and_its_rim_belongs_to_it():
    truth = spots([0, 1, 2], [0, 0, 0], [0, 0, 0])
    found = spots([0, 1, 2], [2.5, 1.8, 2.51], [0, 1.8, 0])
    assert match_localizations(truth, found).truth_row.tolist() == [0]


def test_what_is_too_dim_is_neither_asked_for_nor_held_against_its_finder():
    truth = spots([0, 0, 0], [10, 20, 30], [10, 20, 30], photons=[1000, 50, 50])
    found = spots([0, 0], [10, 20], [10, 20])
    got = match_localizations(truth, found, min_photons=100)
    assert (got.n_matched, got.n_missed, got.n_false) == (1, 0, 0)
    assert got.ignored_truth_row.tolist() == [1, 2]
    assert got.ignored_found_row.tolist() == [1]


def test_a_dim_neighbour_takes_nothing_from_a_bright_one():
    truth = spots([0, 0], [10, 11], [10, 10], photons=[1000, 50])
    found = spots([0], [11], [10])
    got = match_localizations(truth, found, min_photons=100)
    assert (got.n_matched, got.n_missed, got.n_false) == (1, 0, 0)


def test_the_border_is_left_out_on_both_sides():
    truth = spots([0, 0], [1, 16], [16, 16])
    found = spots([0, 0], [16, 30], [16, 16])
    got = match_localizations(truth, found, margin_px=3, shape_px=(32, 32))
    assert (got.n_matched, got.n_missed, got.n_false) == (1, 0, 0)
    with pytest.raises(BadInputError, match="shape_px"):
        match_localizations(truth, found, margin_px=3)


def test_a_wobble_is_found_and_taken_off():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 200, (2, 300))
    frame = np.arange(300) % 20
    truth = spots(frame, x, y)
    found = spots(frame, x + 1.2 + rng.normal(0, 0.1, 300), y - 0.7 + rng.normal(0, 0.1, 300))
    plain, still = match_localizations(truth, found), match_localizations(truth, found, remove_wobble=True)
    assert plain.wobble_nm == (0.0, 0.0)
    assert still.wobble_nm == pytest.approx((-70, 120), abs=2)
    assert still.rmse_nm == pytest.approx(10 * math.sqrt(2), rel=0.1)
    assert plain.rmse_nm > 130


def test_depth_counts_where_both_have_one():
    truth = spots([0, 0], [10, 20], [10, 20], z_um=np.array([0.0, 0.0]))
    found = spots([0, 0], [10, 20], [10, 20], z_um=np.array([0.4, 0.7]))
    got = match_localizations(truth, found, tolerance_z_um=0.5)
    assert got.truth_row.tolist() == [0]
    assert got.rmse_z_nm == pytest.approx(400)
    assert got.efficiency_z == pytest.approx(efficiency(1 / 3, 400, 0.5))
    flat = match_localizations(truth, spots([0, 0], [10, 20], [10, 20]), tolerance_z_um=0.5)
    assert flat.n_matched == 2


def test_nothing_to_find_and_nothing_found_are_told_as_such():
    nothing, one = no_localizations(PIXEL_UM), spots([0], [1], [1])
    assert match_localizations(nothing, one).n_false == 1
    assert math.isnan(match_localizations(nothing, one).recall)
    assert match_localizations(one, nothing).recall == 0
    assert match_localizations(one, nothing).figures()["precision"] is None
    with pytest.raises(BadInputError, match="tolerance_um"):
        match_localizations(one, one, 0.0)


def test_late_frames_are_matched_like_early_ones():
    frame = np.arange(0, 1_000_000, 100_000)
    truth = spots(frame, np.full(10, 5.0), np.full(10, 5.0))
    assert match_localizations(truth, spots(frame, np.full(10, 6.0), np.full(10, 5.0))).n_matched == 10
    assert match_localizations(truth, spots(frame + 1, np.full(10, 5.0), np.full(10, 5.0))).n_matched == 0
