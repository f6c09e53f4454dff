"""Files made here: dialects, folders, and what a damaged file or a wrong word gets to hear."""

import logging
import warnings

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile

from parfocal.errors import BadInputError
from parfocal.files import AxesUnknownError, open_stack


def pixels(*shape, dtype=np.uint16):
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


def write(path, data, photometric="minisblack", **options):
    tifffile.imwrite(path, data, photometric=photometric, **options)


@pytest.fixture
def refuse(capfd, caplog):
    """Return a function that expects one line of refusal and nothing else on any channel."""

    def check(path, match, axes=None):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(BadInputError, match=match) as caught:
                open_stack(path, axes).read()
        message = str(caught.value)
        assert "\n" not in message
        assert str(path) in message
        assert capfd.readouterr() == ("", "")
        return message

    caplog.set_level(logging.CRITICAL)
    return check


# ---- dialects


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_pixels_come_back_as_stored(tmp_path, dtype, compression):
    data = pixels(3, 20, 30, dtype=dtype)
    write(tmp_path / "a.tif", data, compression=compression, metadata={"axes": "ZYX"})
    stack = open_stack(tmp_path / "a.tif")
    np.testing.assert_array_equal(stack.read(), data)
    assert stack.dtype == data.dtype


def test_an_imagej_hyperstack_keeps_axes_voxels_and_interval(tmp_path):
    data = pixels(2, 3, 2, 16, 18)
    write(
        tmp_path / "ij.tif", data, imagej=True, resolution=(1 / 0.11, 1 / 0.12),
        metadata={"axes": "TZCYX", "spacing": 250.0, "unit": "nm", "finterval": 2.5},
    )  # fmt: skip
    stack = open_stack(tmp_path / "ij.tif")
    assert stack.axes == "TZCYX"
    assert stack.voxel_size_um == pytest.approx((0.25, 0.12e-3, 0.11e-3), rel=1e-4)
    assert stack.time_s == (0.0, 2.5)
    np.testing.assert_array_equal(stack.plane(t=1, z=2, c=1), data[1, 2, 1])


def test_big_endian_ome_positions_become_an_axis(tmp_path):
    data = pixels(2, 3, 16, 18)
    with tifffile.TiffWriter(tmp_path / "b.ome.tif", byteorder=">") as writer:
        for position in data:
            writer.write(
                position,
                metadata={
                    "axes": "ZYX",
                    "PhysicalSizeX": 65.0,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeZ": 0.5,
                },
            )
    stack = open_stack(tmp_path / "b.ome.tif")
    assert (stack.axes, stack.shape) == ("PZYX", (2, 3, 16, 18))
    assert stack.voxel_size_um == (0.5, None, 0.065)
    np.testing.assert_array_equal(stack.read(), data)
    assert stack.read().dtype.isnative


def test_rgb_becomes_grey_and_is_said(tmp_path):
    data = pixels(2, 12, 14, 3, dtype=np.uint8)
    write(tmp_path / "rgb.tif", data, photometric="rgb", metadata={"axes": "ZYXS"})
    stack = open_stack(tmp_path / "rgb.tif")
    assert (stack.axes, stack.shape) == ("ZYX", (2, 12, 14))
    assert any("colour" in warning for warning in stack.warnings)
    np.testing.assert_array_equal(stack.read(), np.rint(data @ [0.299, 0.587, 0.114]))


def test_a_png_is_one_plane(tmp_path):
    data = pixels(12, 14)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(data))
    stack = open_stack(tmp_path / "a.png")
    assert (stack.axes, stack.dtype) == ("YX", np.uint16)
    np.testing.assert_array_equal(stack.read(), data)


def test_a_volume_without_a_voxel_size_asks_for_axes(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["small"] = pixels(2, 8, 8)
        file["deep/big"] = pixels(4, 8, 9)
        file["table"] = np.arange(3)
    with pytest.raises(AxesUnknownError, match=r"\(4, 8, 9\)"):
        open_stack(tmp_path / "v.h5")
    stack = open_stack(tmp_path / "v.h5", "TYX")
    assert stack.shape == (4, 8, 9)
    assert any("deep/big" in warning for warning in stack.warnings)
    np.testing.assert_array_equal(open_stack(f"{tmp_path / 'v.h5'}:small", "ZYX").plane(z=1), pixels(2, 8, 8)[1])
    with pytest.raises(BadInputError, match="there are: deep/big, small"):
        open_stack(f"{tmp_path / 'v.h5'}:lable")


# ---- names and headers that disagree


def test_a_header_that_contradicts_the_file_name_is_reported(tmp_path):
    name = "psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif"
    write(tmp_path / name, pixels(3, 9, 9), metadata={"axes": "ZYX", "z_step_nm": 300, "pixel_nm": 54})
    stack = open_stack(tmp_path / name)
    assert stack.voxel_size_um == (0.3, 0.054, 0.054)
    assert [w for w in stack.warnings if "0.054 um (used), the file name 0.13 um" in w] == list(stack.warnings)
    assert len(stack.warnings) == 2  # x and y
    assert (stack.na, stack.wavelength_um) == (0.85, pytest.approx(0.52))


def test_a_file_name_fills_what_the_header_leaves_open(tmp_path):
    write(tmp_path / "beads_z100nm.tif", pixels(3, 9, 9), metadata={"axes": "ZYX"})
    stack = open_stack(tmp_path / "beads_z100nm.tif")
    assert stack.voxel_size_um[0] == pytest.approx(0.1)
    assert stack.warnings == ("z size 0.1 um comes from the file name",)


def test_the_user_overrules_the_file_and_is_told_so(tmp_path):
    write(tmp_path / "a.tif", pixels(3, 9, 9), metadata={"axes": "ZYX"})
    stack = open_stack(tmp_path / "a.tif", "tyx")
    assert stack.axes == "TYX"
    assert "though the file says ZYX" in stack.warnings[0]


# ---- folders


def write_planes(folder, names, shape=(8, 9)):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, np.full(shape, i, np.uint16))


def test_files_without_a_tell_are_taken_in_natural_order(tmp_path):
    write_planes(tmp_path, ["img 2.tif", "img 10.tif", "img 1.tif"])
    with pytest.raises(AxesUnknownError):
        open_stack(tmp_path)
    stack = open_stack(tmp_path, "ZYX")
    assert [int(stack.plane(z=z)[0, 0]) for z in range(3)] == [2, 0, 1]


def test_names_tell_the_grid_whatever_the_nesting(tmp_path):
    names = [
        f"TimePoint_{t}/ZStep_{z}/exp_B03_s{s}_w{c}.tif"
        for t in (1, 2) for z in (9, 10, 11) for s in (1, 2) for c in (1, 2)
    ]  # fmt: skip
    write_planes(tmp_path, names)
    stack = open_stack(tmp_path)
    assert (stack.axes, stack.shape) == ("TPCZYX", (2, 2, 2, 3, 8, 9))
    assert stack.plane(t=1, p=0, c=1, z=2)[0, 0] == names.index("TimePoint_2/ZStep_11/exp_B03_s1_w2.tif")


def test_a_missing_plane_is_named(tmp_path, refuse):
    write_planes(tmp_path, [f"a_z{z}_t{t}.tif" for z in range(3) for t in range(2) if (z, t) != (1, 1)])
    assert "T 1, Z 1" in refuse(tmp_path, "no plane for")


def test_planes_of_unequal_shapes_are_refused(tmp_path):
    write_planes(tmp_path, ["a_z1.tif", "a_z2.tif"])
    write_planes(tmp_path, ["a_z3.tif"], shape=(8, 10))
    with pytest.raises(BadInputError, match=r"a_z3.tif: a plane of \(8, 10\)"):
        open_stack(tmp_path)


def test_a_folder_of_stacks_is_refused(tmp_path):
    write(tmp_path / "a.tif", pixels(3, 9, 9), metadata={"axes": "ZYX"})
    write(tmp_path / "b.tif", pixels(3, 9, 9), metadata={"axes": "ZYX"})
    with pytest.raises(BadInputError, match="open this file by itself"):
        open_stack(tmp_path)


def test_an_empty_folder_is_refused(tmp_path, refuse):
    (tmp_path / "notes.txt").write_text("nothing here")
    refuse(tmp_path, "no TIFF or PNG image")


# ---- what is wrong with a file


def test_a_missing_file_is_named(tmp_path, refuse):
    refuse(tmp_path / "gone.tif", "no such file")
    refuse(tmp_path / "gone.h5", "no such file")


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.png", "a.nd2", "a.h5"])
@pytest.mark.parametrize("content", [b"", b"these are notes, not pixels\n" * 20], ids=["empty", "text"])
def test_a_file_that_is_no_image_is_refused(tmp_path, refuse, name, content):
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, "empty|not a|cannot be read")


def test_a_type_that_is_not_read_is_refused(tmp_path, refuse):
    (tmp_path / "movie.avi").write_bytes(b"RIFF")
    refuse(tmp_path / "movie.avi", "expected TIFF, ND2, HDF5")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("keep", [6, 0.3, 0.6, 0.97])
def test_a_tiff_cut_short_is_refused_and_never_filled_up(tmp_path, refuse, compression, keep):
    path = tmp_path / "cut.tif"
    rng = np.random.default_rng(0)
    write(
        path,
        rng.integers(0, 60000, (6, 64, 64), np.uint16),
        compression=compression,
        metadata={"axes": "ZYX"},
    )
    data = path.read_bytes()
    path.write_bytes(data[: keep if keep > 1 else int(len(data) * keep)])
    refuse(path, "cut short|damaged")


def test_damage_inside_a_compressed_plane_is_refused(tmp_path, refuse):
    path = tmp_path / "bad.tif"
    rng = np.random.default_rng(0)
    write(path, rng.integers(0, 60000, (3, 64, 64), np.uint16), compression="zlib", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[1].dataoffsets[0], tif.pages[1].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    refuse(path, "damaged")


def test_complex_pixels_are_refused(tmp_path, refuse):
    write(tmp_path / "c.tif", np.zeros((4, 8, 8), np.complex64), metadata={"axes": "ZYX"})
    refuse(tmp_path / "c.tif", "complex64")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("ZYXC", "names 4"),
        ("QYX", "letters"),
        ("YYX", "twice"),
        ("YXZ", "does not end in YX"),
        ("", "names 0"),
    ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path, refuse, axes, message):
    write(tmp_path / "a.tif", pixels(3, 9, 9), metadata=None)
    refuse(tmp_path / "a.tif", message, axes)


# ---- asking for planes


@pytest.mark.parametrize(
    ("index", "message"),
    [({}, "which plane along Z"), ({"z": 3}, "no plane z=3"), ({"z": -1}, "z=-1"), ({"q": 0}, "q=0")],
)
def test_a_plane_that_is_not_there_is_refused(tmp_path, index, message):
    write(tmp_path / "a.tif", pixels(3, 9, 9), metadata={"axes": "ZYX"})
    with pytest.raises(BadInputError, match=message):
        open_stack(tmp_path / "a.tif").plane(**index)


def test_an_axis_that_the_stack_lacks_may_be_asked_for_at_0(tmp_path):
    data = pixels(3, 9, 9)
    write(tmp_path / "a.tif", data, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(open_stack(tmp_path / "a.tif").plane(z=2, t=0, c=0), data[2])


def test_reading_leaves_no_file_open(tmp_path):
    write(tmp_path / "a.tif", pixels(3, 9, 9), metadata={"axes": "ZYX"})
    stack = open_stack(tmp_path / "a.tif")
    stack.plane(z=0)
    (tmp_path / "a.tif").unlink()
    with pytest.raises(BadInputError, match=r"a\.tif"):
        stack.plane(z=0)
