"""Sections from files: by the number in their name, read when asked for."""

import numpy as np
import pytest
import tifffile

from parfocal.errors import BadInputError
from parfocal.files import write_ome_zarr
from parfocal.slices.sections import SectionFolder, open_sections


def volume(value, shape=(2, 6, 5)):
    return np.full(shape, value, np.uint16)


def test_sections_come_in_the_order_of_their_numbers(tmp_path):
    for k in (100, 9, 99, 2):
        write_ome_zarr(tmp_path / f"mosaic_grid_z{k}.ome.zarr", volume(k), (5.0, 2.0, 2.0))
    (tmp_path / "z7.txt").touch()
    (tmp_path / "overview.ome.zarr").mkdir()
    source = SectionFolder(tmp_path)
    assert source.slice_ids == ("02", "09", "99", "100")
    assert source.voxel_size_um == (5.0, 2.0, 2.0)
    assert all((source.volume(i) == int(i)).all() for i in source.slice_ids)


def test_shapes_are_known_without_reading_pixels(tmp_path):
    path = write_ome_zarr(tmp_path / "slice_z03.ome.zarr", volume(3), (5.0, 2.0, 2.0))
    for chunk in (path / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"broken")
    source = SectionFolder(tmp_path)
    assert source.shape("03") == (2, 6, 5)
    with pytest.raises(BadInputError, match="damaged"):
        source.volume("03")


def test_tiff_volumes_are_sections_too(tmp_path):
    tifffile.imwrite(tmp_path / "s_z01.tif", volume(1), metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "s_z02.tiff", volume(2, (6, 5)))
    tifffile.imwrite(tmp_path / "s_z03.tif", volume(3), metadata=None)
    source = SectionFolder(tmp_path, (5.0, 2.0, 2.0))
    assert [source.shape(i) for i in source.slice_ids] == [(2, 6, 5), (1, 6, 5), (2, 6, 5)]
    np.testing.assert_array_equal(source.volume("03"), volume(3))
    assert source.voxel_size_um == (5.0, 2.0, 2.0)


def test_one_file_is_sections_a_plane_thick(tmp_path):
    planes = np.arange(3 * 6 * 5, dtype=np.uint16).reshape(3, 6, 5)
    tifffile.imwrite(tmp_path / "all.tif", planes, photometric="minisblack", metadata={"axes": "ZYX"})
    source = open_sections(tmp_path / "all.tif", (50.0, 1.0, 1.0))
    assert source.slice_ids == ("00", "01", "02")
    np.testing.assert_array_equal(source.volume("02"), planes[2:])
    with pytest.raises(BadInputError, match="no section 03"):
        source.volume("03")


@pytest.mark.parametrize(
    ("names", "said"), [(["a_z1.tif", "b_z01.tif"], "both section 01"), (["a.tif"], "no section here")]
)
def test_what_is_ambiguous_or_missing_is_one_clear_line(tmp_path, names, said):
    for name in names:
        tifffile.imwrite(tmp_path / name, volume(1))
    with pytest.raises(BadInputError, match=said):
        SectionFolder(tmp_path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(BadInputError, match="no such file or folder"):
        open_sections(tmp_path / "none")
