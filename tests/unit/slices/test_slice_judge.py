"""A judge tells blurred, moved and shaded slices from good ones, whatever is in them; truth is diffraction."""

import math
from dataclasses import replace

import numpy as np
import pytest

from parfocal.devices.simulated import simulated_core
from parfocal.errors import BadInputError
from parfocal.optics import Disturbance, Obstruction, OffCentreLamp, straight_path
from parfocal.slices import (
    JudgeSettings,
    LookSettings,
    SliceJudge,
    StackJudge,
    StackSettings,
    expectations_from,
    expectations_of,
    judge_look,
    look_at,
    moved_planes,
)

LOOK = LookSettings(offset_adu=100.0)
PLACES = [(k % 4 * 43.0, k // 4 * 43.0) for k in range(12)]


@pytest.fixture(scope="module")
def frame():
    """A frame of nuclei: place, um out of focus, what else is wrong."""
    scene = simulated_core("nuclei", seed=3, shape=(256, 256), realtime=False).scene

    def frame(place, off_um=0.0, disturbance=None, number=0, exposure_s=0.05):
        x, y = PLACES[place]
        z = scene.focus_um(x, y) + off_um
        return scene.frame(x, y, z, "nuclei", exposure_s, 0.0, place + 100 * number, disturbance=disturbance)

    return frame


@pytest.fixture(scope="module")
def looks(frame):
    return [look_at(frame(k), LOOK) for k in range(len(PLACES))]


SPOILT = {
    "blurred": {"off_um": -5.0},
    "moved": {"disturbance": Disturbance(straight_path((0.0, 1.6, 1.2)))},
    "shaded by the lamp": {"disturbance": Disturbance(illumination=OffCentreLamp(-50, 128, 140))},
    "shaded by a bubble": {"disturbance": Disturbance(illumination=Obstruction(128, 90, 80))},
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_slice_is_rejected_with_its_name(frame, looks, fault):
    expected = expectations_of(looks)
    for place in (1, 6, 10):
        verdict = judge_look(look_at(frame(place, **SPOILT[fault]), LOOK), expected)
        assert not verdict.accepted
        assert verdict.reason.startswith(fault.split()[0])
        assert verdict.score > 1


def test_good_slices_are_accepted_whatever_is_in_them(looks):
    expected = expectations_of(looks)
    assert all(judge_look(look, expected).accepted for look in looks)


def test_neither_light_nor_gain_changes_what_sharp_means(frame):
    bright, dim = look_at(frame(0), LOOK), look_at(frame(0, exposure_s=0.01), LOOK)
    assert dim.sharpness == pytest.approx(bright.sharpness, abs=0.05)
    assert dim.mean_adu < bright.mean_adu / 4


def test_the_direction_of_a_motion_is_told(frame):
    for angle_deg in (20, 110):
        dy, dx = 3 * math.sin(math.radians(angle_deg)), 3 * math.cos(math.radians(angle_deg))
        look = look_at(frame(2, disturbance=Disturbance(straight_path((0.0, dy, dx)))), LOOK)
        assert abs((look.direction_deg - angle_deg + 90) % 180 - 90) < 12


def test_an_empty_field_is_no_fault_and_teaches_nothing(looks):
    dark = np.random.default_rng(0).poisson(8.0, (256, 256)) + 100
    judge = SliceJudge(look=LOOK)
    for number, look in enumerate(looks):
        judge.take(look, number)
    before = judge.expected
    verdict = judge.see(dark, 99)
    assert verdict.accepted
    assert verdict.reason == "empty field"
    assert judge.expected == before


def test_saturation_is_a_fault_before_anything_was_learned(frame):
    verdict = SliceJudge(look=replace(LOOK, saturation_adu=500.0)).see(frame(0), 0)
    assert (verdict.accepted, verdict.reason, verdict.is_provisional) == (False, "saturated", True)


def test_verdicts_are_provisional_until_enough_was_seen_and_then_told_again(frame, looks):
    judge = SliceJudge(settings=JudgeSettings(n_learn=6), look=LOOK)
    blurred = look_at(frame(1, -5.0), LOOK)
    first = [judge.take(look, k) for k, look in enumerate([looks[0], blurred, *looks[2:6]])]
    assert [v.is_provisional for v in first] == [True] * 5 + [False]
    assert first[1].accepted, "the second of all slices, nothing to compare it with"
    assert not judge.again(1).accepted
    assert judge.again(1).reason == "blurred"
    assert all(judge.again(k).accepted for k in (0, 2, 3, 4, 5))


def test_a_focus_that_jumped_away_for_good_is_not_what_is_learned(frame, looks):
    judge = SliceJudge(settings=JudgeSettings(n_learn=6), look=LOOK)
    for k in range(2):
        judge.take(looks[k], k)
    said = [judge.take(look_at(frame(k, -6.0), LOOK), k) for k in range(2, 8)]
    assert not any(v.accepted for v in said)
    assert judge.again(0).accepted


def test_what_was_learned_can_be_given_to_the_next_judge(looks, frame):
    expected = expectations_of(looks)
    told = {n: {"middle": s.middle, "sd": s.sd} for n, s in vars(expected).items() if n != "n"}
    judge = SliceJudge(expectations_from(told), look=LOOK)
    assert not judge.see(frame(0, 5.0), 0).accepted
    assert not judge.see(frame(0, 5.0), 0).is_provisional
    with pytest.raises(BadInputError, match="expectation of direction"):
        expectations_from({**told, "direction": {"middle": "low"}})


@pytest.mark.parametrize("wrong", [np.zeros((4, 64, 64)), np.zeros((16, 64))])
def test_what_is_no_frame_is_refused(wrong):
    with pytest.raises(BadInputError, match="32 px or more"):
        look_at(wrong)


def test_an_unknown_frame_cannot_be_judged_again():
    for judge in (SliceJudge(), StackJudge()):
        with pytest.raises(BadInputError, match="never seen"):
            judge.again(7)


# -- planes of a stack -------------------------------------------------------------------------------


def correlations(track_um, decay_um=2.0):
    """Of planes taken with the sample at given places: the same place, and near in z, means alike."""
    at = np.asarray(track_um, float)
    return {
        (i, j): float(np.exp(-0.004 * (j - i) ** 2) * np.exp(-(((at[i] - at[j]) / decay_um) ** 2)))
        for i in range(at.size)
        for j in range(i + 1, at.size)
        if j - i <= StackSettings().reach + 1
    }


@pytest.mark.parametrize(
    ("moved", "at_um"),
    [((7,), 3.0), ((5, 6, 7), (1.0, 3.0, 5.0)), ((9, 10, 11, 12), (2.0, 4.0, 6.0, 3.0)), ((), ())],
)
def test_only_the_planes_of_the_motion_are_blamed(moved, at_um):
    track = np.zeros(20)
    track[list(moved)] = at_um
    found, drop = moved_planes(correlations(track), 20)
    assert np.flatnonzero(found).tolist() == list(moved)
    assert (drop[found] > 1).all()
    assert (drop[~found] <= 1).all()


def test_of_a_sample_that_has_gone_for_good_the_shorter_part_is_out_of_line():
    found, _ = moved_planes(correlations([0.0] * 13 + [5.0] * 7), 20)
    assert np.flatnonzero(found).tolist() == list(range(13, 20))


def test_a_plane_that_is_taken_again_replaces_the_one_before(frame):
    away = Disturbance(tuple((0.0, d, d) for d in (1.0, 1.5, 2.0)))
    judge = StackJudge()
    live = [
        judge.see(frame(0, k * 0.5 - 2.5, away if k == 6 else None, k), k, f"{k:02d}").accepted for k in range(11)
    ]
    assert np.flatnonzero(~np.array(live)).tolist() == [6], "told as it happens"
    assert [k for k in range(11) if not judge.again(k).accepted] == [6]
    judge.see(frame(0, 0.5, None, 12), 11, "06")
    assert all(judge.again(k).accepted for k in (*range(6), 11, *range(7, 11)))
