"""A review: the queue, one click each, and that the journal alone says what was corrected."""

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr, write_ome_zarr
from parfocal.segmentation.corrections import CorrectionJournal, Kind, ReviewSession

VOXEL = (2.0, 0.5, 0.5)
BALLS = {1: (14, 14, 7), 2: (14, 40, 7), 3: (40, 14, 7), 5: (40, 66, 7)}


@pytest.fixture
def volume():
    """Balls, of which a dumbbell is one object (4), and one (at 66, 66) was missed."""
    z, y, x = np.mgrid[:8, :80, :80].astype(float)

    def ball(cy, cx, radius):
        return ((z - 4) * 4) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < radius**2

    labels = np.zeros(z.shape, np.int32)
    for one, place in BALLS.items():
        labels[ball(*place)] = one
    labels[ball(66, 14, 7) | ball(66, 26, 6)] = 4
    image = np.random.default_rng(0).poisson(20 + 200 * ((labels > 0) | ball(66, 66, 7))).astype(np.uint16)
    return labels, image


def opened(volume, folder, labels=None):
    drawn, image = volume
    journal = CorrectionJournal(folder)
    return ReviewSession(drawn if labels is None else labels, image, VOXEL, journal, source="run", model_hash="ab")


def test_the_odd_one_comes_first_and_what_was_looked_at_comes_no_more(volume, tmp_path):
    session = opened(volume, tmp_path)
    first = session.queue(1)[0]
    assert first.object_id == 4
    assert any("median" in reason for reason in first.reasons)
    session.split(4)
    session.accept(1)
    session.skip(2)
    assert {item.object_id for item in session.queue()} == {3, 5}
    again = opened(volume, tmp_path)
    assert {item.object_id for item in again.queue()} == {2, 3, 5}  # what was skipped comes back


def test_a_merge_of_what_does_not_touch_is_remarked(volume, tmp_path):
    session = opened(volume, tmp_path)
    parts = session.split(4).ids_after
    session.merge(parts)
    assert not session.remarks
    session.merge([1, 3])
    assert "do not touch" in session.remarks[0]


def test_what_is_added_in_noise_is_remarked(volume, tmp_path):
    labels = volume[0]
    noisy = np.random.default_rng(5).poisson(np.where(labels, 60, 20)).astype(np.uint16)
    labels = np.where(labels == 5, 0, labels)
    z, y, x = (round(float(at.mean())) for at in np.nonzero(volume[0] == 5))
    session = opened((labels, noisy), tmp_path)
    session.add_at((z, y, x))
    assert not session.remarks
    (empty,) = np.argwhere((ndimage.gaussian_filter(noisy * 1.0, [0, 1, 1]) > 21) & (session.labels == 0))[:1]
    session.add_at(empty)
    assert "times the noise" in session.remarks[0]


def test_a_session_that_is_opened_again_stands_where_it_was_left(volume, tmp_path):
    session = opened(volume, tmp_path)
    session.split(4)
    session.merge([1, 2])
    session.delete(3)
    added = session.add_at((4, 66, 66)).ids_after[0]
    session.redraw(5, ndimage.binary_erosion(session.labels == 5))
    again = opened(volume, tmp_path)
    np.testing.assert_array_equal(again.labels, session.labels)
    assert not again.remarks
    kinds = [made.kinds for made in again.corrections()]
    assert kinds[:4] == [(Kind.SPLIT,), (Kind.MERGE,), (Kind.DELETE,), (Kind.ADD,)]
    truth = volume[1] > 100
    assert (again.labels == added).sum() == pytest.approx((truth & (volume[0] == 0)).sum(), rel=0.25)


def test_everything_is_undone_one_by_one_to_the_labels_of_the_model(volume, tmp_path):
    session = opened(volume, tmp_path)
    session.split(4)
    session.delete(3)
    session.accept(1)
    session = opened(volume, tmp_path)
    for kind in ("accept", "delete", "split"):
        assert session.undo().kinds == (Kind(kind),)
    np.testing.assert_array_equal(session.labels, volume[0])
    with pytest.raises(BadInputError, match="nothing to undo"):
        session.undo()
    assert session.queue(1)[0].object_id == 4


def test_what_was_corrected_again_is_not_undone_beneath_it(volume, tmp_path):
    session = opened(volume, tmp_path)
    merged = session.merge([1, 2])
    session.delete(1)
    with pytest.raises(BadInputError, match="undo the later one first"):
        session.undo(merged.id)


def test_other_labels_of_the_same_run_have_corrections_of_their_own(volume, tmp_path):
    opened(volume, tmp_path).delete(3)
    others = np.where(volume[0] == 3, 30, volume[0]).astype(np.int32)
    session = opened(volume, tmp_path, others)
    assert not session.corrections()
    np.testing.assert_array_equal(session.labels, others)


def test_the_labels_are_written_beside_those_of_the_model(volume, tmp_path):
    session = opened(volume, tmp_path / "corrections")
    session.delete(3)
    for _ in range(2):  # and again, over what it wrote before
        path = session.save(tmp_path / "labels_corrected.ome.zarr")
    labels, voxel_size_um = read_ome_zarr(path)
    np.testing.assert_array_equal(labels, session.labels)
    assert voxel_size_um == VOXEL
    assert (volume[0] == 3).any()  # what was given in is as it was
    of_a_model = write_ome_zarr(tmp_path / "labels.ome.zarr", volume[0], VOXEL)
    with pytest.raises(BadInputError, match="not replaced"):
        session.save(of_a_model)


@pytest.mark.parametrize(
    ("point", "said"),
    [((4, 14, 14), "object 1 is there"), ((9, 0, 0), "outside"), ((0, 5, 76), "no brighter")],
)
def test_a_nucleus_is_added_only_where_there_is_one(volume, tmp_path, point, said):
    flat = np.where(volume[0] > 0, volume[1], 20).astype(np.uint16)
    with pytest.raises(BadInputError, match=said):
        opened((volume[0], flat), tmp_path).add_at(point)
