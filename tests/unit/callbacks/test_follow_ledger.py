"""A run is owed a result until it is settled, and has one owner at a time."""

import pytest

from parfocal.callbacks._follow_ledger import RunLedger


@pytest.fixture
def ledger():
    return RunLedger(2)


def in_work(ledger, uid="run"):
    ledger.owe(uid)
    assert ledger.due() == [uid]
    assert ledger.own(uid, "catalog")


def test_a_run_in_work_is_not_due_again_until_it_was_put_off(ledger):
    ledger.owe("run")
    assert ledger.due() == ["run"]
    assert ledger.due() == []
    ledger.put_off("run", 1.0, 0.0)
    assert ledger.due() == ["run"]


def test_a_run_that_is_under_way_is_owed_nothing_yet(ledger):
    ledger.owe("run")
    ledger.due()
    ledger.put_off("run", 1.0, 60.0)
    assert not ledger.is_owing
    assert ledger.due() == []
    ledger.owe("run", at_once=True)
    assert ledger.due() == ["run"], "its end was heard"


def test_a_run_has_one_owner(ledger):
    assert ledger.begin_live("run")
    assert not ledger.own("run", "catalog")
    ledger.owe("run")
    assert ledger.due() == [], "live hands have it"


def test_a_run_that_was_lost_is_owed_when_every_analysis_has_closed_it(ledger):
    ledger.begin_live("run")
    ledger.lose("run", {0, 1})
    ledger.note_begun("run", 0, "begun")
    assert ledger.closes_lost("run", 0)
    assert ledger.due() == []
    assert ledger.closes_lost("run", 1)
    assert ledger.due() == ["run"]
    assert (ledger.begun("run", 0), ledger.begun("run", 1)) == ("begun", "")


def test_a_run_is_settled_when_all_analyses_are(ledger):
    ledger.begin_live("run")
    ledger.settle_one("run", 0)
    ledger.end_live("run")
    assert not ledger.is_settled("run")
    assert ledger.due() == ["run"], "the other is made from the catalog"
    ledger.settle_one("run", 1)
    ledger.taken("run", True, 0.0)
    assert ledger.is_settled("run")
    ledger.owe("run")
    assert ledger.due() == []


def test_a_run_that_failed_once_is_owed_again(ledger):
    in_work(ledger)
    ledger.note_stopped("run", 1.0)
    ledger.taken("run", False, 0.0)
    assert ledger.is_owing
    assert ledger.due() == ["run"]


def test_a_run_that_cannot_be_read_is_left_but_not_because_the_catalog_was_away(ledger):
    in_work(ledger)
    assert not any(ledger.unread("run", True, 0.0) for _ in range(20))
    assert [ledger.unread("run", False, 0.0) for _ in range(5)] == [False] * 4 + [True]
    assert ledger.is_settled("run")


def test_it_is_known_until_when_all_is_settled(ledger):
    assert ledger.settled_until_s([], 100.0) == 100.0
    ledger.owe("run")
    assert ledger.settled_until_s([], 100.0) == 0.0, "when it began is not known"
    ledger.note_stopped("run", 40.0)
    assert ledger.settled_until_s([30.0], 100.0) == 30.0
    ledger.taken("run", True, 0.0)
    assert ledger.settled_until_s([], 100.0) == 100.0
