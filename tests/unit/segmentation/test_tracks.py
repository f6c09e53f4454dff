"""Nuclei keep their track over time, and through divisions."""

from pathlib import Path

import numpy as np
import pytest

from parfocal.segmentation.tracks import NucleusTracks, compare_tracks, track_objects, track_tables

HL60 = Path(__file__).parents[3] / "../shared/data/C_nuclei/hl60_synthetic_tzyx_track_labels.tif"


def dividing_nuclei(n_times=40, n=25, side=260.0, seed=0):
    """Tables of nuclei that wander, grow and divide; volumes are halved; returned with the truth."""
    rng = np.random.default_rng(seed)
    axes = np.array([40.0, side, side])
    alive = [{"at": rng.uniform(0, axes), "age": int(rng.integers(0, 18)), "track": k + 1} for k in range(n)]
    parents, tables, tracks = [0] * (n + 1), [], []
    for _ in range(n_times):
        order = rng.permutation(len(alive))
        at = np.array([alive[k]["at"] for k in order]) + rng.normal(0, 0.3, (len(alive), 3))
        volume = np.array([500 * (1 + alive[k]["age"] / 20) for k in order]) * rng.normal(1, 0.05, len(alive))
        tables.append((np.arange(1, len(order) + 1), at, volume))
        tracks.append([alive[k]["track"] for k in order])
        born = []
        for cell in alive:
            cell["at"] = cell["at"] + rng.normal(0, 1.0, 3)
            cell["age"] += 1
            if cell["age"] < 20 + rng.integers(0, 4):
                born.append(cell)
                continue
            axis = rng.normal(0, 1, 3)
            axis *= 4.5 / np.linalg.norm(axis)
            for sign in (-1, 1):
                parents.append(cell["track"])
                born.append({"at": cell["at"] + sign * axis, "age": 0, "track": len(parents) - 1})
        alive = born
    return tables, truth_of(tables, tracks, parents)


def truth_of(tables, tracks, parents):
    counts = [len(one) for one in tracks]
    return NucleusTracks(
        np.repeat(np.arange(len(tables), dtype=np.int32), counts),
        np.concatenate([t[0] for t in tables]).astype(np.int32),
        np.concatenate(tracks).astype(np.int32),
        np.concatenate([t[1] for t in tables]),
        np.concatenate([t[2] for t in tables]),
        np.array(parents, np.int32),
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_dividing_nuclei_are_followed_with_their_divisions(seed):
    tables, truth = dividing_nuclei(seed=seed)
    score = compare_tracks(truth, track_tables(tables))
    assert score.precision >= 0.99
    assert score.recall >= 0.99
    assert score.n_divisions > 20
    assert score.n_divisions_found >= 0.9 * score.n_divisions
    assert score.n_divisions_false <= 0.1 * score.n_divisions


def test_without_divisions_a_daughter_is_somebody_new():
    tables, _ = dividing_nuclei(n_times=25)
    assert track_tables(tables).divisions
    assert not track_tables(tables, divisions=False).divisions


@pytest.mark.skipif(not HL60.exists(), reason="the shared HL60 time-lapse is not here")
def test_every_link_and_division_of_simulated_hl60_nuclei_is_found():
    import tifffile

    labels = tifffile.imread(HL60)
    rng = np.random.default_rng(0)
    shuffled, tables, tracks = [], [], []
    for one in labels:
        names = np.append(0, rng.permutation(255) + 1)
        shuffled.append(names[one])
        ids = np.unique(one)[1:]
        order = np.argsort(names[ids])
        tables.append((names[ids][order], np.zeros((ids.size, 3)), np.ones(ids.size)))
        tracks.append(ids[order])
    mother_of = {11: 4, 12: 4, 15: 5, 16: 5, 17: 9, 18: 9, 19: 7, 20: 7}  # an end, and two beginnings beside it
    truth = truth_of(tables, tracks, [mother_of.get(i, 0) for i in range(21)])
    found = track_objects(shuffled)
    score = compare_tracks(truth, found)
    assert (score.precision, score.recall) == (1.0, 1.0)
    assert (score.n_divisions, score.n_divisions_found, score.n_divisions_false) == (4, 4, 0)
    again = found.relabel(shuffled[30], 30)
    assert np.unique(again).size == np.unique(labels[30]).size


def test_planes_can_be_tracked_and_measures_are_in_um():
    image = np.zeros((20, 30), int)
    image[4:8, 10:16] = 7
    tracks = track_objects([image, np.roll(image, 1, 1)], voxel_size_um=(0.5, 0.2))
    assert tracks.n_tracks == 1
    assert tracks.centroid_um[0] == pytest.approx([0, 5.5 * 0.5, 12.5 * 0.2])
    assert tracks.volume_um3[0] == pytest.approx(24 * 0.1)
    assert tracks.of(1) == {7: 1}


def test_a_nucleus_missing_once_is_the_same():
    image = np.zeros((6, 20, 20), int)
    image[2:5, 5:12, 5:12] = 1
    assert track_objects([image, 0 * image, image]).n_tracks == 1
    assert track_objects([image, 0 * image, image], max_missing_frames=0).n_tracks == 2
