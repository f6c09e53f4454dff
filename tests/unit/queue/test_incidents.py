"""What happens is gathered into incidents, and told in documents that say how each ended."""

from event_model import DocumentNames, schema_validators

from parfocal.queue._chronicle import Chronicle
from parfocal.queue._incidents import Incident, IncidentRun
from parfocal.queue._lookout import cause_in, failed_item, is_same
from parfocal.queue._supervisor_policy import Action, FailedItem, Seen, State

ITEM = FailedItem("a1", "z_stack", reason="the stage stalled", run_uids=("r1",))
LOST = """Traceback (most recent call last):
  File "x.py", line 1, in y
parfocal.errors.HardwareError: simulated camera: the frame was lost

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "z.py", line 2, in w
bluesky.utils.FailedStatus: PlainStatus(camera, done=True, success=False)
"""


def chronicle():
    told = []
    return Chronicle(lambda incident, outcome: told.append((incident, outcome))), told


def test_a_worker_that_died_and_the_plan_that_failed_of_it_are_one_incident():
    book, told = chronicle()
    book.saw(Seen(manager_state="executing_queue", environment_open=True, worker_died=True))
    book.did(Action("recover"), "1 run recovered", True, ("r0",))
    book.saw(Seen(manager_state="idle", failures=(ITEM,)))
    book.settled(State(seen=Seen(manager_state="executing_queue"), wants_queue=True))
    ((incident, outcome),) = told
    assert (incident.kind, incident.plan, incident.item_uid) == ("worker_died", "z_stack", "a1")
    assert incident.run_uids == ["r0", "r1"]
    assert incident.actions == ["1 run recovered"]
    assert outcome == "the queue goes on"


def test_two_plans_that_fail_one_after_the_other_are_two_incidents():
    book, told = chronicle()
    for item in (ITEM, FailedItem("a2", "tile_scan", reason="no frame came")):
        book.saw(Seen(manager_state="idle", environment_open=True, failures=(item,)))
    book.close()
    assert [(one.plan, one.what) for one, _ in told] == [
        ("z_stack", "the stage stalled"),
        ("tile_scan", "no frame came"),
    ]


def test_a_redis_that_dies_meanwhile_is_an_incident_of_its_own():
    book, told = chronicle()
    book.saw(Seen(worker_died=True, redis_died=True))
    book.did(Action("restart_redis"), "Redis started again", True)
    assert [(one.kind, outcome) for one, outcome in told] == [("redis_died", "it answers again")]
    assert book.is_open


def test_a_queue_that_is_held_is_told_once_and_with_its_reason():
    book, told = chronicle()
    unsafe = Seen(manager_state="idle", environment_open=True, unsafe=("microscope",))
    book.saw(unsafe)
    book.settled(State(seen=unsafe, held="microscope could not be made safe"))
    book.saw(unsafe, is_held=True)
    assert [outcome for _, outcome in told] == ["held: microscope could not be made safe"]
    assert not book.is_open


def test_incidents_are_documents_of_one_run():
    documents = []
    run = IncidentRun(lambda name, doc: documents.append((name, doc)), 7, {"policy": {"on_failure": "retry"}})
    run.tell(Incident("worker_died", "it ended", "a1", "z_stack", ["opened", "made safe"], ["r1"]), "goes on")
    run.close()
    for name, doc in documents:
        schema_validators[DocumentNames[name]].validate(doc)
    names = [name for name, _ in documents]
    assert names == ["start", "descriptor", "event", "stop"]
    assert documents[0][1]["plan_name"] == "supervisor"
    data = documents[2][1]["data"]
    assert data["incident_action"] == "opened, made safe"
    assert data["incident_outcome"] == "goes on"
    assert documents[3][1]["num_events"] == {"incidents": 1}


def test_the_reason_of_a_failure_is_the_error_that_it_goes_back_to():
    assert cause_in(LOST) == "simulated camera: the frame was lost"
    assert cause_in("") == ""


def test_an_item_of_the_history_tells_its_policy_its_attempt_and_its_reason():
    result = {
        "msg": "Plan failed: PlainStatus(...)",
        "traceback": LOST,
        "exit_status": "failed",
        "run_uids": ["r1"],
    }
    meta = {"parfocal": {"on_failure": "skip", "attempt": 2}}
    item = failed_item({"item_uid": "a1", "name": "z_stack", "meta": meta, "result": result}, is_back=True)
    assert (item.on_failure, item.attempt, item.reason) == ("skip", 2, "simulated camera: the frame was lost")


def test_meta_of_another_form_is_no_declaration():
    for meta in (None, [], [{"a": 1}], {"parfocal": 3}, {"parfocal": {"attempt": "two"}}):
        item = failed_item({"name": "z_stack", "meta": meta, "result": {"msg": ""}}, is_back=False)
        assert (item.on_failure, item.attempt) == ("", 1)


def test_an_item_is_known_again_under_another_uid():
    one = {"name": "z_stack", "args": ["microscope"], "kwargs": {}, "item_uid": "a"}
    assert is_same(one, {**one, "item_uid": "b"})
    assert not is_same(one, {**one, "args": ["other"]})
    assert not is_same({}, {})
