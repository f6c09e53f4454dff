"""What an analysis needs to know of the run it looks at, gathered from documents as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.frames import Frame, Frames
from parfocal.optics import CameraModel


@dataclass
class RunView:
    """One raw run: its start document, which stream holds the frames, and where they are.

    Documents may come in the live order (datum before event) or in that of a stored run; both work, since an
    event names its frame by `<camera>_frame` and needs only the resource's address.
    """

    start: dict[str, Any]
    stream: str = "primary"
    data_key: str = ""
    descriptor: dict[str, Any] = field(default_factory=dict[str, Any])
    _descriptors: dict[str, str] = field(default_factory=dict[str, str])
    _uris: dict[str, str] = field(default_factory=dict[str, str])
    _resources: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    _n_events: dict[str, int] = field(default_factory=dict[str, int])
    _verdicts: dict[int, tuple[bool, str]] = field(default_factory=dict[int, tuple[bool, str]])

    @property
    def uid(self) -> str:
        """Uid of the run."""
        return self.start["uid"]

    @property
    def is_burst(self) -> bool:
        """Whether the frames have no events."""
        return bool(self.data_key) and f"{self.data_key}_frame" not in self.descriptor.get("data_keys", {})

    @property
    def burst_resource(self) -> str:
        """Uid of the array of frames that have no events; empty where they have."""
        ours = (uid for uid, (key, _) in self._resources.items() if key == self.data_key)
        return next(ours, "") if self.is_burst else ""

    def configuration(self, fact: str, default: Any = None) -> Any:
        """Return one fact of the camera's configuration, such as `pixel_size_um`."""
        for device in self.descriptor.get("configuration", {}).values():
            if f"{self.data_key}_{fact}" in device["data"]:
                return device["data"][f"{self.data_key}_{fact}"]
        return default

    def camera_model(self) -> CameraModel | None:
        """Return the camera's offset, gain, read noise and EM gain, or None where the run does not tell them.

        An EM gain that is not told, as in runs of former versions, is 1: none.
        The spread of offsets over the sensor looks like noise to whoever sees one frame, and is counted as such.
        """
        facts = ("offset_adu", "gain_adu_per_e", "read_noise_e", "saturation_adu")
        values = [self.configuration(fact) for fact in facts]
        known = [float(v) for v in values if v is not None and np.isfinite(float(v))]
        if len(known) < len(facts):
            return None
        offset_adu, gain, read_noise_e, saturation_adu = known
        offset_sd_adu = float(self.configuration("offset_sd_adu", 0.0))
        read_noise_e = float(np.hypot(read_noise_e, offset_sd_adu / gain))
        em_gain = float(self.configuration("em_gain", 1.0))
        em_gain = em_gain if np.isfinite(em_gain) else 1.0
        return CameraModel(offset_adu, gain, read_noise_e, saturation_adu, em_gain=em_gain)

    def axis_key(self, axis: str) -> str:
        """Return the event key of a stage axis (`x`, `y`, `z`); empty where the run names none."""
        named = self.start.get("parfocal", {}).get("axes", {})
        return str(named.get(axis, ""))

    def add_descriptor(self, doc: dict[str, Any], wanted_key: str = "") -> bool:
        """Note a descriptor; True if its stream holds the frames we look at."""
        self._descriptors[doc["uid"]] = doc["name"]
        if doc["name"] != self.stream:
            return False
        key = wanted_key or image_key(doc, self.start)
        if not key:
            return False
        self.data_key, self.descriptor = key, doc
        return True

    def add_resource(self, doc: dict[str, Any]) -> None:
        """Note where an array is."""
        self._uris[doc["data_key"]] = doc["uri"]
        self._resources[doc["uid"]] = (doc["data_key"], doc["uri"])

    def is_ours(self, doc: dict[str, Any]) -> bool:
        """Whether an event or datum belongs to the stream we look at."""
        return bool(self.data_key) and self._descriptors.get(doc["descriptor"]) == self.stream

    def count(self, doc: dict[str, Any]) -> None:
        """Note an event, of whichever stream; one that is repeated after a pause counts once."""
        stream = self._descriptors.get(doc["descriptor"], "")
        self._n_events[stream] = max(self.n_events(stream), int(doc["seq_num"]))

    def note_verdict(self, doc: dict[str, Any]) -> None:
        """Keep what an auditor said of a frame, from its event in stream `audit`; others are passed over."""
        auditor = self.start.get("parfocal", {}).get("audit", {}).get("auditor")
        if auditor is None or self._descriptors.get(doc["descriptor"]) != "audit":
            return
        told = doc["data"]
        accepted, reason = bool(told[f"{auditor}_accepted"]), str(told[f"{auditor}_reason"])
        self._verdicts[int(told[f"{auditor}_frame"])] = (accepted, reason)

    @property
    def verdicts(self) -> dict[int, tuple[bool, str]]:
        """What the plan's auditor said last of each frame (accepted, reason), by index; empty without one."""
        return dict(self._verdicts)

    def n_events(self, stream: str) -> int:
        """Return how many events of a stream have come."""
        return self._n_events.get(stream, 0)

    def frame_of_event(self, doc: dict[str, Any], frames: Frames) -> Frame | None:
        """Return the frame of an event, or None where it has none."""
        index = doc["data"].get(f"{self.data_key}_frame", doc["seq_num"] - 1)
        uri = self._uris.get(self.data_key)
        if uri is None:
            raise BadInputError(
                f"run {self.uid[:8]}: event {doc['seq_num']} came before its frames were announced"
            )
        pixels = frames.get(uri, int(index))
        return Frame(pixels, uri, int(index), doc["seq_num"], doc["time"], dict(doc["data"]))

    def frames_of_datum(self, doc: dict[str, Any], frames: Frames) -> Iterator[Frame]:
        """Yield the frames of a burst's datum, their `z_um` and `t_s` as columns."""
        key, uri = self._resources[doc["stream_resource"]]
        if key != self.data_key or not self.is_burst:
            return
        base = uri.rpartition("/")[0]
        start, stop = doc["indices"]["start"], doc["indices"]["stop"]
        told = {name: frames.read_range(f"{base}/{name}", start, stop) for name in ("z_um", "t_s")}
        for index in range(start, stop):
            columns = {name: float(values[index - start]) for name, values in told.items()}
            yield Frame(frames.get(uri, index), uri, index, index + 1, columns["t_s"], columns)


def image_key(descriptor: dict[str, Any], start: dict[str, Any]) -> str:
    """Return the data key of the images in a descriptor: the camera the plan named, else the first; or empty."""
    external = [
        key
        for key, value in descriptor["data_keys"].items()
        if value.get("external") and len(value.get("shape", [])) >= 2
    ]
    named = start.get("parfocal", {}).get("camera")
    return named if named in external else (external[0] if external else "")
