"""What 0MQ dropped is noticed, whatever it was; and nothing that is whole is taken for broken."""

import contextlib
import itertools

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import Msg, RunEngineInterrupted
from ophyd.sim import det

from parfocal.callbacks._follow_heard import Heard
from parfocal.plans import z_burst, z_stack


def why_of(documents):
    """The first reason to think that something is missing; empty for none."""
    heard = Heard()
    return next((why for name, doc in documents if (why := heard.missing(name, doc))), "")


def paused(camera):
    """A stack in which one event is repeated: paused between save and the next checkpoint."""
    yield from bps.open_run()
    for n in range(5):
        yield Msg("checkpoint")
        yield from bps.trigger_and_read([camera, det])
        if n == 2:
            yield from bps.pause()
    yield from bps.close_run()


@pytest.fixture
def whole(RE, documents, microscope, request):
    plan = {
        "stack": lambda: z_stack(microscope, 2, 1),
        "burst": lambda: z_burst(microscope, n_frames=5),
        "plain": lambda: bp.count([det], 4),
        "paused": lambda: bpp.stage_wrapper(paused(microscope.camera), [microscope.camera]),
    }[request.param]
    with contextlib.suppress(RunEngineInterrupted):
        RE(plan())
    if RE.state == "paused":
        RE.resume()
    return documents.all


@pytest.mark.parametrize("whole", ["stack", "burst", "plain", "paused"], indirect=True)
def test_a_run_of_which_everything_was_heard_is_whole(whole):
    assert whole[-1][0] == "stop"
    assert why_of(whole) == ""


@pytest.mark.parametrize("whole", ["stack", "plain", "paused"], indirect=True)
def test_any_event_or_descriptor_that_was_lost_is_noticed(whole):
    lost = [n for n, (name, _) in enumerate(whole) if name in ("event", "descriptor")]
    assert len(lost) >= 5
    for n in lost:
        assert why_of(whole[:n] + whole[n + 1 :]), f"{whole[n][0]} {n} is missing"


@pytest.mark.parametrize("whole", ["burst"], indirect=True)
def test_any_range_of_frames_of_a_burst_that_was_lost_is_noticed(whole):
    for n in [n for n, (name, _) in enumerate(whole) if name in ("stream_datum", "stream_resource", "descriptor")]:
        assert why_of(whole[:n] + whole[n + 1 :]), f"{whole[n][0]} {n} is missing"


@pytest.mark.parametrize("whole", ["stack"], indirect=True)
def test_all_of_the_end_that_was_lost_is_noticed_at_the_stop_document(whole):
    events = [n for n, (name, _) in enumerate(whole) if name == "event"]
    for first in events:
        assert "were heard" in why_of(
            itertools.chain(whole[:first], [pair for pair in whole[first:] if pair[0] == "stop"])
        )
