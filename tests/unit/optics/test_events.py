"""Calcium comes and goes at puncta as their truth says, the same at every asking."""

import numpy as np
import pytest
from scipy import integrate

from parfocal.errors import BadInputError
from parfocal.optics import (
    Box,
    CalciumField,
    CameraModel,
    Channel,
    Drift,
    Objective,
    PunctaField,
    SimulatedScene,
    Surface,
    pulse_mean,
    puncta_sample,
)

OBJECTIVE = Objective(1.2, 1.33, 0.52, (0.108, 0.108))
BOX = Box(-20, -20, 20, 20)


def scene_of(drift=None):
    sample = puncta_sample(3, calcium_channel="calcium", events_per_s=0.02)
    channels = {name: Channel(OBJECTIVE, 100.0) for name in ("puncta", "calcium")}
    return SimulatedScene(sample, channels, CameraModel(), (160, 160), drift, seed=3)


def test_the_mean_of_a_pulse_is_its_integral():
    rise, decay = 0.1, 0.7

    def pulse(t):
        return (1 - np.exp(-t / rise)) * np.exp(-t / decay) if t > 0 else 0.0

    peak = max(map(pulse, np.linspace(0, 1, 5001)))
    for begin in (-0.2, 0.0, 0.4):
        mean = integrate.quad(pulse, begin, begin + 0.3, points=[0.0])[0] / 0.3 / peak
        assert pulse_mean(np.array(begin), 0.3, rise, decay) == pytest.approx(mean, rel=1e-5)


def test_events_are_those_of_their_time_whatever_was_asked_before():
    field = CalciumField(PunctaField(5, Surface()), events_per_s=0.2)
    whole = field.events_in(BOX, 0.0, 40.0)
    parts = [field.events_in(BOX, t, t + 10.0) for t in (30.0, 0.0, 20.0, 10.0)]
    parts.sort(key=lambda events: events.onset_s[0])
    for k in range(3):
        np.testing.assert_array_equal(np.concatenate([p[k] for p in parts]), whole[k])
    places, _ = PunctaField(5, Surface()).points_in(BOX)
    assert len(whole.onset_s) == pytest.approx(0.2 * 40 * len(places), rel=0.15)
    assert {tuple(p) for p in whole.positions_um} <= {tuple(p) for p in places}
    assert (whole.onset_s >= 0).all()


@pytest.mark.parametrize("drift", [None, Drift((0.0, 0.05, -0.03))])
def test_light_rises_where_and_when_the_truth_says_and_falls_again(drift):
    scene = scene_of(drift)
    truth = scene.events(12, 12, 0.1, "calcium", 0, 120)
    inside = (np.abs(truth.y_px - 79.5) < 60) & (np.abs(truth.x_px - 79.5) < 60)
    alone = [
        i
        for i in np.flatnonzero(inside)
        if np.sum(
            (np.abs(truth.onset_s - truth.onset_s[i]) < 6)
            & (np.hypot(truth.y_px - truth.y_px[i], truth.x_px - truth.x_px[i]) < 25)
        )
        == 1
    ]
    i = alone[0]
    onset = float(truth.onset_s[i])
    before, during, after = (
        scene.photons(12, 12, 0.1, "calcium", 0.02, onset + dt).astype(float) for dt in (-0.02, 0.25, 5.5)
    )
    rise = during - before
    y, x = np.mgrid[:160, :160]
    near = np.hypot(y - truth.y_px[i], x - truth.x_px[i]) < 12
    light = rise * near
    assert (light * y).sum() / light.sum() == pytest.approx(truth.y_px[i], abs=0.5)
    assert (light * x).sum() / light.sum() == pytest.approx(truth.x_px[i], abs=0.5)
    share = float(pulse_mean(np.array(0.24), 0.02, 0.08, 0.6))
    assert light.sum() == pytest.approx(truth.photons_per_s[i] * 0.02 * share, rel=0.15)
    if drift is None:  # else the cell's own light has moved by then
        assert abs((after - before)[near].sum()) < 0.03 * light.sum()


def test_puncta_are_where_they_were_before_there_was_calcium():
    plain = SimulatedScene(puncta_sample(3), {"puncta": Channel(OBJECTIVE)}, shape=(64, 64))
    np.testing.assert_array_equal(
        plain.points(0, 0, 0, "puncta").y_px,
        SimulatedScene(
            puncta_sample(3, calcium_channel="calcium"),
            {"puncta": Channel(OBJECTIVE), "calcium": Channel(OBJECTIVE)},
            shape=(64, 64),
        )
        .points(0, 0, 0, "puncta")
        .y_px,
    )
    assert plain.events(0, 0, 0, "puncta", 0, 100).onset_s.size == 0


def test_times_of_nothing_are_refused():
    with pytest.raises(BadInputError, match="must be above 0"):
        CalciumField(PunctaField(1, Surface()), decay_s=0.0)
