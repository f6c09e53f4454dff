"""Noisy clusters: runs by id, with hysteresis, cleared when they are gone."""

import json
import math

import pytest

from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, exclude_noisy_clusters, ledger
from parfocal.slices.sections import PairCorrelation, generate, read_pair_scores


def book(n=10):
    return SliceLedger().apply(generate(range(n)))


def pairs(values, first=0):
    return [PairCorrelation(f"{first + i:02d}", f"{first + i + 1:02d}", v) for i, v in enumerate(values)]


def marked(values, before=None, **how):
    before = before or book()
    after = before.apply(exclude_noisy_clusters(pairs(values), before.rows, **how))
    return [sid for sid, row in after.rows.items() if row["auto_excluded"]], after


def test_three_bad_pairs_in_a_row_are_a_cluster_with_its_length_and_range():
    found, after = marked([0.9, 0.9, 0.3, 0.2, 0.1, 0.9, 0.3, 0.3, 0.9])
    assert found == ["03", "04", "05"]
    assert after.rows["04"]["auto_exclude_reason"] == "noisy cluster (3 consecutive): 02 to 05"
    assert after.rows["00"]["auto_excluded"] is False
    assert after.rows["04"]["use"] is True  # it keeps its place, by the motor alone
    assert after.force_skip_slices() == ("03", "04", "05")


def test_which_ends_of_a_run_are_marked_can_be_chosen():
    values = [0.9, 0.3, 0.2, 0.1, 0.9]
    assert marked(values, endpoints="both")[0] == ["01", "02", "03", "04"]
    assert marked(values, endpoints="inner")[0] == ["02", "03"]


def test_a_run_is_left_higher_than_it_is_entered_whichever_way_it_is_read():
    assert marked([0.9, 0.45, 0.39, 0.49, 0.9])[0] == ["02", "03", "04"]
    assert marked([0.9, 0.49, 0.45, 0.39, 0.9])[0] == ["02", "03", "04"]
    assert marked([0.9, 0.45, 0.41, 0.49, 0.9])[0] == []  # nothing enters
    assert marked([0.9, 0.39, 0.5, 0.39, 0.9])[0] == []  # 0.5 leaves


def test_tissue_that_correlates_little_everywhere_is_judged_by_itself():
    values = [0.30, 0.33, 0.28, 0.31, 0.05, 0.02, 0.04, 0.29, 0.32, 0.31, 0.30]
    before = book(12)
    assert len(marked(values, before)[0]) == 11  # 0.4 is above all of them
    assert marked(values, before, enter="auto")[0] == ["05", "06", "07"]
    assert marked([0.30, 0.33, 0.28, 0.31] * 2, enter="auto")[0] == []
    found = exclude_noisy_clusters(pairs(values[:7]), before.rows, enter="auto")
    assert found.messages[0] == "enter auto: 7 correlations tell nothing about each other; only NaN is bad"


def test_what_cannot_be_measured_is_bad():
    assert marked([0.9, 0.3, math.nan, 0.2, 0.9])[0] == ["02", "03", "04"]
    assert marked([math.nan] * 3)[1].rows["01"]["auto_exclude_reason"].startswith("noisy cluster (3")


def test_slices_that_are_not_neighbours_make_no_run():
    before = book()
    apart = [*pairs([0.1, 0.1]), PairCorrelation("02", "04", 0.1), *pairs([0.1, 0.1], first=4)]
    assert not any(s.value is True for s in exclude_noisy_clusters(apart, before.rows).stamps)
    in_line = exclude_noisy_clusters(apart, before.rows, compat="linumpy")
    assert [s.slice_id for s in in_line.stamps if s.value is True] == ["01", "02", "04", "05", "06"]
    assert {s.value for s in in_line.stamps if s.column == "auto_exclude_reason"} == {"consecutive_low_z_corr"}


def test_run_again_it_changes_nothing_and_clears_what_is_no_longer_so():
    values = [0.9, 0.3, 0.2, 0.1, 0.9]
    _, first = marked(values)
    _, again = marked(values, first)
    assert again.events == first.events
    by_hand = first.stamp("07", {"auto_excluded": True, "auto_exclude_reason": "dropped on the floor"}, stage="me")
    found, cleared = marked([0.9] * 9, by_hand)
    assert found == ["07"]
    assert cleared.rows["02"]["auto_exclude_reason"] is None
    assert marked([0.9] * 9)[1].rows.keys() == cleared.rows.keys()


@pytest.mark.parametrize("ends_run", [math.nan, 0.4])
def test_the_original_takes_nan_for_the_end_of_a_run(ends_run):
    assert marked([0.1, 0.1, ends_run, 0.1, 0.1], compat="linumpy")[0] == []


def test_thresholds_and_slices_that_make_no_sense_are_refused():
    rows = book().rows
    for how in ({"enter": 0.6}, {"enter": math.nan}, {"min_run": 0}):
        with pytest.raises(BadInputError, match="exclude: "):
            exclude_noisy_clusters(pairs([0.1]), rows, **how)
    with pytest.raises(BadInputError, match="slice 50 is not in the ledger"):
        exclude_noisy_clusters(pairs([0.1], first=49), book(50).rows)
    with pytest.raises(BadInputError, match="two pairs end at slice 01"):
        exclude_noisy_clusters(pairs([0.1]) * 2, rows)


def test_metrics_are_read_from_the_originals_folders_ours_and_a_table(tmp_path):
    for sid, value in ((1, 0.25), (2, math.nan), (3, 0.5)):
        folder = tmp_path / "theirs" / f"slice_z{sid:02d}"
        folder.mkdir(parents=True)
        content = {"metrics": {"z_correlation": {"value": value, "unit": ""}}}
        (folder / "pairwise_registration_metrics.json").write_text(json.dumps(content))
    theirs = read_pair_scores(tmp_path / "theirs")
    assert [(p.fixed_id, p.moving_id) for p in theirs] == [("00", "01"), ("01", "02"), ("02", "03")]
    numbers = {p.moving_id: {"registered_to": p.fixed_id, "z_correlation": p.z_correlation} for p in theirs}
    ledger.write_metrics(tmp_path / "ours", ledger.StageResult("register", metrics=numbers))
    (tmp_path / "table.csv").write_text("fixed_id,moving_id,z_correlation\n0,1,0.25\n1,2,\n2,3,0.5\n")
    for source in ("ours", "table.csv"):
        assert repr(read_pair_scores(tmp_path / source)) == repr(theirs)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[", "is not JSON"), ("[1]", "an object was expected"), ('{"z_correlation": "x"}', "a number was expected")],
)
def test_metrics_that_cannot_be_read_are_refused_by_file(tmp_path, text, said):
    (tmp_path / "slice_z01.json").write_text(text)
    with pytest.raises(BadInputError, match=said.replace("an object", "a JSON object")):
        read_pair_scores(tmp_path)
    (tmp_path / "slice_z01.json").unlink()
    with pytest.raises(BadInputError, match="no registration metrics"):
        read_pair_scores(tmp_path)
