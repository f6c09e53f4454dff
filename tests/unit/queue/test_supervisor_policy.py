"""What a supervisor decides, without processes: on single sights, and through nights in a model of the queue."""

import random
from dataclasses import dataclass, field, replace

import pytest

from parfocal.queue._supervisor_policy import (
    Action,
    FailedItem,
    Seen,
    State,
    SupervisorPolicy,
    decide,
    note,
    observe,
    policy_of,
)

FINE = Seen(manager_state="idle", environment_open=True, n_in_queue=3)
RUNNING = replace(FINE, manager_state="executing_queue")
ITEM = FailedItem("a1", "z_stack", reason="the stage stalled")
POLICY = SupervisorPolicy()


def kinds(state, policy=POLICY):
    return [action.kind for action in decide(state, policy)]


def look(state, *sights):
    for seen in sights:
        state = observe(state, seen)
    return state


# -- single sights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [FINE, RUNNING, replace(RUNNING, manager_state="paused"), Seen()])
def test_where_all_is_well_or_nothing_is_known_nothing_is_done(seen):
    assert kinds(look(State(), seen, seen)) == []


def test_a_queue_that_nobody_started_is_not_started():
    assert kinds(look(State(), FINE, FINE, replace(FINE, n_in_queue=9))) == []


def test_a_queue_that_somebody_stopped_is_not_started_again():
    assert kinds(look(State(), RUNNING, FINE)) == []


def test_an_environment_that_somebody_closed_is_not_opened_again():
    closed = Seen(manager_state="idle")
    assert kinds(look(State(), FINE, closed)) == []
    closing = replace(FINE, manager_state="closing_environment", environment_open=False)
    assert kinds(look(State(), FINE, closing, closed, closed)) == []


def test_what_was_never_open_is_not_opened():
    assert kinds(look(State(), Seen(manager_state="idle", n_in_queue=2))) == []


def test_a_dead_worker_is_destroyed_recovered_opened_made_safe_and_only_then_goes_on():
    state = look(State(), RUNNING, replace(RUNNING, worker_died=True))
    done = []
    sights = [
        Seen(manager_state="idle", n_in_queue=3, failures=(ITEM,)),
        Seen(manager_state="idle", n_in_queue=3),
        FINE,
        FINE,
        FINE,
        RUNNING,
    ]
    for seen in [None, *sights]:
        state = observe(state, seen) if seen is not None else state
        for action in decide(state, POLICY):
            done.append(action.kind)
            state = note(state, action, succeeded=True)
    assert done == ["destroy_environment", "recover", "open_environment", "make_safe", "retry", "start_queue"]


def test_a_worker_that_died_between_plans_is_made_safe_too_and_a_stopped_queue_stays_so():
    state = look(State(), FINE, replace(FINE, worker_died=True), Seen(manager_state="idle"))
    state = note(state, Action("recover"), succeeded=True)
    assert kinds(state) == ["open_environment"]
    state = look(state, FINE)
    assert kinds(state) == ["make_safe"]
    assert kinds(note(state, decide(state, POLICY)[0], succeeded=True)) == []


def test_a_worker_that_is_silent_for_longer_than_declared_is_ended_and_then_treated_as_dead():
    patient = SupervisorPolicy(silent_s=60.0)
    state = look(State(), RUNNING, replace(RUNNING, silent_s=59.0))
    assert kinds(state, patient) == []
    state = look(state, replace(RUNNING, silent_s=61.0))
    assert kinds(state, patient) == ["end_worker"]
    assert kinds(state, SupervisorPolicy(silent_s=0.0)) == [], "never"
    assert kinds(look(state, replace(RUNNING, manager_state="paused", silent_s=1e6)), patient) == []
    (action,) = decide(state, patient)
    state = look(note(state, action, True), replace(RUNNING, worker_died=True))
    assert kinds(state, patient) == ["destroy_environment"]


def test_a_worker_that_dies_as_soon_as_the_queue_starts_counts_as_running():
    assert look(State(), FINE, replace(RUNNING, worker_died=True)).wants_queue


@pytest.mark.parametrize(
    ("declared", "attempt", "expected"),
    [
        ("", 1, "retry"),
        ("retry", 1, "retry"),
        ("retry", 2, "skip"),
        ("skip", 1, "skip"),
        ("hold", 1, "hold"),
        ("hold", 2, "hold"),
        ("sometimes", 1, "retry"),
    ],
)
def test_an_item_declares_what_becomes_of_it(declared, attempt, expected):
    assert policy_of(replace(ITEM, on_failure=declared, attempt=attempt), POLICY) == expected


def test_what_declares_nothing_goes_by_the_default():
    assert policy_of(ITEM, SupervisorPolicy(on_failure="hold")) == "hold"


def test_a_failed_plan_that_left_a_microscope_unsafe_is_made_safe_before_the_next():
    state = look(State(), RUNNING, replace(FINE, failures=(ITEM,), unsafe=("microscope",)))
    (action,) = decide(state, POLICY)
    assert (action.kind, action.microscope) == ("make_safe", "microscope")
    state = look(note(state, action, succeeded=True), FINE)
    assert kinds(state) == ["retry"]


def test_a_failed_plan_that_cleaned_up_goes_straight_to_its_policy():
    state = look(State(), RUNNING, replace(FINE, failures=(ITEM,)))
    assert kinds(state) == ["retry"]
    state = look(note(state, decide(state, POLICY)[0], succeeded=True), FINE)
    assert kinds(state) == ["start_queue"]


def test_a_plan_that_fails_before_it_was_seen_running_is_dealt_with_and_the_queue_goes_on():
    state = look(State(), replace(FINE, failures=(ITEM,)))
    assert kinds(state) == ["retry"]
    assert kinds(look(note(state, decide(state, POLICY)[0], succeeded=True), FINE)) == ["start_queue"]


@pytest.mark.parametrize("n_looks", [1, 2])
def test_a_failure_that_is_told_before_the_manager_says_idle_is_dealt_with(n_looks):
    told = [replace(RUNNING, failures=(ITEM,)), RUNNING][:n_looks]
    assert kinds(look(State(), RUNNING, *told, FINE)) == ["retry"]


def test_a_held_item_keeps_the_queue_until_somebody_starts_it():
    state = look(State(), RUNNING, replace(FINE, failures=(replace(ITEM, on_failure="hold"),)))
    (action,) = decide(state, POLICY)
    assert action.kind == "hold"
    assert "the stage stalled" in action.why
    state = look(note(state, action, succeeded=True), FINE, FINE)
    assert state.held
    assert kinds(state) == []
    state = look(state, RUNNING)
    assert not state.held
    assert kinds(look(state, replace(FINE, failures=(ITEM,)))) == ["retry"]


def test_hardware_that_cannot_be_made_safe_holds_the_queue():
    state = look(State(), RUNNING, replace(FINE, failures=(ITEM,), unsafe=("microscope",)))
    for _ in range(POLICY.safe_attempts):
        (action,) = decide(state, POLICY)
        assert action.kind == "make_safe"
        state = look(note(state, action, succeeded=False), replace(FINE, unsafe=("microscope",)))
    (action,) = decide(state, POLICY)
    assert action.kind == "hold"
    assert "could not be made safe" in action.why
    state = note(state, action, succeeded=True)
    assert kinds(look(state, replace(FINE, unsafe=("microscope",)))) == []


def test_an_environment_that_does_not_open_is_tried_some_times_and_then_held():
    closed = Seen(manager_state="idle", n_in_queue=1)
    state = look(State(), RUNNING, replace(RUNNING, worker_died=True), closed)
    state, tried = note(state, Action("recover"), succeeded=True), []
    for _ in range(10):
        for action in decide(state, POLICY):
            tried.append(action.kind)
            state = note(state, action, succeeded=action.kind == "hold")
        state = look(state, closed)
    assert tried == ["open_environment"] * POLICY.open_attempts + ["hold"]


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (replace(RUNNING, redis_died=True), "restart_redis"),
        (Seen(redis_died=True, manager_died=True), "restart_redis"),
        (Seen(manager_died=True), "restart_manager"),
        (replace(RUNNING, is_stuck=True), "restart_manager"),
        (replace(RUNNING, proxy_died=True), "restart_proxy"),
    ],
)
def test_what_died_is_started_again_redis_first(seen, kind):
    assert kinds(look(State(), RUNNING, seen)) == [kind]


def test_a_redis_that_came_back_leaves_a_running_queue_running():
    state = look(State(), RUNNING, replace(RUNNING, redis_died=True), RUNNING)
    assert kinds(state) == []
    assert state.wants_queue
    assert not state.to_make_safe


def test_the_worker_of_a_manager_that_died_is_treated_as_dead():
    state = look(State(), RUNNING, Seen(manager_died=True), Seen(), Seen(manager_state="idle", n_in_queue=2))
    assert state.to_recover
    assert state.to_make_safe == ("microscope",)
    assert kinds(note(state, Action("recover"), succeeded=True)) == ["open_environment"]


def test_processes_that_end_again_and_again_are_given_up_with_the_queue_held():
    state, dead = look(State(), RUNNING), Seen(manager_died=True)
    for _ in range(POLICY.restart_attempts):
        state = look(state, dead)
        assert kinds(state) == ["restart_manager"]
        state = note(state, Action("restart_manager"), succeeded=True)
    state = look(state, dead)
    assert kinds(state) == ["hold"]
    state = look(note(state, decide(state, POLICY)[0], succeeded=True), dead)
    assert kinds(state) == []


# -- whole nights -----------------------------------------------------------------------------------


@dataclass
class Night:
    """A queue server as a supervisor sees it, with a hand that breaks things: its rules, not its processes."""

    rng: random.Random
    waiting: list
    faults: int
    environment: bool = True
    worker: bool = True
    manager: bool = True
    redis: bool = True
    manager_state: str = "executing_queue"
    safe: bool = True
    running: FailedItem | None = None
    fresh: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    log: list = field(default_factory=list)
    moved_unsafe: int = 0

    def seen(self):
        fresh, self.fresh = tuple(self.fresh), []
        state = self.manager_state if self.manager and self.redis else ""
        return Seen(
            manager_state=state,
            environment_open=bool(state) and self.environment,
            redis_died=not self.redis,
            manager_died=not self.manager,
            worker_died=bool(state) and self.environment and not self.worker,
            n_in_queue=len(self.waiting),
            unsafe=() if self.safe or self.running is not None else ("microscope",),
            failures=fresh if state else self._keep(fresh),
        )

    def _keep(self, fresh):
        self.fresh = list(fresh)
        return ()

    def live(self):
        """Let the queue work for a moment, or something break."""
        if self.faults and self.rng.random() < 0.35:
            self.faults -= 1
            self._break(self.rng.choice(["worker", "manager", "redis", "plan", "plan and hardware"]))
        if not (self.worker and self.manager and self.manager_state == "executing_queue"):
            return
        if self.running is None and self.waiting:
            self.running = self.waiting.pop(0)
            self.moved_unsafe += not self.safe
        elif self.running is not None:
            self.ended.append(self.running.name)
            self.running = None
        if self.running is None and not self.waiting:
            self.manager_state = "idle"

    def _break(self, what):
        if what.startswith("plan"):
            if self.running is not None and self.worker:
                self.safe = what == "plan"
                self._put_back()
                self.manager_state = "idle"
        else:
            setattr(self, what, False)
            self.safe = self.safe and what == "redis"

    def _put_back(self):
        if self.running is None:
            return
        self.fresh.append(replace(self.running, reason="broken"))
        self.waiting.insert(0, self.running)
        self.running = None

    def act(self, action):
        self.log.append(action.kind)
        flaky = self.rng.random() < 0.1
        if action.kind == "restart_redis":
            self.redis = True
        elif action.kind == "restart_manager":
            self.manager, self.worker, self.environment, self.manager_state = True, False, False, "idle"
            self._put_back()
        elif action.kind == "destroy_environment":
            self.environment, self.manager_state = False, "idle"
            self._put_back()
        elif action.kind == "open_environment":
            assert not self.environment
            self.environment = self.worker = not flaky
            return not flaky
        elif action.kind == "make_safe":
            if not self.worker or flaky:
                return False
            self.safe = True
        elif action.kind == "retry":
            assert self.waiting[0].name == action.item.name
            self.waiting[0] = replace(self.waiting[0], attempt=action.item.attempt + 1)
        elif action.kind == "skip":
            self.ended.append(f"skipped {self.waiting.pop(0).name}")
        elif action.kind == "start_queue":
            assert self.worker
            assert self.safe, "nothing moves before the hardware is safe"
            self.manager_state = "executing_queue"
        return True


@pytest.mark.parametrize("seed", range(100))
def test_a_night_with_many_faults_ends_with_every_item_done_skipped_or_held(seed):
    rng = random.Random(seed)
    items = [
        FailedItem(str(n), f"plan {n}", on_failure=rng.choice(["", "skip", "retry", "retry", "hold"]))
        for n in range(6)
    ]
    night = Night(rng, list(items), faults=rng.randrange(1, 9))
    state, policy = observe(State(), night.seen()), SupervisorPolicy(restart_attempts=100)
    for _ in range(200):
        night.live()
        state = observe(state, night.seen())
        for action in decide(state, policy):
            state = note(state, action, night.act(action))
    assert night.moved_unsafe == 0
    assert decide(state, policy) == (), "it comes to rest"
    if state.held:
        assert night.waiting or "made safe" in state.held or "opened" in state.held
        return
    assert not night.waiting, night.log
    assert night.running is None
    told = sorted(name.removeprefix("skipped ") for name in night.ended)
    assert told == sorted(item.name for item in items), "each once"
    assert not any(f"skipped {item.name}" in night.ended for item in items if item.on_failure == "hold")
