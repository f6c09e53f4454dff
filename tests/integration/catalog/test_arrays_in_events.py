"""Arrays that events carry are numbers to whoever reads them with Tiled's own client, however small they are."""

import numpy as np
import pytest
from event_model import compose_run
from tiled.client import from_uri

from parfocal.catalog import recover
from parfocal.catalog._log import encode_line, log_path
from parfocal.catalog._run_sink import RunSink

SHAPES = {"one": (1, 1), "vector": (2,), "table": (4, 4), "oblong": (2, 3), "large": (8, 8)}
N_ROWS = 5


def documents(values, about=None, n_rows=N_ROWS):
    """A run with a stream; each key carries what `values[key](row)` says."""
    run = compose_run()
    keys = {
        key: {"source": "test", "dtype": "array", "dtype_numpy": "<f8", "shape": list(np.shape(value(0)))}
        for key, value in values.items()
    } | {"x": {"source": "test", "dtype": "number", "shape": []}}
    for key, changed in (about or {}).items():
        keys[key] |= changed
    stream = run.compose_descriptor(name="looks", data_keys=keys)
    told = [("start", run.start_doc), ("descriptor", stream.descriptor_doc)]
    for row in range(n_rows):
        data = {key: value(row) for key, value in values.items()} | {"x": float(row)}
        told.append(("event", stream.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0 + row))))
    return [*told, ("stop", run.compose_stop())]


def grid(shape, row):
    """Numbers of which each place and row has its own; nothing in the first row, as in a first plane."""
    return np.full(shape, np.nan) if row == 0 else np.arange(np.prod(shape)).reshape(shape) + row / 8


GRIDS = {key: (lambda row, shape=shape: grid(shape, row).tolist()) for key, shape in SHAPES.items()}


def in_flushes(catalog, told):
    """Write documents as a live run does, a few at a time."""
    sink = RunSink(catalog.raw)
    for at in range(0, len(told), 3):
        sink.write(told[at : at + 3])
        sink.flush()
    assert not sink.verify()
    return told[0][1]["uid"]


def from_its_log(catalog, told):
    """Have documents recovered that a process has left behind."""
    uid = told[0][1]["uid"]
    log_path(catalog.folder.wal, uid).write_bytes(b"".join(encode_line(name, doc) for name, doc in told))
    assert [(run.uid, run.outcome) for run in recover(catalog.folder, catalog)] == [(uid, "written")]
    return uid


@pytest.mark.parametrize("written", [in_flushes, from_its_log])
def test_arrays_of_every_size_are_read_as_numbers(catalog, written):
    uid = written(catalog, documents(GRIDS))
    plain = from_uri(str(catalog.raw.uri), api_key=catalog.root.context.api_key)
    looks = plain[uid]["looks"]
    whole = looks.read()  # warns where two axes of an array have one name, and a warning fails the test
    for key, shape in SHAPES.items():
        expected = np.stack([grid(shape, row) for row in range(N_ROWS)])
        np.testing.assert_array_equal(looks[key].read(), expected)
        np.testing.assert_array_equal(whole[key], expected)
        assert whole[key].dtype == np.float64
        assert len(set(whole[key].dims)) == whole[key].ndim
    assert whole["large"].isel({whole["large"].dims[2]: 3, "time": 2}).values == pytest.approx(
        grid((8, 8), 2)[:, 3]
    )
    rows = [doc["data"] for name, doc in plain[uid].documents() if name == "event"]
    for row, data in enumerate(rows):
        for key, shape in SHAPES.items():
            np.testing.assert_array_equal(data[key], grid(shape, row))
    plain.context.close()


def test_an_array_of_another_shape_than_was_said_is_kept_too(catalog, writer):
    values = {"ragged": lambda row: [1.0] * (row + 1), "late": lambda row: [1.0] * (1 + row // 3)}
    told = documents(values, {"late": {"shape": [1]}})
    uid = told[0][1]["uid"]
    for name, doc in told[:4]:
        writer(name, doc)
    assert writer.drain(30), writer.last_error
    for name, doc in told[4:]:
        writer(name, doc)
    assert writer.drain(30), writer.last_error
    rows = [doc["data"] for name, doc in catalog.raw[uid].documents() if name == "event"]
    assert len(rows) == N_ROWS
    for row, data in enumerate(rows):
        assert {key: list(data[key]) for key in values} == {key: value(row) for key, value in values.items()}


def test_arrays_of_text_and_of_no_numbers_stay_what_they_are(catalog):
    values = {"names": lambda row: ["a", f"b{row}"], "untold": lambda row: ["c", "dd"], "empty": lambda row: []}
    told = documents(values, {"names": {"dtype_numpy": "<U8"}})
    run = catalog.raw[in_flushes(catalog, told)]
    rows = [doc["data"] for name, doc in run.documents() if name == "event"]
    assert [list(row["names"]) for row in rows] == [["a", f"b{row}"] for row in range(N_ROWS)]
    assert [list(row["untold"]) for row in rows] == [["c", "dd"]] * N_ROWS
