"""A real Tiled server a test worker, a real RunEngine, and a small camera that writes growing Zarr arrays."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorstore
from bluesky import RunEngine
from event_model import compose_stream_resource
from ophyd import Device
from ophyd.status import Status

from parfocal.catalog import Catalog, CatalogWriter, DataFolder, open_catalog, stop_server

Y, X = 6, 8
BLOCK = 16


def open_array(path: Path, shape: tuple[int, ...], chunk: tuple[int, ...], dtype: str):
    return tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "metadata": {
                "shape": list(shape),
                "data_type": dtype,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
                **({"fill_value": "NaN"} if dtype == "float64" else {}),
            },
        },
        create=True,
    ).result()


class ZarrCamera(Device):
    """Frame i is filled with i + 1. The array on disk grows 16 frames at a time and is trimmed at unstage."""

    def __init__(self, frames: Path, name: str = "camera") -> None:
        super().__init__(name=name)
        self.frames = frames
        self.after_write = lambda index: None

    def stage(self):
        self.group = self.frames / f"{uuid.uuid4().hex}.ome.zarr"
        self.group.mkdir(parents=True)
        (self.group / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})
        )
        self.array = open_array(self.group / "0", (BLOCK, Y, X), (1, Y, X), "uint16")
        self.bundle = None
        self.n_collected = 0
        self.docs = []
        return super().stage()

    def unstage(self):
        self.array.resize(exclusive_max=[self.n_collected, Y, X]).result()
        return super().unstage()

    def trigger(self):
        index = self.n_collected
        if index >= self.array.shape[0]:
            self.array = self.array.resize(exclusive_max=[index + BLOCK, Y, X]).result()
        self.array[index].write(np.full((Y, X), index + 1, np.uint16)).result()
        self.after_write(index)
        self.pending = index
        status = Status()
        status.set_finished()
        return status

    def read(self):
        return {f"{self.name}_frame": {"value": self.pending, "timestamp": time.time()}}

    def describe(self):
        return {
            self.name: {
                "source": "test",
                "dtype": "array",
                "dtype_numpy": "<u2",
                "shape": [Y, X],
                "dims": ["y", "x"],
                "external": "STREAM:",
            },
            f"{self.name}_frame": {"source": "test", "dtype": "integer", "shape": []},
        }

    def collect_asset_docs(self, index=None):
        if self.bundle is None:
            self.bundle = compose_stream_resource(
                mimetype="application/x-zarr",
                uri=f"file://localhost{self.group}/0",
                data_key=self.name,
                parameters={"chunk_shape": [1, Y, X]},
            )
            yield "stream_resource", self.bundle.stream_resource_doc
        yield (
            "stream_datum",
            self.bundle.compose_stream_datum({"start": self.pending, "stop": self.pending + 1}),
        )
        self.n_collected = self.pending + 1


@pytest.fixture(scope="session")
def catalog(tmp_path_factory) -> Iterator[Catalog]:
    folder = DataFolder(tmp_path_factory.mktemp("data"))
    try:
        with open_catalog(folder) as catalog:
            yield catalog
    finally:
        stop_server(folder)


@pytest.fixture
def writer(catalog) -> Iterator[CatalogWriter]:
    writer = CatalogWriter(catalog)
    yield writer
    writer.close(timeout_s=5.0)


@pytest.fixture
def engine(writer) -> RunEngine:
    engine = RunEngine({}, call_returns_result=True)
    engine.subscribe(writer)
    return engine


@pytest.fixture
def camera(catalog) -> ZarrCamera:
    return ZarrCamera(catalog.folder.frames)


@pytest.fixture(scope="session")
def make_camera():
    return ZarrCamera


@pytest.fixture(scope="session")
def make_array():
    return open_array
