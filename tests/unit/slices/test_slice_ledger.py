"""The ledger: events, the CSV they come to, and that the two never part."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, StageResult, Stamp, ledger
from parfocal.slices.ledger import events_path, read_events, replay


def begun(n=4):
    stamps = tuple(Stamp(f"{i:02d}", "use", True) for i in range(n))
    return SliceLedger().apply(StageResult("generate", stamps), time_s=1000.0, run_uid="run-0")


def test_every_change_is_an_event_with_stage_time_run_and_old_and_new():
    book = begun().apply(StageResult("assess", (Stamp("01", "use", False),)), time_s=2000.0, run_uid="run-1")
    event = book.events[-1]
    assert (event.stage, event.time_s, event.run_uid, event.slice_id) == ("assess", 2000.0, "run-1", "01")
    assert event.changes == {"use": (True, False)}


def test_the_same_decision_again_is_no_event():
    book = begun()
    assert book.apply(StageResult("assess", (Stamp("01", "use", True),))).events == book.events


def test_a_ledger_is_never_changed_itself():
    book = begun()
    rows = {sid: dict(row) for sid, row in book.rows.items()}
    book.stamp("01", {"use": False, "notes": "x"}, stage="me").append_notes("02", "y", stage="me")
    assert book.rows == rows


def test_what_is_saved_is_read_back_with_its_events(tmp_path):
    book = begun().append_notes("02", "Motion — seen, twice", stage="me", time_s=3000.0)
    book = book.stamp("03", {"operator": "a"}, stage="me")
    book.save(tmp_path / "slice_config.csv")
    again = SliceLedger.read(tmp_path / "slice_config.csv")
    assert (again.events, again.remarks) == (book.events, ())
    assert ledger.read(tmp_path / "slice_config.csv") == again.rows
    assert events_path(tmp_path / "slice_config.csv").name == "slice_config.events.jsonl"
    lines = (tmp_path / "slice_config.events.jsonl").read_text().splitlines()
    assert json.loads(lines[-2])["changes"] == {"notes": [None, "Motion — seen, twice"]}


def test_what_was_read_is_never_written_over(tmp_path):
    path = begun().save(tmp_path / "a.csv")
    content = path.read_bytes()
    book = SliceLedger.read(path).stamp("00", {"use": False}, stage="me")
    with pytest.raises(BadInputError, match="what was read"):
        book.save(path, replace=True)
    (tmp_path / "b.csv").write_text("precious")
    with pytest.raises(BadInputError, match="there already"):
        book.save(tmp_path / "b.csv")
    assert path.read_bytes() == content
    assert (tmp_path / "b.csv").read_text() == "precious"
    book.save(tmp_path / "b.csv", replace=True)
    assert SliceLedger.read(tmp_path / "b.csv").events == book.events


def test_a_save_that_fails_leaves_neither_file(tmp_path, monkeypatch):
    real = type(tmp_path).replace

    def fail(self, target):
        if target.suffix == ".csv":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", fail)
    with pytest.raises(OSError, match="No space"):
        begun().save(tmp_path / "a.csv")
    assert os.listdir(tmp_path) == []


def test_an_edit_by_hand_becomes_an_event(tmp_path):
    path = begun().save(tmp_path / "a.csv")
    text = path.read_text().replace("02,true", "02,no").splitlines()
    path.write_text("\n".join([text[0], text[3], text[1], text[2], "9,yes" + "," * 12]) + "\n")  # 03 gone, 09 new
    book = SliceLedger.read(path)
    assert list(book.rows) == ["02", "00", "01", "09"]
    edits = [event for event in book.events if event.stage == "edited outside"]
    assert {event.slice_id: dict(event.changes).get("use") for event in edits if event.slice_id} == {
        "03": None, "02": (True, False), "09": (None, True),
    }  # fmt: skip
    assert "edited outside" in book.remarks[0]
    book.save(tmp_path / "b.csv")
    assert list(SliceLedger.read(tmp_path / "b.csv").rows.items()) == list(book.rows.items())


def test_a_file_without_events_begins_with_what_stands_in_it(tmp_path):
    (tmp_path / "a.csv").write_text("slice_id,use,extra\n1,yes,\n")
    book = SliceLedger.read(tmp_path / "a.csv")
    assert [(event.stage, dict(event.changes)) for event in book.events] == [
        ("read", {"slice_id": (None, "01"), "use": (None, True)})
    ]
    assert SliceLedger.read(book.save(tmp_path / "b.csv")).rows == book.rows  # the blank extra column too


def test_a_slice_that_is_not_there_is_not_stamped_by_mistake():
    with pytest.raises(BadInputError, match="assess: slice 09 is not in the ledger; it has 4, 00 to 03"):
        begun().apply(StageResult("assess", (Stamp("9", "quality_score", 0.3),)))
    with pytest.raises(BadInputError, match="who stamps"):
        begun().apply([Stamp("00", "use", True)])


def test_the_history_of_a_slice_is_told_and_of_none_is_refused():
    book = begun().stamp("01", {"use": False}, stage="assess")
    assert [event.stage for event in book.history(1)] == ["generate", "assess"]
    with pytest.raises(BadInputError, match="slice 77"):
        book.history("77")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 6: is not a line"),
        ('{"stage":"x"}', "line 6: an event has"),
        ('{"stage":"x","time_s":"now","run_uid":"","slice_id":"01","changes":{}}', "line 6: time_s"),
        ('{"stage":"x","time_s":1,"run_uid":"","slice_id":"01","changes":{"use":[true]}}', "line 6: use"),
        ('{"stage":"x","time_s":1,"run_uid":"","slice_id":"01","changes":{"use":[false,true]}}', "use was True"),
        ('{"stage":"x","time_s":1,"run_uid":"","slice_id":"55","changes":{"use":[null,true]}}', "55 is not there"),
    ],
)
def test_a_damaged_log_is_refused_by_its_line(tmp_path, line, said):
    path = begun().save(tmp_path / "a.csv")
    with events_path(path).open("a") as log:
        log.write(line + "\n")
    with pytest.raises(BadInputError, match=said) as error:
        SliceLedger.read(path)
    assert "\n" not in str(error.value)


VALUES = {
    "use": st.booleans(),
    "rehomed": st.none() | st.booleans(),
    "quality_score": st.none() | st.floats(0, 1),
    "notes": st.none() | st.text("ab;, \"'é—\n", max_size=8),
    "operator": st.none() | st.text("xyz ", max_size=4),
}
STAMP = st.one_of(
    *(
        st.builds(Stamp, st.sampled_from(["00", "01", "99", "100"]), st.just(name), value, st.booleans())
        for name, value in VALUES.items()
    )
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(STAMP, max_size=6), max_size=5))
def test_whatever_is_stamped_the_events_replay_to_the_rows_and_the_csv_reads_back(tmp_path_factory, stages):
    book = SliceLedger().apply([Stamp(s, "use", True) for s in ("00", "01", "99", "100")], stage="generate")
    for number, stamps in enumerate(stages):
        as_notes = [s if s.column == "notes" else Stamp(s.slice_id, s.column, s.value) for s in stamps]
        book = book.apply(as_notes, stage=f"stage {number}")
    folder = tmp_path_factory.mktemp("book")
    book.save(folder / "a.csv")
    events, extras = read_events(events_path(folder / "a.csv"))
    rows = replay(events, extras)
    assert rows == ledger.read(folder / "a.csv")
    ledger.write(folder / "b.csv", rows)
    assert (folder / "b.csv").read_bytes() == (folder / "a.csv").read_bytes()
