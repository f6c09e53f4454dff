"""Labelled stacks scored, ranked, and their thresholds kept and applied."""

import json
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import tifffile
from event_model import DocumentNames, schema_validators
from scipy import ndimage

from parfocal.callbacks import emit_reference_calibration
from parfocal.errors import BadInputError
from parfocal.report import references_report, write_references_report
from parfocal.slices.references import (
    LabelledStack,
    calibrate_references,
    labelled_images,
    load_thresholds,
    parse_gallery,
    read_labelled_folder,
    save_thresholds,
    score_labelled,
    thresholds_from_json,
    thresholds_hash,
    thresholds_to_json,
)
from parfocal.slices.selection import RULES
from support import Documents

SHAPE = (7, 48, 48)


def z_stack(seed, blur_px=0.0, moved=()):
    """A simulated z-stack: texture in focus in the middle plane, 7 planes, shot noise; some planes moved."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=(80, 80)), 1.5)
    texture = 4000 + 1500 * texture / texture.std()
    planes = []
    for z in range(SHAPE[0]):
        shift = 9 if z in moved else 0
        sigma = np.hypot(0.6 * abs(z - 3), blur_px)
        planes.append(ndimage.gaussian_filter(texture, sigma)[16 + shift : 64 + shift, 16:64])
    return rng.poisson(np.clip(planes, 1, None)).astype(np.uint16)


def labelled():
    stacks = [LabelledStack.of(f"sharp {k}", "great", z_stack(k)) for k in range(4)]
    stacks += [LabelledStack.of(f"soft {k}", "okay", z_stack(10 + k, blur_px=0.8)) for k in range(2)]
    stacks += [LabelledStack.of(f"moved {k}", "bad", z_stack(20 + k, blur_px=2.5, moved=(2, 5))) for k in range(4)]
    return stacks


@pytest.fixture(scope="module")
def calibration():
    return calibrate_references(labelled(), n_bootstrap=200)


# -- where stacks come from -------------------------------------------------------------------------------


def test_a_folder_a_category_holds_stacks_and_images(tmp_path):
    for name in ("Bad", "ok", "great"):
        (tmp_path / name).mkdir()
    series = np.arange(2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 3, 8, 9)
    tifffile.imwrite(
        tmp_path / "Bad/a.tif", series, imagej=True, metadata={"axes": "TZYX", "spacing": 2, "unit": "um"}
    )
    tifffile.imwrite(tmp_path / "ok/b.tif", series[0, 0])
    (tmp_path / "great/c.png").write_bytes(imagecodecs.png_encode(series[1, 2]))
    (tmp_path / "great/d.jpg").write_bytes(imagecodecs.jpeg8_encode(np.full((8, 9), 77, np.uint8)))
    (tmp_path / "great/.DS_Store").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    found = read_labelled_folder(tmp_path)
    assert [(s.name, s.category) for s in found] == [
        ("bad/a t0", "bad"),
        ("bad/a t1", "bad"),
        ("okay/b", "okay"),
        ("great/c", "great"),
        ("great/d", "great"),
    ]
    np.testing.assert_array_equal(found[1].read(), series[1])
    assert found[1].z_um == (0.0, 2.0, 4.0)
    np.testing.assert_array_equal(found[3].read(), series[1, 2][np.newaxis])
    assert (found[4].read() == 77).all()


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("bad", "okay"), "no folder great"),
        (("bad", "great"), "bad: the folder is empty"),
        (("bad", "BAD", "great"), "folders BAD and bad, expected one"),
    ],
)
def test_folders_that_are_missing_empty_or_doubled_are_said(tmp_path, folders, said):
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(BadInputError, match=said):
        read_labelled_folder(tmp_path)


def test_two_files_of_one_name_are_not_confused(tmp_path):
    for name in ("bad", "great"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", np.zeros((4, 4), np.uint8))
    (tmp_path / "great/a.png").write_bytes(imagecodecs.png_encode(np.zeros((4, 4), np.uint8)))
    with pytest.raises(BadInputError, match="is called great/a, as is"):
        read_labelled_folder(tmp_path)


def test_images_of_a_gallery_are_read_below_their_root(tmp_path):
    name = "20250912_B10_ch00_t0092"
    (tmp_path / "images").mkdir()
    (tmp_path / f"images/{name}.jpg").write_bytes(imagecodecs.jpeg8_encode(np.full((8, 9), 40, np.uint8)))
    (stack,) = labelled_images(parse_gallery(f"## Bad\n- `/net/lab/images/{name}.jpg`\n"), tmp_path)
    assert (stack.name, stack.read().shape) == (name, (1, 8, 9))
    (tmp_path / f"images/{name}.jpg").write_bytes(b"no jpeg")
    with pytest.raises(BadInputError, match="not a JPEG image that can be read"):
        labelled_images(parse_gallery(f"## Bad\n- `images/{name}.jpg`\n"), tmp_path)


# -- scores -----------------------------------------------------------------------------------------------


def test_a_moved_plane_shows_in_motion_and_not_in_sharpness():
    still, moved = (score_labelled(LabelledStack.of("a", "bad", z_stack(3, moved=m))).metrics for m in ((), (2,)))
    assert still["min_adjacent_ncc"] > 0.9 > moved["min_adjacent_ncc"]
    assert (still["bad_pair_share"], moved["bad_pair_share"]) == (0.0, pytest.approx(2 / 6))
    assert moved["laplacian_variance"] == pytest.approx(still["laplacian_variance"], rel=0.05)


def test_a_single_image_has_sharpness_and_no_motion():
    scored = score_labelled(LabelledStack.of("a", "great", z_stack(1)[3]))
    assert np.isfinite(scored.metrics["laplacian_variance"])
    assert all(np.isnan(scored.metrics[name]) for name in ("min_adjacent_ncc", "bad_pair_share"))
    assert [shown.role for shown in scored.shown] == ["best"]


def test_worst_median_and_best_frame_are_shown_in_one_stretch():
    scored = score_labelled(LabelledStack.of("a", "great", z_stack(1)))
    assert [shown.role for shown in scored.shown] == ["worst", "median", "best"]
    assert scored.shown[2].index == 3
    assert scored.shown[0].index in (0, 6)
    assert scored.shown[2].pixels.std() > scored.shown[0].pixels.std()


def test_only_the_object_counts_where_there_is_a_mask():
    frames = z_stack(4)
    mask = np.zeros(frames.shape[1:], bool)
    mask[:, :24] = True
    elsewhere = frames.copy()
    elsewhere[3, :, 24:] = np.roll(frames[3, :, 24:], 7, axis=0)
    whole, masked = (
        score_labelled(LabelledStack.of("a", "bad", elsewhere, mask=m)).metrics["min_adjacent_ncc"]
        for m in (None, mask)
    )
    assert masked > 0.9 > whole


@pytest.mark.parametrize("frames", [np.zeros((0, 5, 5)), np.zeros((2, 2, 9)), np.zeros((2, 3, 4, 5))])
def test_what_is_no_stack_is_refused(frames):
    with pytest.raises(BadInputError, match="expected \\[z, y, x\\]"):
        score_labelled(LabelledStack.of("a", "bad", frames))


# -- calibration ------------------------------------------------------------------------------------------


def test_metrics_that_see_what_is_wrong_rank_above_those_that_do_not(calibration):
    ranking = calibration.metrics
    for name in ("laplacian_variance", "min_adjacent_ncc"):
        assert ranking.of(name).auc == 1.0
        assert ranking.of(name).kept[0] == 0
    assert ranking.of("bad_pair_share").higher_is_better is False
    assert calibration.thresholds.winner == ""
    assert "no winner" in calibration.thresholds.why
    assert "4 bad and 4 great" in calibration.thresholds.why


def test_rules_are_ranked_by_the_share_of_frames_that_they_keep(calibration):
    motion = calibration.rules.of("motion(limit=floor, floor=0.9)")
    assert motion.auc == 1.0
    # the default does as well here, so nothing speaks for a departure from it
    assert calibration.thresholds.parameters_for("motion") == {"limit": "dip"}
    assert calibration.thresholds.parameters_for("curve_residuals") in ({}, {"model": "parabola"})
    assert calibration.thresholds.parameters_for("golden_template") == {}
    assert "without a template" in calibration.rules.left_out["golden_template()"]
    tried = {name.partition("(")[0] for name in (*calibration.rule_shares, *calibration.rules.left_out)}
    assert tried == set(RULES)


def test_the_same_references_give_the_same_thresholds(calibration):
    again = calibrate_references(labelled(), n_bootstrap=200)
    assert thresholds_hash(again.thresholds) == thresholds_hash(calibration.thresholds)


def test_a_person_may_choose_where_none_wins(calibration):
    with pytest.raises(BadInputError, match=r"no metric was chosen \(no winner"):
        calibration.thresholds.of()
    chosen = calibration.thresholds.choose("min_adjacent_ncc")
    good, bad = (stack.metrics for stack in (calibration.stacks[0], calibration.stacks[-1]))
    assert chosen.judge(good).accepted
    verdict = chosen.judge(bad)
    assert not verdict.accepted
    assert verdict.reason.startswith("min_adjacent_ncc 0.")
    assert not chosen.judge({"min_adjacent_ncc": float("nan")}).accepted
    assert not calibration.thresholds.judge(bad, "bad_pair_share").accepted
    with pytest.raises(BadInputError, match="no metric 'sharpness'; expected one of"):
        calibration.thresholds.choose("sharpness")


def test_references_of_one_name_are_refused():
    with pytest.raises(BadInputError, match="two references have this name"):
        calibrate_references(
            [LabelledStack.of("a", "bad", z_stack(0)), LabelledStack.of("a", "great", z_stack(1))]
        )
    with pytest.raises(BadInputError, match="0 bad and 0 great"):
        calibrate_references([])


# -- thresholds as a file ---------------------------------------------------------------------------------


def test_thresholds_come_back_as_they_were_saved(calibration, tmp_path):
    saved = save_thresholds(tmp_path / "thresholds.json", calibration.thresholds.choose("laplacian_variance"))
    loaded = load_thresholds(saved)
    assert loaded.chosen == "laplacian_variance"
    assert loaded.of() == calibration.thresholds.of("laplacian_variance")
    assert thresholds_hash(loaded) == json.loads(saved.read_text())["sha256"]
    assert loaded.parameters_for("motion") == calibration.thresholds.parameters_for("motion")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["thresholds"]["thresholds"][0].update(value=0.0), "was changed after it was saved"),
        (lambda d: d.update(version=2), "is of version 2, expected 1"),
        (lambda d: d.update(format="other"), "holds no thresholds"),
    ],
)
def test_thresholds_that_were_touched_are_refused(calibration, change, said):
    told = json.loads(thresholds_to_json(calibration.thresholds))
    change(told)
    with pytest.raises(BadInputError, match=f"t.json: {said}"):
        thresholds_from_json(json.dumps(told), "t.json")


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "t.json").write_text("not json\n")
    with pytest.raises(BadInputError, match="is not JSON"):
        load_thresholds(tmp_path / "t.json")
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        load_thresholds(tmp_path / "none.json")


def test_nothing_that_is_not_a_number_gets_into_the_file(calibration):
    first = calibration.thresholds.thresholds[0]
    odd = replace(calibration.thresholds, thresholds=(replace(first, interval=(float("nan"), float("inf"))),))
    assert np.isnan(thresholds_from_json(thresholds_to_json(odd)).thresholds[0].interval).all()


# -- documents and report ---------------------------------------------------------------------------------


def test_every_document_is_valid_and_every_number_is_in_one(calibration):
    documents = Documents()
    uid = emit_reference_calibration(documents, calibration, gallery="gallery.md", warnings=["a word"])
    for name, doc in documents.all:
        schema_validators[DocumentNames[name]].validate(doc)
    start, stop = documents.of("start")[0], documents.of("stop")[0]
    assert start["uid"] == uid
    assert start["parfocal"]["analysis"] == "reference_calibration"
    assert start["parfocal"]["raw"]["references"][0][:2] == ["sharp 0", "great"]
    assert stop["parfocal"]["verdict"] == "no_winner"
    keys = {d["uid"]: (d["name"], set(d["data_keys"])) for d in documents.of("descriptor")}
    assert all(keys[event["descriptor"]][1] == set(event["data"]) for event in documents.of("event"))
    counts = stop["num_events"]
    assert (counts["references"], counts["frames"], counts["thresholds"]) == (10, 70, 1)
    assert counts["metrics"] == len(calibration.metrics.metrics)
    last = documents.of("event")[-1]["data"]
    assert thresholds_hash(thresholds_from_json(last["json"])) == last["sha256"]


def test_the_report_is_one_page_that_holds_everything(calibration, tmp_path):
    few = replace(calibration, stacks=(calibration.stacks[0], calibration.stacks[-1]))
    page = write_references_report(few, tmp_path / "report.html", warnings=["<odd>"]).read_text()
    assert "No winner" in page
    assert "&lt;odd&gt;" in page
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("<!doctype html>", "")
    for name in ("min_adjacent_ncc", "peak_relative(alpha=0.7)", "moved 3"):
        assert name in page
    told = references_report(calibration)
    json.dumps(told, allow_nan=False)
    kept = {one["name"]: one["kept_by"] for one in told["references"]}
    assert "min_adjacent_ncc" in kept["sharp 0"]
    assert "min_adjacent_ncc" not in kept["moved 0"]
