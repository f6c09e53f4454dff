"""A volume of nuclei is taken again with more light, until what is found is certain or the budget is spent."""

import numpy as np
import pytest

from parfocal.devices import simulated_microscope
from parfocal.errors import BadInputError
from parfocal.plans import acquire_until_certain

pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")

DIM = {"half_range_um": 6.0, "step_um": 1.5, "exposure_s": 0.00002, "exposure_factor": 10.0, "step_factor": 1.0}
NET = {"backend": "unet3d", "diameter_um": 9.0}


@pytest.fixture
def microscope(tmp_path):
    made = simulated_microscope("microscope", realtime=False, height_px=128, width_px=128)
    made.camera.frames_root = tmp_path
    yield made
    made.destroy()


def volumes(documents):
    """Return, for each attempt, the exposure, and what was said after its last plane."""
    said: dict[int, str] = {}
    for attempt, reason in zip(
        documents.column("audit_attempt", "audit"), documents.column("audit_reason", "audit"), strict=True
    ):
        said[attempt] = reason
    exposures = dict(
        zip(
            documents.column("point_attempt", "primary"),
            documents.column("point_exposure_s", "primary"),
            strict=True,
        )
    )
    return [(exposures[attempt], reason) for attempt, reason in said.items()]


@pytest.mark.long
def test_more_light_finds_what_was_not_certain(RE, documents, microscope):
    before_s, z_um = microscope.camera.exposure_s.get(), microscope.xyz.z.position
    RE(acquire_until_certain(microscope, **DIM, **NET, max_attempts=3, max_uncertain=0.5))
    taken = volumes(documents)
    assert 1 < len(taken) <= 3
    assert [round(exposure / 2e-5) for exposure, _ in taken] == [1, 10, 100][: len(taken)]
    found = [int(reason.split(" of ")[1].split()[0]) for _, reason in taken]
    assert found[-1] > found[0]
    assert documents.column("audit_accepted", "audit")[-1] == 1
    shares = documents.column("audit_uncertain_share", "audit")
    assert shares[-1] <= 0.5
    assert np.isnan(shares[0])  # of a plane that is not the last nothing is known
    assert microscope.camera.exposure_s.get() == before_s
    assert microscope.xyz.z.position == pytest.approx(z_um, abs=0.05)


def test_an_attempt_beyond_the_budget_of_light_is_not_begun(RE, documents, microscope):
    # 9 planes of 0.02 ms and 9 of 0.2 ms: a third attempt would take 18 ms more.
    RE(acquire_until_certain(microscope, **DIM, **NET, max_attempts=3, max_uncertain=0.0, light_budget_s=0.01))
    assert len(volumes(documents)) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"step_um": 0.0}, "steps within it"),
        ({"light_budget_s": 1e-5}, "the budget is 1e-05 s"),
        ({"limits": {"magic": 1.0}}, "no signal 'magic'"),
        ({"backend": "magic"}, "no backend 'magic'"),
        ({"max_uncertain": float("nan")}, "a share of 0 to 1"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_moves(RE, documents, microscope, wrong, message):
    with pytest.raises(BadInputError, match=message):
        RE(acquire_until_certain(microscope, **{**DIM, **NET, **wrong}))
    assert documents.all == []
