"""The lock closed over diffraction images: the promises of the benchmark, on runs of a minute or two."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.bench import _lock
from parfocal.bench._bead_bench import BeadEye, BeadTable, calibrated
from parfocal.bench._lock_simulator import BenchConditions, simulate
from parfocal.errors import BadInputError
from parfocal.focus import LockController, LockSettings, LockState, kalman_bound


@pytest.fixture(scope="module")
def eye():
    table = BeadTable()
    return BeadEye(table, calibrated(table))


def held(eye, conditions, settings=None):
    controller = LockController(settings or LockSettings(), eye.model, (13, 13))
    return controller, simulate(controller, replace(eye, seed=conditions.seed), conditions)


def test_the_table_of_images_is_the_diffraction_integral(eye):
    from parfocal.bench._bead_bench import BENCH_OBJECTIVE
    from parfocal.optics import psf_stack

    z = 0.113
    exact = psf_stack(BENCH_OBJECTIVE, {6: 0.1}, [-z], 13, 1, (0.25, -0.5))[0]
    assert np.abs(eye.table.image(z, 0.25, -0.5) - exact).max() < 5e-4 * exact.max()
    with pytest.raises(BadInputError, match="within 10"):
        eye.table.image(0.0, 30.0)


def test_a_calibrated_eye_sees_defocus_without_bias_and_near_its_bound(eye):
    for z_um in (-0.2, 0.0, 0.2):
        seen = np.array([eye(k, 0.0, z_um).z_um for k in range(300)])
        assert abs(seen.mean() - z_um) < 0.02
        assert seen.std() < 1.3 * eye.diffraction_bound_um(z_um)


def test_the_focus_is_held_within_a_quarter_of_the_bound(eye):
    conditions = replace(_lock.RESTLESS, n_frames=3000)
    controller, run = held(eye, conditions)
    bound_um = kalman_bound(eye.diffraction_bound_um(0.0) ** 2, conditions.walk_um**2, 1)
    assert run.rms_um() < 1.25 * bound_um
    assert controller.state is LockState.LOCKED


def test_in_good_light_and_quiet_it_is_held_to_a_nanometre(eye):
    _, run = held(replace(eye, photons=1e5), replace(_lock.QUIET, n_frames=3000))
    assert run.rms_um() < 0.001


def test_the_original_law_holds_worse_on_the_same_images(eye):
    conditions = replace(_lock.RESTLESS, n_frames=3000)
    _, theirs = held(eye, conditions, LockSettings.of_the_original())
    _, ours = held(eye, conditions)
    assert ours.rms_um() < 0.9 * theirs.rms_um()


def test_a_second_bead_that_passes_moves_nothing_in_silence(eye):
    def passer(frame):
        return (-9.0 + 18.0 * (frame - 600) / 1200, 3.0, 0.8) if 600 <= frame < 1800 else None

    controller, run = held(replace(eye, passer=passer), BenchConditions(n_frames=2400, walk_um=0.001))
    is_off = np.abs(run.true_um) > 0.1
    assert not (is_off & (run.samples.state == "LOCKED")).any()
    assert np.mean(run.samples.state[700:1700] == "LOCKED") < 0.8  # it was noticed
    assert controller.state is LockState.LOCKED


def test_a_step_from_region_to_command_is_measured(eye):
    median_s, p99_s = _lock.step_seconds(eye, 300)
    assert 0 < median_s <= p99_s


@pytest.mark.long
def test_an_hour_of_kicks_stalls_and_bleaching_is_survived(eye):
    run = _lock.long_run(eye, hours=1.0)
    assert run.in_lock > 0.995
    assert run.farthest_stage_um <= 5
    assert run.farthest_um <= 5
    assert run.n_silent <= 6  # a kick of a few sigma shows in the third frame
    assert run.state is LockState.LOCKED
