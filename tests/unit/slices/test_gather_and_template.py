"""Evidence from pixels, golden templates, recommendations: on real stacks and with faults planted into them."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.files import open_stack
from parfocal.slices.selection import (
    StackEvidence,
    gather_evidence,
    load_template,
    make_template,
    recommend,
    save_template,
    select,
    template_ncc,
)

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")


def simulated_stack(n=15, side=96, seed=0, focus=7.2):
    """Blobs blurred by how far each frame is from focus, with shot and read noise."""
    rng = np.random.default_rng(seed)
    scene = ndimage.gaussian_filter((rng.random((side, side)) < 0.02) * 6000.0, 1.3)
    planes = [ndimage.gaussian_filter(scene, 0.5 * abs(z - focus)) + 100 for z in range(n)]
    return (rng.poisson(planes) + rng.normal(0, 2, (n, side, side))).astype(np.float32)


@pytest.fixture(scope="module")
def ecoli():
    return open_stack(DATA / "B_focus/ecoli_ch2_tzyx.tif").read()


# -- evidence ----------------------------------------------------------------------------------------------


def test_evidence_has_one_entry_a_frame_and_a_pair():
    stack = simulated_stack()
    found = gather_evidence(stack, np.arange(15) * 0.5)
    assert found.n_frames == 15
    assert found.adjacent.shape == (14,)
    assert found.skip.shape == (13,)
    assert found.matrix.shape == (15, 15)
    assert np.allclose(np.diagonal(found.matrix, 1), found.adjacent, atol=1e-4)
    assert abs(int(np.argmax(found.sharpness)) - 7) <= 1
    assert gather_evidence(stack, matrix=False).matrix is None


def test_what_is_no_stack_is_refused():
    with pytest.raises(BadInputError, match="0 frames"):
        gather_evidence([])
    with pytest.raises(BadInputError, match="3 frames and 2 z"):
        gather_evidence(np.zeros((3, 16, 16)), [0, 1])
    with pytest.raises(BadInputError, match=r"frame 1 has shape \(8, 9\)"):
        gather_evidence([np.zeros((8, 8)), np.zeros((8, 9))])
    with pytest.raises(BadInputError, match="kind 'best'"):
        gather_evidence(np.zeros((3, 16, 16)), kind="best")


def test_objects_that_move_by_themselves_are_judged_by_themselves():
    stack = simulated_stack(seed=9)
    left = np.zeros(stack.shape[1:], bool)
    left[:, :48] = True
    stack[6, :, :48] = np.roll(stack[6, :, :48], (6, 5), axis=(0, 1))
    moved = gather_evidence(stack, mask=left, score="vollath_f5")
    steady = gather_evidence(stack, mask=~left, score="vollath_f5")
    assert set(np.flatnonzero(~select(moved, "motion").keep)) == {6}
    assert select(steady, "motion").keep.all()
    assert steady.facts["relative_entropy"].shape == (15,)
    assert select(moved, "morphseq_ncc").notes[0].startswith("verdict FAIL")


@real
def test_the_plane_in_focus_is_within_one_of_the_reference(ecoli):
    wells = open_stack(DATA / "B_focus/imagexpress_E07").read()
    for site in range(2):
        assert int(np.argmax(gather_evidence(wells[site], matrix=False).sharpness)) == 4
    for stack in ecoli:
        smooth = [ndimage.gaussian_laplace(plane.astype(float), 3).var() for plane in stack]
        found = int(np.argmax(gather_evidence(stack, matrix=False).sharpness))
        assert abs(found - int(np.argmax(smooth))) <= 1


@real
def test_peak_relative_keeps_a_sane_number_of_planes_where_raw_laplacian_variance_keeps_all(ecoli):
    for stack in ecoli:
        raw = gather_evidence(stack, score="laplacian_variance", kind="raw", matrix=False)
        assert select(raw, "peak_relative", peak="max").keep.all()
        kept = select(gather_evidence(stack, matrix=False), "peak_relative").keep
        assert 3 <= kept.sum() <= 7


@real
def test_a_dim_stack_is_steady_once_its_frames_are_band_limited(ecoli):
    raw = gather_evidence(ecoli[0], sigma_px=0, matrix=False).adjacent
    ours = gather_evidence(ecoli[0], matrix=False).adjacent
    assert raw.max() < 0.4
    assert np.median(ours) > 0.8


# -- planted faults ----------------------------------------------------------------------------------------


def good_stacks():
    yield open_stack(DATA / "F_slices/celegans_em_sections.tif", axes="ZYX").read()[:, :160, :160]
    yield open_stack(DATA / "C_nuclei/bbbc050/Emb1_t501_raw.tif").read()[10:36]


def planted(stack, rng, how):
    frames = stack.astype(np.float32)
    wrong = np.zeros(len(stack), bool)
    wrong[rng.choice(len(stack), 3, replace=False)] = True
    for i in np.flatnonzero(wrong):
        frames[i] = how(frames[i], rng)
    return frames, wrong


def shifted(frame, rng):
    return ndimage.shift(frame, rng.choice([-5, 5], 2), order=1, mode="reflect")


def blurred(frame, rng):
    noise = rng.normal(0, 0.01 * frame.std(), frame.shape)
    return ndimage.gaussian_filter(frame, 2.5) + noise.astype(np.float32)


def counted(rule, how, trials, **parameters):
    """Return recall, precision and share of good frames lost, among those the rule keeps of the clean stack."""
    rng = np.random.default_rng(11)
    found = missed = lost = good = 0
    for stack in good_stacks():
        before = select(gather_evidence(stack), rule, **parameters).keep
        for _ in range(trials):
            frames, wrong = planted(stack, rng, how)
            out = ~select(gather_evidence(frames), rule, **parameters).keep
            found += (out & wrong & before).sum()
            missed += (~out & wrong & before).sum()
            lost += (out & ~wrong & before).sum()
            good += (~wrong & before).sum()
    return found / (found + missed), found / (found + lost), lost / good


@real
def test_planted_motion_is_found_frame_by_frame_and_costs_no_good_frames():
    recall, precision, loss = counted("motion", shifted, 4)
    assert recall >= 0.95
    assert precision >= 0.95
    assert loss <= 0.01
    both = counted("motion", shifted, 2, blame="both")
    assert both[0] >= 0.95
    assert both[2] >= 0.15  # what blaming both frames of a pair costs


@real
def test_planted_blur_is_found_by_sharpness():
    recall, precision, loss = counted("hybrid", blurred, 3)
    assert recall >= 0.95
    assert precision >= 0.8
    assert loss <= 0.05


@real
def test_a_stack_that_jumps_is_cut_by_the_anchor_and_named_by_motion():
    stack = next(good_stacks()).astype(np.float32)
    stack[12:] = ndimage.shift(stack[12:], (0, 6, -6), order=1, mode="reflect")
    evidence = gather_evidence(stack)
    assert any("step: what follows frame 11" in note for note in select(evidence, "motion").notes)
    kept = select(evidence, "chained_anchor", alpha=0.6, tau=0.7).frames
    assert max(kept) < 12 or min(kept) >= 12
    segments = select(evidence, "dbscan", alpha=0.6, tau=0.9)
    assert {max(segments.frames) < 12, min(segments.frames) >= 12} == {True, False}
    assert recommend(evidence).rule == "dbscan"


# -- golden templates --------------------------------------------------------------------------------------


def test_a_template_of_moved_frames_is_as_sharp_as_one_and_less_noisy():
    rng = np.random.default_rng(4)
    truth = ndimage.gaussian_filter((rng.random((96, 96)) < 0.02) * 6000.0, 1.3)
    shifts = [(0, 0), (1.4, -2.3), (-3.0, 0.6), (0.2, 2.0), (2.5, 2.5), (-1.1, -1.7)]
    frames = [ndimage.shift(truth, s, order=3, mode="nearest") + rng.normal(0, 25, truth.shape) for s in shifts]
    made = make_template(np.array(frames), range(6), source="plate 3, well B10", version=2)
    inner = (slice(8, -8), slice(8, -8))
    assert np.std((made.image - truth)[inner]) < 0.7 * np.std((frames[0] - truth)[inner])
    assert np.allclose(np.array(made.provenance["shifts_px"]), -np.array(shifts), atol=0.2)
    assert made.provenance["source"] == "plate 3, well B10"
    assert made.provenance["frames"] == [0, 1, 2, 3, 4, 5]
    assert np.std((np.mean(frames, axis=0) - truth)[inner]) > 2 * np.std((made.image - truth)[inner])


def test_a_template_rejects_what_is_blurred_moved_or_elsewhere():
    stack = simulated_stack(seed=5)
    template = make_template(stack, [7])
    other = simulated_stack(seed=5, focus=7.2)
    other[6] = ndimage.shift(other[6], (6, 6), mode="reflect")
    evidence = gather_evidence(other, template=template)
    kept = select(evidence, "golden_template", tau=0.9).frames
    assert 7 in kept
    assert 6 not in kept
    assert not {0, 1, 13, 14} & set(kept)
    elsewhere = gather_evidence(simulated_stack(seed=6), template=template)
    assert not select(elsewhere, "golden_template").keep.any()
    assert recommend(evidence).rule == "golden_template"


def test_a_template_is_read_back_as_it_was_written(tmp_path):
    template = make_template(simulated_stack(), [7, 6, 8], source="a.tif", note="best week", version=3)
    path = save_template(tmp_path / "golden.npz", template)
    read = load_template(path)
    assert np.array_equal(read.image, template.image)
    assert (read.version, read.sigma_px, read.sha256) == (3, 2.0, template.sha256)
    assert read.provenance == template.provenance
    assert np.allclose(template_ncc(simulated_stack(), read), template_ncc(simulated_stack(), template))


def test_a_file_that_is_no_template_is_refused_and_nothing_in_it_is_run(tmp_path):
    template = make_template(simulated_stack(side=48), [3])
    good = save_template(tmp_path / "good.npz", template)

    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, image=np.array([Trap()], dtype=object), facts=np.zeros(2, np.uint8))
    other = tmp_path / "other.npz"
    np.savez(other, something=np.ones(3))
    changed = tmp_path / "changed.npz"
    with np.load(good) as stored:
        np.savez(changed, image=stored["image"] + 1, facts=stored["facts"])
    cut = tmp_path / "cut.npz"
    cut.write_bytes(good.read_bytes()[:200])
    text = tmp_path / "text.npz"
    text.write_text("hello")
    for bad in (pickled, other, changed, cut, text, tmp_path / "absent.npz"):
        with pytest.raises(BadInputError) as refused:
            load_template(bad)
        assert "\n" not in str(refused.value)
        assert str(bad) in str(refused.value)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(BadInputError, match=r"saved as \.npz"):
        save_template(tmp_path / "golden.tif", template)


def test_frames_that_do_not_belong_together_make_no_template():
    with pytest.raises(BadInputError, match="does not fit frame 0"):
        make_template(np.stack([simulated_stack(seed=1)[7], simulated_stack(seed=2)[7]]), [0, 1])
    for chosen in ([], [1, 1], [99], [-1]):
        with pytest.raises(BadInputError, match="chosen frames"):
            make_template(simulated_stack(), chosen)
    with pytest.raises(BadInputError, match="the template"):
        template_ncc(np.zeros((2, 8, 8)), make_template(simulated_stack(), [3]))


def test_a_centre_of_mass_anchor_is_registered_where_frames_are_there():
    stack = simulated_stack(seed=7)
    stack[6] = ndimage.shift(stack[6], (3, -3), order=1, mode="reflect")
    evidence = gather_evidence(stack, anchor_top_k=3)
    found = select(evidence, "centre_of_mass_anchor", top_k=3)
    assert not any("not_registered" in note for note in found.notes)
    assert 7 in found.frames
    assert 6 not in found.frames
    plain = select(evidence, "centre_of_mass_anchor", top_k=4)
    assert any(note.startswith("anchor_not_registered") for note in plain.notes)


# -- recommendations ---------------------------------------------------------------------------------------


def made_up(sharpness, matrix):
    n = len(sharpness)
    return StackEvidence(
        np.asarray(sharpness, float),
        "tenengrad",
        np.diagonal(matrix, 1),
        np.diagonal(matrix, 2),
        np.arange(n) * 1.0,
        np.asarray(matrix, np.float32),
    )


def test_the_recommendation_follows_what_the_stack_shows():
    n = 20
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    square = 0.999**distance
    halves = np.where(np.equal.outer(np.arange(n) < 10, np.arange(n) < 10), 0.99, 0.5)
    unlike = 0.7**distance
    curve = 100 * np.exp(-0.5 * ((np.arange(n) - 9.6) / 4) ** 2)
    two_levels = np.where(np.arange(n) % 3 == 0, 90.0, 20.0) + np.random.default_rng(1).normal(0, 2, n)
    rough = np.random.default_rng(2).uniform(20, 100, n)
    moved = square.copy()
    moved[9, :] = moved[:, 9] = 0.6
    moved[9, 9] = 1

    assert recommend(made_up(np.full(n, 50.0), halves)).rule == "dbscan"
    assert recommend(made_up(curve, square)).rule == "anchor"
    assert recommend(made_up(curve, moved)).rule == "chained_anchor"
    assert recommend(made_up(curve, unlike)).rule == "sharpness_or_residual"
    assert recommend(made_up(two_levels, unlike)).rule == "otsu"
    assert recommend(made_up(rough, unlike)).rule == "hybrid"


def test_a_recommendation_says_why_and_can_be_applied():
    said = recommend(simulated_stack())
    assert any(char.isdigit() for char in said.why)
    assert said.rule == next(hint for hint in said.hints if hint.holds).rule
    assert [hint.name for hint in said.hints] == [
        "golden template",
        "several squares",
        "one square",
        "clean curve",
        "bimodal scores",
        "no clear sign",
    ]
    assert 7 in said.select(gather_evidence(simulated_stack())).frames
