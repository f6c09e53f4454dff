"""The table of objects: positions, volumes and intensities in the units that are said."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from parfocal.errors import BadInputError
from parfocal.segmentation import Segmentation
from parfocal.segmentation.backends import measure_in_parts, measure_objects

VOXEL_UM = (1.0, 0.5, 0.25)


def of(labels, voxel_um=VOXEL_UM):
    return Segmentation(np.asarray(labels, np.int32), voxel_um, "test")


def ball(shape=(21, 41, 81), centre=(10, 20, 40), radius_um=8.0, voxel_um=VOXEL_UM):
    z, y, x = np.indices(shape)
    squares = sum(((a - c) * v / radius_um) ** 2 for a, c, v in zip((z, y, x), centre, voxel_um))
    return (squares <= 1).astype(np.int32)


def test_a_ball_is_where_it_is_and_as_large_as_it_is_in_um():
    table = measure_objects(of(ball()), origin_um=(100.0, 0.0, -7.0))
    assert len(table) == 1
    assert (table.z_um[0], table.y_um[0], table.x_um[0]) == pytest.approx((110.0, 10.0, 3.0))
    assert table.volume_um3[0] == pytest.approx(4 / 3 * np.pi * 8.0**3, rel=0.03)
    assert table.diameter_um[0] == pytest.approx(16.0, rel=0.02)
    assert table.elongation[0] == pytest.approx(1.0, abs=0.03)
    assert 0.85 < table.solidity[0] <= 1.0
    assert not table.at_border[0]


def test_a_rod_is_as_elongated_as_it_is_long_whatever_its_voxels():
    z, y, x = np.indices((31, 21, 21))
    rod = ((z - 15) / 15) ** 2 + ((y - 10) / 10) ** 2 + ((x - 10) / 10) ** 2 <= 1
    for z_um in (1.0, 2.0):
        table = measure_objects(of(rod, (z_um, 1.0, 1.0)))
        assert table.elongation[0] == pytest.approx(1.5 * z_um, rel=0.03)


def test_a_bent_object_is_less_solid_than_a_convex_one():
    bent = np.zeros((6, 20, 20), np.int32)
    bent[:, 2:18, 2:6] = bent[:, 14:18, 2:18] = 1
    bent[1:5, 4:10, 10:16] = 2
    table = measure_objects(of(bent))
    assert table.solidity[0] < 0.7
    assert table.solidity[1] == pytest.approx(1.0)


def test_the_numbers_are_those_of_scikit_image():
    rng = np.random.default_rng(3)
    labels, n = ndimage.label(ndimage.gaussian_filter(rng.normal(size=(20, 60, 60)), 3) > 0.03)
    image = rng.poisson(200, labels.shape).astype(np.uint16)
    table = measure_objects(of(labels, (1.0, 1.0, 1.0)), {"dapi": image}, offset=100.0)
    truth = regionprops(labels, intensity_image=image)
    assert len(table) == n > 5
    for row, one in enumerate(truth):
        assert (table.z_um[row], table.y_um[row], table.x_um[row]) == pytest.approx(one.centroid)
        assert table.n_voxels[row] == one.area
        assert tuple(table.bounding_box[row]) == one.bbox
        assert table.mean["dapi"][row] == pytest.approx(one.intensity_mean - 100.0)
        assert table.maximum["dapi"][row] == one.intensity_max - 100.0
        assert table.sd["dapi"][row] == pytest.approx(image[labels == one.label].std())


def test_contact_is_the_share_of_the_surface_on_other_objects_by_area():
    pair = np.zeros((8, 8, 8), np.int32)
    pair[2:4, 2:6, 2:6], pair[4:6, 2:6, 2:6] = 1, 2
    table = measure_objects(of(pair, (2.0, 1.0, 1.0)))
    # A box of 4 x 4 x 4 um: one of its six sides is shared.
    assert table.contact == pytest.approx([1 / 6, 1 / 6])


def test_an_object_that_the_volume_cuts_says_so_and_a_plane_has_no_side_in_z():
    cut = np.zeros((5, 9, 9), np.int32)
    cut[0, 3:5, 3:5], cut[2, 0, 3], cut[2:4, 5:7, 5:7] = 1, 2, 3
    assert measure_objects(of(cut)).at_border.tolist() == [True, True, False]
    plane = np.zeros((1, 9, 9), np.int32)
    plane[0, 3:6, 3:6] = 1
    table = measure_objects(of(plane, (5.0, 1.0, 1.0)))
    assert table.at_border.tolist() == [False]
    assert table.diameter_um[0] == pytest.approx(2 * np.sqrt(9 / np.pi))
    assert table.solidity[0] == pytest.approx(1.0)


def test_ids_that_no_voxel_has_are_left_out_and_nothing_makes_an_empty_table():
    gaps = np.zeros((3, 5, 5), np.int32)
    gaps[1, 1, 1], gaps[1, 3, 3] = 4, 9
    assert measure_objects(of(gaps)).ids.tolist() == [4, 9]
    table = measure_objects(of(np.zeros((3, 5, 5))), {"dapi": np.zeros((3, 5, 5))})
    assert len(table) == 0
    assert all(column.shape == (0,) for column in table.columns().values())
    assert "mean_dapi" in table.columns()


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(BadInputError, match="channel red: image of shape"):
        measure_objects(of(np.ones((2, 4, 4))), {"red": np.zeros((2, 4, 5))})
    with pytest.raises(BadInputError, match="offset of channel blue"):
        measure_objects(of(np.ones((2, 4, 4))), {"red": np.zeros((2, 4, 4))}, offset={"blue": 1.0})


def some_objects(shape=(20, 60, 70), n=40):
    """Ellipsoids that touch each other, the sides, and the borders of parts; ids with gaps."""
    rng = np.random.default_rng(0)
    labels, grid = np.zeros(shape, np.int32), np.indices(shape)
    for k in range(1, n):
        centre, reach = rng.uniform(0, 1, 3) * shape, rng.uniform(20, 70)
        labels[sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, (2, 1, 1))) < reach] = 3 * k
    return labels, rng.poisson(100 + 50 * (labels > 0)).astype(np.uint16)


@pytest.mark.parametrize("shape", [(20, 60, 70), (1, 60, 70)])
@pytest.mark.parametrize("part_px", [(8, 20, 25), (64, 512, 512)])
def test_measured_in_parts_objects_are_what_they_are_as_a_whole(shape, part_px):
    labels, image = some_objects(shape)
    whole = measure_objects(of(labels), {"a": image, "b": image[::-1]}, offset=10.0).columns()
    in_parts = measure_in_parts(
        labels, {"a": image, "b": image[::-1]}, VOXEL_UM, offset=10.0, part_px=part_px
    ).columns()
    assert list(in_parts) == list(whole)
    assert len(whole["id"]) > 10
    for name, column in whole.items():
        np.testing.assert_allclose(in_parts[name], column, rtol=1e-9, err_msg=name)


def test_of_nothing_the_parts_are_nothing_and_other_images_are_refused():
    nothing = np.zeros((3, 10, 10), np.int32)
    table = measure_in_parts(nothing, {"a": nothing}, VOXEL_UM)
    assert len(table) == 0
    assert list(table.columns()) == list(measure_objects(of(nothing), {"a": nothing}).columns())
    with pytest.raises(BadInputError, match="channel a"):
        measure_in_parts(nothing, {"a": nothing[:2]}, VOXEL_UM)
