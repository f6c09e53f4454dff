"""Results are claimed until the catalog has them, and nobody waits for somebody who waits for him."""

import threading
import time

import pytest

from parfocal.callbacks._claims import Claims
from parfocal.catalog import DataFolder
from parfocal.errors import CatalogError


class Writer:
    """What a `CatalogWriter` says of its runs, without a catalog."""

    last_error = "the catalog is away"

    def __init__(self):
        self.fates = {}

    def fate_of(self, run_uid):
        return self.fates.get(run_uid, "written")

    def drain(self, timeout_s):
        time.sleep(0.001)
        return False


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path)


def claims_of(folder):
    writer = Writer()
    return Claims(folder, writer), writer


def make(claims, what, run_uid):
    with claims.held(what):
        claims.made(what, run_uid)


def test_a_result_is_claimed_until_it_is_written(folder):
    ours, writer = claims_of(folder)
    theirs, _ = claims_of(folder)
    writer.fates["run"] = "waiting"
    make(ours, "result", "run")
    ours.let_go()
    assert not theirs.try_to_hold("result"), "it is made, and not in the catalog"
    writer.fates["run"] = "written"
    ours.let_go()
    assert theirs.try_to_hold("result")


def test_where_nothing_was_made_nothing_is_waited_for(folder):
    ours, _ = claims_of(folder)
    theirs, _ = claims_of(folder)
    with ours.held("result"):
        assert not ours.try_to_hold("result")
    assert theirs.try_to_hold("result")


def test_two_that_want_the_same_in_another_order_do_not_wait_for_each_other(folder):
    both_have_one, order = threading.Barrier(2), []

    def work(first, second):
        claims, writer = claims_of(folder)
        writer.fates[first] = "waiting"  # the catalog is slow
        make(claims, first, first)
        both_have_one.wait(5)
        threading.Timer(0.2, lambda: writer.fates.update({first: "written"})).start()
        make(claims, second, second)
        order.append(second)
        claims.close()

    threads = [threading.Thread(target=work, args=names, daemon=True) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(order) == ["a", "b"]


def test_who_is_told_to_end_waits_no_longer(folder):
    ours, _ = claims_of(folder)
    theirs, _ = claims_of(folder)
    told = threading.Event()
    threading.Timer(0.1, told.set).start()
    with (
        ours.held("result"),
        pytest.raises(CatalogError, match="another process"),
        theirs.held("result", told.is_set),
    ):
        pass


def test_what_cannot_be_written_is_free_again_and_said(folder):
    ours, writer = claims_of(folder)
    theirs, _ = claims_of(folder)
    writer.fates["run"] = "refused"
    make(ours, "result", "run")
    with pytest.raises(CatalogError, match="not all in the catalog"):
        ours.settle()
    assert theirs.try_to_hold("result")
