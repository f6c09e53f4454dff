"""Several beads in one lock: better by the root of their number, and none of them can lose it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from parfocal.bench._lock_simulator import BenchConditions, GaussianEye, simulate
from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, WidthCurve, estimate_zs, spot_image
from parfocal.focus import (
    LockController,
    LockSettings,
    LockState,
    Measurement,
    SeveralBeads,
    measurement_from,
    settings_of_vote,
)
from parfocal.optics import CameraModel

MODEL = DefocusModel(WidthCurve(1.1, 0.25, 0.4), WidthCurve(1.1, -0.25, 0.4), 0.0, (-0.5, 0.5), 0.1)
SIDE = 13
CAMERA = CameraModel(100.0, 2.0, 1.5)


class Field:
    """Beads at heights of their own: what a `simulate` eye sees of them together."""

    def __init__(self, heights_um, se_um=0.02, **options):
        settings = LockSettings(n_beads=len(heights_um), **options)
        self.heights_um = list(heights_um)
        self.eyes = [GaussianEye(se_um, photons=4000 * (1 + k), seed=k) for k in range(len(heights_um))]
        self.beads = SeveralBeads(MODEL, settings, [(SIDE, SIDE)] * len(heights_um))
        self.controller = LockController(settings_of_vote(settings), MODEL, (SIDE, SIDE))
        self.change = lambda frame, measured: measured
        self.n_used = []

    def __call__(self, frame, t_s, true_um):
        measured = [
            replace(eye(frame, t_s, true_um + height_um), sigma_x_px=1.4, sigma_y_px=1.4)
            for eye, height_um in zip(self.eyes, self.heights_um, strict=True)
        ]
        found = self.beads.combine(self.change(frame, measured))
        self.n_used.append(found.n_beads)
        return found


def unseen(measurement):
    return replace(measurement, z_um=math.nan, z_se_um=math.nan, photons=0.0, is_fit_ok=False, reason="no spot")


def pictures(n_frames, z_um, rng):
    """Frames of one bead of 1,000 photons, raw."""
    sigma_x_px, sigma_y_px = (float(width) for width in MODEL.widths_px(z_um))
    spot = spot_image((SIDE, SIDE), 6.2, 5.9, sigma_x_px, sigma_y_px, 1000.0, 10.0)
    electrons = rng.poisson(spot, (n_frames, SIDE, SIDE)) + rng.normal(0, 1.5, (n_frames, SIDE, SIDE))
    return 100.0 + 2.0 * electrons


def scatter_of(n_beads, n_frames=240):
    """Return how z of so many beads scatters from frame to frame, and what it is said to: of images."""
    rng = np.random.default_rng(n_beads)
    heights_um = rng.uniform(-0.15, 0.15, n_beads)
    settings = LockSettings(n_beads=n_beads)
    beads = SeveralBeads(MODEL, settings, [(SIDE, SIDE)] * n_beads)
    rois = [pictures(n_frames, height_um, rng) for height_um in heights_um]
    estimates = [estimate_zs(each, CAMERA, MODEL) for each in rois]
    found = [
        beads.combine(
            [
                measurement_from(t, t / 30, roi[t], estimate[t], CAMERA, MODEL)
                for roi, estimate in zip(rois, estimates, strict=True)
            ]
        )
        for t in range(n_frames)
    ]
    told = [m for m in found if m.is_fit_ok]
    assert len(told) == n_frames - settings.setpoint_frames
    return float(np.std([m.z_um for m in told])), float(np.mean([m.z_se_um for m in told]))


@pytest.mark.parametrize("n_beads", [4, pytest.param(9, marks=pytest.mark.long)])
def test_m_beads_measure_focus_better_by_the_root_of_m(n_beads):
    one_um, _ = scatter_of(1)
    many_um, many_se_um = scatter_of(n_beads)
    assert many_um == pytest.approx(one_um / math.sqrt(n_beads), rel=0.2)
    assert 0.85 * many_um < many_se_um < 1.4 * many_um  # never promised better than it is


def test_the_lock_holds_closer_with_more_beads():
    conditions = BenchConditions(n_frames=2000, walk_um=0.0005)
    held_um = []
    for n_beads in (1, 4):
        field = Field(np.linspace(-0.1, 0.1, n_beads))
        run = simulate(field.controller, field, conditions)
        assert field.controller.state is LockState.LOCKED
        held_um.append(np.std(run.true_um[600:]))
    # By a law that smooths, the fourth root of M at the least, the root at best.
    assert held_um[1] < 0.75 * held_um[0]


def test_a_bead_that_is_lost_does_not_lose_the_lock_nor_move_the_focus():
    field = Field([0.2, -0.1, 0.0, -0.1])
    field.change = lambda frame, measured: [unseen(measured[0]) if frame >= 900 else measured[0], *measured[1:]]
    run = simulate(field.controller, field, BenchConditions(n_frames=1800, walk_um=0.0005))
    states = run.samples.state
    assert set(states[200:]) == {"LOCKED"}
    assert field.n_used[800] == 4
    assert field.n_used[-1] == 3
    assert abs(np.mean(run.true_um[1000:]) - np.mean(run.true_um[400:900])) < 0.006


def test_a_bead_that_moves_is_outvoted_and_then_measured_anew():
    field = Field([0.0, 0.05, -0.05, 0.1])

    def slip(frame, measured):
        return [replace(m, z_um=m.z_um + 0.3) if k == 1 and frame >= 600 else m for k, m in enumerate(measured)]

    field.change = slip
    run = simulate(field.controller, field, BenchConditions(n_frames=1500, walk_um=0.0005))
    assert set(run.samples.state[200:]) == {"LOCKED"}
    assert field.n_used[605] == 3
    assert field.n_used[-1] == 4
    before, after = np.mean(run.true_um[300:600]), np.mean(run.true_um[610:])
    assert abs(after - before) < 0.006
    moved_um = field.beads.offset_um[1] - field.beads.offset_um[0]
    assert moved_um == pytest.approx(0.05 + 0.3, abs=0.02)


def test_a_bead_that_comes_later_joins():
    field = Field([0.0, 0.1, -0.1])
    field.change = lambda frame, measured: [*measured[:2], unseen(measured[2]) if frame < 300 else measured[2]]
    simulate(field.controller, field, BenchConditions(n_frames=600, walk_um=0.0))
    assert field.n_used[280] == 2
    assert field.n_used[-1] == 3
    assert field.beads.offset_um[2] - field.beads.offset_um[0] == pytest.approx(-0.1, abs=0.03)


def test_only_all_of_them_lost_are_a_lost_lock():
    field = Field([0.0, 0.1, -0.1], search=False)
    field.change = lambda frame, measured: [unseen(m) if 500 <= frame < 700 else m for m in measured]
    run = simulate(field.controller, field, BenchConditions(n_frames=1000, walk_um=0.0))
    assert "LOST" in set(run.samples.state[500:700])
    assert run.samples.state[-1] == "LOCKED"


def test_nothing_is_told_while_offsets_are_learnt_or_no_bead_is_good():
    beads = SeveralBeads(MODEL, LockSettings(n_beads=2, setpoint_frames=3), [(SIDE, SIDE)] * 2)
    seen = Measurement(0, 0.0, 0.1, 0.01, 6.0, 6.0, 4000.0, 10.0, 1.4, 1.4)
    for frame in range(3):
        told = beads.combine([replace(seen, frame=frame), replace(seen, frame=frame, z_um=0.3)])
        assert not told.is_fit_ok
        assert "learning" in told.reason
    told = beads.combine([seen, replace(seen, z_um=0.3)])
    assert told.z_um == pytest.approx(0.2)
    assert told.n_beads == 2
    np.testing.assert_allclose(beads.offset_um, [-0.1, 0.1])
    none = beads.combine([unseen(seen), unseen(seen)])
    assert not none.is_fit_ok
    assert "none of 2 beads can be believed; the first: no spot" in none.reason


def test_the_number_of_beads_is_checked():
    with pytest.raises(BadInputError, match="n_beads is 0"):
        LockSettings(n_beads=0)
