"""A burst keeps every frame, in order, with its plane and its time."""

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
import zarr
from bluesky.utils import FailedStatus

from parfocal.devices import BurstSettings
from parfocal.frames import path_of


def burst(camera, n, z_um=None):
    yield from bps.open_run()
    yield from bps.declare_stream(camera.burst, name="burst", collect=True)
    yield from bps.prepare(camera.burst, BurstSettings(n, z_um), wait=True)
    yield from bps.kickoff(camera.burst, wait=True)
    yield from bps.collect_while_completing([camera.burst], [camera.burst], flush_period=0.05, stream_name="burst")
    yield from bps.close_run()


def arrays(documents):
    return {r["data_key"]: zarr.open_array(path_of(r["uri"]), mode="r") for r in documents.of("stream_resource")}


def test_a_burst_keeps_every_frame_in_order_with_plane_and_time(RE, camera, documents):
    z_um = np.linspace(-1, 1, 200)
    RE(bpp.stage_wrapper(burst(camera, 200, z_um.tolist()), [camera]))
    got = arrays(documents)
    assert [int(f) for f in got["camera"][:, 0, 0]] == list(range(200))
    assert np.array_equal(got["camera_z_um"][:], z_um)
    assert np.all(np.diff(got["camera_t_s"][:]) > 0)
    assert not documents.of("event")
    stops = [d["indices"]["stop"] for d in documents.of("stream_datum")]
    assert max(stops) == 200


def test_a_frame_lost_in_a_burst_fails_it_and_keeps_what_came_before(RE, camera, source, documents):
    taken = source.snap

    def snap(timeout_s):
        source.fault = "drop" if source.taken == 50 else None
        return taken(timeout_s)

    source.snap = snap

    def plan():
        try:
            yield from burst(camera, 200)
        except FailedStatus:
            yield from bps.collect(camera.burst, name="burst")
            yield from bps.close_run("fail", "lost a frame")

    RE(bpp.stage_wrapper(plan(), [camera]))
    assert arrays(documents)["camera"].shape[0] == 50
    assert not source.running


def test_two_bursts_in_two_runs_have_arrays_of_their_own(RE, camera, documents):
    for _ in range(2):
        RE(bpp.stage_wrapper(burst(camera, 5), [camera]))
    uris = {r["uri"] for r in documents.of("stream_resource")}
    assert len(uris) == 6
    assert {zarr.open_array(path_of(u), mode="r").shape[0] for u in uris} == {5}


@pytest.mark.parametrize("n", [1, 31, 32, 33])
def test_companions_are_as_long_as_the_pixels(RE, camera, documents, n):
    RE(bpp.stage_wrapper(burst(camera, n), [camera]))
    assert {a.shape[0] for a in arrays(documents).values()} == {n}
    assert np.isnan(arrays(documents)["camera_z_um"][:]).all()


def test_a_burst_with_planes_that_do_not_fit_is_refused(RE, camera):
    with pytest.raises(FailedStatus):
        RE(bps.prepare(camera.burst, BurstSettings(3, [1.0]), wait=True))
