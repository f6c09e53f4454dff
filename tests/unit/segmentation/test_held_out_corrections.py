"""Which corrections the gate keeps: some of every kind, the same ones for ever, and no object on both sides."""

import itertools
from collections import Counter

import numpy as np
import pytest

from parfocal.segmentation.corrections import (
    CorrectionJournal,
    Kind,
    RetrainSettings,
    ReviewSession,
    add,
    box_slices,
    delete,
)
from parfocal.segmentation.corrections._lessons import learnt_and_judged
from parfocal.segmentation.corrections._sides import held_out_ids, is_held_out_next

QUARTER = 0.25
N_NUCLEI = 12
VOXEL_UM = (2.0, 0.5, 0.5)


def field(n=N_NUCLEI):
    """Bright nuclei in a row, an empty place beside each; returns image and labels."""
    labels = np.zeros((3, 24, 16 * n), np.int32)
    for k in range(n):
        labels[:, 2:10, 16 * k + 3 : 16 * k + 11] = k + 1
    return (labels > 0) * np.float32(100.0), labels


def beside(k):
    """The empty place beside nucleus k."""
    mask = np.zeros((3, 24, 16 * N_NUCLEI), bool)
    mask[:, 14:22, 16 * (k - 1) + 3 : 16 * (k - 1) + 11] = True
    return mask


@pytest.fixture
def journal(tmp_path):
    return CorrectionJournal(tmp_path / "corrections")


@pytest.fixture
def session(journal):
    image, labels = field()
    return ReviewSession(labels, image, VOXEL_UM, journal, source="a run")


def sides(journal):
    held = held_out_ids(journal, QUARTER)
    return {made.id: made.id in held for made in journal.corrections()}


def decided(kinds):
    so_far = []
    for kind in kinds:
        so_far.append((kind, is_held_out_next(kind, so_far, QUARTER)))
    return so_far


@pytest.mark.parametrize("n", range(7, 11))
def test_whatever_is_corrected_in_whatever_order_a_fifth_and_two_at_least_are_held_out(n):
    for kinds in itertools.product([Kind.ACCEPT, Kind.ADD, Kind.DELETE], repeat=n):
        n_held = sum(held for _, held in decided(kinds))
        assert max(2, n / 5) <= n_held <= 0.4 * n, kinds


def test_of_one_kind_the_second_and_every_fourth_after_it_are_held_out():
    assert [k for k, (_, held) in enumerate(decided([Kind.ADD] * 16), 1) if held] == [2, 6, 10, 14]


@pytest.mark.parametrize("in_turn", [(Kind.DELETE, Kind.ADD), (Kind.ACCEPT, Kind.SPLIT, Kind.ADD, Kind.MERGE)])
def test_kinds_that_come_in_a_fixed_order_are_on_both_sides(in_turn):
    each = Counter(decided(in_turn * 12))
    for kind in in_turn:
        assert 2 <= each[kind, True] <= 5
        assert each[kind, False] >= 7


def test_more_corrections_move_none_that_was_made(journal, session):
    before = {}
    for one in range(1, N_NUCLEI + 1):
        session.accept(one) if one % 3 else session.delete(one)
        now = sides(journal)
        assert before.items() <= now.items()
        before = now
    assert sum(before.values()) == 3


def test_an_undo_moves_no_other_and_what_is_made_again_is_where_it_was(journal, session):
    made = [session.accept(one) for one in range(1, 9)]
    before = sides(journal)
    for one in made:
        session.undo(one.id)
        assert sides(journal) == {known: side for known, side in before.items() if known != one.id}
        session.accept(one.ids_before[0])
        assert sides(journal) == before


def test_held_out_ones_that_were_undone_are_made_up_for_by_those_that_follow(journal, session):
    made = [session.accept(one) for one in range(1, 7)]
    held = held_out_ids(journal, QUARTER)
    for one in made:
        if one.id in held:
            session.undo(one.id)
    assert not any(sides(journal).values())
    for one in range(7, 11):
        session.accept(one)
    assert sum(sides(journal).values()) >= 2


def test_what_is_corrected_twice_is_on_one_side(journal, session):
    first = {one: session.accept(one) for one in range(1, 9)}
    again = {one: session.delete(one) for one in range(1, 9)}
    found = sides(journal)
    assert {found[first[one].id] == found[again[one].id] for one in first} == {True}
    assert set(found.values()) == {True, False}


def test_an_object_of_another_segmentation_of_the_run_is_on_the_side_it_was(journal, session):
    first = {one: session.accept(one) for one in range(1, 9)}
    image, labels = field()
    other = ReviewSession((labels + 100 * (labels > 0)).astype(np.int32), image, VOXEL_UM, journal, source="a run")
    again = {one: other.delete(one + 100) for one in reversed(first)}
    found = sides(journal)
    assert all(found[first[one].id] == found[again[one].id] for one in first)


def test_the_same_place_of_another_run_is_another_object(journal):
    image, labels = field()
    for source in ("a run", "another run"):
        for one in range(1, 5):
            journal.record(image, labels, delete(labels, one), source=source, voxel_size_um=VOXEL_UM)
    assert list(sides(journal).values()) == [False, True, False, False, False, True, False, False]


def test_one_that_joins_objects_of_both_sides_is_taught(journal, session):
    first, second = session.accept(1), session.accept(2)
    joined = session.merge([1, 2])
    assert sides(journal) == {first.id: False, second.id: True, joined.id: False}


def seen_at(values, box, voxels):
    """Read a learning crop, which has pixels of another size, at voxels of the volume within its box."""
    at = []
    for axis, (low, high) in enumerate(box):
        pixels = (voxels[:, axis] - low + 0.5) * values.shape[axis] / (high - low)
        at.append(pixels.astype(int))
    return values[tuple(at)]


def test_nothing_is_taught_in_the_voxels_that_the_gate_judges_by(journal, session):
    for one in range(1, N_NUCLEI + 1):
        session.accept(one)
    learn, judge = learnt_and_judged(journal, RetrainSettings(), 8.0, 2)
    assert len(learn) + len(judge) == N_NUCLEI
    boxes = {made.id: made.box for made in journal.corrections()}
    held = [made for made in journal.corrections() if made.id in held_out_ids(journal, QUARTER)]
    n_looked_at = 0
    for crop, made in itertools.product(learn, held):
        box = boxes[crop.correction_id]
        voxels = np.argwhere(session.labels == made.ids_after[0])
        voxels = voxels[[all(a <= v < b for v, (a, b) in zip(one, box, strict=True)) for one in voxels]]
        assert not seen_at(crop.weight, box, voxels).any()
        n_looked_at += len(voxels)
    assert n_looked_at > 100


def test_a_nucleus_that_is_deleted_and_drawn_anew_is_taught_once_and_is_there(journal, session):
    """The deletion by itself would teach, or judge, that there is none."""
    for one in range(1, 9):
        mask = session.labels == one
        session.delete(one)
        session.add(mask | np.roll(mask, 1, axis=2))
    learn, judge = learnt_and_judged(journal, RetrainSettings(), 8.0, 2)
    assert len(learn) + len(judge) == 8
    for crop in (*learn, *judge):
        assert crop.labels[crop.weight == 1].any()


def test_what_a_later_correction_changed_is_taught_as_it_stands(journal, session):
    """Two are split of one, and one of them is then redrawn: the split shows the redrawn one too."""
    session.merge([3, 4])
    split = session.split(3)
    drawn = split.ids_after[0]
    session.redraw(drawn, np.roll(session.labels == drawn, 3, axis=1))
    for one in range(5, N_NUCLEI + 1):
        session.accept(one)
    learn, judge = learnt_and_judged(journal, RetrainSettings(), 8.0, 2)
    (shown,) = [crop for crop in (*learn, *judge) if crop.correction_id == split.id]
    for one in split.ids_after:
        middle = np.argwhere(session.labels == one).mean(axis=0).round().astype(int)[None]
        assert seen_at(shown.labels, split.box, middle) == [one]
    left = np.argwhere((journal.crop(split).after == drawn) & (session.labels[box_slices(split.box)] == 0))
    assert not seen_at(shown.labels, split.box, (left + [low for low, _ in split.box])[:1]).any()


def test_what_was_undone_has_no_last_word(journal, session):
    for one in range(1, 9):
        session.accept(one)
    session.delete(1)
    session.undo()
    learn, judge = learnt_and_judged(journal, RetrainSettings(), 8.0, 2)
    assert len(learn) + len(judge) == 8


def test_pixels_of_an_undone_correction_may_be_gone(journal, session):
    for one in range(1, 9):
        session.accept(one)
    undone = session.undo()
    (journal.folder / "crops" / f"{undone.id}.npz").unlink()
    learn, judge = learnt_and_judged(journal, RetrainSettings(), 8.0, 2)
    assert (len(learn), len(judge)) == (5, 2)


def test_each_journal_is_divided_by_itself(tmp_path):
    image, labels = field()
    found = []
    for name in "ab":
        one = CorrectionJournal(tmp_path / name)
        for k in range(1, 7):
            edit = add(labels, beside(k)) if k % 2 else delete(labels, k)
            one.record(image, labels, edit, source=f"run {name}", voxel_size_um=VOXEL_UM)
        found.append(list(sides(one).values()))
    assert found[0] == found[1]
