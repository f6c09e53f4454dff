from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from parfocal.catalog import live_order

RECORDED = Path(__file__).parents[3].parent / "shared" / "data" / "G_bluesky"


def stored_run(n_events: int = 3, frames: list[int] | None = None):
    """Documents as a catalog exports them: all events, then one datum for all."""
    camera = {"external": "STREAM:", "shape": [2, 2], "dtype": "array", "source": ""}
    frames = frames or list(range(n_events))
    return [
        ("start", {"uid": "run", "time": 0.0}),
        (
            "descriptor",
            {"uid": "d", "run_start": "run", "name": "primary", "time": 1.0, "data_keys": {"camera": camera}},
        ),
        *(
            (
                "event",
                {
                    "uid": f"e{number}",
                    "descriptor": "d",
                    "seq_num": number + 1,
                    "time": 2.0 + number,
                    "data": {"camera_frame": frames[number]},
                    "timestamps": {"camera_frame": 0.0},
                },
            )
            for number in range(n_events)
        ),
        ("stream_resource", {"uid": "sr", "data_key": "camera", "run_start": "run"}),
        (
            "stream_datum",
            {
                "uid": "sd",
                "stream_resource": "sr",
                "descriptor": "d",
                "indices": {"start": 0, "stop": max(frames) + 1},
                "seq_nums": {"start": 1, "stop": max(frames) + 2},
            },
        ),
        ("stop", {"uid": "s", "run_start": "run", "time": 9.0, "exit_status": "success"}),
    ]


def test_each_event_follows_its_own_datum():
    names = [name for name, _ in live_order(stored_run(2))]
    expected = ["start", "descriptor", "stream_resource", *["stream_datum", "event"] * 2, "stop"]
    assert names == expected


def test_the_order_of_the_input_does_not_matter():
    documents = stored_run(5)
    expected = list(live_order(documents))
    random.Random(0).shuffle(documents)
    assert list(live_order(documents)) == expected


def test_a_datum_means_the_frame_that_its_event_names():
    # frame 2 belonged to a point that was taken again after a pause
    documents = list(live_order(stored_run(4, frames=[0, 1, 3, 4])))
    datums = [doc for name, doc in documents if name == "stream_datum"]
    assert [datum["indices"] for datum in datums] == [
        {"start": index, "stop": index + 1} for index in (0, 1, 3, 4)
    ]
    assert [datum["seq_nums"]["start"] for datum in datums] == [1, 2, 3, 4]
    assert len({datum["uid"] for datum in datums}) == 4


def test_without_a_frame_index_the_place_counts():
    documents = stored_run(3)
    for name, doc in documents:
        if name == "event":
            doc["data"] = {}
    datums = [doc for name, doc in live_order(documents) if name == "stream_datum"]
    assert [datum["indices"]["start"] for datum in datums] == [0, 1, 2]


def test_of_a_repeated_seq_num_the_last_one_counts():
    documents = stored_run(3)
    again = {**documents[3][1], "uid": "again", "time": 3.5, "data": {"camera_frame": 1}}
    documents.insert(4, ("event", again))
    events = [doc for name, doc in live_order(documents) if name == "event"]
    assert [event["uid"] for event in events] == ["e0", "again", "e2"]


def test_a_live_run_stays_as_it_was():
    live = list(live_order(stored_run(4)))
    assert list(live_order(live)) == live


def test_streams_are_merged_by_time():
    documents = stored_run(3)
    monitor = {"uid": "m", "run_start": "run", "name": "monitor", "time": 2.5, "data_keys": {"x": {}}}
    documents.append(("descriptor", monitor))
    for seq_num, time_s in ((1, 2.6), (2, 3.6)):
        event = {"uid": f"m{seq_num}", "descriptor": "m", "seq_num": seq_num, "time": time_s, "data": {}}
        documents.append(("event", event))
    order = [doc["uid"] for name, doc in live_order(documents) if name in ("event", "descriptor")]
    assert order == ["d", "e0", "m", "m1", "e1", "m2", "e2"]


def test_an_event_that_is_older_than_its_descriptor_still_follows_it():
    documents = stored_run(1)
    documents[1][1]["time"] = 99.0
    names = [name for name, _ in live_order(documents)]
    assert names.index("descriptor") < names.index("event")


def test_a_burst_keeps_its_datums():
    documents = [(name, doc) for name, doc in stored_run(3) if name != "event"]
    names = [name for name, _ in live_order(documents)]
    assert names == ["start", "descriptor", "stream_resource", "stream_datum", "stop"]


def test_pages_are_unpacked():
    documents = [doc for doc in stored_run(2) if doc[0] not in ("event", "stream_resource", "stream_datum")]
    page = {
        "descriptor": "d",
        "uid": ["p1", "p2"],
        "seq_num": [1, 2],
        "time": [2.0, 3.0],
        "data": {"x": [1.0, 2.0]},
        "timestamps": {"x": [0.0, 0.0]},
    }
    events = [doc for name, doc in live_order([*documents, ("event_page", page)]) if name == "event"]
    assert [(event["uid"], event["data"]["x"]) for event in events] == [("p1", 1.0), ("p2", 2.0)]


def test_resources_of_the_old_kind_come_before_their_event():
    documents = [doc for doc in stored_run(1) if not doc[0].startswith("stream")]
    documents[2][1]["data"] = {"camera": "r/0"}
    datum_page = {"resource": "r", "datum_id": ["r/0"], "datum_kwargs": {"point": [0]}}
    documents += [("datum_page", datum_page), ("resource", {"uid": "r", "run_start": "run"})]
    names = [name for name, _ in live_order(documents)]
    assert names == ["start", "descriptor", "resource", "datum", "event", "stop"]


def test_a_run_without_an_end_has_no_stop():
    documents = [doc for doc in stored_run(1) if doc[0] != "stop"]
    assert "stop" not in [name for name, _ in live_order([*documents, ("stop", {})])]


def test_documents_without_a_start_are_refused():
    with pytest.raises(ValueError, match="no start document"):
        list(live_order(stored_run()[1:]))


@pytest.mark.skipif(not RECORDED.is_dir(), reason="recorded documents are not on this machine")
@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json*")), ids=lambda path: path.name)
def test_recorded_runs_keep_all_they_hold(path):
    if path.suffix == ".jsonl":
        documents = [tuple(json.loads(line)) for line in path.read_text().splitlines()]
    else:
        documents = [(record["name"], record["doc"]) for record in json.loads(path.read_text())]
    ordered = list(live_order(documents))
    events, expected = Counter(), Counter()
    for name, doc in documents:
        if name in ("event", "event_page"):
            expected.update(
                (doc["descriptor"], seq_num)
                for seq_num in ([doc["seq_num"]] if name == "event" else doc["seq_num"])
            )
    open_descriptors = set()
    for name, doc in ordered:
        if name == "descriptor":
            open_descriptors.add(doc["uid"])
        if name == "event":
            assert doc["descriptor"] in open_descriptors
            events[doc["descriptor"], doc["seq_num"]] += 1
    assert events == Counter(set(expected))
    assert ordered[0][0] == "start"
    assert (ordered[-1][0] == "stop") == any(name == "stop" for name, _ in documents)
