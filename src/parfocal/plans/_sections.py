"""Image sections one by one; take a bad one again, as long as it is still under the objective."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky.protocols import Readable
from bluesky.utils import Msg, MsgGenerator, plan

from parfocal.devices import FAILURE, POINT, Auditor, Columns
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import stubs
from parfocal.plans._acquire import readables_of
from parfocal.plans._audit import PROGRESS, AuditOptions, ask, ask_again, audit_metadata, auditor_for, slice_judge
from parfocal.plans._check import check_light_and_exposure, is_count, is_number
from parfocal.plans._failures import FAILURES, reason_of
from parfocal.plans._frame_run import end_safely, start_document
from parfocal.plans._parts import Parts, parts_of


@plan
def acquire_sections(
    microscope: Readable[Any],
    sections_um: list[list[float]],
    slice_ids: list[str] | None = None,
    max_attempts: int = 3,
    refocus: Literal["always", "blurred", "never"] = "always",
    refocus_half_range_um: float = 9.0,
    refocus_planes: int = 13,
    focus_first: bool = True,
    *,
    channel: str = "",
    exposure_s: float | None = None,
    judge: dict[str, float] | None = None,
    expected: dict[str, Any] | None = None,
    auditor: Readable[Any] | None = None,
    judge_timeout_s: float = 5.0,
    on_timeout: Literal["accept", "reject", "fail"] = "accept",
    on_error: Literal["abort", "skip"] = "abort",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Image sections one by one, judge each as it is taken, and take a rejected one again.

    Every attempt is kept: one event a frame in stream `primary` (`point_position_name` is the slice's id,
    `point_attempt` which attempt), and one in stream `audit` with the verdict on it. A judge that still learns
    what good slices look like says so; once it knows, it is asked again about those, and the plan goes back to
    the ones that it rejects.

    Parameters
    ----------
    microscope : Microscope
        What to image with.
    sections_um : list of [x, y] or [x, y, z]
        Where the sections are, um. Without z: where z stands.
    slice_ids : list of str, optional
        Their names. Default: "00", "01"...
    max_attempts : int
        How often a section is taken at most; the last verdict stands.
    refocus : {"always", "blurred", "never"}
        Before which retakes the best plane is looked for. Under a focus lock that holds, it is the lock that
        focuses.
    refocus_half_range_um : float
        Reach of that search to either side, um; where the focus is not in it, twice that is searched.
    refocus_planes : int
        Planes in it.
    focus_first : bool
        Look for the best plane at the first section too, so that the judge does not learn from blurred ones. Not
        done where the judge knows what to expect, or a focus lock holds.
    channel : str
        Light channel; empty for the one that is chosen.
    exposure_s : float, optional
        Default: as the camera is set.
    judge : dict, optional
        How strict the judge is: fields of `parfocal.slices.JudgeSettings`.
    expected : dict, optional
        What good slices look like, from an earlier run: fields of `parfocal.slices.SliceExpectations`. Default: it
        is learned from the first ones.
    auditor : Auditor, optional
        One of your own instead; then `judge`, `expected`, `judge_timeout_s` and `on_timeout` are left alone.
    judge_timeout_s : float
        How long to wait for a verdict.
    on_timeout : {"accept", "reject", "fail"}
        What holds when it is late.
    on_error : {"abort", "skip"}
        What to do with a section of which no frame could be had in `max_attempts`.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    BadInputError
        Something cannot be done; nothing has moved.
    """
    parts = parts_of(microscope)
    if parts.camera is None or parts.x is None or parts.y is None or parts.z is None:
        raise BadInputError(f"acquire_sections: {parts.name} has no camera and stage, a Microscope was expected")
    sections = list(_sections(parts, sections_um, slice_ids))
    check_light_and_exposure("acquire_sections", parts, channel, exposure_s)
    if (
        not is_count(max_attempts, 1)
        or refocus not in ("always", "blurred", "never")
        or on_error not in ("abort", "skip")
    ):
        raise BadInputError(
            f"acquire_sections: max_attempts={max_attempts}, refocus={refocus!r}, on_error={on_error!r}; "
            "1 or more, always, blurred or never, and abort or skip were expected"
        )
    if not is_count(refocus_planes, 5) or not (is_number(refocus_half_range_um) and refocus_half_range_um > 0):
        raise BadInputError(
            f"acquire_sections: refocus over {refocus_planes} planes and +-{refocus_half_range_um} um; "
            "5 or more planes and a reach above 0 were expected"
        )
    options = AuditOptions(judge_timeout_s, on_timeout)
    own = auditor_for(
        parts.camera,
        auditor,
        options,
        lambda: slice_judge(parts.camera, judge or {}, expected, len(sections)),
    )
    home = {}
    for name, axis in parts.axes.items():
        home[name] = yield from stubs.position_of(axis)
    lock = getattr(microscope, "lock", None)
    run = _Run(parts, own, max_attempts, refocus, refocus_half_range_um, refocus_planes, home["z"], lock, on_error)
    start = start_document(
        parts,
        "acquire_sections",
        {
            "sections_um": sections_um,
            "slice_ids": [s.slice_id for s in sections],
            "max_attempts": max_attempts,
            "refocus": refocus,
            "refocus_half_range_um": refocus_half_range_um,
            "refocus_planes": refocus_planes,
            "focus_first": focus_first,
        },
        num_points=len(sections),
        shape=[len(sections)],
        dimensions=[([parts.x.name, parts.y.name], "primary")],
        about={
            "on_error": on_error,
            "retries": max_attempts - 1,
            "audit": audit_metadata(own, max_attempts, refocus),
        },
        md=md,
    )

    def inner() -> MsgGenerator[str]:
        uid = yield from bps.open_run(start)
        if exposure_s is not None:
            yield from stubs.move_all({parts.camera.exposure_s: exposure_s})
        yield from stubs.light_on(parts.light, channel)
        yield from run.all(sections, focus_first and expected is None)
        yield from bps.close_run()
        return uid

    return (yield from end_safely(parts, inner(), home["z"]))


@dataclass(frozen=True)
class _Section:
    number: int
    slice_id: str
    x_um: float
    y_um: float
    z_um: float | None


def _sections(parts: Parts, sections_um: list[list[float]], slice_ids: list[str] | None) -> Iterator[_Section]:
    """Check and yield the sections."""
    if not sections_um:
        raise BadInputError("acquire_sections: the list is empty, [[x, y], ...] in um was expected")
    names = slice_ids if slice_ids is not None else [f"{n:02d}" for n in range(len(sections_um))]
    if len(names) != len(sections_um) or len(set(names)) != len(names) or not all(names):
        raise BadInputError(
            f"acquire_sections: {len(sections_um)} sections and {len(names)} slice ids: one each, "
            "all different and none empty, was expected"
        )
    for n, (name, place) in enumerate(zip(names, sections_um, strict=True)):
        if not hasattr(place, "__len__") or len(place) not in (2, 3) or not all(is_number(v) for v in place):
            raise BadInputError(
                f"acquire_sections: section {n} is {place}: [x, y] or [x, y, z] in um was expected"
            )
        for axis, value in zip((parts.x, parts.y, parts.z), place, strict=False):
            check = getattr(axis, "check_value", None)
            if check is not None:
                check(float(value))
        yield _Section(
            n, str(name), float(place[0]), float(place[1]), float(place[2]) if len(place) == 3 else None
        )


@dataclass
class _Run:
    """One run under way: what was taken, what the judge said, and where the focus has gone.

    Each section goes through::

        first attempt --> audit --accepted--> done
                            |  rejected, attempts left
                            +--> refocus --> next attempt --> audit ...
    """

    parts: Parts
    auditor: Auditor
    max_attempts: int
    refocus: str
    half_range_um: float
    n_planes: int
    home_z_um: float
    lock: Any
    on_error: str
    shift_um: float = 0.0
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    provisional: dict[int, _Section] = field(default_factory=dict[int, _Section])
    retaken: int = 0
    total: int = 0
    done: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        from parfocal.callbacks import focus_probe

        self._probe = focus_probe(self.parts.camera)
        self._point = Columns("point", POINT)
        self._failure = Columns("failure", FAILURE)
        self._progress = Columns("progress", PROGRESS)
        self._readables = readables_of(self.parts, self._point)

    def all(self, sections: list[_Section], focus_first: bool) -> MsgGenerator[None]:
        """Take all sections."""
        self.total = len(sections)
        if focus_first and self.refocus != "never":
            yield from stubs.move_all(self._place(sections[0]))
            self.shift_um = yield from self._find_focus()
        for section in sections:
            yield from self._until_good(section, "")
        if self.provisional:  # too few for the judge to be sure; what it knows now is all that it will know
            yield from self._review()
        if not self.done:
            raise HardwareError(
                f"acquire_sections: no frame of any of {len(sections)} sections; see stream `failures`"
            )

    def _until_good(self, section: _Section, reason: str) -> MsgGenerator[None]:
        """Take a section, again while it is rejected; `reason` is why it was, if it was taken before."""
        while self.attempts.get(section.slice_id, 0) < self.max_attempts:
            attempt = self.attempts[section.slice_id] = self.attempts.get(section.slice_id, 0) + 1
            try:
                yield from self._take(section, attempt, reason)
            except FAILURES as error:
                reason = yield from self._failed(section, attempt, error)
                continue
            said = yield from ask(self.auditor, section.slice_id, attempt, self._progress)
            self._note(section, said)
            # A judge that has learned in the meantime speaks before the stage moves on for good.
            if self.provisional and not said.is_provisional:
                yield from self._review()
            if said.accepted:
                return
            reason = said.reason

    def _take(self, section: _Section, attempt: int, reason: str) -> MsgGenerator[None]:
        moves = self._place(section)
        if attempt > 1:
            self.retaken += 1
            is_blurred = reason.startswith("blurred")
            if self.refocus == "always" or (self.refocus == "blurred" and is_blurred):
                yield from stubs.move_all(moves)
                shift_um = yield from self._find_focus()
                moves[self.parts.z] += shift_um
                if is_blurred:  # the focus is elsewhere, for the sections to come too
                    self.shift_um += shift_um
        self._point.note(
            position=section.number,
            position_name=section.slice_id,
            channel="",
            exposure_s=float(self.parts.camera.exposure_s.get()),
            attempt=attempt,
        )
        self._progress.note(done=len(self.done), total=self.total, retaken=self.retaken)
        yield from stubs.image_point(self.parts.detectors, self._readables, moves=moves)

    def _place(self, section: _Section) -> dict[Any, float]:
        z_um = section.z_um if section.z_um is not None else self.home_z_um
        return {self.parts.x: section.x_um, self.parts.y: section.y_um, self.parts.z: z_um + self.shift_um}

    def _find_focus(self) -> MsgGenerator[float]:
        """Look for the best plane; where it is not within reach, twice as far. Return the shift to it, um."""
        if self.lock is not None and self.lock.is_engaged:
            return 0.0
        for wider in (1, 2):
            shift_um = yield from stubs.autofocus(
                self.parts.detectors,
                self.parts.z,
                self._probe,
                half_range_um=wider * self.half_range_um,
                n_planes=wider * (self.n_planes - 1) + 1,
            )
            if shift_um:
                return shift_um
        return 0.0

    def _note(self, section: _Section, said: Any) -> None:
        self.done.add(section.slice_id)
        if said.is_provisional and said.accepted:
            self.provisional[said.frame] = section

    def _review(self) -> MsgGenerator[None]:
        """Ask again about what was taken while the judge learned, and go back to what it rejects now."""
        waiting, self.provisional = self.provisional, {}
        for frame, section in waiting.items():
            attempt = self.attempts[section.slice_id]
            said = yield from ask_again(self.auditor, section.slice_id, attempt, frame, self._progress)
            if not said.accepted:
                yield from self._until_good(section, said.reason)

    def _failed(self, section: _Section, attempt: int, error: Exception) -> MsgGenerator[str]:
        last = attempt == self.max_attempts
        action = "retry" if not last else self.on_error
        values = {
            "position": section.number,
            "position_name": section.slice_id,
            "attempt": attempt,
            "action": action,
            "reason": reason_of(error),
        }
        yield from stubs.record(self._failure, values, stream="failures")
        if action == "abort":
            raise error
        yield Msg("checkpoint")
        return "no frame"
