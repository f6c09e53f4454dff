"""Stored documents in the order in which a live run gives them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from event_model import unpack_datum_page, unpack_event_page

from parfocal.catalog._log import Document

NamedDocument = tuple[str, Document]


@dataclass
class _Stream:
    """What one stream holds, whichever order it came in."""

    external: set[str] = field(default_factory=set[str])
    events: dict[int, Document] = field(default_factory=dict[int, Document])
    ranges: dict[str, list[Document]] = field(default_factory=lambda: defaultdict(list))  # by data key


@dataclass
class _Run:
    start: Document | None = None
    stop: Document | None = None
    descriptors: dict[str, Document] = field(default_factory=dict[str, Document])
    streams: dict[str, _Stream] = field(default_factory=lambda: defaultdict(_Stream))
    stream_resources: dict[str, Document] = field(default_factory=dict[str, Document])
    resources: dict[str, Document] = field(default_factory=dict[str, Document])
    datums: dict[str, Document] = field(default_factory=dict[str, Document])


def live_order(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[NamedDocument]:
    """Yield the documents of one run in the order of a live run.

    Start; then, by time across all streams, each descriptor before its first event, each resource before
    its first datum, and before each event its own StreamDatum of one index for every external key; stop.
    Exports of a catalog come as all events, then one StreamDatum for all.

    A repeated seq_num, as a pause between save and checkpoint leaves, means that the last one counts. An
    event's frame index is its `<data key>_frame` where it has one, else its place. A stream of StreamDatums
    without events, a burst, keeps them as they are. Event and datum pages are unpacked.

    Parameters
    ----------
    documents
        (name, document) pairs of one run, in any order. They are not changed.

    Yields
    ------
    tuple of str and dict
        No stop where there was none.
    """
    run = _collect(documents)
    if run.start is None:
        raise ValueError("live_order: these documents hold no start document.")
    yield "start", run.start
    yield from _body(run)
    if run.stop:
        yield "stop", run.stop


def _collect(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> _Run:
    run = _Run()
    later: list[NamedDocument] = []
    for name, given in documents:
        doc = dict(given)
        if name == "start":
            run.start = doc
        elif name == "stop":
            run.stop = doc  # {} is what an export says of a run that has none
        elif name == "descriptor":
            run.descriptors[doc["uid"]] = doc
            keys: dict[str, Document] = doc.get("data_keys", {})
            run.streams[doc["name"]].external |= {key for key, value in keys.items() if "external" in value}
        elif name == "stream_resource":
            run.stream_resources[doc["uid"]] = doc
        elif name == "resource":
            run.resources[doc["uid"]] = doc
        elif name == "datum":
            run.datums[doc["datum_id"]] = doc
        elif name == "datum_page":
            run.datums.update((datum["datum_id"], dict(datum)) for datum in unpack_datum_page(cast("Any", doc)))
        elif name in ("event", "event_page", "stream_datum"):
            later.append((name, doc))  # its descriptor may come after it
    for name, doc in later:
        stream = run.streams[run.descriptors[doc["descriptor"]]["name"]]
        if name == "event":
            _add_event(stream, doc)
        elif name == "event_page":
            for event in unpack_event_page(cast("Any", doc)):
                _add_event(stream, dict(event))
        else:
            stream.ranges[run.stream_resources[doc["stream_resource"]]["data_key"]].append(doc)
    return run


def _add_event(stream: _Stream, event: Document) -> None:
    stream.events.pop(event["seq_num"], None)  # the last one counts, and stands where it came
    stream.events[event["seq_num"]] = event


def _body(run: _Run) -> Iterator[NamedDocument]:
    moments: list[tuple[float, int, int, str, Document]] = []
    burst_s: dict[str, float] = {}
    for uid, descriptor in run.descriptors.items():
        moments.append((descriptor["time"], 0, len(moments), uid, descriptor))
        burst_s.setdefault(descriptor["name"], descriptor["time"])
    for name, stream in run.streams.items():
        for event in stream.events.values():
            moments.append((event["time"], 2, event["seq_num"], name, event))
        if not stream.events:
            for datums in stream.ranges.values():
                for datum in datums:
                    # A burst's datums carry no time: all that is known is that they follow their descriptor.
                    moments.append((burst_s[name], 1, datum["indices"]["start"], name, datum))
    said: set[str] = set()
    places = {name: _Places(stream) for name, stream in run.streams.items()}
    for _, kind, _, owner, doc in sorted(moments, key=lambda moment: moment[:3]):
        if kind == 0:
            if owner not in said:
                said.add(owner)
                yield "descriptor", doc
            continue
        if doc["descriptor"] not in said:  # clocks may disagree; the order may not
            said.add(doc["descriptor"])
            yield "descriptor", run.descriptors[doc["descriptor"]]
        if kind == 1:
            yield from _resource_once(run, doc, said)
            yield "stream_datum", doc
            continue
        for datum in places[owner].datums_of(doc):
            yield from _resource_once(run, datum, said)
            yield "stream_datum", datum
        yield from _legacy_datums(run, run.streams[owner], doc, said)
        yield "event", doc


def _resource_once(run: _Run, datum: Document, said: set[str]) -> Iterator[NamedDocument]:
    uid = datum["stream_resource"]
    if uid not in said:
        said.add(uid)
        yield "stream_resource", run.stream_resources[uid]


def _legacy_datums(run: _Run, stream: _Stream, event: Document, said: set[str]) -> Iterator[NamedDocument]:
    for key in sorted(stream.external & event["data"].keys()):
        datum = run.datums.get(event["data"][key])
        if datum is None or event.get("filled", {}).get(key) is True:
            continue
        if datum["resource"] not in said:
            said.add(datum["resource"])
            yield "resource", run.resources[datum["resource"]]
        if datum["datum_id"] not in said:
            said.add(datum["datum_id"])
            yield "datum", datum


class _Places:
    """Which index of which resource each event of a stream means."""

    def __init__(self, stream: _Stream) -> None:
        self._ranges = {
            key: sorted(ranges, key=lambda datum: datum["indices"]["start"])
            for key, ranges in stream.ranges.items()
        }

    def datums_of(self, event: Document) -> Iterator[Document]:
        """Yield one StreamDatum of one index for each external key that has the event's frame."""
        seq_num = event["seq_num"]
        for key in sorted(self._ranges):
            told = event["data"].get(f"{key}_frame")
            for datum in reversed(self._ranges[key]):
                indices, seq_nums = datum["indices"], datum["seq_nums"]
                index = int(told) if told is not None else indices["start"] + seq_num - seq_nums["start"]
                if indices["start"] <= index < indices["stop"]:
                    is_single = indices["stop"] - indices["start"] == 1
                    yield {
                        **datum,
                        "uid": datum["uid"] if is_single else f"{datum['uid']}/{index}",
                        "indices": {"start": index, "stop": index + 1},
                        "seq_nums": {"start": seq_num, "stop": seq_num + 1},
                        "descriptor": event["descriptor"],
                    }
                    break
