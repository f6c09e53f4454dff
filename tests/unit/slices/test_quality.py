"""A section is judged by its neighbours, and not for what they, the stage or one pixel did."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from parfocal.errors import BadInputError
from parfocal.slices.sections import SectionArrays, assess_quality

DATA = Path("../shared/data/F_slices")

RECORDED = [  # SSIM before, after, their mean, edge, overall
    (0.0, 0.499506, 0.499506, 0.323441, 0.346785),
    (0.499506, 0.49567, 0.497588, 0.600889, 0.429061),
    (0.49567, 0.0, 0.49567, 0.321444, 0.344268),
]

needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")


def sections(n=8, shape=(3, 96, 96), seed=0):
    """Return sections that change a little from one to the next, as uint16."""
    rng = np.random.default_rng(seed)
    depth = n * 2
    field = gaussian_filter(rng.standard_normal((depth, *shape[1:])), (4, 3, 3))
    field /= field.std()
    noise = rng.normal(0, 10, (n, *shape))
    return {f"{i:02d}": (1000 + 200 * field[2 * i] + noise[i]).clip(0).astype(np.uint16) for i in range(n)}


def assessed(volumes, **options):
    options.setdefault("exclude_first", 0)
    return assess_quality(SectionArrays(volumes), **options)


def scores(result):
    return {s.slice_id: s.value for s in result.stamps if s.column == "quality_score"}


def left_out(result):
    return {s.slice_id for s in result.stamps if s.column == "use" and s.value is False}


def notes(result):
    return {s.slice_id: s.value for s in result.stamps if s.column == "notes"}


def test_the_score_is_half_structure_three_tenths_edges_and_a_fifth_variance():
    result = assessed(sections())
    for sid, numbers in result.metrics.items():
        parts = 0.5 * numbers["ssim"] + 0.3 * numbers["edge_score"] + 0.2 * numbers["variance_score"]
        assert scores(result)[sid] == pytest.approx(parts)
        assert parts > 0.5


def test_a_section_equal_to_its_neighbour_gets_one():
    same = sections(1)["00"]
    assert scores(assessed({"00": same, "01": same, "02": same}))["01"] == pytest.approx(1.0)


def test_one_bad_section_does_not_condemn_its_neighbours():
    volumes = sections()
    clean = scores(assessed(volumes))
    volumes["03"] = np.random.default_rng(1).integers(0, 65535, volumes["03"].shape).astype(np.uint16)
    result = assessed(volumes, min_quality=0.3)
    assert left_out(result) == {"03"}
    assert notes(result) == {"03": "low_quality (quality_score<0.3)"}
    assert result.metrics["03"]["blame"] == "this section"
    for sid in ("02", "04"):
        assert scores(result)[sid] > 0.9 * clean[sid]


def test_the_mode_of_the_original_condemns_them():
    volumes = sections()
    volumes["03"] = np.random.default_rng(1).integers(0, 65535, volumes["03"].shape).astype(np.uint16)
    theirs = scores(assessed(volumes, compat="linumpy"))
    ours = scores(assessed(volumes))
    assert theirs["02"] < 0.6 * ours["02"]


def test_a_good_section_between_two_bad_ones_is_judged_by_those_beyond():
    volumes = sections(9)
    rng = np.random.default_rng(2)
    for sid in ("03", "05"):
        volumes[sid] = rng.integers(0, 65535, volumes[sid].shape).astype(np.uint16)
    result = assessed(volumes, min_quality=0.3)
    assert left_out(result) == {"03", "05"}
    assert result.metrics["04"]["blame"] == "its neighbours"
    assert result.metrics["04"]["compared_with"] in ("02", "06")


@pytest.mark.parametrize("bad", [(5, 6, 7), (1, 2, 3), (6, 7)])
def test_a_good_section_beside_a_run_of_bad_ones_is_judged_by_the_nearest_good_ones(bad):
    volumes = sections(9)
    rng = np.random.default_rng(5)
    for sid in (f"{k:02d}" for k in bad):
        volumes[sid] = rng.integers(0, 65535, volumes[sid].shape).astype(np.uint16)
    result = assessed(volumes, min_quality=0.3)
    assert left_out(result) == {f"{k:02d}" for k in bad}
    edge = "00" if 1 in bad else "08"  # beside bad ones alone: 0.01 by those
    assert result.metrics[edge]["blame"] == "its neighbours"
    assert f"{result.metrics[edge]['compared_with']}" not in left_out(result)


def test_where_nothing_is_left_it_is_said_how_far_from_the_threshold_it_is():
    with pytest.raises(
        BadInputError, match=r"none of 8 .*: 8 score 0\.\d+ to 0\.\d+, below min_quality 1; lower it"
    ):
        assessed(sections(), min_quality=1.0)


def test_the_first_section_is_not_condemned_by_a_bad_second_one():
    volumes = sections()
    volumes["01"] = np.random.default_rng(3).integers(0, 65535, volumes["01"].shape).astype(np.uint16)
    assert left_out(assessed(volumes, min_quality=0.3)) == {"01"}


def test_a_shift_of_five_pixels_costs_little():
    whole = sections(shape=(3, 110, 110))
    volumes = {sid: v[:, 7:103, 7:103] for sid, v in whole.items()}
    clean = scores(assessed(volumes))
    volumes["03"] = whole["03"][:, 2:98, 12:108]
    result = assessed(volumes)
    assert scores(result)["03"] > 0.97 * clean["03"]
    assert (result.metrics["03"]["shift_before_dy_px"], result.metrics["03"]["shift_before_dx_px"]) == (-5, 5)
    assert scores(assessed(volumes, compat="linumpy"))["03"] < 0.6 * clean["03"]


def test_a_shift_is_found_on_large_sections_too():
    rng = np.random.default_rng(4)
    field = gaussian_filter(rng.standard_normal((700, 640)), 4)
    field /= field.std()
    whole = (1000 + 200 * field).astype(np.uint16)
    volumes = {
        "00": whole[None, 40:660, 40:600],
        "01": whole[None, 57:677, 9:569],
        "02": whole[None, 40:660, 40:600],
    }
    result = assessed(volumes)
    numbers = result.metrics["01"]
    assert (numbers["shift_before_dy_px"], numbers["shift_before_dx_px"]) == (17, -31)
    assert scores(result)["01"] > 0.99


@pytest.mark.parametrize("where", [(0, 0, 0), (1, 50, 50)])
def test_a_hot_pixel_costs_nothing(where):
    volumes = sections()
    clean = scores(assessed(volumes))
    for sid in volumes:
        volumes[sid] = volumes[sid].copy()
        volumes[sid][where] = 65535 if sid == "03" else volumes[sid][where]
    assert scores(assessed(volumes))["03"] == pytest.approx(clean["03"], abs=0.02)


def test_blur_and_fading_lower_the_score():
    volumes = sections()
    clean = scores(assessed(volumes))["03"]
    blurred = volumes | {"03": gaussian_filter(volumes["03"].astype(float), (0, 4, 4)).astype(np.uint16)}
    faded = volumes | {"03": (1000 + (volumes["03"].astype(float) - 1000) * 0.3).astype(np.uint16)}
    assert scores(assessed(blurred))["03"] < clean - 0.1
    assert scores(assessed(faded))["03"] < clean - 0.1


def test_a_section_without_data_gets_nothing_and_is_named():
    volumes = sections() | {"03": np.full((3, 96, 96), 7, np.uint16)}
    result = assessed(volumes, min_quality=0.3)
    assert scores(result)["03"] == 0.0
    assert result.metrics["03"]["has_data"] is False
    assert any("no data (1): 03" in message for message in result.messages)
    assert left_out(result) == {"03"}


def test_nothing_is_left_out_unless_asked():
    result = assessed(sections() | {"03": np.zeros((3, 96, 96), np.uint16)})
    assert left_out(result) == set()


def test_the_leading_thick_section_is_left_out_with_a_word_and_is_nobodys_neighbour():
    volumes = sections()
    volumes["00"] = np.repeat(volumes["00"], 3, axis=0)
    result = assessed(volumes, exclude_first="auto")
    assert left_out(result) == {"00"}
    assert scores(result)["00"] == 0.0
    assert notes(result) == {"00": "calibration_slice"}
    assert "9 planes where the median is 3" in result.messages[0]
    assert "ssim_before" not in result.metrics["01"]


def test_a_leading_section_like_none_of_the_others_is_left_out_with_a_word():
    volumes = sections(10)
    volumes["00"] = np.random.default_rng(1).integers(0, 65535, volumes["00"].shape).astype(np.uint16)
    result = assessed(volumes, exclude_first="auto")
    assert left_out(result) == {"00"}
    assert "like none of the others" in result.messages[0]


def test_auto_keeps_a_first_section_that_is_fine_and_says_so():
    result = assessed(sections(10), exclude_first="auto")
    assert left_out(result) == set()
    assert "no leading slice left out" in result.messages[0]


def test_told_to_leave_out_the_first_two():
    result = assessed(sections(), exclude_first=2)
    assert left_out(result) == {"00", "01"}


def test_the_numbers_of_the_original_are_reproduced():
    # what linumpy 80d658e gives for these volumes
    rng = np.random.default_rng(42)
    volumes = 1000 + 200 * gaussian_filter(rng.standard_normal((3, 6, 48, 40)), (0.7, 1, 2, 2))
    result = assessed({f"{i:02d}": v for i, v in enumerate(volumes)}, compat="linumpy")
    for numbers, (before, after, mean, edge, overall) in zip(result.metrics.values(), RECORDED):
        told = [numbers[k] for k in ("ssim_before", "ssim_after", "ssim_mean", "edge_score", "overall")]
        np.testing.assert_allclose(told, [before, after, mean, edge, overall], atol=2e-6)
        assert numbers["variance_score"] == 0.0  # compared with a constant


def test_sections_of_unequal_shape_are_compared_where_both_are():
    volumes = sections()
    volumes["04"] = volumes["04"][:2, :80, :90]
    assert min(scores(assessed(volumes)).values()) > 0.5


def test_the_middle_square_alone_can_be_looked_at():
    volumes = sections()
    spoilt = {sid: v.copy() for sid, v in volumes.items()}
    spoilt["03"][:, :16] = 0
    assert scores(assessed(spoilt, roi_size=48)) == scores(assessed(volumes, roi_size=48))


@needs_data
@pytest.mark.parametrize("name", ["celegans_em_sections", "serial2p_sections_zyx"])
def test_of_real_sections_only_the_spoilt_one_falls(name):
    stack = tifffile.imread(DATA / f"{name}.tif")[:8]
    volumes = {f"{i:02d}": plane[None] for i, plane in enumerate(stack)}
    clean = scores(assessed(volumes))
    volumes["03"] = np.random.default_rng(1).permutation(stack[3].ravel()).reshape(stack[3].shape)[None]
    spoilt = scores(assessed(volumes))
    assert min(spoilt, key=lambda sid: spoilt[sid]) == "03"
    assert all(spoilt[sid] > 0.85 * clean[sid] for sid in volumes if sid != "03")


@needs_data
@pytest.mark.parametrize("name", ["celegans_em_sections", "serial2p_sections_zyx"])
def test_by_its_own_scores_a_real_stack_keeps_every_good_section_and_loses_a_bad_one(name):
    stack = tifffile.imread(DATA / f"{name}.tif")[:10, 64:256, 64:256]
    volumes = {f"{i:02d}": plane[None] for i, plane in enumerate(stack)}
    assert left_out(assessed(volumes, min_quality="auto")) == set()
    volumes["04"] = np.random.default_rng(1).permutation(stack[4].ravel()).reshape(stack[4].shape)[None]
    volumes["07"] = gaussian_filter(stack[7], 6)[None]
    spoilt = assessed(volumes, min_quality="auto")
    assert left_out(spoilt) == {"04", "07"}
    assert any("robust standard deviations" in message for message in spoilt.messages)


def test_of_few_or_equal_sections_the_stack_says_nothing():
    assert left_out(assessed(sections(4), min_quality="auto")) == set()
    assert left_out(assessed({f"{i:02d}": sections(1)["00"] for i in range(8)}, min_quality="auto")) == set()


def test_no_section_left_is_an_error():
    with pytest.raises(BadInputError, match="none of 8 sections"):
        assessed(sections(), min_quality=1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_quality": 1.5}, "min_quality"),
        ({"min_quality": float("nan")}, "min_quality"),
        ({"sample_depth": -1}, "sample_depth"),
        ({"roi_size": -3}, "roi_size"),
        ({"exclude_first": -1}, "exclude_first"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(options, said):
    with pytest.raises(BadInputError, match=said):
        assessed(sections(3), **options)


def test_no_sections_are_an_error():
    with pytest.raises(BadInputError, match="no section"):
        assessed({})
