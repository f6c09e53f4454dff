from __future__ import annotations

import time
from datetime import datetime, timedelta

import bluesky.plans as bp
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bluesky import RunEngine
from event_model import compose_run
from ophyd.sim import det, motor

from parfocal.catalog import Catalog, CatalogWriter, DataFolder, open_catalog, stop_server
from parfocal.errors import BadInputError


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Three raw runs on two samples, and two analyses of the first."""
    folder = DataFolder(tmp_path_factory.mktemp("queries"))
    try:
        with open_catalog(folder) as catalog:
            writer = CatalogWriter(catalog)
            engine = RunEngine({"instrument": "scope-1"}, call_returns_result=True)
            engine.subscribe(writer)
            raw = [
                *engine(bp.scan([det], motor, 0, 1, 4), sample="beads").run_start_uids,
                *engine(bp.count([det], 2), sample={"name": "beads", "batch": 7}).run_start_uids,
                *engine(bp.count([det]), sample="cells", instrument="scope-2").run_start_uids,
            ]
            analyses = []
            for name, sigma, verdict in (("focus", 1.5, "accept"), ("focus", 2.5, "reject")):
                ours = {
                    "analysis": name,
                    "version": "1",
                    "parameters": {"sigma_px": sigma, "filter": {"kind": "log"}},
                    "raw": {"uid": raw[0], "stream": "primary"},
                }
                bundle = compose_run(metadata={"plan_name": "analysis", "parfocal": ours})
                writer("start", bundle.start_doc)
                writer("stop", {**bundle.compose_stop(), "parfocal": {"verdict": verdict}})
                analyses.append(bundle.start_doc["uid"])
            assert writer.close(40), writer.last_error
            yield catalog, raw, analyses
    finally:
        stop_server(folder)


def uids(table: pd.DataFrame) -> list[str]:
    return table["uid"].tolist()


def test_runs_come_as_a_table_newest_first(filled):
    catalog, raw, _ = filled
    table = catalog.runs()
    assert uids(table) == raw[::-1]
    row = table.iloc[-1]
    assert (row["plan"], row["sample"], row["instrument"], row["scan_id"]) == ("scan", "beads", "scope-1", 1)
    assert (row["exit_status"], row["n_events"]) == ("success", 4)
    assert row["duration_s"] > 0
    assert abs(row["time"].timestamp() - time.time()) < 600
    assert row["time"].tzinfo is not None
    assert uids(catalog.runs(limit=1)) == raw[2:]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"sample": "beads"}, [1, 0]),
        ({"sample": "beads", "limit": 1}, [1]),
        ({"plan": "count"}, [2, 1]),
        ({"plan": "count", "sample": "cells"}, [2]),
        ({"scan_id": 2}, [1]),
        ({"instrument": "scope-2"}, [2]),
        ({"since": "2001-01-01", "until": datetime.now() + timedelta(days=1)}, [2, 1, 0]),
        ({"since": datetime.now() + timedelta(days=1)}, []),
        ({"until": 0.0}, []),
        ({"sample": "nothing"}, []),
        ({"where": "sample.batch>=7"}, [1]),
        ({"where": "sample.batch>7"}, []),
        ({"where": ["scan_id>=2", "instrument!=scope-2"]}, [1]),
        ({"where": ["plan_name~c*t", "time>=today"]}, [2, 1]),
        ({"where": {"num_points": 4}}, [0]),
        ({"where": "stop.num_events.primary=4", "plan": "scan"}, [0]),
        ({"where": "sample=cells", "sample": "beads"}, []),
    ],
)
def test_runs_are_found_by_what_people_ask(filled, question, expected):
    catalog, raw, _ = filled
    assert uids(catalog.runs(**question)) == [raw[index] for index in expected]


def test_runs_are_found_by_the_first_characters_of_their_uid(filled):
    catalog, raw, _ = filled
    assert uids(catalog.runs(uid=raw[1][:8])) == [raw[1]]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"analysis": "focus"}, [1, 0]),
        ({"verdict": "accept"}, [0]),
        ({"verdict": "reject", "analysis": "focus"}, [1]),
        ({"parameters": {"sigma_px": 1.5}}, [0]),
        ({"parameters": {"filter.kind": "log"}}, [1, 0]),
        ({"shelf": "analysis"}, [1, 0]),
        ({"analysis": "puncta"}, []),
    ],
)
def test_analyses_are_found_by_name_parameter_and_verdict(filled, question, expected):
    catalog, raw, analyses = filled
    table = catalog.runs(**question)
    assert uids(table) == [analyses[index] for index in expected]
    assert set(table["raw_uid"]) <= {raw[0]}


def test_raw_and_analysis_know_each_other(filled):
    catalog, raw, analyses = filled
    assert [run.start["uid"] for run in catalog.analyses_of(raw[0])] == analyses
    assert catalog.analyses_of(raw[1]) == []
    assert catalog.raw_of(analyses[1]).start["uid"] == raw[0]
    with pytest.raises(BadInputError, match="not an analysis"):
        catalog.raw_of(raw[0])


def test_one_run_is_found_by_uid_part_scan_id_or_place(filled):
    catalog, raw, analyses = filled
    found = [catalog.run(which).start["uid"] for which in (raw[1], raw[1][:7], 2, -1, analyses[0])]
    assert found == [raw[1], raw[1], raw[1], raw[2], analyses[0]]
    assert catalog.run(catalog.run(-1)).start["uid"] == raw[2]


@pytest.mark.parametrize("which", ["ffffffff-none", 99, -99, "abc"])
def test_a_run_that_is_not_there_is_a_one_line_error(filled, which):
    with pytest.raises(BadInputError) as caught:
        filled[0].run(which)
    assert "\n" not in str(caught.value)


def test_a_time_that_cannot_be_read_is_named(filled):
    with pytest.raises(BadInputError, match="yesteryear"):
        filled[0].runs(since="yesteryear")


def test_databroker_reads_the_catalog(filled):
    broker_v1 = pytest.importorskip("databroker.v1", reason="databroker's v1 needs its back-compat extra")
    catalog, raw, _ = filled
    broker = broker_v1.Broker(catalog.raw)
    assert broker[-1].start["uid"] == raw[2]
    assert broker[raw[0]].table()["motor"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [header.start["uid"] for header in broker(plan_name="scan")] == [raw[0]]


def test_old_clients_in_the_same_process_do_not_change_ours(filled):
    catalog, raw, _ = filled
    assert catalog.raw[-1].v2 is not None  # as databroker does; BTP then changes a table that all share
    assert catalog.raw.v2[-1] is not None
    stream = catalog.raw[raw[0]]["primary"]
    assert stream["motor"].read().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    writer = CatalogWriter(catalog)
    bundle = compose_run(time=500.0)
    keys = {"x": {"source": "t", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
    writer("start", bundle.start_doc)
    writer("descriptor", descriptor.descriptor_doc)
    writer("event", descriptor.compose_event(data={"x": 1.0}, timestamps={"x": 0.0}))
    writer("stop", bundle.compose_stop(time=501.0))
    assert writer.close(40), writer.last_error
    assert writer.last_error == ""
    catalog.shelf("raw").delete_contents([bundle.start_doc["uid"]], recursive=True, external_only=False)


def test_a_recovered_run_does_not_become_the_newest(filled):
    catalog, raw, _ = filled
    writer = CatalogWriter(catalog)
    bundle = compose_run(time=1000.0)
    writer("start", bundle.start_doc)
    writer("stop", bundle.compose_stop(time=1001.0))
    assert writer.close(40), writer.last_error
    assert catalog.raw[-1].start["uid"] == raw[2]
    assert catalog.raw.values().first().start["uid"] == bundle.start_doc["uid"]


def test_documents_come_in_live_order_from_the_server(filled):
    catalog, raw, _ = filled
    documents = list(catalog.documents(raw[0]))
    assert [name for name, _ in documents] == ["start", "descriptor", *["event"] * 4, "stop"]
    values = [doc["data"]["motor"] for name, doc in documents if name == "event"]
    assert values == pytest.approx([0, 1 / 3, 2 / 3, 1])


def spots(n: int, first: int = 0) -> pa.Table:
    frame = np.arange(first, first + n)
    return pa.table({"frame": frame, "x_um": frame * 0.1, "label": [f"s{index % 7}" for index in frame]})


def test_result_tables_keep_their_rows_in_order(catalog):
    assert catalog.append_rows("run-1", "spots", spots(500)) == 500
    catalog.append_rows("run-1", "spots", spots(300, 500).to_batches()[0])
    catalog.append_rows("run-2", "spots", spots(5))
    assert catalog.read_table("run-1", "spots").equals(spots(800))
    assert catalog.read_table("run-1", "spots", ["x_um"]).column_names == ["x_um"]
    assert catalog.read_table("run-2", "spots").num_rows == 5
    assert catalog.list_tables("run-1") == ["spots"]


def test_a_table_with_lists_and_gaps_comes_back(catalog):
    table = pa.table({"outline": [[1.0, 2.0], [3.0]], "score": [0.5, None]})
    catalog.append_rows("run-3", "objects", table)
    found = catalog.read_table("run-3", "objects")
    assert [list(outline) for outline in found["outline"].to_pylist()] == [[1.0, 2.0], [3.0]]
    assert found["score"].to_pylist()[0] == 0.5


def test_other_columns_are_refused_and_a_missing_table_is_named(catalog):
    catalog.append_rows("run-4", "spots", spots(2))
    with pytest.raises(BadInputError, match="has columns"):
        catalog.append_rows("run-4", "spots", pa.table({"other": [1]}))
    with pytest.raises(BadInputError, match="tracks"):
        catalog.read_table("run-4", "tracks")


def test_another_client_appends_to_the_same_table(catalog):
    catalog.append_rows("run-5", "spots", spots(2))
    with open_catalog(catalog.folder) as other:
        assert isinstance(other, Catalog)
        other.append_rows("run-5", "spots", spots(2, 2))
    assert catalog.read_table("run-5", "spots").equals(spots(4))


def test_result_tables_are_not_written_row_by_row(catalog):
    table = spots(20_000)
    catalog.append_rows("run-6", "spots", table)
    begun_s = time.perf_counter()
    for part in range(1, 4):
        catalog.append_rows("run-6", "spots", spots(20_000, part * 20_000))
    taken_s = time.perf_counter() - begun_s
    assert catalog.read_table("run-6", "spots").num_rows == 80_000
    assert taken_s < 25.0  # the benchmark reports the rate; that of events would be a minute and more
