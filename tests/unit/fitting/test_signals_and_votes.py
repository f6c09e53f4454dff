"""Error-signal curves, the retry rule, and several beads as one."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import (
    OpticsFacts,
    SweepSettings,
    bead_offsets,
    find_beads,
    fit_signal_model,
    has_expected_slope,
    moments_error,
    spot_moments,
    vote_z,
)


def folded(z):
    """Return a signal that rises, turns at +-0.5 um and comes back, as astigmatism's does."""
    return 0.6 * np.sin(np.pi * z)


@pytest.mark.parametrize("kind", ["linear", "poly2", "piecewise"])
@pytest.mark.parametrize("sign", [1, -1])
def test_each_curve_takes_the_arm_through_focus_and_outlives_outliers(kind, sign):
    rng = np.random.default_rng(2)
    z = np.tile(np.linspace(-0.75, 0.75, 31), 2)
    signal = sign * folded(z) + rng.normal(0, 0.01, z.size)
    signal[[4, 40]] += 0.5
    model = fit_signal_model(kind, z, signal)
    inside = np.linspace(-0.25, 0.25, 21)
    found = model.z_um(sign * folded(inside))
    assert np.abs(found - inside).max() < 0.05
    assert np.sign(model.slope_um) == sign
    assert model.usable_um[0] < -0.3
    assert model.usable_um[1] > 0.3
    assert model.usable_um[1] < 0.7
    assert model.r2 > 0.95
    assert np.isnan(model.z_um(2.0))


def test_two_lines_and_a_parabola_follow_a_bend_that_a_line_cannot():
    z = np.linspace(-0.3, 0.3, 41)
    signal = np.where(z < 0, 0.5 * z, 1.2 * z)
    line, two = fit_signal_model("linear", z, signal), fit_signal_model("piecewise", z, signal)
    assert two.rms_um < 0.3 * line.rms_um
    bent = -1 + np.sqrt(1 + 4 * (z + 0.2))  # z is a parabola of it
    assert fit_signal_model("poly2", z, bent).rms_um < 1e-6


def test_slopes_and_kinds_are_checked():
    assert has_expected_slope(0.3, "auto")
    assert has_expected_slope(0.3, "positive")
    assert not has_expected_slope(0.3, "negative")
    with pytest.raises(BadInputError, match="none of linear"):
        fit_signal_model("cubic", np.arange(9.0), np.arange(9.0))
    with pytest.raises(BadInputError, match="expected 4 or more"):
        fit_signal_model("linear", [0.0, 1.0], [0.0, 1.0])


def test_sweeps_go_up_then_down_and_get_gentler_then_one_way_then_end():
    first = SweepSettings()
    z, direction = first.positions_um(10.0)
    assert z[[0, 20, 21, 41]] == pytest.approx([9.25, 10.75, 10.75, 9.25])
    assert direction.tolist() == [1] * 21 + [-1] * 21
    second = first.gentler()
    assert (second.half_range_um, second.n_steps, second.settle_s) == (pytest.approx(0.6), 32, 0.25)
    third = second.gentler()
    assert (third.is_bidirectional, third.n_steps, third.settle_s) == (False, 32, 0.35)
    assert third.gentler() is None


def spots(theta, sigma_u, sigma_v, n=1, photons=2e4, background=20.0, side=21, at=(0.3, -0.4)):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    dx, dy = x - at[1], y - at[0]
    u, v = np.cos(theta) * dx - np.sin(theta) * dy, np.sin(theta) * dx + np.cos(theta) * dy
    mean = photons * np.exp(-0.5 * ((u / sigma_u) ** 2 + (v / sigma_v) ** 2)) / (2 * np.pi * sigma_u * sigma_v)
    return rng.poisson(mean + background, (n, side, side)).astype(float)


def test_moments_see_the_axes_where_the_model_has_them():
    rois = spots(0.35, 2.2, 1.4, n=50)
    moments = spot_moments(rois)
    along_u, along_v = moments.along(0.35)
    cross = moments.quadrupole().mean(axis=0)
    assert -0.5 * np.arctan2(cross[1], cross[0]) == pytest.approx(0.35, abs=0.02)
    assert along_u.mean() > 1.5 * along_v.mean()
    assert (moments.x_px.mean(), moments.y_px.mean()) == pytest.approx((9.6, 10.3), abs=0.1)
    assert moments.light.mean() == pytest.approx(2e4, rel=0.03)


@pytest.mark.parametrize("background", [0.0, 300.0])
def test_the_error_signal_does_not_see_the_background(background):
    signal = moments_error(spots(0.0, 2.0, 1.5, n=80, background=background)).mean()
    assert 0.1 < signal < np.tanh(np.log(2.0 / 1.5))
    assert signal == pytest.approx(moments_error(spots(0.0, 2.0, 1.5, n=80)).mean(), abs=0.015)
    swapped = moments_error(spots(0.0, 1.5, 2.0, n=80, background=background)).mean()
    assert swapped == pytest.approx(-signal, abs=0.015)


def test_m_beads_are_better_by_the_root_of_m_and_say_so():
    rng = np.random.default_rng(0)
    for m in (1, 4, 16):
        votes = [vote_z(rng.normal(0.1, 0.01, m), np.full(m, 0.01)) for _ in range(1500)]
        scatter = np.std([vote.z_um for vote in votes])
        assert scatter == pytest.approx(0.01 / np.sqrt(m), rel=0.08)
        assert np.median([vote.z_se_um for vote in votes]) == pytest.approx(0.01 / np.sqrt(m), rel=0.1)


def test_an_odd_bead_is_outvoted_and_named():
    z = np.array([0.100, 0.104, 0.097, 0.6, 0.101, np.nan])
    vote = vote_z(z, np.full(6, 0.004))
    assert vote.is_used.tolist() == [True, True, True, False, True, False]
    assert vote.z_um == pytest.approx(np.mean(z[[0, 1, 2, 4]]))
    assert np.isnan(vote_z([np.nan], [0.1]).z_um)


def test_offsets_of_beads_are_found_though_beads_come_and_go():
    rng = np.random.default_rng(1)
    truth = np.array([0.05, -0.12, 0.02, 0.05])
    focus = np.cumsum(rng.normal(0, 0.03, 200))
    z = focus[:, None] + truth + rng.normal(0, 0.01, (200, 4))
    z[:150, 1] = np.nan
    z[50:, 3] = np.nan
    offset, se = bead_offsets(z, np.full(z.shape, 0.01))
    np.testing.assert_allclose(offset, truth - truth.mean(), atol=0.006)
    assert (se < 0.002).all()


def test_only_beads_that_stand_alone_inside_are_found():
    rng = np.random.default_rng(3)
    image = rng.poisson(50, (3, 120, 120)).astype(float)
    y, x = np.mgrid[:120, :120]
    for at, height in (((30, 40), 400), ((80, 80), 300), ((85, 88), 300), ((60, 3), 500), ((100, 30), 350)):
        image += height * np.exp(-0.5 * ((y - at[0]) ** 2 + (x - at[1]) ** 2) / 4)
    found = find_beads(image, roi_px=21)
    assert {tuple(np.round(at / 2).astype(int)) for at in found} == {(15, 20), (50, 15)}


def test_optics_are_checked_when_they_are_told():
    with pytest.raises(BadInputError, match="pixel_size_um"):
        OpticsFacts(0.0)
