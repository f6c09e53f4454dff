"""Calcium at puncta is told from calcium that is there by chance."""

from pathlib import Path

import numpy as np
import pytest

from calcium_scene import SIGMA_PX, STEP_S, calcium_scene
from parfocal.errors import BadInputError
from parfocal.files import open_stack
from parfocal.optics import CameraModel
from parfocal.puncta import CalciumEvents, CalciumTraces, Localizations, PunctaTracks
from parfocal.puncta.calcium import (
    AssociationSettings,
    associate,
    calcium_by_mobility,
    calcium_traces,
    colocalize,
    false_discovery,
    find_events,
    find_sites,
    lagged,
    own_events,
    pearson,
    spearman,
)

CAMERA = CameraModel(100, 1, 1.5)
DATA = Path(__file__).parents[5] / "shared/data"


@pytest.fixture(scope="module")
def read():
    scene = calcium_scene(0, n_frames=240, shape=(80, 80), n_puncta=12, events_each=2, n_stray=8)
    traces = calcium_traces(scene.movie, scene.localizations, scene.tracks, SIGMA_PX, STEP_S, camera_model=CAMERA)
    sites = find_sites(scene.movie, SIGMA_PX, camera_model=CAMERA)
    return scene, traces, find_events(traces), sites


def test_events_are_found_wherever_they_are(read):
    scene, _, _, sites = read
    assert abs(len(sites) - (12 * 2 + 8)) <= 1
    for frame, y, x in scene.stray:
        near = np.hypot(sites.y_px - y, sites.x_px - x) < 0.5
        assert np.abs(sites.frame[near] - frame).min() < 3


def test_the_share_of_events_with_a_punctum_is_measured_and_not_by_chance(read):
    scene, traces, events, sites = read
    found = associate(traces, events, scene.localizations, scene.tracks, sites)
    assert found.event_fraction == pytest.approx(24 / 32, abs=0.05)
    assert found.median_distance_um < 0.05
    assert found.expected_space < 0.1
    assert found.odds_ratio_space > 20
    assert found.p_space < 0.01
    assert found.signal_fraction == pytest.approx(scene.on.mean(), abs=0.04)
    assert (found.tracks.n_events == 2).mean() > 0.9
    assert (found.tracks.q_sites < 0.05).mean() > 0.9
    assert found.as_dict()["n_sites"] == len(sites)


def test_events_that_are_elsewhere_have_no_punctum(read):
    scene, traces, events, sites = read
    moved = Localizations(
        (0.13, 0.13),
        scene.localizations.frame,
        79 - scene.localizations.x_px,
        scene.localizations.y_px,
        scene.localizations.photons,
    )
    found = associate(traces, events, moved, scene.tracks, sites, settings=AssociationSettings(n_shifts=40))
    assert found.event_fraction < 0.15
    assert found.odds_ratio_space < 10
    assert found.p_space > 0.03  # the least there is with 40 shifts is 0.024


def test_a_correlation_with_brightness_is_found_with_its_lag_and_chance_is_not():
    rng = np.random.default_rng(0)
    light = rng.lognormal(0, 0.3, (20, 300))
    dff = rng.normal(0, 0.2, (20, 300))
    dff[:6, 3:] += 0.5 * light[:6, :-3]
    dff[6:9] += 0.5 * light[6:9]
    table = dff.astype(np.float32)
    traces = CalciumTraces(0.1, table, table, table, table, np.full(20, 0.2, np.float32))
    track, frame = np.nonzero(np.ones_like(light))
    spots = Localizations((0.1, 0.1), frame, np.zeros(frame.size), np.zeros(frame.size), light.ravel())
    tracks = PunctaTracks(track, np.empty((0, 2), np.int64), 20)
    found = associate(traces, find_events(traces), spots, tracks).tracks
    assert (found.lag_frames[:6] == 3).all()
    assert (found.lag_frames[6:9] == 0).all()
    assert (found.q[6:9] < 0.05).all()
    assert (found.q[9:] < 0.05).sum() <= 1
    assert found.pearson[6] > 0.4
    assert np.isnan(found.p_sites).all()


def test_waves_and_events_beside_are_not_a_punctums_own():
    n = 3
    whole, zero = np.arange(n), np.zeros(n)
    events = CalciumEvents(
        whole, zero, zero, whole, whole, whole, zero, zero,
        np.array([True, False, False]), zero, np.array([0.0, 3.0, 0.5]), np.full(n, 0.1),
    )  # fmt: skip
    spots = Localizations((0.1, 0.1), whole, zero, zero, zero)
    assert own_events(events, spots).tolist() == [False, False, True]


def test_correlations_know_gaps_and_lags():
    rng = np.random.default_rng(1)
    a = rng.normal(size=200)
    b = np.exp(np.roll(a, 4))
    b[::9] = np.nan
    assert spearman(np.roll(a, 4), b) == pytest.approx(1.0)
    assert pearson(np.roll(a, 4), b) < 0.95
    assert int(np.nanargmax(lagged(a, b, 8))) - 8 == 4
    assert np.isnan(pearson(a, np.ones(200)))
    assert np.isnan(pearson(a[:4], b[:4]))


def test_false_discoveries_are_as_benjamini_and_hochberg_say():
    q = false_discovery([0.01, np.nan, 0.02, 0.03, 0.5])
    np.testing.assert_allclose(q, [0.04, np.nan, 0.04, 0.04, 0.5])


def test_spots_of_two_channels_are_paired_and_chance_is_known():
    rng = np.random.default_rng(2)
    a = rng.uniform(0, 50, (300, 2))
    b = np.concatenate((a[:150] + rng.normal(0, 0.05, (150, 2)), rng.uniform(0, 50, (150, 2))))
    found = colocalize(a, b, 0.25, (50, 50))
    assert found.n_pairs == pytest.approx(152, abs=6)
    assert found.p < 0.01
    assert found.expected_pairs == pytest.approx(300 * 300 * np.pi * 0.25**2 / 2500, rel=0.3)
    assert found.median_distance_um < 0.08
    alone = colocalize(a, rng.uniform(0, 50, (300, 2)), 0.25, (50, 50))
    assert alone.p > 0.02
    assert colocalize(a, np.empty((0, 2)), 0.25, (50, 50)).n_pairs == 0
    with pytest.raises(BadInputError, match="far less"):
        colocalize(a, b, 20, (50, 50))


def test_calcium_of_mobile_puncta_is_compared_with_that_of_immobile_ones():
    dff = np.zeros((8, 100), np.float32)
    traces = CalciumTraces(0.1, dff, dff, dff, dff, np.ones(8, np.float32))
    track = np.repeat(np.arange(8), [4, 4, 5, 4, 0, 1, 0, 1])
    zero = np.zeros(track.size)
    events = CalciumEvents(track, zero, zero, track, track, track, zero + 2, zero, zero > 0)
    found = calcium_by_mobility(traces, events, np.arange(8) < 4)
    assert (found.n_mobile, found.n_immobile) == (4, 4)
    assert found.rate_mobile_hz == pytest.approx(0.4)
    assert found.p_rate < 0.05


@pytest.mark.skipif(not (DATA / "E_calcium").is_dir(), reason="no calcium data beside the repository")
def test_known_traces_of_real_footprints_are_read_back():
    stored = np.load(DATA / "E_calcium/caiman_demoMovie_components.npz")
    prints, known = stored["footprints"].astype(float), stored["traces"][:, :400].astype(float)
    rng = np.random.default_rng(0)
    scale = 4000 / (prints.sum(axis=(1, 2)) * known.max(axis=1)).max()
    movie = [rng.poisson(5 + scale * np.tensordot(known[:, t], prints, 1)) for t in range(400)]
    yy, xx = np.mgrid[:60, :80]
    weight = prints.sum(axis=(1, 2))
    y, x = ((prints * g).sum(axis=(1, 2)) / weight for g in (yy, xx))
    track, frame = (a.ravel() for a in np.meshgrid(np.arange(16), np.arange(400)))
    spots = Localizations((1.0, 1.0), frame, x[track], y[track], np.ones(track.size))
    tracks = PunctaTracks(track, np.empty((0, 2), np.int64), 16)
    traces = calcium_traces(movie, spots, tracks, 2.5, 1 / 30)
    light = scale * known * weight[:, None]
    bright = light.std(axis=1) > 60
    r = [pearson(a.astype(float), b) for a, b in zip(traces.signal[bright], known[bright])]
    assert bright.sum() >= 6
    assert np.median(r) > 0.8


@pytest.mark.skipif(not (DATA / "E_calcium").is_dir(), reason="no calcium data beside the repository")
def test_in_a_real_recording_calcium_rises_and_does_not_fall():
    """Two-photon imaging of mouse cortex, cells of a few px. What is found upside down is chance."""
    movie = open_stack(DATA / "E_calcium/mouse_2p_frames000-299.tif", "TYX").read().astype(np.float64)
    upside_down = 2 * movie.mean(axis=0) - movie
    assert len(find_sites(movie, 1.2)) > 2 * len(find_sites(upside_down, 1.2))
