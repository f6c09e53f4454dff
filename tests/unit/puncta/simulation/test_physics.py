"""What is drawn follows the laws that the settings name."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from parfocal.optics import CameraModel, emccd_camera, expose
from parfocal.puncta.simulation import (
    IMMOBILE,
    Background,
    Blinking,
    Calcium,
    CameraChain,
    Motion,
    PunctaScene,
    PunctaSimulation,
    simulate_puncta,
)


def tracks_of(scene):
    """Return places `[punctum, frame, (y, x)]`, um, of puncta that live throughout."""
    truth = PunctaSimulation(scene).truth
    n = truth.punctum.max() + 1
    order = np.lexsort((truth.frame, truth.punctum))
    places = np.stack([truth.y_px, truth.x_px], axis=1)[order] * scene.pixel_size_um
    return places.reshape(n, scene.n_frames, 2)


WIDE = PunctaScene((400, 400), 80, n_puncta=300, is_count_exact=True, margin_px=-150, sub_frames=1, seed=1)


def test_brownian_puncta_diffuse_as_they_are_told():
    d = 0.05
    places = tracks_of(replace(WIDE, motion=Motion(0, 1, 0, 0, 0, d_um2_per_s=(d, d)), margin_px=0))
    inner = (np.abs(places - 26) < 18).all(axis=(1, 2))
    for lag in (1, 5, 20):
        msd = ((places[inner, lag:] - places[inner, :-lag]) ** 2).sum(axis=2).mean()
        assert msd == pytest.approx(4 * d * lag * 0.05, rel=0.08)


def test_confined_puncta_stay_and_directed_ones_go():
    well = Motion(0, 0, 1, 0, 0, d_um2_per_s=(0.1, 0.1), confinement_um=(0.1, 0.1))
    places = tracks_of(replace(WIDE, motion=well))
    late = places[:, 20:] - places[:, :1]
    assert late.std() == pytest.approx(0.1, rel=0.05)
    away = Motion(0, 0, 0, 1, 0, d_um2_per_s=(1e-6, 1e-6), speed_um_per_s=(0.4, 0.4))
    places = tracks_of(replace(WIDE, motion=away, margin_px=-100))
    length = np.hypot(*(places[:, 40] - places[:, 0]).T)
    assert np.median(length) == pytest.approx(0.4 * 40 * 0.05, rel=0.02)


def test_borders_reflect_and_no_punctum_sticks_to_them():
    scene = replace(WIDE, shape_px=(24, 24), margin_px=0, motion=Motion(0, 1, 0, 0, 0, d_um2_per_s=(0.5, 0.5)))
    truth = PunctaSimulation(scene).truth
    late = truth.frame > 40
    assert truth.is_visible.all()
    assert stats.kstest((truth.x_px[late] + 0.5) / 24, "uniform").statistic < 0.03


def test_switching_puncta_change_what_they_do():
    truth = PunctaSimulation(replace(WIDE, motion=Motion(0, 0, 0, 0, 1, dwell_s=0.5))).truth
    kinds, counts = np.unique(truth.motion, return_counts=True)
    assert set(kinds) == {"immobile", "brownian", "confined"}
    assert counts.min() > 0.25 * counts.sum()


def test_a_cell_holds_its_puncta():
    scene = replace(
        WIDE, margin_px=0, motion=Motion(0, 1, 0, 0, 0), background=Background(has_cell=True, cell_share=0.6)
    )
    truth = PunctaSimulation(scene).truth
    radius = np.hypot(truth.x_px - 199.5, truth.y_px - 199.5)
    assert radius.max() < 0.6 * 199.5 * 1.6
    assert np.median(radius) > 40


def test_two_puncta_become_one_as_bright_as_both_and_one_becomes_two():
    scene = PunctaScene(
        (64, 64), 40, n_puncta=30, motion=Motion(merges=3, splits=3, d_um2_per_s=(0.01, 0.05)), seed=2
    )
    truth = PunctaSimulation(scene).truth
    before, after = truth.parents.T
    assert len(before) >= 6
    for whole in np.unique(np.concatenate([before, after])):
        parts = np.concatenate([before[after == whole], after[before == whole]])
        if parts.size != 2:
            continue
        told = truth.frame[truth.punctum == whole]
        rows = [np.flatnonzero(truth.punctum == p) for p in parts]
        is_merge = whole in after
        meeting = told.min() if is_merge else told.max() + 1
        here = np.flatnonzero((truth.punctum == whole) & (truth.frame == (meeting if is_merge else meeting - 1)))
        for r in rows:
            assert (truth.frame[r].max() + 1 == meeting) if is_merge else (truth.frame[r].min() == meeting)
            touching = r[-1] if is_merge else r[0]
            assert np.hypot(truth.x_px[touching] - truth.x_px[here], truth.y_px[touching] - truth.y_px[here]) < 2.5
        assert truth.photons[here] == pytest.approx(sum(truth.photons[r[0]] for r in rows))


def test_blinking_is_on_for_its_share_and_bleaching_ends_lives():
    scene = replace(WIDE, n_frames=200, motion=IMMOBILE, photons_spread=0, blinking=Blinking(0.4, 0.6))
    truth = PunctaSimulation(scene).truth
    assert truth.photons.mean() / scene.photons == pytest.approx(0.4, abs=0.02)
    bleaching = PunctaSimulation(replace(scene, blinking=None, bleaching_s=3.0)).truth
    lives = np.bincount(bleaching.punctum)
    assert (lives < 200).mean() == pytest.approx(1 - np.exp(-10 / 3), abs=0.04)
    once = PunctaSimulation(replace(scene, blinking=Blinking(0.2, None))).truth
    assert np.bincount(once.punctum).mean() * 0.05 < 0.4


def test_an_emccd_doubles_the_variance_of_light():
    model = emccd_camera(em_gain=300, e_per_adu=45, read_noise_e=74, spurious_e=0.0)
    frame = model.to_electrons(expose(np.full((300, 300), 20.0, np.float32), model, seed=2))
    assert frame.mean() == pytest.approx(20.0, rel=0.01)
    assert frame.var() == pytest.approx(40 + (74 / 300) ** 2, rel=0.03)
    assert model.excess_noise == 2.0
    assert CameraModel().excess_noise == 1.0
    one = model.to_electrons(expose(np.full((300, 300), 0.02, np.float32), model, seed=2))
    n = np.random.default_rng(1).poisson(0.02, 90_000)
    drawn = np.where(n > 0, np.random.default_rng(2).gamma(np.maximum(n, 1)), 0)
    assert (one > 1.5).mean() == pytest.approx((drawn > 1.5).mean(), rel=0.15)


@pytest.mark.parametrize("kind", ["emccd", "scmos", "uniform", "ideal"])
def test_the_camera_model_of_a_recording_gives_the_photons_back(kind):
    scene = PunctaScene(
        (48, 48), 40, n_puncta=0, background=Background(5, 15, field_contrast=0), camera=CameraChain(kind)
    )
    recording = simulate_puncta(scene)
    assert recording.camera_model.to_electrons(recording.movie).mean() == pytest.approx(20.0, rel=0.01)


CALCIUM = PunctaScene(
    (96, 96),
    60,
    n_puncta=10,
    min_distance_px=18,
    margin_px=-8,
    motion=IMMOBILE,
    background=Background(field_contrast=0),
    calcium=Calcium(events_per_s=0.4, f0_photons=50),
    seed=3,
)


def test_calcium_rises_at_its_puncta_by_what_the_truth_says():
    simulation = PunctaSimulation(CALCIUM)
    truth = simulation.truth
    images = np.stack([simulation.expected_calcium(k) for k in range(60)])
    y, x = np.rint(truth.y_px).astype(int), np.rint(truth.x_px).astype(int)
    dff = (images[truth.frame, y, x] - 2.005) / 50 - 1
    assert truth.calcium.max() > 0.5
    # Where the pixel's middle is not the punctum's, and light is gathered over a pixel, it is a little lower.
    np.testing.assert_allclose(dff, truth.calcium, atol=0.06 * truth.calcium.max() + 0.02)
    assert (truth.is_calcium_on == (truth.calcium > 0.05)).mean() > 0.9
    begins = (truth.event_onset_s / 0.05).astype(int)
    for punctum, frame in zip(truth.event_punctum, begins):
        own = truth.punctum == punctum
        assert truth.calcium[own & (truth.frame == min(frame + 2, 59))] > 0


def test_what_only_looks_like_calcium_is_told_apart():
    told = Calcium(events_per_s=0.0, waves_per_min=60, stray_per_s=3, bleed_through=0.05)
    truth = PunctaSimulation(replace(CALCIUM, calcium=told)).truth
    assert (truth.event_punctum == -1).all()
    assert truth.event_onset_s.size > 3
    assert truth.wave_onset_s.size > 0
    assert not truth.is_calcium_on.any()
    quiet = replace(CALCIUM, calcium=replace(told, waves_per_min=0, stray_per_s=0))
    simulation = PunctaSimulation(quiet)
    leak = simulation.expected_calcium(0) - PunctaSimulation(
        replace(quiet, calcium=replace(quiet.calcium, bleed_through=0))
    ).expected_calcium(0)
    here = simulation.truth.frame == 0
    assert leak.sum() == pytest.approx(0.05 * simulation.truth.photons[here].sum(), rel=0.02)
