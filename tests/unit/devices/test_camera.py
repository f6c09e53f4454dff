"""Frame index and event never drift apart, and a camera stays usable whatever the plan does."""

import re

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
import zarr
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from parfocal.errors import BadInputError
from parfocal.frames import path_of


def stored(documents, n=0):
    return zarr.open_array(path_of(documents.of("stream_resource")[n]["uri"]), mode="r")


def events_match_frames(documents, key="camera"):
    """Each event's `camera_frame` is its datum's index, and the arrays hold exactly these frames."""
    events, datums = documents.of("event"), documents.of("stream_datum")
    assert [e["data"][f"{key}_frame"] for e in events] == [d["indices"]["start"] for d in datums]
    assert [e["seq_num"] for e in events] == [d["seq_nums"]["start"] for d in datums]
    assert stored(documents).shape[0] == len(events)


def pausing_plan(detectors, RE, where, at, num=5):
    """`bp.count` with a hard pause between two named messages of step `at`, once."""
    state = {"step": 0, "paused": False}

    def maybe_pause(msg):
        if msg.command == "create":
            state["step"] += 1
        if msg.command == where and state["step"] == at and not state["paused"]:
            state["paused"] = True

            def then():
                yield Msg("pause", defer=False)

            return None, then()
        return None, None

    return bpp.plan_mutator(bp.count(detectors, num=num), maybe_pause)


def test_one_event_one_frame(RE, camera, documents):
    RE(bp.count([camera], num=4))
    events_match_frames(documents)
    assert [int(f[0, 0]) for f in stored(documents)] == [0, 1, 2, 3]


def test_the_frame_is_on_disk_when_trigger_is_done(camera):
    camera.stage()
    camera.trigger().wait(2)
    (_, resource), _ = list(camera.collect_asset_docs())
    assert zarr.open_array(path_of(resource["uri"]), mode="r")[0, 0, 0] == 0
    camera.unstage()


def test_documents_say_what_the_frames_are(RE, camera, documents):
    RE(bp.count([camera], num=1))
    (descriptor,) = documents.of("descriptor")
    key = descriptor["data_keys"]["camera"]
    assert key["external"] == "STREAM:"
    assert key["dims"] == ["y", "x"]
    assert key["dtype_numpy"] == "<u2"
    assert key["shape"] == [8, 6]
    assert key["units"] == "ADU"
    configuration = descriptor["configuration"]["camera"]["data"]
    assert configuration["camera_pixel_size_um"] == [0.2, 0.1]
    assert configuration["camera_na"] == 0.9
    assert configuration["camera_offset_adu"] == 100.0
    assert configuration["camera_read_noise_e"] == 1.6
    assert "camera_temperature_c" not in configuration, "a camera without a thermometer claims none"
    (resource,) = documents.of("stream_resource")
    assert resource["mimetype"] == "application/x-zarr"
    assert resource["parameters"] == {"chunk_shape": [1, 8, 6]}
    assert "camera" not in documents.of("event")[0]["data"], "pixels do not travel in events"


@pytest.mark.parametrize("where", ["trigger", "wait", "create", "read"])
def test_a_pause_before_the_frame_is_saved_overwrites_it(RE, camera, source, documents, where):
    """Right after trigger, wait, create and read: the event was not saved yet."""
    with pytest.raises(RunEngineInterrupted):
        RE(pausing_plan([camera], RE, where, at=3))
    RE.resume()
    events_match_frames(documents)
    assert len(documents.of("event")) == 5


def test_a_pause_between_save_and_checkpoint_keeps_both_and_the_last_wins(RE, camera, documents):
    def plan():
        yield from bps.open_run()
        for i in range(5):
            yield Msg("checkpoint")
            yield from bps.trigger_and_read([camera])
            if i == 2:
                yield from bps.pause()
        yield from bps.close_run()

    with pytest.raises(RunEngineInterrupted):
        RE(bpp.stage_wrapper(plan(), [camera]))
    RE.resume()
    assert [e["seq_num"] for e in documents.of("event")] == [1, 2, 3, 3, 4, 5]
    events_match_frames(documents)


def test_a_dropped_bundle_leaves_no_orphan_frame(RE, camera, documents):
    def plan():
        yield from bps.open_run()
        for i in range(4):
            yield from bps.trigger(camera, wait=True)
            yield from bps.create()
            yield from bps.read(camera)
            yield from (bps.drop() if i == 1 else bps.save())
        yield from bps.close_run()

    RE(bpp.stage_wrapper(plan(), [camera]))
    events_match_frames(documents)
    assert [int(f[0, 0]) for f in stored(documents)] == [0, 2, 3]


@pytest.mark.parametrize("end", ["abort", "stop", "halt"])
def test_the_camera_is_usable_after(RE, camera, documents, end):
    with pytest.raises(RunEngineInterrupted):
        RE(pausing_plan([camera], RE, "wait", at=2))
    getattr(RE, end)()
    documents.all.clear()
    camera.unstage()  # `halt` cleans up nothing
    RE(bp.count([camera], num=3))
    events_match_frames(documents)
    assert len(documents.of("event")) == 3


def test_a_camera_staged_across_runs_gives_each_run_its_own_array(RE, camera, documents):
    def plan():
        for _ in range(2):
            yield from bps.open_run()
            for _ in range(3):
                yield from bps.trigger_and_read([camera])
            yield from bps.close_run()

    RE(bpp.stage_wrapper(plan(), [camera]))
    assert len(documents.of("stream_resource")) == 2
    assert [e["data"]["camera_frame"] for e in documents.of("event")] == [0, 1, 2, 0, 1, 2]
    assert [int(f[0, 0]) for f in stored(documents, 1)] == [3, 4, 5]


def test_a_change_of_exposure_in_a_run_goes_on_in_the_same_array(RE, camera, documents):
    def plan():
        yield from bps.open_run()
        yield from bps.trigger_and_read([camera])
        yield from bps.configure(camera, {"exposure_s": 0.002})
        yield from bps.trigger_and_read([camera])
        yield from bps.close_run()

    RE(bpp.stage_wrapper(plan(), [camera]))
    assert len(documents.of("stream_resource")) == 1
    assert [e["data"]["camera_frame"] for e in documents.of("event")] == [0, 1]
    exposures = [d["configuration"]["camera"]["data"]["camera_exposure_s"] for d in documents.of("descriptor")]
    assert exposures == [0.001, 0.002]


def test_two_streams_have_an_array_each_and_turns_between_them_are_refused(RE, camera, documents):
    def plan(streams):
        yield from bps.open_run()
        for stream in streams:
            yield from bps.trigger_and_read([camera], name=stream)
        yield from bps.close_run()

    RE(bpp.stage_wrapper(plan(["a", "a", "b", "b"]), [camera]))
    assert [e["data"]["camera_frame"] for e in documents.of("event")] == [0, 1, 0, 1]
    assert len(documents.of("stream_resource")) == 2
    with pytest.raises(FailedStatus) as error:
        RE(bpp.stage_wrapper(plan(["a", "b", "a", "b"]), [camera]))
    assert "two streams of one run by turns" in str(error.value.__cause__)


def test_a_change_of_shape_in_a_run_is_refused_and_undone(RE, camera, source):
    def plan():
        yield from bps.open_run()
        yield from bps.trigger_and_read([camera])
        yield from bps.mv(camera.binning, 2)

    with pytest.raises(FailedStatus) as error:
        RE(bpp.run_wrapper(bpp.stage_wrapper(plan(), [camera])) if False else bpp.stage_wrapper(plan(), [camera]))
    assert "change ROI or binning between runs" in str(error.value.__cause__ or error.value)
    assert source.settings.binning == 1


def test_binning_between_runs_changes_shape_and_pixel_size(RE, camera, documents):
    RE(bps.mv(camera.binning, 2))
    RE(bp.count([camera]))
    (descriptor,) = documents.of("descriptor")
    assert descriptor["data_keys"]["camera"]["shape"] == [4, 3]
    assert descriptor["configuration"]["camera"]["data"]["camera_pixel_size_um"] == [0.4, 0.2]


def test_a_setting_the_camera_refuses_fails_the_plan_with_its_words(RE, camera):
    with pytest.raises(FailedStatus):
        RE(bps.mv(camera.exposure_s, -1))
    with pytest.raises(BadInputError, match="exposure_s must be above 0"):
        camera.exposure_s.put(-1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("timeout", "no frame within"),
        ("drop", "lost 1 frame"),
        ("shape", r"delivered uint16 \(8, 7\)"),
        ("dtype", "delivered float32"),
    ],
)
def test_a_bad_frame_fails_the_status_not_the_process(RE, camera, source, documents, fault, words):
    outcomes = []

    def plan():
        yield from bps.open_run()
        for i in range(3):
            source.fault = fault if i == 1 else None
            try:
                yield from bps.trigger(camera, wait=True)
            except FailedStatus as error:
                outcomes.append(str(error.__cause__ or error))
                continue
            yield from bps.create()
            yield from bps.read(camera)
            yield from bps.save()
        yield from bps.close_run()

    RE(bpp.stage_wrapper(plan(), [camera]))
    assert len(outcomes) == 1
    assert re.search(words, outcomes[0])
    events_match_frames(documents)
    assert len(documents.of("event")) == 2


def test_frames_are_in_memory_for_live_analysis(RE, camera, documents):
    RE(bp.count([camera], num=2))
    uri = documents.of("stream_resource")[0]["uri"]
    assert camera.ring.get(uri, 1)[0, 0] == 1


def test_a_run_without_frames_leaves_no_folder(camera, tmp_path):
    camera.stage()
    camera.unstage()
    assert not list(tmp_path.rglob("*.zarr"))
