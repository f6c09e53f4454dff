"""What of a run was not heard: 0MQ drops documents for slow listeners, and nobody tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Heard:
    """Counts the documents of one run as they are heard, from its start on.

    Events are numbered from 1 in each stream. A number that is repeated (a pause between save and checkpoint) is
    no gap; frames are never repeated, and go on one by one. Ranges of frames follow each other in each resource.
    The stop document says how many events each stream has, which shows what was lost last.
    """

    def __init__(self) -> None:
        self._streams: dict[str, str] = {}
        self._frame_keys: dict[str, list[str]] = {}
        self._external: dict[str, set[str]] = {}
        self._resources: dict[str, str] = {}  # data key by uid
        self._seen: set[int] = set()
        self._last: dict[str, int] = {}
        self._frames: dict[tuple[str, str], int] = {}
        self._n_indices: dict[tuple[str, str], int] = {}
        self._in_ranges: dict[tuple[str, str], int] = {}  # last seq_num by stream and data key

    def has(self, doc: Mapping[str, Any]) -> bool:
        """Say whether this very document was heard before, and note it: Kafka may deliver twice."""
        uid = hash(str(doc["uid"]))
        is_known = uid in self._seen
        self._seen.add(uid)
        return is_known

    def missing(self, name: str, doc: Mapping[str, Any]) -> str:
        """Take a document; return what must have been lost before it, in words, empty for nothing."""
        if name == "descriptor":
            self._streams[doc["uid"]] = doc["name"]
            external = [key for key, about in doc["data_keys"].items() if about.get("external")]
            self._external.setdefault(doc["name"], set()).update(external)
            self._frame_keys[doc["uid"]] = [f"{key}_frame" for key in external]
        elif name == "stream_resource":
            self._resources[doc["uid"]] = doc["data_key"]
        elif name == "event":
            return self._event(doc, int(doc["seq_num"]), doc["data"])
        elif name == "event_page":
            for row, seq_num in enumerate(doc["seq_num"]):
                data = {key: values[row] for key, values in doc["data"].items()}
                if why := self._event(doc, int(seq_num), data):
                    return why
        elif name == "stream_datum":
            return self._range(doc)
        elif name == "stop":
            return self._stop(doc)
        return ""

    def _event(self, doc: Mapping[str, Any], seq_num: int, data: Mapping[str, Any]) -> str:
        stream = self._streams.get(doc["descriptor"])
        if stream is None:
            return f"the descriptor of event {seq_num} was not heard"
        last = self._last.get(stream, 0)
        if seq_num > last + 1:
            return f"stream {stream}: event {seq_num} came after {last or 'none'}"
        for key in self._frame_keys[doc["descriptor"]]:
            if key not in data:
                continue
            frame, before = int(data[key]), self._frames.get((stream, key))
            if before is not None and frame > before + 1:
                return f"stream {stream}: frame {frame} came after {before}"
            self._frames[stream, key] = frame
        self._last[stream] = seq_num
        return ""

    def _range(self, doc: Mapping[str, Any]) -> str:
        stream = self._streams.get(doc["descriptor"])
        if stream is None or doc["stream_resource"] not in self._resources:
            return "what says where frames lie was not heard"
        start, stop = doc["indices"]["start"], doc["indices"]["stop"]
        last = self._n_indices.get((stream, doc["stream_resource"]))
        if last is not None and start > last:
            return f"stream {stream}: frame {start} came after {last - 1}"
        self._n_indices[stream, doc["stream_resource"]] = stop
        key = (stream, self._resources[doc["stream_resource"]])
        self._in_ranges[key] = max(doc["seq_nums"]["stop"] - 1, self._in_ranges.get(key, 0))
        return ""

    def _stop(self, doc: Mapping[str, Any]) -> str:
        for stream, n in (doc.get("num_events") or {}).items():
            if stream in self._last:
                heard = self._last[stream]
            else:  # frames without events, a burst: each of its arrays counts
                ranges = [self._in_ranges.get((stream, key), 0) for key in self._external.get(stream, ())]
                heard = min(ranges, default=0)
            if n > heard:
                return f"stream {stream}: {heard} of {n} events were heard"
        return ""
