"""The first stage: ids from folders and shifts, and which slices are left out."""

import numpy as np
import pytest
import tifffile

from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger
from parfocal.slices.sections import TILES, GalvoReturn, generate, open_tile, slice_ids_in


def folders(root, *names):
    for name in names:
        (root / name).mkdir()
    return root


def test_mosaics_are_found_by_their_number_in_natural_order(tmp_path):
    folders(
        tmp_path, "mosaic_grid_3d_z100.ome.zarr", "mosaic_grid_3d_z09.ome.zarr", "mosaic_grid_3d_z99.ome.zarr", "z"
    )
    assert list(slice_ids_in(tmp_path)) == ["09", "99", "100"]
    ledger = SliceLedger().apply(generate(slice_ids_in(tmp_path)))
    assert list(ledger.rows) == ["09", "99", "100"]


def test_raw_tiles_are_gathered_by_slice(tmp_path):
    folders(tmp_path, "tile_x00_y00_z01", "tile_x01_y00_z01", "tile_x00_y00_z00", "logs")
    found = slice_ids_in(tmp_path, TILES, many=True)
    assert {sid: len(paths) for sid, paths in found.items()} == {"00": 1, "01": 2}


def test_two_files_of_one_slice_and_a_folder_without_any_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="no name fits"):
        slice_ids_in(tmp_path)
    folders(tmp_path, "a_z1.ome.zarr", "b_z01.ome.zarr")
    with pytest.raises(BadInputError, match="are both slice 01"):
        slice_ids_in(tmp_path)
    with pytest.raises(BadInputError, match="no such folder"):
        slice_ids_in(tmp_path / "none")
    with pytest.raises(BadInputError, match="one group"):
        slice_ids_in(tmp_path, r".*")


def test_excluded_slices_must_exist_and_some_must_be_left():
    ledger = SliceLedger().apply(generate(range(4), exclude=[2, "03"]))
    assert ledger.filter_slices_to_use() == ("00", "01")
    assert ledger.rows["02"]["notes"] == "excluded on request"
    with pytest.raises(BadInputError, match="there is no slice 09"):
        generate(range(4), exclude=[9])
    with pytest.raises(BadInputError, match="none of 2 slices is left"):
        generate(range(2), exclude=[0], exclude_first=2)


def test_the_first_slice_is_left_out_when_asked_or_when_it_is_too_thick():
    asked = SliceLedger().apply(generate(range(5), exclude_first=1))
    assert (asked.rows["00"]["use"], asked.rows["00"]["notes"]) == (False, "calibration_slice")
    depths = {"00": 90, "01": 88, "02": 40, "03": 41, "04": 40, "05": 40, "06": 95}
    thick = generate(depths, depth_planes=depths)
    assert [s.slice_id for s in thick.stamps if s.column == "use" and s.value is False] == ["00", "01"]
    assert "excluded (2): 00 (calibration_slice), 01 (calibration_slice)" in thick.messages
    even = generate(depths, depth_planes=dict.fromkeys(depths, 40))
    assert all(s.value for s in even.stamps if s.column == "use")


def test_without_depths_nothing_is_left_out_and_that_is_said():
    result = generate(range(3))
    assert "depths are not known" in result.messages[0]
    assert all(s.value for s in result.stamps)


def test_galvo_findings_are_stamped_and_their_shift_goes_to_the_metrics():
    result = generate(
        range(3), galvo={"00": GalvoReturn(confidence=0.6, shift_lines=7), "01": GalvoReturn(confidence=0.2)}
    )
    ledger = SliceLedger().apply(result)
    assert [row["galvo_fix"] for row in ledger.rows.values()] == [True, False, None]
    assert result.metrics["00"] == {"galvo_shift_lines": 7, "galvo_confidence": 0.6}


def raw_tile(folder, volume, n_extra):
    folder.mkdir()
    n_z, n_lines, _ = volume.shape
    (folder / "info.txt").write_text(
        f"Scan info\nnx: {n_lines - n_extra}\nn_extra: {n_extra}\ntop_z: 3\nbottom_z: {2 + n_z}\n"
    )
    for i, part in enumerate(np.array_split(volume, 2, axis=2)):
        part.astype("<f4").reshape(-1, order="F").tofile(folder / f"image_{i:05d}.bin")
    return folder


def test_a_raw_tile_is_read_as_the_microscope_wrote_it(tmp_path):
    volume = np.random.default_rng(0).random((4, 12, 6), np.float32)
    tile = open_tile(raw_tile(tmp_path / "tile_x00_y00_z00", volume, 5))
    assert tile.n_extra == 5
    np.testing.assert_array_equal(tile.volume(), volume)
    np.testing.assert_allclose(tile.projection(), volume.mean(axis=0), rtol=1e-6)
    (tile.path / "image_00001.bin").write_bytes(b"\0" * 12)
    with pytest.raises(BadInputError, match="no whole number of B-scans"):
        tile.volume()


def test_a_tile_can_be_an_image_of_two_or_three_axes(tmp_path):
    tifffile.imwrite(tmp_path / "tile_z01.tif", np.zeros((2, 30, 40), np.uint16))
    tifffile.imwrite(tmp_path / "tile_z02.tif", np.zeros((30, 40), np.uint16))
    assert open_tile(tmp_path / "tile_z01.tif").volume().shape == (2, 30, 40)
    assert open_tile(tmp_path / "tile_z02.tif").projection().shape == (30, 40)
    with pytest.raises(BadInputError, match="no such tile"):
        open_tile(tmp_path / "none")
