"""A lock that holds in real time is not kept waiting by a search for garbage, and none is lost by that.

Nor is its step broken into by other threads, and those have their turns back after it.
"""

import gc
import sys
import weakref

import pytest

from parfocal.devices.lock._undisturbed import undisturbed, uninterrupted


class _Knot:
    def __init__(self):
        self.itself = self


@pytest.fixture
def nothing_set_aside():
    """Take back what the test suite has set aside, as in a user's process."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


@pytest.mark.usefixtures("nothing_set_aside")
def test_what_was_there_is_set_aside_until_the_last_lock_has_gone_and_its_garbage_is_found_then():
    before = len(gc.get_objects())
    knot = _Knot()
    left = weakref.ref(knot)
    with undisturbed():
        with undisturbed():
            assert len(gc.get_objects()) < before / 20
        assert gc.get_freeze_count() > before / 2, "the other lock still holds"
        del knot
        gc.collect()
        assert left() is not None, "it is among what is not searched"
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert left() is None


@pytest.mark.usefixtures("nothing_set_aside")
def test_new_garbage_is_found_while_a_lock_holds():
    with undisturbed():
        left = weakref.ref(_Knot())
        gc.collect()
        assert left() is None


def test_a_program_that_has_set_its_own_aside_is_left_with_that():
    gc.freeze()
    aside = gc.get_freeze_count()
    with undisturbed():
        assert 0.9 * aside < gc.get_freeze_count() <= aside  # some have gone since, as nobody held them
    assert 0.9 * aside < gc.get_freeze_count() <= aside


@pytest.fixture
def turns_of():
    """Set how long the threads' turns are, in seconds, as a session does."""
    before = sys.getswitchinterval()
    yield sys.setswitchinterval
    sys.setswitchinterval(before)


def test_a_step_has_a_turn_of_a_millisecond_and_the_others_have_theirs_back_whatever_happens(turns_of):
    turns_of(0.0001)
    with undisturbed():
        with uninterrupted():
            assert sys.getswitchinterval() == pytest.approx(0.001)
        assert sys.getswitchinterval() == pytest.approx(0.0001)
        with pytest.raises(OSError, match="unplugged"), uninterrupted():
            raise OSError("the stage was unplugged")
        assert sys.getswitchinterval() == pytest.approx(0.0001)
    for _ in range(20):  # locks come and go all night
        with undisturbed(), uninterrupted():
            pass
    assert sys.getswitchinterval() == pytest.approx(0.0001)


def test_longer_turns_of_a_program_are_left_as_they_are(turns_of):
    turns_of(0.02)
    with undisturbed(), uninterrupted():
        assert sys.getswitchinterval() == pytest.approx(0.02)


def test_a_second_lock_that_comes_in_the_first_ones_step_does_not_keep_its_turns(turns_of):
    turns_of(0.0001)
    with undisturbed():
        with uninterrupted(), undisturbed(), uninterrupted():
            pass
        assert sys.getswitchinterval() == pytest.approx(0.0001)
