"""Volumes as OME-Zarr: what others wrote is read, what we write others read."""

import json

import numpy as np
import pytest
import zarr

from parfocal.errors import BadInputError
from parfocal.files import open_ome_zarr, read_ome_zarr, write_ome_zarr, writing_ome_zarr

VOLUME = np.random.default_rng(0).integers(0, 60000, (5, 9, 7)).astype(np.uint16)


def by_zarr_python(path, pixels, version, unit="micrometer", scale=(5.0, 2.0, 2.0), axes="zyx", whole=None):
    """Write an image as other programs do, with zarr's own library."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(2,) * pixels.ndim)
    array[...] = pixels
    multiscale = {
        "version": "0.4",
        "axes": [{"name": a, "type": "space", "unit": unit} if a in "zyx" else {"name": a} for a in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]}],
    }
    if whole is not None:
        multiscale["coordinateTransformations"] = [{"type": "scale", "scale": list(whole)}]
    if version == "0.4":
        group.attrs["multiscales"] = [multiscale]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_volume_of_either_version_is_read_with_its_voxel_size(tmp_path, version):
    path = by_zarr_python(tmp_path / "a.ome.zarr", VOLUME, version)
    pixels, voxel_size_um = read_ome_zarr(path)
    np.testing.assert_array_equal(pixels, VOLUME)
    assert voxel_size_um == (5.0, 2.0, 2.0)
    assert open_ome_zarr(path).version == version


def test_units_are_those_of_the_axes_and_the_scale_of_the_whole_counts(tmp_path):
    path = by_zarr_python(
        tmp_path / "a.ome.zarr", VOLUME, "0.4", "millimeter", (0.1, 0.01, 0.01), whole=(2.0, 1.0, 1.0)
    )
    assert open_ome_zarr(path).voxel_size_um == pytest.approx((200.0, 10.0, 10.0))


def test_axes_of_length_one_before_the_volume_are_left_out_and_others_refused(tmp_path):
    one = by_zarr_python(tmp_path / "1", VOLUME[None, None], "0.4", scale=(1, 1, 5, 2, 2), axes="tczyx")
    assert read_ome_zarr(one)[0].shape == VOLUME.shape
    two = by_zarr_python(tmp_path / "2", np.stack([VOLUME] * 2), "0.4", scale=(1, 5, 2, 2), axes="czyx")
    with pytest.raises(BadInputError, match="one volume"):
        open_ome_zarr(two)


def test_what_we_write_zarr_itself_reads(tmp_path):
    path = write_ome_zarr(tmp_path / "a.ome.zarr", VOLUME, (5.0, 2.0, 1.5))
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["0"][...], VOLUME)
    multiscale = group.attrs["ome"]["multiscales"][0]
    assert [axis["name"] for axis in multiscale["axes"]] == ["z", "y", "x"]
    assert multiscale["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [5.0, 2.0, 1.5]}]


def test_a_block_is_read_without_the_rest(tmp_path):
    volume = open_ome_zarr(write_ome_zarr(tmp_path / "a.ome.zarr", VOLUME, (1, 1, 1)))
    np.testing.assert_array_equal(volume.read(slice(1, 3), x=slice(-2, None)), VOLUME[1:3, :, -2:])


def write_some(path, z, planes, fail=False):
    with writing_ome_zarr(path, (4, 8, 8), "u2", (1, 1, 1)) as writer:
        writer.write(z, planes)
        if fail:
            raise RuntimeError


def test_a_volume_that_fails_half_way_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        write_some(tmp_path / "a.ome.zarr", 0, np.ones((2, 8, 8), np.uint16), fail=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays_unless_it_is_to_be_replaced(tmp_path):
    path = write_ome_zarr(tmp_path / "a.ome.zarr", VOLUME, (1, 1, 1))
    with pytest.raises(BadInputError, match="exists already"):
        write_ome_zarr(path, VOLUME + 1, (1, 1, 1))
    np.testing.assert_array_equal(read_ome_zarr(path)[0], VOLUME)
    write_ome_zarr(path, VOLUME[:2], (1, 1, 1), overwrite=True)
    np.testing.assert_array_equal(read_ome_zarr(path)[0], VOLUME[:2])
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_planes_of_another_type_or_beyond_the_end_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="expected uint16"):
        write_some(tmp_path / "a.ome.zarr", 0, np.ones((1, 8, 8), np.float32))
    with pytest.raises(BadInputError, match="within"):
        write_some(tmp_path / "a.ome.zarr", 3, np.ones((2, 8, 8), np.uint16))


def broken(path, how):
    write_ome_zarr(path, VOLUME, (1, 1, 1))
    told = json.loads((path / "zarr.json").read_text())
    multiscale = told["attributes"]["ome"]["multiscales"][0]
    if how == "no image":
        del told["attributes"]["ome"]["multiscales"]
    elif how == "unit":
        multiscale["axes"][0]["unit"] = "parsec"
    elif how == "outside":
        multiscale["datasets"][0]["path"] = "../../etc"
    elif how == "scale":
        multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] = [1, 1]
    elif how == "zero":
        multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] = [0, 1, 1]
    (path / "zarr.json").write_text("{" if how == "json" else json.dumps(told))
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no image", "no multiscales"),
        ("unit", "parsec"),
        ("outside", "no array of this folder"),
        ("scale", "expected 3 numbers"),
        ("zero", "positive"),
        ("json", "not readable as JSON"),
    ],
)
def test_broken_metadata_is_one_clear_line(tmp_path, how, said):
    with pytest.raises(BadInputError, match=said) as error:
        open_ome_zarr(broken(tmp_path / "a.ome.zarr", how))
    assert "\n" not in str(error.value)
