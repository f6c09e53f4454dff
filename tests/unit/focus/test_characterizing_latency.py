"""Latency out of frames: what is put in comes out, whatever the exposure."""

import numpy as np
import pytest

from parfocal.focus._characterizing_latency import delay_of

HALF_UM = 0.15


def mean_share(after_s, exposure_s, dead_s, lag_s):
    """Return the share of a step that a frame shows: the mean of many moments of its exposure."""
    t_s = after_s + exposure_s * (np.arange(2000) + 0.5) / 2000 - exposure_s / 2 - dead_s
    return np.where(t_s > 0, 1 - np.exp(-np.maximum(t_s, 0) / lag_s), 0.0).mean()


@pytest.mark.parametrize("exposure_s", [0.001, 0.01, 0.02])
@pytest.mark.parametrize(("dead_s", "lag_s"), [(0.0, 0.003), (0.002, 0.004)])
def test_the_latency_does_not_depend_on_the_exposure(exposure_s, dead_s, lag_s):
    rng = np.random.default_rng(0)
    rows = []
    for level in range(6):
        for number, lead_s in enumerate(np.linspace(-exposure_s - 0.002, 0.04 - exposure_s / 2, 10)):
            after_s = lead_s + exposure_s / 2 + rng.uniform(0, 0.001)
            up = 1.0 if level % 2 == 0 else -1.0
            share = mean_share(after_s, exposure_s, dead_s, lag_s)
            at_um = up * HALF_UM * (2 * share - 1) + rng.normal(0, 0.002)
            row = {"level": level, "number": number, "after_s": after_s, "at_um": at_um, "up": up}
            rows.append(row | {"t_s": level + 0.1 * number, "exposure_s": exposure_s})
    found, share, left = delay_of(rows, HALF_UM)
    assert abs(found.value - dead_s - lag_s) < 4 * found.se + 5e-5
    assert found.se < 5e-4
    assert share == pytest.approx(1.0, abs=0.05)
    assert left < 0.05
