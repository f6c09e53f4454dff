"""Neighbouring sections registered: where they lie, how alike they are, how far to trust it."""

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.slices import ShiftTable, SliceLedger, Stamp
from parfocal.slices.sections import (
    RegisterSettings,
    SectionArrays,
    register,
    register_pair,
    unreliable_slices,
)


def test_planted_steps_are_found_to_a_tenth_of_a_pixel(sections, offsets_px):
    pairs = register(sections).pairs
    assert [(p.fixed_id, p.moving_id) for p in pairs] == [(f"{k:02d}", f"{k + 1:02d}") for k in range(7)]
    planted = np.diff(np.array(offsets_px, float), axis=0)
    found = np.array([(p.step_y_px, p.step_x_px) for p in pairs])
    np.testing.assert_allclose(found, planted, atol=0.1)
    assert all(p.z_correlation > 0.8 for p in pairs)


def test_known_positions_leave_nothing_to_correct(sections, offsets_px):
    at = {f"{k:02d}": tuple(map(float, yx)) for k, yx in enumerate(offsets_px)}
    pairs = register(sections, positions_px=at).pairs
    assert max(abs(v) for p in pairs for v in (p.dy_px, p.dx_px)) < 0.1
    np.testing.assert_allclose([p.step_y_px for p in pairs], np.diff([y for y, _ in offsets_px]), atol=0.1)
    assert {p.action for p in pairs} == {"full"}


def test_a_turned_section_is_turned_back(tissue, sections):
    turned = ndimage.rotate(sections.volume("01").astype(float), 3.0, axes=(2, 1), reshape=False, mode="reflect")
    pair = register_pair(sections.volume("00"), turned)
    assert abs(pair.rotation_deg) == pytest.approx(3.0, abs=0.1)
    assert pair.confidence < register_pair(sections.volume("00"), sections.volume("01")).confidence


def test_the_best_pair_of_planes_is_searched_at_the_cut(tissue):
    fixed, moving = tissue[:6, 40:168, 40:168].copy(), tissue[6:12, 40:168, 40:168].copy()
    rng = np.random.default_rng(0)
    fixed[-1] = rng.integers(0, 60000, fixed[-1].shape)  # the last plane shows nothing of the sample
    moving[0] = rng.integers(0, 60000, moving[0].shape)
    pair = register_pair(fixed, moving)
    assert (pair.fixed_z, pair.moving_z) == (4, 1)
    assert pair.z_correlation > 0.7


def test_noise_is_not_trusted(sections):
    noise = np.random.default_rng(0).integers(0, 60000, sections.shape("03")).astype(np.uint16)
    volumes = {**sections.volumes, "03": noise}
    registration = register(SectionArrays(volumes), settings=RegisterSettings())
    by_id = registration.by_moving()
    assert by_id["03"].z_correlation < 0.4
    assert by_id["03"].action != "full"
    assert any("02 to 03" in message for message in registration.result.messages)


def test_a_flat_section_gets_no_confidence(sections):
    pair = register_pair(sections.volume("00"), np.full(sections.shape("01"), 100, np.uint16))
    assert (pair.confidence, pair.action) == (0.0, "skip")
    assert "flat" in pair.reason


def test_whatever_is_registered_with_an_interpolated_section_gets_confidence_zero(sections):
    by_id = register(sections, interpolated={"02"}).by_moving()
    assert [by_id[i].confidence == 0.0 for i in ("01", "02", "03", "04")] == [False, True, True, False]
    assert by_id["02"].action == by_id["03"].action == "skip"
    assert "interpolated" in by_id["03"].reason


def test_a_section_that_is_left_out_is_bridged(sections, offsets_px):
    pairs = register(sections, [i for i in sections.slice_ids if i != "03"]).pairs
    bridge = next(p for p in pairs if p.moving_id == "04")
    assert bridge.fixed_id == "02"
    planted = np.subtract(offsets_px[4], offsets_px[2])
    assert (bridge.step_y_px, bridge.step_x_px) == pytest.approx(tuple(planted), abs=0.5)


def test_an_unreliable_step_is_verified_by_image(sections, offsets_px):
    at = {f"{k:02d}": tuple(map(float, yx)) for k, yx in enumerate(offsets_px)}
    wrong = {i: (y + 30.0, x) if int(i) >= 4 else (y, x) for i, (y, x) in at.items()}
    registration = register(sections, positions_px=wrong, unreliable={"04"})
    pair = registration.by_moving()["04"]
    assert pair.action == "full"
    assert pair.step_y_px == pytest.approx(offsets_px[4][0] - offsets_px[3][0], abs=0.1)
    assert ("04", "rehoming_reliable", True) in {
        (s.slice_id, s.column, s.value) for s in registration.result.stamps
    }


def test_a_step_that_no_image_can_tell_is_not_vouched_for(sections):
    rng = np.random.default_rng(3)
    noise = {i: sections.volume(i) for i in sections.slice_ids}
    noise["04"] = rng.integers(2000, 50000, noise["04"].shape).astype(np.uint16)
    registration = register(SectionArrays(noise, sections.voxel_size_um), unreliable={"04"})
    assert not registration.by_moving()["04"].is_verified
    assert {s.column for s in registration.result.stamps if s.slice_id == "04"} == {"notes"}


def test_steps_are_doubted_by_the_ledger_or_by_the_file_where_the_ledger_says_nothing():
    ids = ("00", "01", "02", "03")
    steps = np.zeros(3)
    shifts = ShiftTable(ids[:-1], ids[1:], steps, steps, reliable=np.array([False, True, False]))
    known = SliceLedger().apply([Stamp(i, "use", True) for i in ids], stage="generate")
    assert unreliable_slices(None, shifts) == {"01", "03"}
    assert unreliable_slices(None, None) == frozenset()
    known = known.stamp("02", {"rehoming_reliable": False}, stage="t").stamp(
        "03", {"rehoming_reliable": True}, stage="t"
    )
    assert unreliable_slices(known, shifts) == {"01", "02"}


def test_the_numbers_go_to_the_metrics_and_not_to_the_ledger(sections):
    result = register(sections).result
    assert result.stamps == ()
    assert result.metrics["01"]["registered_to"] == "00"
    assert 0 < result.metrics["01"]["z_correlation"] <= 1


def test_one_section_alone_is_refused(sections):
    with pytest.raises(BadInputError, match="two or more"):
        register(sections, ["00"])
