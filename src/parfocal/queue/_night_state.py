"""What one sees of a night at the microscope: frozen, and made from documents and status alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal["run_failed", "position_failed", "analysis_failed", "plan_failed", "injected", "incident"]
CatalogState = Literal["ok", "behind", "away", "unknown"]
KEPT_FAULTS = 50
KEPT_ERRORS = 120
KEPT_EVENTS = 60
KEPT_RUNS = 20


@dataclass(frozen=True)
class Stream:
    """A stream, as its descriptor names it.

    Attributes
    ----------
    run_uid, name : str
        Of which run; `primary`, `lock` ...
    keys : frozenset of str
        Its data keys.
    """

    run_uid: str
    name: str
    keys: frozenset[str]


@dataclass(frozen=True)
class RunView:
    """A raw run, as far as it has come.

    Attributes
    ----------
    uid, plan_name, sample, instrument : str
    scan_id : int
    began_s, ended_s : float
        Seconds since the Unix epoch; 0 while it runs.
    n_expected : int
        What the plan means to do; 0 where it does not say.
    unit : str
        Of that: `frames`, `steps`, `slices`, or `s` of a plan that takes a time.
    n_done : int
        Of that.
    n_positions : int
        How many positions the plan visits; 0 where it does not say.
    position : int
        Number of the present one, from 0; -1 where there is none.
    position_name, channel, slice_id : str
    time_point, plane, attempt : int
    z_um : float
    counts : mapping
        Events by stream.
    recent : tuple of (float, int)
        Times of the latest events of the stream that counts, and how many there were by then.
    exit_status, reason : str
        Empty while it runs.
    """

    uid: str
    plan_name: str
    scan_id: int = 0
    sample: str = ""
    instrument: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0
    n_expected: int = 0
    unit: str = "frames"
    n_done: int = 0
    n_positions: int = 0
    position: int = -1
    position_name: str = ""
    time_point: int = -1
    plane: int = -1
    channel: str = ""
    slice_id: str = ""
    attempt: int = 1
    z_um: float = float("nan")
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    recent: tuple[tuple[float, int], ...] = ()
    exit_status: str = ""
    reason: str = ""

    @property
    def is_running(self) -> bool:
        """Whether its stop document has not come."""
        return not self.exit_status

    @property
    def rate_per_s(self) -> float:
        """Events a second over the latest ones; NaN before there are two."""
        if len(self.recent) < 2:
            return float("nan")
        (begin_s, n_begin), (end_s, n_end) = self.recent[0], self.recent[-1]
        return (n_end - n_begin) / (end_s - begin_s) if end_s > begin_s else float("nan")

    def elapsed_s(self, now_s: float) -> float:
        """How long it runs, or ran."""
        return max(0.0, (self.ended_s or now_s) - self.began_s)

    def eta_s(self, now_s: float) -> float:
        """How long it will still take at the pace so far; NaN where nobody can know."""
        if not self.is_running or not self.n_expected:
            return float("nan")
        if self.unit == "s":
            return max(0.0, self.n_expected - self.elapsed_s(now_s))
        if not self.n_done:
            return float("nan")
        pace_s = self.elapsed_s(self.recent[-1][0] if self.recent else now_s) / self.n_done
        return max(0.0, pace_s * (self.n_expected - self.n_done))


@dataclass(frozen=True)
class LockView:
    """The focus lock, from its stream.

    Attributes
    ----------
    state : str
        Of the latest sample.
    error_um, offset_um : float
        The latest that is a number; what is held.
    at_s : float
        When, seconds since the Unix epoch.
    n_samples, n_locked : int
        Of the run, and those in state `LOCKED`, from the first of them on.
    errors_um : tuple of float
        Mean error of each of the latest pages, half a second each; NaN where none was measured.
    flags : str
        Safeguards that spoke last.
    """

    state: str
    error_um: float = float("nan")
    setpoint_um: float = float("nan")
    at_s: float = 0.0
    n_samples: int = 0
    n_locked: int = 0
    errors_um: tuple[float, ...] = ()
    flags: str = ""

    @property
    def in_lock(self) -> float:
        """Share of samples in lock; NaN before it had locked."""
        return self.n_locked / self.n_samples if self.n_samples else float("nan")


@dataclass(frozen=True)
class VerdictView:
    """What auditors said.

    Attributes
    ----------
    n_accepted, n_rejected, n_timed_out : int
        Verdicts on frames; those that a policy gave because the judge was late.
    reasons : mapping
        Rejections by reason.
    n_retaken : int
        Frames that were taken again, as the plan tells.
    """

    n_accepted: int = 0
    n_rejected: int = 0
    n_timed_out: int = 0
    n_retaken: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class AnalysisView:
    """Derived runs of one analysis.

    Attributes
    ----------
    n_running, n_ended, n_failed : int
    verdicts : mapping
        Ended runs by verdict.
    rows : mapping
        Rows by stream, of the derived run that began last.
    """

    n_running: int = 0
    n_ended: int = 0
    n_failed: int = 0
    verdicts: Mapping[str, int] = field(default_factory=dict[str, int])
    rows: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class FaultView:
    """Something that went wrong, or was made to.

    Attributes
    ----------
    at_s : float
    kind : str
    what : str
        In one line.
    plan : str
    outcome : str
        What was done about it; empty where nobody said.
    uid : str
        Of the run, or of the queue's item.
    """

    at_s: float
    kind: FaultKind
    what: str
    plan: str = ""
    outcome: str = ""
    uid: str = ""


@dataclass(frozen=True)
class QueueView:
    """The queue, as the RE Manager says.

    Attributes
    ----------
    manager : str
        Its state; empty where it does not answer.
    away : str
        Why not, in one line; empty where it answers.
    has_worker : bool
        Whether an environment is open.
    engine : str
        State of the RunEngine: `idle`, `running`, `paused` ...
    running : str
        Plan of the running item.
    running_uid : str
    n_waiting : int
    waiting : tuple of str
        Plans of the first of these.
    n_done : int
        Items in the history.
    """

    manager: str = ""
    away: str = ""
    has_worker: bool = False
    engine: str = ""
    running: str = ""
    running_uid: str = ""
    n_waiting: int = 0
    waiting: tuple[str, ...] = ()
    n_done: int = 0


@dataclass(frozen=True)
class CatalogView:
    """The catalog, as seen from outside.

    Attributes
    ----------
    state : {"ok", "behind", "away", "unknown"}
        `behind`: runs that have ended wait in their logs for longer than they should.
    n_waiting : int
        Such runs.
    """

    state: CatalogState = "unknown"
    n_waiting: int = 0


@dataclass(frozen=True)
class NightView:
    """All of it.

    Attributes
    ----------
    began_s : float
        When one began to look, seconds since the Unix epoch.
    queue : QueueView or None
        None where nobody asks a queue.
    run : RunView or None
        The raw run that began last.
    lock : LockView or None
        None where that run has no lock.
    verdicts, night_verdicts : VerdictView
        Of this run; of all.
    analyses : mapping
        By name.
    catalog : CatalogView
    faults : tuple of FaultView
        The latest, in order of time.
    n_runs, n_failed : int
        Raw runs that ended, and those of them that failed.
    n_frames : int
        Events of stream `primary`, of all runs.
    heard_s : float
        When the latest event came.
    streams, runs, derived, ended, lost, seen
        Which descriptor is which stream; runs that are open: uid to the name of the plan, or analysis; those of
        analyses; those that ended last; those that were cut off; events of the streams of open runs.
    """

    began_s: float = 0.0
    queue: QueueView | None = None
    run: RunView | None = None
    lock: LockView | None = None
    verdicts: VerdictView = field(default_factory=VerdictView)
    night_verdicts: VerdictView = field(default_factory=VerdictView)
    analyses: Mapping[str, AnalysisView] = field(default_factory=dict[str, AnalysisView])
    catalog: CatalogView = field(default_factory=CatalogView)
    faults: tuple[FaultView, ...] = ()
    n_runs: int = 0
    n_failed: int = 0
    n_frames: int = 0
    heard_s: float = 0.0
    streams: Mapping[str, Stream] = field(default_factory=dict[str, Stream])
    runs: Mapping[str, str] = field(default_factory=dict[str, str])
    derived: frozenset[str] = frozenset()
    ended: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    seen: Mapping[str, int] = field(default_factory=dict[str, int])
