"""Corrections: what one click does, what it is called, and that nothing of it is lost."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.segmentation.corrections import (
    CorrectionJournal,
    Kind,
    accept,
    add,
    apply_edit,
    delete,
    kinds_of,
    merge,
    redraw,
    split,
    undo_edit,
)

VOXEL = (2.0, 0.5, 0.5)


@pytest.fixture
def labels():
    """A dumbbell (1), a ball (2), and two halves of a ball (3, 4)."""
    z, y, x = np.mgrid[:8, :40, :60].astype(float)

    def ball(cy, cx, radius):
        return ((z - 4) * 2) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < radius**2

    out = np.zeros(z.shape, np.int32)
    out[ball(10, 10, 7) | ball(10, 22, 6)] = 1
    out[ball(28, 12, 6)] = 2
    out[ball(28, 40, 7) & (x < 40)] = 3
    out[ball(28, 40, 7) & (x >= 40)] = 4
    return out


def test_a_dumbbell_is_split_at_its_neck(labels):
    edit = split(labels, 1, voxel_size_um=VOXEL)
    apply_edit(labels, edit)
    where = np.argwhere(labels == edit.ids_after[1])
    assert abs(where[:, 2].min() - 16) <= 2
    assert edit.ids_after == (1, 5)


def test_seeds_say_where_to_split(labels):
    edit = split(labels, 1, seeds=[(4, 10, 10), (4, 10, 22)])
    apply_edit(labels, edit)
    assert labels[4, 10, 10] == 1
    assert labels[4, 10, 22] == 5
    with pytest.raises(BadInputError, match=r"seed .* lies outside it"):
        split(labels, 2, seeds=[(4, 28, 12), (0, 0, 0)])


@pytest.mark.parametrize("n_parts", [2, 5])
def test_what_has_no_neck_is_split_into_parts_and_not_into_crumbs(n_parts):
    z, y, x = np.mgrid[:12, :40, :40]
    labels = (((z - 6) * 2) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 100).astype(np.int32)
    edit = split(labels, 1, n_parts=n_parts, voxel_size_um=VOXEL)
    sizes = np.bincount(edit.after.ravel())[1:]
    sizes = sizes[sizes > 0]
    assert len(sizes) == n_parts
    assert sizes.min() > 0.3 * sizes.mean()


def test_every_edit_is_told_from_its_masks(labels):
    new = np.zeros(labels.shape, bool)
    new[3:5, 5:10, 45:50] = True
    larger = (labels == 2) | np.roll(labels == 2, 2, axis=2)
    edits = [
        accept(labels, 2),
        split(labels, 1),
        merge(labels, (4, 3)),
        delete(labels, 2),
        add(labels, new),
        redraw(labels, 2, larger),
    ]
    for edit in edits:
        assert kinds_of(edit.before, edit.after) == (edit.kind,)
        after = labels.copy()
        apply_edit(after, edit)
        assert (edit.kind is Kind.ACCEPT) == np.array_equal(after, labels)
        undo_edit(after, edit)
        assert np.array_equal(after, labels)


def test_another_number_is_no_change():
    before = np.array([[0, 1, 1, 2]], np.int32)
    assert kinds_of(before, np.array([[0, 9, 9, 5]], np.int32)) == (Kind.ACCEPT,)


def test_several_things_at_once_are_all_told():
    before = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 0]], np.int32)
    after = np.array([[1, 1, 3, 3, 0, 0, 0, 0, 4]], np.int32)
    assert kinds_of(before, after) == (Kind.SPLIT, Kind.DELETE, Kind.ADD)


def test_an_edit_is_refused_where_the_labels_have_changed_since(labels):
    edit = delete(labels, 2)
    apply_edit(labels, edit)
    with pytest.raises(BadInputError, match="have changed since"):
        apply_edit(labels, edit)


def test_an_object_that_is_not_there_is_named(labels):
    for make in (lambda: accept(labels, 9), lambda: delete(labels, 0), lambda: merge(labels, (1, 77))):
        with pytest.raises(BadInputError, match="there is none with this id"):
            make()


def test_the_journal_gives_back_pixels_and_labels(labels, tmp_path):
    image = (labels * 100 + 7).astype(np.uint16)
    journal = CorrectionJournal(tmp_path / "corrections")
    made = journal.record(
        image, labels, merge(labels, (3, 4)), source="run", voxel_size_um=VOXEL, user="a person", model_hash="ab"
    )
    (read,) = CorrectionJournal(tmp_path / "corrections").corrections()
    assert read == made
    assert read.kinds == (Kind.MERGE,)
    crop = journal.crop(read)
    box = tuple(slice(*pair) for pair in read.box)
    assert np.array_equal(crop.image, image[box])
    assert crop.image.dtype == np.uint16
    assert np.array_equal(crop.before, labels[box])
    assert set(np.unique(crop.after)) >= {3}
    assert 4 not in crop.after


def test_a_declared_kind_is_verified(labels, tmp_path):
    journal = CorrectionJournal(tmp_path)
    with pytest.raises(BadInputError, match="declared split, but the masks say delete"):
        journal.record(labels, labels, delete(labels, 2), source="run", voxel_size_um=VOXEL, kind="split")
    assert journal.corrections() == []


def test_the_same_correction_is_kept_once_and_undone_by_a_line(labels, tmp_path):
    journal = CorrectionJournal(tmp_path)
    for _ in range(2):
        made = journal.record(labels, labels, delete(labels, 2), source="run", voxel_size_um=VOXEL)
    assert len(journal.corrections()) == 1
    assert journal.undo() == made
    assert journal.corrections() == []
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 2
    with pytest.raises(BadInputError, match="nothing to undo"):
        journal.undo()
    journal.record(labels, labels, delete(labels, 2), source="run", voxel_size_um=VOXEL)
    assert len(journal.corrections()) == 1


def test_a_torn_tail_loses_nothing_before_or_after_it(labels, tmp_path):
    journal = CorrectionJournal(tmp_path)
    journal.record(labels, labels, delete(labels, 1), source="run", voxel_size_um=VOXEL)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"crc": 12, "ent')
    journal.record(labels, labels, delete(labels, 2), source="run", voxel_size_um=VOXEL)
    assert [made.ids_before for made in journal.corrections()] == [(1,), (2,)]
    (remark,) = journal.remarks
    assert "line 2 is torn" in remark


def test_a_line_that_was_changed_is_passed_over(labels, tmp_path):
    journal = CorrectionJournal(tmp_path)
    journal.record(labels, labels, delete(labels, 1), source="run", voxel_size_um=VOXEL)
    path = tmp_path / "journal.jsonl"
    line = json.loads(path.read_text())
    path.write_text(json.dumps(line | {"entry": line["entry"].replace("run", "ruin")}) + "\n")
    assert journal.corrections() == []
    assert len(journal.remarks) == 1


def test_what_was_recorded_outlives_a_kill(tmp_path):
    program = """
import sys, numpy as np
from parfocal.segmentation.corrections import CorrectionJournal, delete
labels = np.zeros((4, 20, 20), np.int32)
journal = CorrectionJournal(sys.argv[1])
for k in range(1000):
    labels[:] = 0
    labels[1:3, 5:9, 5:9] = k + 1
    journal.record(labels, labels, delete(labels, k + 1), source="run", voxel_size_um=(1, 1, 1))
    print(k + 1, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 5:
                os.kill(process.pid, signal.SIGKILL)
                break
        told = [int(line) for line in process.stdout.read().split()]
    journal = CorrectionJournal(tmp_path)
    known = journal.corrections()
    assert len(known) >= max([5, *told])
    for made in known:
        assert journal.crop(made).before.max() == made.ids_before[0]
