"""Real files, against the facts that their sources state."""

from pathlib import Path

import numpy as np
import pytest

from parfocal.files import AxesUnknownError, open_stack

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")

NO_VOXEL = (None, None, None)
# path, axes to give, axes, shape, dtype, voxel size
FACTS = [
    ("A_beads/astig_beads_field.tif", None, "ZYX", (80, 328, 360), "uint8", (0.1, 0.0635, 0.0635)),
    ("A_beads/bead_field_no_astigmatism.tif", None, "ZYX", (34, 512, 512), "uint8", (0.3, 0.108, 0.108)),
    ("A_beads/pyme_psf_astig.tif", None, "ZYX", (61, 61, 61), "float32", (0.05, 0.072, 0.074)),
    ("A_beads/pyme_beads1_no_astig.tif", None, "ZYX", (61, 61, 61), "float32", (0.05, None, None)),
    (
        "A_beads/pyotf_psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif",
        None, "ZYX", (25, 256, 256), "uint16", (0.3, 0.13, 0.13),
    ),
    ("A_beads/focuslock_frame_5.tif", None, "YX", (75, 300), "uint8", NO_VOXEL),
    ("B_focus/imagexpress_E07", None, "PZYX", (2, 10, 512, 512), "uint16", (4.99, 1.3668, 1.3668)),
    ("B_focus/imagexpress_E07/ZStep_3", None, "PYX", (2, 512, 512), "uint16", (None, 1.3668, 1.3668)),
    ("B_focus/bbbc006/in_focus", None, "PYX", (3, 400, 400), "uint16", NO_VOXEL),
    ("B_focus/bbbc006/out_of_focus", None, "PYX", (4, 400, 400), "uint16", NO_VOXEL),
    ("B_focus/ecoli_ch2_tzyx.tif", None, "TZYX", (6, 11, 200, 200), "uint16", NO_VOXEL),
    ("B_focus/yeast_brightfield_tz.ome.tif", None, "TZYX", (3, 7, 193, 174), "uint16", (0.3, 0.065, 0.065)),
    (
        "B_focus/cluster_tzc.nd2",
        None, "TZCYX", (3, 10, 2, 31, 38), "uint16", (0.5, 0.167808983, 0.167808983),
    ),
    ("B_focus/pc12_motion_unregistered.tif", "TYX", "TYX", (5, 201, 199), "uint16", NO_VOXEL),
    ("C_nuclei/bbbc050/Emb1_t501_raw.tif", None, "ZYX", (51, 114, 112), "uint16", (1.75, 0.8, 0.8)),
    ("C_nuclei/ovule_nuclei_1135_mini.h5", None, "ZYX", (100,) * 3, "uint8", (0.28372, 0.126786, 0.126786)),
    ("C_nuclei/stardist_synthetic3d_raw.tif", "zyx", "ZYX", (31, 61, 57), "uint16", NO_VOXEL),
    ("C_nuclei/hl60_synthetic_tzyx_raw.tif", None, "TZYX", (38, 12, 44, 80), "uint16", NO_VOXEL),
    ("D_puncta/storm_sim_256.tif", None, "TYX", (10, 256, 256), "uint16", NO_VOXEL),
    ("D_puncta/FakeTracks.tif", None, "TYX", (50, 128, 128), "uint8", NO_VOXEL),
    ("D_puncta/telomeres_frames000-079.tif", None, "TYX", (80, 133, 162), "uint16", (None, 0.11, 0.11)),
    ("D_puncta/deepblink_smfish_c1.tif", None, "YX", (512, 512), "float32", NO_VOXEL),
    ("D_puncta/peaks_tzyx.ome.tif", None, "TZYX", (4, 4, 48, 56), "uint16", (1.0, 0.065, 0.065)),
    ("E_calcium/mouse_2p_frames000-299.tif", None, "TYX", (300, 64, 64), "int16", NO_VOXEL),
    ("E_calcium/sima_2p_motion.tif", None, "TYX", (20, 128, 256), "uint16", NO_VOXEL),
    ("F_slices/serial2p_sections_zyx.tif", None, "ZYX", (26, 416, 416), "uint16", NO_VOXEL),
    ("F_slices/brain_sections", "ZYX", "ZYX", (8, 670, 1024), "uint8", NO_VOXEL),
    (
        "F_slices/mitotic_plate_z_calibration_good.tif",
        None, "ZYX", (6, 263, 263), "uint8", (3.0, 0.08519643, 0.08519643),
    ),
    (
        "F_slices/mitotic_plate_z_calibration_bad.tif",
        None, "ZYX", (6, 263, 263), "uint8", (None, 0.08519643, 0.08519643),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "given", "axes", "shape", "dtype", "voxel"), FACTS, ids=[f[0] for f in FACTS])
def test_a_real_file_opens_with_its_known_facts(path, given, axes, shape, dtype, voxel):
    stack = open_stack(DATA / path, given)
    assert (stack.axes, stack.shape, stack.dtype) == (axes, shape, np.dtype(dtype))
    for measured, expected in zip(stack.voxel_size_um, voxel):
        assert measured == (None if expected is None else pytest.approx(expected, rel=1e-5))
    first = stack.plane(**dict.fromkeys(axes[:-2].lower(), 0))
    assert first.shape == shape[-2:]
    assert first.dtype == np.dtype(dtype)
    assert first.flags.owndata
    assert first.flags.writeable


@pytest.mark.parametrize(
    "path",
    ["B_focus/yeast_brightfield_tz.ome.tif", "B_focus/ecoli_ch2_tzyx.tif", "D_puncta/peaks_tzyx.ome.tif"],
)
def test_planes_read_singly_are_those_of_the_whole(path):
    stack = open_stack(DATA / path)
    whole = stack.read()
    t, z = stack.size("T") - 1, stack.size("Z") // 2
    np.testing.assert_array_equal(stack.plane(t=t, z=z), whole[t, z])
    np.testing.assert_array_equal(np.asarray(stack), whole)


def test_every_plane_of_an_nd2_file_is_the_one_that_the_nd2_library_gives():
    import nd2

    path = DATA / "B_focus/cluster_tzc.nd2"
    np.testing.assert_array_equal(open_stack(path).read(), nd2.imread(path))


@pytest.mark.parametrize(
    "path",
    [
        "B_focus/pc12_motion_unregistered.tif",
        "C_nuclei/stardist_synthetic3d_raw.tif",
        "F_slices/brain_sections",
    ],
)
def test_axes_that_no_header_tells_are_asked_for(path):
    with pytest.raises(AxesUnknownError, match="--axes ZYX") as caught:
        open_stack(DATA / path)
    assert "\n" not in str(caught.value)


def test_metaxpress_headers_give_the_true_z_and_stage_position_of_each_site():
    stack = open_stack(DATA / "B_focus/imagexpress_E07")
    assert stack.z_um is not None
    assert stack.xy_um == ((79813.4, 41385.4), (80513.3, 41385.4))
    np.testing.assert_allclose(stack.z_um[0][:4], [9318.24, 9323.18, 9328.16, 9333.2])
    assert [len(row) for row in stack.z_um] == [10, 10]
    assert stack.na == 0.75


def test_time_points_come_from_the_header():
    assert open_stack(DATA / "B_focus/yeast_brightfield_tz.ome.tif").time_s == (0.0, 10.0, 20.0)
    telomeres = open_stack(DATA / "D_puncta/telomeres_frames000-079.tif").time_s
    assert telomeres is not None
    assert telomeres[:3] == pytest.approx((0.0, 0.05, 0.1))
    import nd2

    with nd2.ND2File(DATA / "B_focus/cluster_tzc.nd2") as file:
        first_planes = [event["Time [s]"] for event in file.events() if event["Z Index"] == 0]
    assert open_stack(DATA / "B_focus/cluster_tzc.nd2").time_s == pytest.approx(first_planes)


def test_the_data_set_of_a_volume_can_be_named():
    path = DATA / "C_nuclei/ovule_nuclei_1135_mini.h5"
    labels = open_stack(f"{path}:label").read()
    assert len(np.unique(labels)) - 1 == 54
    assert not np.array_equal(labels, open_stack(path).read())


def test_colour_sections_are_made_grey_and_it_is_said():
    stack = open_stack(DATA / "F_slices/brain_sections", "ZYX")
    assert any("grey" in warning for warning in stack.warnings)


def test_a_mosaic_folder_beside_its_stitched_picture_is_refused():
    with pytest.raises(ValueError, match="all planes of a folder must be equal"):
        open_stack(DATA / "F_slices/mosaic_5x5")
