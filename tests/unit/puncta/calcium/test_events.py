"""Events that are in a trace are found, when they were; noise, waves and bleaching are not events."""

import numpy as np
import pytest

from calcium_scene import SIGMA_PX, STEP_S, calcium_scene, matched, response, spot
from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta import CalciumTraces, Localizations, PunctaTracks
from parfocal.puncta.calcium import (
    BaselineSettings,
    EventSettings,
    baseline,
    calcium_traces,
    estimate_bleed_through,
    find_events,
    noise_sd,
    own_events,
)

CAMERA = CameraModel(100, 1, 1.5)


def read(scene, **options):
    return calcium_traces(
        scene.movie, scene.localizations, scene.tracks, SIGMA_PX, STEP_S, camera_model=CAMERA, **options
    )


@pytest.fixture(scope="module")
def scene():
    return calcium_scene(3, n_frames=300, n_puncta=16, shape=(80, 80), events_each=3, n_stray=8)


@pytest.fixture(scope="module")
def traces(scene):
    return read(scene)


def made(dff, noise=0.1, **columns):
    """Return traces of given dff."""
    dff = np.atleast_2d(np.asarray(dff, np.float32))
    flat = np.ones_like(dff)
    return CalciumTraces(0.1, dff, flat, flat, dff, np.full(len(dff), noise, np.float32), **columns)


def test_events_under_confounders_are_found_and_nothing_else_is(scene, traces):
    events = find_events(traces)
    kept = events.take(~events.is_wave)
    right, wrong, missed, _ = matched(scene, kept)
    assert 2 * right / (2 * right + wrong + missed) > 0.95
    assert right / (right + missed) > 0.95
    called = np.zeros_like(scene.on)
    for track, begin, end in zip(kept.track, kept.begin_frame, kept.end_frame):
        called[track, begin : end + 1] = True
    assert (~called[~scene.on]).mean() > 0.95


def test_a_trace_is_unknown_where_the_punctum_was_not_found(scene, traces):
    known = np.zeros(scene.on.shape, bool)
    known[scene.tracks.track, scene.localizations.frame] = True
    np.testing.assert_array_equal(np.isfinite(traces.signal), known)
    assert traces.signal.dtype == np.float32


def test_onsets_are_known_to_a_fraction_of_a_frame_and_their_errors_are_honest(scene, traces):
    for onset in ("half-rise", "fit"):
        events = find_events(traces, EventSettings(onset=onset))
        errors = matched(scene, events)[3]
        assert errors.std() < 0.4
        stated = np.nanmedian(events.onset_se_s) / STEP_S
        assert 0.4 * errors.std() < stated < 2.5 * errors.std()
    assert abs(errors.mean()) < 0.2  # the fit finds where it begins; half of the rise is later


def test_light_that_bleaches_is_followed_by_the_baseline():
    rng = np.random.default_rng(1)
    fading = 500 * np.exp(-np.arange(2000) / 1500)
    events = sum(200 * response(np.arange(2000), onset) for onset in range(50, 1950, 100))
    trace = (fading + events + rng.normal(0, 20, 2000))[None]
    for method, within in (("percentile", 16), ("maximin", 25)):  # a noise of 20, and events a fifth of the time
        found = baseline(trace, 0.02, BaselineSettings(method=method, window_s=6.0))
        assert np.abs(found - fading)[0, 100:-100].max() < within


def test_noise_is_that_without_events():
    rng = np.random.default_rng(2)
    trace = rng.normal(0, 3.0, (4, 1000))
    trace[:, 300:400] += 100
    trace[1, ::7] = np.nan
    np.testing.assert_allclose(noise_sd(trace), 3.0, rtol=0.15)
    assert np.isnan(noise_sd(np.full((1, 30), np.nan)))[0]


def test_hysteresis_keeps_one_event_one_and_two_frames_are_asked_for():
    dff = np.zeros(60)
    dff[10:20] = [0.35, 0.5, 0.4, 0.2, 0.1, 0.3, 0.2, 0.2, 0.2, 0.05]  # dips for one frame
    dff[40] = 0.9  # one frame only
    found = find_events(made(dff))
    assert (found.begin_frame.tolist(), found.peak_frame.tolist(), found.end_frame.tolist()) == ([10], [11], [18])
    assert found.peak_snr[0] == pytest.approx(5.0)
    assert len(find_events(made(dff), EventSettings(min_frames=1))) == 2


def test_a_short_gap_does_not_end_an_event_and_a_long_one_does():
    dff = np.zeros(60)
    dff[10:30] = 0.5
    short, long = dff.copy(), dff.copy()
    short[15:17] = np.nan
    long[15:25] = np.nan
    assert len(find_events(made(short))) == 1
    assert len(find_events(made(long))) == 2


def test_half_of_the_rise_lies_between_frames():
    dff = np.zeros(30)
    dff[10:15] = [0.2, 0.8, 0.8, 0.5, 0.3]
    found = find_events(made(dff))
    assert found.onset_s[0] == pytest.approx(0.1 * (10.5 + 1 / 3))


def test_what_rises_with_its_surround_is_a_wave_and_not_an_event_of_the_punctum():
    dff = np.zeros((2, 60))
    dff[:, 20:30] = 0.6
    around = np.random.default_rng(0).normal(0, 0.02, (2, 60))
    around[0, 19:32] += 0.8
    found = find_events(made(dff, surround_dff=around.astype(np.float32)))
    assert found.is_wave.tolist() == [True, False]


def test_waves_alone_make_no_events():
    scene = calcium_scene(4, n_frames=240, n_puncta=8, shape=(64, 64), events_each=0, n_waves=3, n_stray=0)
    events = find_events(read(scene))
    assert (~events.is_wave).sum() == 0
    naive = find_events(read(scene, rest=BaselineSettings(subtract_surround=False, subtract_cell_median=False)))
    assert len(naive) > 3  # puncta are brighter in a wave: without what takes it off, they would be events


def test_an_event_beside_a_punctum_is_told_by_where_its_light_came_from():
    rng = np.random.default_rng(5)
    frames = np.arange(120)
    at, beside = (20.0, 20.0), (20.0, 22.2)
    light = 900 * response(frames, 40), 900 * response(frames, 80)
    movie = [
        rng.poisson(10 + a * spot((40, 40), *at, 1.2) + b * spot((40, 40), *beside, 1.2)) for a, b in zip(*light)
    ]
    spots = Localizations((0.1, 0.1), frames, np.full(120, 20.0), np.full(120, 20.0), np.full(120, 1.0))
    tracks = PunctaTracks(np.zeros(120, np.int64), np.empty((0, 2), np.int64), 1)
    found = find_events(calcium_traces(movie, spots, tracks, 1.2, 0.02))
    assert len(found) == 2
    distance = np.hypot(found.offset_y_px, found.offset_x_px)
    assert distance[0] < 0.4
    assert found.offset_x_px[1] == pytest.approx(2.2, abs=0.4)
    assert found.offset_se_px[1] < 0.3


def test_light_that_leaks_from_the_puncta_is_estimated_and_taken_off():
    rng = np.random.default_rng(6)
    photons = 1000 * rng.lognormal(0, 0.3, (10, 300))
    signal = 200 + 0.08 * photons + rng.normal(0, 20, photons.shape)
    signal[:, 100:120] += 300
    share, se = estimate_bleed_through(signal, photons)
    assert share == pytest.approx(0.08, abs=4 * se)
    assert se < 0.003
    assert estimate_bleed_through(signal, np.full_like(photons, 100.0)) == (0.0, np.inf)


def test_tables_that_do_not_fit_are_refused_in_one_line(scene):
    with pytest.raises(BadInputError, match="the movie has 10 frames"):
        calcium_traces(scene.movie[:10], scene.localizations, scene.tracks, SIGMA_PX, STEP_S)
    short = PunctaTracks(scene.tracks.track[:5], scene.tracks.parents, scene.tracks.n_tracks)
    with pytest.raises(BadInputError, match="in tracks"):
        calcium_traces(scene.movie, scene.localizations, short, SIGMA_PX, STEP_S)
    with pytest.raises(BadInputError, match="low_sd"):
        EventSettings(high_sd=1.0, low_sd=2.0)


def test_an_event_on_the_way_down_of_another_is_its_own():
    frames = np.arange(80)
    dff = response(frames, 20) + 0.8 * response(frames, 29.0) + np.random.default_rng(0).normal(0, 0.03, 80)
    found = find_events(made(dff, noise=0.03))
    np.testing.assert_allclose(found.onset_s / 0.1 - 0.5, [20.3, 29.3], atol=0.4)
    assert found.end_frame[0] < found.begin_frame[1] <= 29
    assert len(find_events(made(dff, noise=0.03), EventSettings(again_sd=1e9))) == 1


def test_events_that_follow_before_the_first_has_fallen_are_told_apart_by_their_step():
    frames = np.arange(80)
    dff = response(frames, 20) + response(frames, 24.0) + np.random.default_rng(0).normal(0, 0.05, 80)
    found = find_events(made(dff, noise=0.05))
    np.testing.assert_allclose(found.onset_s / 0.1 - 0.5, [20.3, 24.3], atol=0.6)


def test_a_slow_rise_is_one_event_though_it_stalls_by_chance():
    """25 frames to 20 standard deviations."""
    rng = np.random.default_rng(3)
    rise = np.clip((np.arange(200) - 50) / 25, 0, 1) * np.exp(-np.clip(np.arange(200) - 75, 0, None) / 20)
    dff = 2.0 * rise + rng.normal(0, 0.1, (100, 200))
    found = find_events(made(dff))
    assert 100 <= (found.begin_frame < 75).sum() <= 103


def test_an_event_stays_its_own_when_a_neighbour_fires_while_it_lasts():
    rng = np.random.default_rng(5)
    frames = np.arange(100)
    mine, neighbour = 900 * response(frames, 40), 900 * response(frames, 46)
    movie = [
        rng.poisson(10 + a * spot((40, 40), 20.0, 20.0, 1.2) + b * spot((40, 40), 20.0, 23.0, 1.2))
        for a, b in zip(mine, neighbour)
    ]
    spots = Localizations((0.1, 0.1), frames, np.full(100, 20.0), np.full(100, 20.0), np.full(100, 1.0))
    tracks = PunctaTracks(np.zeros(100, np.int64), np.empty((0, 2), np.int64), 1)
    traces = calcium_traces(movie, spots, tracks, 1.2, 0.02)
    assert own_events(find_events(traces), spots)[0]
    assert abs(find_events(traces).offset_x_px[0]) < abs(
        find_events(traces, EventSettings(place_frames=40)).offset_x_px[0]
    )


def test_the_onset_of_a_weak_event_lies_before_its_peak():
    dff = np.zeros(30)
    dff[10:14] = [0.16, 0.31, 0.32, 0.2]  # two standard deviations below the peak is less than half of it
    found = find_events(made(dff))
    assert 1.0 < found.onset_s[0] <= 1.15
    noisy = np.random.default_rng(0).normal(0, 0.1, (200, 300))
    noisy[:, ::20] += 0.3
    noisy[:, 1::20] += 0.3
    many = find_events(made(noisy), EventSettings(again_sd=2.0))
    assert len(many) > 500
    assert (many.onset_s <= 0.1 * (many.peak_frame + 0.5)).all()
