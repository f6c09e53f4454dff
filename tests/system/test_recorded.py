"""`parfocal demo --stack FILE` on real recordings: every plane of the file ends up in the catalog, unchanged."""

import json
from pathlib import Path

import h5py
import nd2
import numpy as np
import pytest
import tifffile

from parfocal.files import open_stack

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared recordings are not here")

# path, --axes, number of planes, dtype
MANY_PLANES = 16  # longer recordings are imaged by `make test-long`
IN_SHORT = ("B_focus/cluster_tzc.nd2", "B_focus/imagexpress_E07")  # the only ones of their formats
STACKS = [
    ("A_beads/astig_beads_field.tif", "", 80, "uint8"),
    ("A_beads/bead_field_no_astigmatism.tif", "", 34, "uint8"),
    ("A_beads/pyme_psf_astig.tif", "", 61, "float32"),
    ("A_beads/pyme_beads1_no_astig.tif", "", 61, "float32"),
    ("A_beads/pyotf_psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif", "", 25, "uint16"),
    ("A_beads/focuslock_frame_5.tif", "", 1, "uint8"),
    ("B_focus/imagexpress_E07", "", 20, "uint16"),
    ("B_focus/bbbc006/in_focus", "", 3, "uint16"),
    ("B_focus/ecoli_ch2_tzyx.tif", "", 66, "uint16"),
    ("B_focus/yeast_brightfield_tz.ome.tif", "", 21, "uint16"),
    ("B_focus/cluster_tzc.nd2", "", 60, "uint16"),
    ("B_focus/pc12_motion_unregistered.tif", "TYX", 5, "uint16"),
    ("B_focus/pc12_motion_registered_rigid.tif", "TYX", 5, "uint16"),
    ("C_nuclei/bbbc050/Emb1_t501_raw.tif", "", 51, "uint16"),
    ("C_nuclei/ovule_nuclei_1135_mini.h5", "", 100, "uint8"),
    ("C_nuclei/stardist_synthetic3d_raw.tif", "ZYX", 31, "uint16"),
    ("C_nuclei/hl60_synthetic_tzyx_raw.tif", "", 456, "uint16"),
    ("D_puncta/storm_sim_256.tif", "", 10, "uint16"),
    ("D_puncta/FakeTracks.tif", "", 50, "uint8"),
    ("D_puncta/telomeres_frames000-079.tif", "", 80, "uint16"),
    ("D_puncta/trackpy_bulk_water_60frames.tif", "", 60, "uint8"),
    ("D_puncta/deepblink_smfish_c1.tif", "", 1, "float32"),
    ("D_puncta/peaks_tzyx.ome.tif", "", 16, "uint16"),
    ("E_calcium/mouse_2p_frames000-299.tif", "", 300, "int16"),
    ("E_calcium/sima_2p_motion.tif", "", 20, "uint16"),
    ("F_slices/serial2p_sections_zyx.tif", "", 26, "uint16"),
    ("F_slices/celegans_em_sections.tif", "", 21, "uint8"),
    ("F_slices/brain_sections", "ZYX", 8, "uint8"),
    ("F_slices/mitotic_plate_z_calibration_good.tif", "", 6, "uint8"),
    ("F_slices/mitotic_plate_z_calibration_bad.tif", "", 6, "uint8"),
]

# Frames where the sharpest plane is known: the plate was focused at step 5 of 10 (both sites); a computed point
# spread function and a measured one are centred in their stacks.
SHARPEST = {
    "B_focus/imagexpress_E07": [4, 14],
    "A_beads/pyotf_psf_wl520nm_z300nm_x130nm_na0.85_n1.0.tif": [12],
    "A_beads/pyme_psf_astig.tif": [30],
}


def planes_by_other_readers(path: Path) -> np.ndarray:
    """Return `[plane, y, x]` in the order of acquisition: time, channel, z fastest."""
    if path.suffix == ".nd2":
        pixels = nd2.imread(path).transpose(0, 2, 1, 3, 4)
    elif path.suffix == ".h5":
        with h5py.File(path) as file:
            pixels = file["raw"][()]
    elif path.name == "imagexpress_E07":
        steps = sorted(path.glob("ZStep_*"), key=lambda step: int(step.name.split("_")[1]))
        files = [sorted(step.glob("*_s*_w1*.tif")) for step in steps]
        pixels = np.array([[tifffile.imread(step[site]) for step in files] for site in range(2)])
    elif path.name == "brain_sections":
        pixels = open_stack(path, "ZYX").read()  # made grey: tests/unit/files holds how
    elif path.is_dir():
        pixels = np.array([tifffile.imread(file) for file in sorted(path.glob("*.tif"))])
    else:
        pixels = tifffile.imread(path)
    return pixels.reshape(-1, *pixels.shape[-2:])


@pytest.mark.parametrize(
    ("path", "axes", "n_planes", "dtype"),
    [
        pytest.param(*s, id=s[0], marks=pytest.mark.long if s[2] > MANY_PLANES and s[0] not in IN_SHORT else ())
        for s in STACKS
    ],
)
def test_every_plane_of_a_recording_is_in_the_catalog(parfocal, data, catalog, path, axes, n_planes, dtype):
    given = ["--axes", axes] if axes else []
    said = parfocal("demo", "--data", data, "--stack", DATA / path, *given, "--no-picture", "--json")
    assert said.code == 0, said.err
    about = json.loads(said.out)

    frames = []
    for uid in about["runs"]:
        run = catalog.run(uid)
        assert run.metadata["stop"]["exit_status"] == "success"
        pixels = run["primary"]["camera"].read()
        assert len(run["primary"]["camera_frame"].read()) == len(pixels)
        frames.extend(pixels)
        (analysis,) = catalog.analyses_of(run)
        assert analysis.metadata["stop"]["num_events"]["scores"] == len(pixels)
    frames = np.array(frames)
    expected = planes_by_other_readers(DATA / path)
    assert (len(frames), frames.dtype) == (n_planes, np.dtype(dtype))
    np.testing.assert_array_equal(frames, expected)
    if path in SHARPEST:
        assert [stack["best_frame"] for stack in about["stacks"]] == SHARPEST[path]
        assert all(stack["reason"] == "" and stack["sigma_z_um"] > 0 for stack in about["stacks"])


def test_z_channel_and_time_of_a_recording_are_columns(parfocal, data, catalog):
    path = DATA / "B_focus/cluster_tzc.nd2"
    said = parfocal("demo", "--data", data, "--stack", path, "--no-picture", "--json")
    (uid,) = json.loads(said.out)["runs"]
    events = catalog.run(uid)["primary"].read(
        ["stage_z", "point_channel", "point_time_point", "point_plane", "camera_frame"]
    )
    with nd2.ND2File(path) as file:
        names = [channel.channel.name for channel in file.metadata.channels]
    assert np.asarray(events["point_channel"]).tolist() == ([names[0]] * 10 + [names[1]] * 10) * 3
    assert np.asarray(events["point_time_point"]).tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert np.asarray(events["point_plane"]).tolist() == list(range(10)) * 6
    assert np.diff(np.asarray(events["stage_z"])[:10]) == pytest.approx([0.5] * 9, abs=1e-3)


def test_the_data_set_of_a_volume_is_chosen_by_name(parfocal, data, catalog):
    path = DATA / "C_nuclei/ovule_nuclei_1135_mini.h5"
    said = parfocal("demo", "--data", data, "--stack", f"{path}:label", "--no-picture", "--json")
    assert said.code == 0, said.err
    (uid,) = json.loads(said.out)["runs"]
    with h5py.File(path) as file:
        labels = file["label"][()]
    np.testing.assert_array_equal(catalog.run(uid)["primary"]["camera"].read(), labels)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("B_focus/pc12_motion_unregistered.tif", "--axes ZYX, TYX or CYX"),
        ("C_nuclei/stardist_synthetic3d_raw.tif", "--axes ZYX"),
        ("F_slices/brain_sections", "--axes ZYX"),
        ("F_slices/mosaic_5x5", "all planes of a folder must be equal"),
        ("D_puncta/storm_sim_256.ground_truth.csv", "storm_sim_256.ground_truth.csv"),
        ("no_such_file.tif", "no_such_file.tif"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(parfocal, data, catalog, path, words):
    n_before = len(catalog.raw)
    said = parfocal("demo", "--data", data, "--stack", DATA / path, "--no-picture", "--json")
    assert said.code == 2
    assert words in said.complaint
    assert said.out == ""
    assert len(catalog.raw) == n_before
