"""Masks of planes become objects, as they arrive."""

import numpy as np
import pytest

from parfocal.bench._segmentation_stacks import ellipsoid_stack, touching_columns
from parfocal.errors import BadInputError
from parfocal.segmentation.measures import compare
from parfocal.segmentation.planes import LinkSettings, PlaneLinker, link_planes


def disc(radius, at=(24, 24), shape=(48, 48), label=1):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (((y - at[0]) ** 2 + (x - at[1]) ** 2) <= radius**2) * np.int32(label)


@pytest.mark.parametrize("seed", [0, 1])
def test_ellipsoids_with_missing_masks_are_found_whole(seed):
    truth, planes = ellipsoid_stack(seed=seed)
    linked = link_planes(planes)
    assert compare(truth, linked.labels).ap(0.5) >= 0.98
    assert compare(truth, linked.labels).ap(0.75) >= 0.95
    by_iou_alone = LinkSettings(max_distance_z=1, min_containment=1, min_containment_iou=1, neck_ratio=0)
    assert compare(truth, link_planes(planes, by_iou_alone).labels).ap(0.5) < 0.7


@pytest.mark.parametrize("seed", [3, 4])
def test_touching_columns_stay_apart(seed):
    truth, planes = touching_columns(n_side=6, seed=seed)
    assert compare(truth, link_planes(planes).labels).ap(0.5) >= 0.9


def test_a_plane_is_linked_when_it_arrives_and_no_later_one_changes_that():
    _, planes = touching_columns(n_side=4, seed=1)
    online = PlaneLinker()
    told = [online.add(plane).copy() for plane in planes]
    linked = online.finish()
    assert np.array_equal(linked.final_id_of[told[-1]] > 0, linked.labels[-1] > 0)
    again = link_planes(planes)
    assert np.array_equal(linked.labels, again.labels)
    assert linked.links == again.links
    cut_ids = {above for _, above, _ in linked.cuts}
    for z, plane in enumerate(told):
        kept = ~np.isin(linked.labels[z], list(cut_ids)) & (plane > 0)
        # a bridged plane may take a pixel of a mask that was two; all else is as it was said
        assert np.count_nonzero(linked.final_id_of[plane][kept] != linked.labels[z][kept]) <= 0.01 * kept.sum()


def test_ids_grow_and_are_never_used_again():
    linker = PlaneLinker()
    first = linker.add(disc(5, (10, 10), label=3) + disc(5, (30, 30), label=1))
    linker.add(np.zeros((48, 48), int))
    linker.add(np.zeros((48, 48), int))
    later = linker.add(disc(5, (10, 10), label=1))
    assert sorted(np.unique(first)) == [0, 1, 2]
    assert np.unique(later).tolist() == [0, 3]


@pytest.mark.parametrize("n_missing", [1, 2])
def test_a_missing_mask_is_bridged_and_filled_by_the_shape_between(n_missing):
    radii = [8, 9, 10, 10, 9, 8]
    planes = np.array([disc(r) for r in radii])
    broken = planes.copy()
    broken[2 : 2 + n_missing] = 0
    linked = link_planes(broken, LinkSettings(max_distance_z=n_missing + 1))
    assert linked.n_objects == 1
    assert compare(planes, linked.labels).at(0.5).iou[0] > 0.9
    assert [link.z_to - link.z_from for link in linked.links].count(n_missing + 1) == 1
    unfilled = link_planes(broken, LinkSettings(max_distance_z=n_missing + 1, fill_gaps=False))
    assert not unfilled.labels[2].any()
    assert link_planes(broken, LinkSettings(max_distance_z=n_missing)).n_objects == 2


def test_a_tapering_cap_belongs_to_its_nucleus():
    planes = [disc(15), disc(7)]  # IoU 0.22
    assert link_planes(planes).n_objects == 1
    assert link_planes(planes, LinkSettings(min_containment=1.0, min_containment_iou=1.0)).n_objects == 2


def test_two_nuclei_one_upon_the_other_are_cut_at_the_neck():
    radii = [4, 8, 10, 10, 8, 4, 4, 8, 10, 10, 8, 4]
    linked = link_planes([disc(r) for r in radii])
    assert linked.n_objects == 2
    assert linked.cuts == ((1, 2, 6),)
    assert [int(plane.max()) for plane in linked.labels] == [1] * 6 + [2] * 6
    assert link_planes([disc(r) for r in radii], LinkSettings(neck_ratio=0)).n_objects == 1


def test_one_bad_mask_is_no_neck():
    radii = [8, 9, 10, 10, 5, 10, 10, 9, 8]
    assert link_planes([disc(r) for r in radii]).n_objects == 1


def test_a_nucleus_that_has_ended_is_not_bridged_to_the_next():
    radii = [10, 9, 6, 0, 6, 9, 10]
    planes = [disc(r) if r else np.zeros((48, 48), int) for r in radii]
    assert link_planes(planes).n_objects == 2
    assert link_planes(planes, LinkSettings(bridge_tapered=True, neck_ratio=0)).n_objects == 1


def test_two_masks_that_were_one_for_a_plane_are_parted_again():
    left, right = disc(8, (24, 14)), disc(8, (24, 32), label=2)
    both = left + right
    merged = (both > 0).astype(int)
    merged[20:28, 20:26] = 1
    linked = link_planes([both, both, merged, both, both])
    assert linked.n_objects == 2
    for truth in (left, right):
        inside = linked.labels[2][truth > 0]
        ours = linked.labels[1][truth > 0][0]
        assert np.mean(inside == ours) > 0.95


def test_a_dividing_mask_goes_on_as_the_larger_part_and_the_other_begins():
    whole = disc(12)
    parts = disc(9, (24, 20)) * (np.arange(48) < 26) + disc(5, (24, 33), label=2) * (np.arange(48) >= 29)
    linked = link_planes([whole, whole, parts, parts])
    assert linked.n_objects == 2
    assert linked.labels[3][24, 20] == linked.labels[0][24, 24] != linked.labels[3][24, 33]


def test_a_link_that_another_one_nearly_was_is_weak():
    x = np.arange(48)
    halves = np.where(x < 24, disc(12), 2 * disc(12))
    linked = link_planes([disc(12), halves])
    assert [link.weak for link in linked.links] == [True]
    assert [link.weak for link in link_planes([disc(12), disc(12)]).links] == [False]


def test_what_overlaps_and_was_not_linked_is_reported():
    shifted = disc(8, (24, 24)), disc(8, (24, 29))
    linked = link_planes(shifted, LinkSettings(min_overlap_ratio=0.5))
    assert linked.n_objects == 2
    (candidate,) = linked.merge_candidates
    assert (candidate.object_id, candidate.other_id, candidate.z) == (1, 2, 1)
    assert 0.2 < candidate.iou < 0.5


@pytest.mark.parametrize(("thin", "n"), [("keep", 2), ("drop", 1), ("merge", 1)])
def test_objects_in_one_plane_are_kept_dropped_or_joined(thin, n):
    a, fragment = disc(10), disc(4, (24, 31), label=2)
    planes = [a, a, np.where(fragment, fragment, a), a]
    linked = link_planes(planes, LinkSettings(min_depth_planes=2, thin_objects=thin))
    assert linked.n_objects == n
    at_fragment = linked.labels[2][24, 31]
    assert at_fragment == {"keep": 2, "drop": 0, "merge": 1}[thin]
    assert sorted(linked.final_id_of.tolist()) == {"keep": [0, 1, 2], "drop": [0, 0, 1], "merge": [0, 1, 1]}[thin]


def test_planes_that_drift_are_linked_when_the_drift_is_followed():
    planes = []
    for z in range(6):
        plane = np.zeros((96, 160), np.int32)
        for k in range(12):
            at = (16 + 28 * (k // 4), 14 + 28 * (k % 4) + 6 * z)
            plane += disc(5, at, plane.shape, k + 1)
        planes.append(plane)
    assert link_planes(planes).n_objects > 12
    assert link_planes(planes, LinkSettings(follow_drift=True)).n_objects == 12


def test_ten_thousand_objects_and_seventy_thousand_ids():
    y, x = np.mgrid[:1000, :1000]
    tiles = ((y // 10) * 100 + x // 10 + 1).astype(np.int32)
    tiles[(y % 10 == 9) | (x % 10 == 9)] = 0
    names = np.random.default_rng(0).permutation(10_000).astype(np.int32) + 60_000
    planes = [tiles, np.where(tiles > 0, names[tiles - 1], 0), tiles]
    assert np.array_equal(link_planes(planes).labels, [tiles] * 3)
    moving = [np.where((tiles > 0) & ((x + y) // 10 % 2 == z % 2), tiles, 0) for z in range(14)]
    linked = link_planes(moving, LinkSettings(max_distance_z=1))
    assert linked.n_objects == sum(np.unique(one).size - 1 for one in moving) >= 69_900
    assert linked.labels.dtype == np.int32


def test_masks_scattered_over_the_plane_are_linked_too():
    rng = np.random.default_rng(0)
    dust = rng.integers(0, 300, (64, 64))
    shuffled = rng.permutation(299) + 1
    linked = link_planes([dust, np.where(dust > 0, shuffled[dust - 1], 0)])
    assert np.array_equal(linked.labels[0], linked.labels[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64])
def test_any_whole_numbers_will_do(dtype):
    planes = np.array([disc(9), disc(9)]).astype(dtype)
    planes.flags.writeable = False
    linked = link_planes(planes)
    assert linked.labels.dtype == np.int32
    assert linked.n_objects == 1


def test_empty_planes_hold_nothing_and_split_nothing():
    empty = np.zeros((48, 48), int)
    assert link_planes([empty, empty]).n_objects == 0
    assert link_planes([disc(9), empty, disc(9)]).n_objects == 1


def test_what_add_returned_is_not_written_into_later():
    linker = PlaneLinker()
    told = [linker.add(plane) for plane in (disc(9), np.zeros((48, 48), int), disc(9))]
    linker.finish()
    assert not told[1].any()
    assert not told[0].flags.writeable


def test_planes_that_do_not_fit_are_refused():
    linker = PlaneLinker()
    linker.add(disc(5))
    with pytest.raises(BadInputError, match=r"plane 1 has shape \(4, 4\), expected \(48, 48\)"):
        linker.add(np.zeros((4, 4), int))
    with pytest.raises(BadInputError, match="whole numbers"):
        linker.add(np.zeros((48, 48)))
    with pytest.raises(BadInputError, match="no plane"):
        PlaneLinker().finish()
    with pytest.raises(BadInputError, match="max_distance_z is 0"):
        LinkSettings(max_distance_z=0)
