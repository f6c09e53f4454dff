"""Steps that the stage cannot vouch for are measured in the images."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from parfocal.slices.sections import SectionArrays, ShiftTable, detect_rehoming, verify_by_image

DATA = Path("../shared/data/F_slices")
UM = 10.0  # a pixel, so that 0.5 mm are 50 px


def scene(seed=0):
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((400, 400)), 3)
    return (1000 + 300 * field / field.std()).astype(np.float32)


def cut(whole, at_px):
    """Return sections of 200x200 px out of a scene, each where the stage was (x, y px)."""
    volumes = {
        f"{i:02d}": np.stack([whole[100 + y : 300 + y, 100 + x : 300 + x]] * 3) for i, (x, y) in enumerate(at_px)
    }
    return SectionArrays(volumes, (10.0, UM, UM))


def table(at_px):
    steps = np.diff(np.asarray(at_px, float), axis=0)  # what lays the moving section on the fixed one
    ids = [f"{i:02d}" for i in range(len(at_px))]
    mm = steps * UM / 1000
    return ShiftTable(tuple(ids[:-1]), tuple(ids[1:]), mm[:, 0], mm[:, 1], steps[:, 0], steps[:, 1])


def stamped(result, column):
    return {s.slice_id: s.value for s in result.stage.stamps if s.column == column}


def test_a_stage_that_was_really_moved_is_vouched_for():
    at = [(0, 0), (1, 0), (0, 1), (70, -20), (71, -20), (70, -19)]
    found = detect_rehoming(table(at))
    assert list(np.flatnonzero(~found.reliable)) == [2]
    verified = verify_by_image(found, cut(scene(), at))
    assert verified.reliable.all()
    assert stamped(verified, "rehoming_reliable") == {"03": True}
    assert stamped(verified, "rehomed") == {}
    np.testing.assert_allclose(verified.shifts.dx_px, found.shifts.dx_px, atol=0.2)


def test_a_stage_that_only_says_so_is_put_right():
    at = [(0, 0), (1, 0), (0, 1), (2, 1), (1, 1), (2, 0)]
    told = table(at)
    told.dx_mm[2] += 2.0
    told.dx_px[2] += 200
    found = detect_rehoming(told)
    verified = verify_by_image(found, cut(scene(1), at))
    np.testing.assert_allclose(verified.shifts.dx_mm, table(at).dx_mm, atol=0.2 * UM / 1000)
    np.testing.assert_allclose(verified.shifts.dx_px, table(at).dx_px, atol=0.2)
    assert stamped(verified, "rehomed") == {"03": True}


def test_images_that_do_not_match_vouch_for_nothing():
    at = [(0, 0), (1, 0), (0, 1), (70, -20), (71, -20), (70, -19)]
    source = cut(scene(), at)
    rng = np.random.default_rng(2)
    other = dict(source.volumes) | {"03": rng.normal(1000, 100, (3, 200, 200)).astype(np.float32)}
    found = detect_rehoming(table(at))
    verified = verify_by_image(found, SectionArrays(other, source.voxel_size_um))
    assert not verified.reliable[2]
    assert set(stamped(verified, "notes")) == {"03"}
    assert stamped(verified, "rehoming_reliable") == stamped(verified, "rehomed") == {}
    np.testing.assert_array_equal(verified.shifts.dx_mm, found.shifts.dx_mm)
    assert "not verified" in verified.stage.messages[0]
    assert "not verified" in stamped(verified, "notes")["03"]


def test_no_image_is_read_where_every_step_is_reliable():
    class Unread(SectionArrays):
        def volume(self, slice_id):
            raise AssertionError(slice_id)

    at = [(i, 0) for i in range(5)]
    verified = verify_by_image(detect_rehoming(table(at)), Unread({}, (1.0, UM, UM)))
    assert verified.reliable.all()


def test_a_discrepancy_beyond_the_limit_is_not_believed():
    at = [(0, 0), (1, 0), (0, 1), (2, 1), (1, 1), (2, 0)]
    told = table(at)
    told.dx_mm[2] += 2.0
    verified = verify_by_image(detect_rehoming(told), cut(scene(1), at), max_discrepancy_px=50)
    assert not verified.reliable[2]


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_a_move_planted_in_real_sections_is_measured_to_the_pixel():
    stack = tifffile.imread(DATA / "celegans_em_sections.tif")[:6].astype(np.float32)
    volumes = {f"{i:02d}": plane[None, 10:210, 40:240] for i, plane in enumerate(stack)}
    told = table([(0, 0)] * 6)
    told.dx_mm[2] += 0.9  # the stage says something that is not so
    found = detect_rehoming(told)
    as_it_is = verify_by_image(found, SectionArrays(volumes, (50.0, UM, UM)))
    volumes["03"] = stack[3][None, 2:202, 5:205]
    moved = verify_by_image(found, SectionArrays(volumes, (50.0, UM, UM)))
    assert moved.reliable.all()
    by_px = [
        (moved.stage.metrics["03"][name] - as_it_is.stage.metrics["03"][name])
        for name in ("step_x_px", "step_y_px")
    ]
    np.testing.assert_allclose(by_px, [-35, -8], atol=0.5)
