"""From documents to Tiled nodes: BTP's run writer, made to flush when told and to fail rather than guess."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from bluesky_tiled_plugins.writing.consolidators import ConsolidatorBase, DataSource, Patch, consolidator_factory
from bluesky_tiled_plugins.writing.tiled_writer import (
    RunNormalizer,
    _RunWriter,  # pyright: ignore[reportPrivateUsage]  (TiledWriter offers no flush; it makes one of these a run)
)
from tiled.client.container import Container

from parfocal.catalog._clients import count_rows, read_array
from parfocal.catalog._known_shapes import remember_shapes
from parfocal.catalog._log import Document


class _FlushingRunWriter(_RunWriter):
    """Collects rows and frame ranges until `flush` writes them, one request a table and one an array."""

    def __init__(self, container: Container) -> None:
        # Not `include_data_sources()`, which asks for the container again: a request a run.
        super().__init__(container.new_variation(include_data_sources=True), batch_size=10_000)
        self._data_source_ids: dict[str, int] = {}
        self._just_registered: set[str] = set()
        self._numeric: dict[str, dict[str, _Declared]] = {}  # by stream, by data key

    def descriptor(self, doc: Any) -> None:
        # BTP keeps arrays of up to 16 numbers in the table, where a stream's `read()` finds their text, and of
        # those with two axes a column's own `read()` too. As nodes of their own they stay numbers.
        is_new = doc["name"] not in self._desc_nodes
        super().descriptor(doc)
        if is_new:
            stream = doc["name"]
            self._numeric[stream] = {
                key: declared
                for key, about in doc["data_keys"].items()
                if key not in self._int_array_keys[stream] and (declared := _numeric_array(about)) is not None
            }
            self._int_array_keys[stream].update(self._numeric[stream])

    def flush(self) -> None:
        # Arrays first: a reader between the two sees frames without rows, never rows without frames.
        for stream_datum in self._external_data_cache.values():
            self._write_external_data(stream_datum)
        self._external_data_cache.clear()
        for stream, rows in self._internal_data_cache.items():
            if rows:
                self._write_internal_data(rows, desc_node=self._desc_nodes[stream])
                rows.clear()

    def n_rows_held(self, stream: str) -> int | None:
        """Ask the catalog how many rows a stream's table has; None where this writer has made none."""
        for table in self._internal_tables.values():
            if table.path_parts[-2] == stream and "seq_num" in table.columns:
                return count_rows(table)
        return None

    def n_frames_held(self, resource_uid: str) -> int | None:
        """Ask the catalog how many frames an array has; None where this writer has made none."""
        node: Any = self._sres_nodes.get(resource_uid)
        return None if node is None else int(node.refresh().shape[0])

    def _write_internal_data(self, data_cache: list[dict[str, Any]], desc_node: Container) -> None:
        stream: str = desc_node.item["id"]
        for key, declared in list(self._numeric.get(stream, {}).items()):
            if all(declared.is_kept_by(row[key]) for row in data_cache if key in row):
                continue
            if f"{stream}/{key}" in self._internal_arrays:
                # The run is written again from its log, all of it at once: then this is seen in time.
                raise ValueError(f"stream {stream}: a value of {key} is not of the shape that its descriptor says")
            del self._numeric[stream][key]
            self._int_array_keys[stream].discard(key)  # whatever it is, the table takes it
        super()._write_internal_data(data_cache, desc_node)

    def _internal_dims(self, desc_name: str, shape: tuple[int | None, ...]) -> tuple[str, ...]:
        # BTP names an axis after its length alone: both axes of a square array have one name, which xarray
        # warns of and then cannot select by.
        names = super()._internal_dims(desc_name, shape)
        return tuple(
            f"{name}_{nth}" if (nth := names[:axis].count(name) + 1) > 1 else name
            for axis, name in enumerate(names)
        )

    def _append_with_retry(self, df_client: Any, table: Any, desc_name: str) -> None:
        # BTP retries an append whose reply was lost, and may double rows. We write the whole run again from
        # its log instead.
        df_client.append_partition(0, table)

    def _close_stream_tree(self) -> None:
        # BTP tells the server of every node that nothing more will be streamed from it: a request each, a sixth of
        # all that a run takes. Ours streams nothing.
        pass

    def _update_consolidator(self, doc: Any) -> tuple[Any, ConsolidatorBase, Patch]:
        # BTP registers an array without frames and then tells the server of the first ones: a second request.
        resource: Any = self._stream_resource_cache.get(doc["stream_resource"])
        stream: Any = self._desc_nodes.get(doc["descriptor"])
        if resource is None or stream is None or doc["stream_resource"] in self._sres_nodes:
            return super()._update_consolidator(doc)
        full_key = f"{stream.item['id']}_{resource['data_key']}"
        if full_key in self._sres_nodes:  # goes on in a second file
            return super()._update_consolidator(doc)
        consolidator: Any = consolidator_factory(resource, stream.metadata)
        patch = consolidator.consume_stream_datum(doc)
        source = consolidator.get_data_source()
        node = stream.new(
            key=consolidator.data_key,
            structure_family=source.structure_family,
            data_sources=[source],
            metadata={},
            specs=[],
            access_tags=self.access_tags,
        )
        for name in (doc["stream_resource"], full_key):
            self._sres_nodes[name], self._consolidators[name] = node, consolidator
        self._just_registered.add(node.uri)
        return node, consolidator, patch

    def _update_data_source_for_node(
        self, node: Any, data_source: DataSource[Any], patch: Patch | None = None
    ) -> None:
        if node.uri in self._just_registered:
            self._just_registered.discard(node.uri)
            return
        # BTP asks the server for the data source's id at every update; it does not change.
        known = self._data_source_ids.get(node.uri)
        if known is None:
            known = self._data_source_ids[node.uri] = node.data_sources()[0].id
        proxy = _KnownDataSource(node, known)
        super()._update_data_source_for_node(proxy, data_source, patch)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class _Declared:
    """Shape and dtype of an array that events carry, as its descriptor tells."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def is_kept_by(self, value: Any) -> bool:
        """Say whether a value is such an array."""
        try:
            array = np.asarray(value)
        except ValueError:  # lines of different lengths
            return False
        return array.shape == self.shape and np.can_cast(array.dtype, self.dtype, "same_kind")


def _numeric_array(about: Mapping[str, Any]) -> _Declared | None:
    """Return what a data key says of arrays in events; None where they are external, of no one shape, or text."""
    shape, dtype = about.get("shape", ()), about.get("dtype_numpy")
    if about.get("dtype") != "array" or "external" in about or not isinstance(dtype, str):
        return None
    if not shape or not all(shape) or np.dtype(dtype).kind not in "biuf":  # a length of None: differs
        return None
    return _Declared(tuple(shape), np.dtype(dtype))


class _KnownDataSource:
    """A node that answers `data_sources()` from memory."""

    def __init__(self, node: Any, data_source_id: int) -> None:
        self.context = node.context
        self.uri: str = node.uri
        self._id = data_source_id

    def data_sources(self) -> list[_KnownDataSource]:
        return [self]

    @property
    def id(self) -> int:
        return self._id


class RunSink:
    """Writes one run into a container of the catalog, and counts what it wrote so that it can be checked.

    Attributes
    ----------
    n_rows
        Events a stream.
    n_frames
        Indices announced by StreamDatums, by (stream, data key).
    stop_uid
        The uid of the stop document, "" until it came.
    """

    def __init__(self, container: Container) -> None:
        remember_shapes()
        self._container = container
        self._writer = _FlushingRunWriter(container)
        self._normalizer = RunNormalizer()
        self._normalizer.subscribe(self._writer)
        self._streams: dict[str, str] = {}
        self._data_keys: dict[str, str] = {}
        self._resources: dict[tuple[str, str], str] = {}  # the last one of each (stream, data key)
        self.run_uid = ""
        self.stop_uid = ""
        self.n_rows: dict[str, int] = defaultdict(int)
        self.n_frames: dict[tuple[str, str], int] = defaultdict(int)

    def write(self, documents: Iterable[tuple[str, Document]]) -> None:
        """Take documents; what they say is in the catalog after the next `flush`, or the stop document."""
        for name, doc in documents:
            self._normalizer(name, doc)
            self._count(name, doc)

    def expect(self, documents: Iterable[tuple[str, Document]]) -> None:
        """Count documents without writing them, to `verify` a run that somebody else wrote."""
        for name, doc in documents:
            self._count(name, doc)

    def flush(self) -> None:
        """Write what was collected."""
        if not self.stop_uid:  # the stop document has flushed; BTP would count the last frames twice
            self._writer.flush()

    def verify(self) -> str:
        """Read the run back; return what differs from what was written, "" when nothing does."""
        run = self._container[self.run_uid]
        if run.metadata.get("stop", {}).get("uid") != self.stop_uid:
            return "the stop document is not there"
        for stream, n_rows in self.n_rows.items():
            # One request, where the names of nodes would be asked for first.
            found = self._writer.n_rows_held(stream)
            if found is None:
                found = len(read_array(run[stream]["seq_num"]))
            if found != n_rows:
                return f"stream {stream} has {found} rows of {n_rows}"
        for (stream, key), n_frames in self.n_frames.items():
            found = self._writer.n_frames_held(self._resources[stream, key])
            if found is None:
                found = run[stream].base[key].shape[0]
            if found != n_frames:
                return f"{stream}/{key} has {found} frames of {n_frames}"
        return ""

    def _count(self, name: str, doc: Document) -> None:
        if name == "start":
            self.run_uid = doc["uid"]
        elif name == "stop":
            self.stop_uid = doc["uid"]
        elif name == "descriptor":
            self._streams[doc["uid"]] = doc.get("name", "")
        elif name == "event":
            self.n_rows[self._streams[doc["descriptor"]]] += 1
        elif name == "event_page":
            self.n_rows[self._streams[doc["descriptor"]]] += len(doc["seq_num"])
        elif name == "stream_resource":
            self._data_keys[doc["uid"]] = doc["data_key"]
        elif name == "stream_datum":
            key = (self._streams[doc["descriptor"]], self._data_keys[doc["stream_resource"]])
            self._resources[key] = doc["stream_resource"]
            self.n_frames[key] += doc["indices"]["stop"] - doc["indices"]["start"]
