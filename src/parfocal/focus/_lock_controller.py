"""The lock: one measured frame in, one command out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum, auto

from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel
from parfocal.focus._commands_under_way import CommandsUnderWay
from parfocal.focus._drift_filter import DriftFilter
from parfocal.focus._lock_engage import Engagement, MeanOfGoodFrames
from parfocal.focus._lock_law import LawInput, make_law
from parfocal.focus._lock_settings import LockSettings
from parfocal.focus._measurement import Command, LockState, Measurement, StageState
from parfocal.focus._safeguards_motion import Deadband, MotionLimits, StageLag, StuckAtLimit
from parfocal.focus._safeguards_quality import Alarm, QualityGates, arming_alarms
from parfocal.focus._safeguards_response import InnovationGate, Runaway
from parfocal.focus._safeguards_target import SEARCHABLE, LostTarget, ZSearch

_SAME_PLACE_UM = 1e-6


class _Phase(Enum):
    IDLE = auto()
    READY = auto()
    ENGAGE = auto()
    FOLLOW = auto()
    PAUSED = auto()
    VERIFY = auto()  # good frames to know where the focus is after a pause or a stall
    LAG = auto()
    LOST = auto()
    FAULT = auto()


class LockController:
    """Holds the focus that was found at engage: a pure function of what it was told so far.

    No clock, no I/O, no thread: whoever owns the camera calls `step` once a frame and sends the answer to the
    stage. States::

                  arm                engage                       setpoint known,
        IDLE ------------> CALIBRATED_READY ------> LOCKING ----- response 1, settled -----> LOCKED
                                  ^  ^                 |  ^                                 |  ^  |
                                  |  |                 |  | setpoint moved, resumed         |  |  |
             reset                |  +---- release ----+  +---------------------------------+  |  |
        FAULT --------------------+                                                            |  |
          ^  wrong sign or response, runaway, stuck at a limit,       frame refused, cut, held |  |
          |  stage fault or stalled (from any state that moves)       or off target            |  |
          |                                                    good again  +----> DEGRADED ----+  |
          |                                                                           |           |
        RECOVERY <------------------ kicked, or the stage lags -----------------------|-----------+
          |   ^                                                                       |
          |   +---- spot found again ---- LOST <---- refused for `lost_frames` -------+
          +--> LOCKED, once settled

    Only LOCKED frames are in focus. FAULT stays until `reset`. A refused frame moves nothing: without a
    measurement there is no correction. LOST searches, where another z could help.

    Parameters
    ----------
    settings : LockSettings
        Every option.
    model : DefocusModel, optional
        The calibration to arm with.
    roi_shape_px : (int, int), optional
        Height and width of the region that is fitted; without it nothing is said of its border.
    is_found : callable, optional
        Decides in a search whether a frame shows the spot; default: no gate objects.
    usual_misfit : float
        As for `arm`.
    """

    def __init__(
        self,
        settings: LockSettings | None = None,
        model: DefocusModel | None = None,
        roi_shape_px: tuple[int, int] | None = None,
        is_found: Callable[[Measurement], bool] | None = None,
        usual_misfit: float = 0.0,
    ) -> None:
        self.settings = s = settings or LockSettings()
        self._roi_shape_px = roi_shape_px
        self._is_found = is_found
        self._law = make_law(s)
        self._limits = MotionLimits(s)
        self._deadband = Deadband(s)
        self._stuck = StuckAtLimit(s.limit_fault_frames)
        self._lag = StageLag(s)
        self._innovation = InnovationGate(s.innovation_sigma, s.kick_frames)
        self._lost = LostTarget(s.lost_frames)
        dwell = math.ceil(s.latency_frames) + 1 + s.relock_frames
        self._search = ZSearch(s.search_step_um, s.search_range_um, s.search_passes, dwell)
        self._domain_um = (-math.inf, math.inf)
        self._gates = QualityGates(s, self._domain_um, roi_shape_px)
        self._phase = _Phase.IDLE
        self._forget()
        if model is not None:
            self.arm(model, usual_misfit)

    def _forget(self) -> None:
        s = self.settings
        self._state = LockState.IDLE if self._phase is _Phase.IDLE else LockState.CALIBRATED_READY
        self._setpoint_um = self._setpoint_se_um = math.nan
        self._under_way = CommandsUnderWay(s.latency_frames)
        self._setpoints = CommandsUnderWay(s.latency_frames)
        self._filter = DriftFilter(s.walk_um_per_frame, s.noise_factor, s.rate_share, s.walk_memory_frames)
        self._runaway = Runaway(s.runaway_slope, s.runaway_sigma)
        self._engagement = Engagement(s)
        self._mean = MeanOfGoodFrames(s.verify_frames)
        self._limits.centre_um = math.nan
        self._frame: int | None = None
        self._range_um = (-math.inf, math.inf)
        self._broken: Alarm | None = None
        self._pending_um = 0.0
        self._engaged_t_s = math.nan
        self._unsettled: LockState | None = None
        self._n_settled = 0
        self._last_good_um = math.nan
        self._is_searching = False
        for part in (
            self._law, self._deadband, self._stuck, self._lag, self._innovation, self._lost, self._gates,
        ):  # fmt: skip
            part.reset()

    @property
    def state(self) -> LockState:
        """The state after the last step."""
        return self._state

    @property
    def is_engaged(self) -> bool:
        """Whether it has been engaged and neither released nor stopped by a fault."""
        return self._phase not in (_Phase.IDLE, _Phase.READY, _Phase.FAULT)

    @property
    def setpoint_um(self) -> float:
        """Defocus that is held, um; NaN before it is known."""
        return self._setpoint_um

    @property
    def setpoint_se_um(self) -> float:
        """Standard error of the setpoint as it was found at engage, um."""
        return self._setpoint_se_um

    @property
    def domain_um(self) -> tuple[float, float]:
        """Defocus that is calibrated, um: where a setpoint may lie."""
        return self._domain_um

    @property
    def response(self) -> tuple[float, float]:
        """Slope of measured over commanded z at engage, and its standard error."""
        response = self._engagement.probe.response
        return response.slope, response.se

    @property
    def drift_um_per_frame(self) -> tuple[float, float]:
        """Drift rate and random walk as estimated, um a frame."""
        if not self._filter.is_started:
            return math.nan, math.nan
        return self._filter.rate_um_per_frame, self._filter.walk_um_per_frame

    def arm(self, model: DefocusModel, usual_misfit: float = 0.0) -> tuple[Alarm, ...]:
        """Take a calibration; return why it is refused (then the state is IDLE), or nothing.

        `usual_misfit` is how badly the calibrated spot itself fits (`Calibration.misfit_per_photon`): so much is
        let pass at a z where the lock has not been yet.
        """
        if self.is_engaged:
            raise BadInputError("lock: a new calibration while engaged; release the lock first")
        alarms = arming_alarms(model, self.settings)
        self._domain_um = model.usable_um
        self._gates = QualityGates(self.settings, model.usable_um, self._roi_shape_px, usual_misfit)
        self._phase = _Phase.IDLE if alarms else _Phase.READY
        self._forget()
        return alarms

    def engage(self) -> None:
        """Begin to lock with the next frame."""
        if self._phase is not _Phase.READY:
            todo = {_Phase.IDLE: "calibrate first", _Phase.FAULT: "reset it first"}
            raise BadInputError(f"lock: cannot engage in {self._state}; {todo.get(self._phase, 'it is engaged')}")
        self._forget()
        self._phase, self._state = _Phase.ENGAGE, LockState.LOCKING

    def release(self) -> None:
        """Stop; the stage stays where it is. A fault stays a fault."""
        if self.is_engaged:
            self._phase = _Phase.READY
            self._forget()

    def reset(self) -> None:
        """Leave FAULT."""
        if self._phase is _Phase.FAULT:
            self._phase = _Phase.READY
            self._forget()

    def hold(self) -> None:
        """Leave the stage alone and believe no frame until `resume`: for moves that take the spot out of sight."""
        if self._phase in (_Phase.FOLLOW, _Phase.VERIFY, _Phase.PAUSED):
            self._phase, self._state = _Phase.PAUSED, LockState.DEGRADED
        else:
            raise BadInputError(f"lock: cannot hold in {self._state}; expected a lock that follows the focus")

    def resume(self) -> None:
        """Look where the focus is now, go to the setpoint, and be LOCKED when settled there."""
        if self._phase is not _Phase.PAUSED:
            raise BadInputError(f"lock: nothing to resume in {self._state}; hold it first")
        self._verify(LockState.LOCKING)

    def move_setpoint(self, delta_um: float) -> None:
        """Hold another defocus from now on; the stage moves by as much with the next good frame.

        Raises
        ------
        BadInputError
            There is no setpoint, or the new one is outside the calibrated range.
        """
        low, high = self._domain_um
        new = self._setpoint_um + delta_um
        if not math.isfinite(self._setpoint_um):
            raise BadInputError("lock: no setpoint to move; wait until the lock has engaged")
        if not low <= new <= high:
            raise BadInputError(
                f"lock: setpoint {new:.3f} um is outside the calibrated {low:.3f} to {high:.3f} um"
            )
        self._setpoint_um = new
        self._pending_um += delta_um
        if self._phase is _Phase.FOLLOW:
            self._unsettle(LockState.LOCKING)

    def resize_roi(self, shape_px: tuple[int, int]) -> None:
        """Take the new shape (height, width) of the region."""
        self._roi_shape_px = shape_px
        self._gates.resize(shape_px)

    def step(self, measurement: Measurement, stage: StageState) -> Command:
        """Answer one frame.

        Parameters
        ----------
        measurement : Measurement
            The frame. A gap in its count is a dropped frame: the drift is foretold over it.
        stage : StageState
            The z stage now, before this answer.

        Returns
        -------
        Command
        """
        m = measurement
        if self._phase in (_Phase.IDLE, _Phase.READY, _Phase.FAULT):
            flags = (self._broken.code,) if self._broken else ()
            return Command(None, self._state, math.nan, 0.0, flags, self._broken.reason if self._broken else "")
        if self._frame is not None and m.frame <= self._frame:
            alarm = Alarm("repeated_frame", f"frame {m.frame} again")
            return self._answer(m, None, self._state, (alarm,))
        n_new = 1 if self._frame is None else m.frame - self._frame
        self._frame = m.frame
        self._under_way.note(m.frame, stage.commanded_um, stage.commanded_t_s, stage.sending_s)
        self._setpoints.stamp(stage.commanded_t_s)
        self._range_um = self._limits.range_um(stage)
        if self._filter.is_started:
            self._filter.advance(n_new)
        if stage.is_fault:
            return self._fault(m, Alarm("stage_fault", "the stage reports an error or does not answer"))
        if self._phase is _Phase.PAUSED:
            return self._answer(m, None, LockState.DEGRADED, (Alarm("held", "held by a plan"),))
        at_um = self._under_way.at_um(m.frame, m.t_s, m.exposure_s)
        alarms = self._gates.judge(m)
        if self._phase is _Phase.ENGAGE:
            return self._engaging(m, stage, at_um, alarms)
        if self._phase is _Phase.LOST:
            return self._look(m, at_um, alarms)
        lag_um = self._under_way.lag_um(m.frame, stage.z_um - self._lag.offset_um)
        if (alarm := self._lag.judge(lag_um)) is not None:
            return self._wait_for_stage(m, stage, alarm)
        if self._phase is _Phase.LAG:
            self._verify(LockState.RECOVERY)
        if self._phase is _Phase.VERIFY:
            return self._look_again(m, at_um, alarms)
        return self._follow(m, stage, at_um, lag_um, alarms)

    def _engaging(self, m: Measurement, stage: StageState, at_um: float, alarms: tuple[Alarm, ...]) -> Command:
        engagement, is_known = self._engagement, math.isfinite(self._setpoint_um)
        is_settled = self._under_way.is_settled(m.t_s, m.exposure_s)
        step = engagement.step(m, stage, at_um, alarms, is_settled)
        if step.is_believed:
            self._believe(m, at_um)
        if step.outcome == "late":
            self._phase = _Phase.READY
            self._forget()
            return self._answer(m, None, self._state, step.alarms)
        if step.outcome == "wrong":
            return self._fault(m, step.alarms[0], step.z_um)
        if step.outcome == "found" or (step.outcome == "ready" and not is_known):
            found = engagement.setpoint_um if self.settings.lock_setpoint else (0.0, 0.0)
            self._setpoint_um, self._setpoint_se_um = found
            self._setpoints.note(m.frame, self._setpoint_um)
            self._limits.centre_um = self._last_good_um = stage.commanded_um
            self._lag.offset_um = engagement.stage_offset_um
        if step.outcome == "ready":
            return self._begin_to_follow(m)
        z_um = None if step.z_um is None else self._within_range(step.z_um)
        return self._answer(m, z_um, LockState.LOCKING, step.alarms)

    def _begin_to_follow(self, m: Measurement) -> Command:
        self._phase = _Phase.FOLLOW
        self._engaged_t_s = m.t_s
        self._unsettle(LockState.LOCKING)
        return self._answer(m, None, LockState.LOCKING)

    def _follow(
        self, m: Measurement, stage: StageState, at_um: float, lag_um: float, alarms: tuple[Alarm, ...]
    ) -> Command:
        s = self.settings
        if not alarms:
            drift_um = m.z_um - at_um
            # a stage that is not where it was sent is the lag's business
            if lag_um <= 0.25 * s.max_stage_lag_um:
                runaway = self._runaway.judge(m.z_um, m.z_se_um, at_um)
                if runaway is not None:
                    return self._fault(m, runaway)
            surprise = self._innovation.judge(drift_um, m.z_se_um, self._filter.drift_um, self._filter.drift_sd_um)
            if surprise is None:
                self._filter.update(drift_um, m.z_se_um)
            else:
                self._filter.doubt(drift_um, m.z_se_um)
                alarms = (surprise,)
                if surprise.code == "kick":
                    self._filter.start(*self._innovation.jump())
                    self._law.reset()
                    self._unsettle(LockState.RECOVERY)
        is_good = not alarms or alarms[0].code == "kick"
        lost = self._lost.judge(is_good)
        if lost is not None:
            return self._lose(m, lost, alarms)
        if not is_good:
            self._n_settled = 0
            return self._answer(m, None, LockState.DEGRADED, alarms)
        self._last_good_um = stage.commanded_um
        return self._correct(m, stage, at_um, alarms)

    def _correct(self, m: Measurement, stage: StageState, at_um: float, alarms: tuple[Alarm, ...]) -> Command:
        s = self.settings
        base_um = stage.commanded_um + self._pending_um
        if self._pending_um:
            if math.isfinite(self._limits.centre_um):
                self._limits.centre_um += self._pending_um
            self._setpoints.send(m.frame, self._setpoint_um)
            self._pending_um = 0.0
        error_um = m.z_um - self._setpoints.at_um(m.frame, m.t_s, m.exposure_s)
        if s.recenter_alpha:
            self._setpoint_um += s.recenter_alpha * error_um
            self._setpoints.send(m.frame, self._setpoint_um)
        ahead_um = self._filter.foretell_um(1 + s.latency_frames)
        confidence = self._gates.confidence(m)
        now = LawInput(error_um, base_um, self._setpoint_um, ahead_um, m.t_s, confidence)
        wanted_um = base_um + self._authority(m.t_s) * (self._law.target_um(now) - base_um)
        if abs(wanted_um - base_um) <= self._deadband.width_um(error_um, self._filter.drift_sd_um):
            wanted_um = base_um
        z_um, cuts = self._limits.limited(wanted_um, base_um, stage, m.t_s)
        if cuts:
            self._law.was_limited()
        stuck = self._stuck.judge(bool(cuts))
        if stuck is not None:
            return self._fault(m, stuck)
        off_um = self._error_um(m)
        is_near = abs(off_um) <= s.lock_tolerance_um and not cuts
        self._n_settled = self._n_settled + 1 if is_near else 0
        if self._unsettled is not None and self._n_settled < s.verify_frames:
            state = self._unsettled
        else:
            state = LockState.LOCKED if is_near else LockState.DEGRADED
            self._unsettled = None
            if not is_near and not cuts:
                words = f"{off_um:+.3f} um from the setpoint, expected {s.lock_tolerance_um:g} um"
                alarms = (*alarms, Alarm("off_target", words))
        move = z_um if abs(z_um - stage.commanded_um) > _SAME_PLACE_UM else None
        return self._answer(m, move, state, (*alarms, *cuts))

    def _look_again(self, m: Measurement, at_um: float, alarms: tuple[Alarm, ...]) -> Command:
        state = self._unsettled or LockState.LOCKING
        lost = self._lost.judge(not alarms)
        if lost is not None:
            return self._lose(m, lost, alarms)
        if alarms:
            self._mean.clear()
            return self._answer(m, None, LockState.DEGRADED, alarms)
        self._mean.add(m.z_um - at_um, m.z_se_um)
        if self._mean.is_full:
            self._take_up(self._mean)
        return self._answer(m, None, state)

    def _look(self, m: Measurement, at_um: float, alarms: tuple[Alarm, ...]) -> Command:
        is_found = not alarms and (self._is_found is None or self._is_found(m))
        if is_found:
            self._mean.add(m.z_um - at_um, m.z_se_um)
            if self._mean.is_full:
                self._unsettle(LockState.RECOVERY)
                self._take_up(self._mean)
                return self._answer(m, None, LockState.RECOVERY, (Alarm("found", "the spot is there again"),))
            return self._answer(m, None, LockState.LOST, alarms)
        self._mean.clear()
        if not self._is_searching:
            return self._answer(m, None, LockState.LOST, alarms or (Alarm("lost", "waiting for the spot"),))
        self._is_searching = not self._search.is_over
        looking = Alarm("searching", f"looking for the spot round {self._last_good_um:.2f} um")
        return self._answer(m, self._search.next_um(), LockState.LOST, (looking, *alarms))

    def _wait_for_stage(self, m: Measurement, stage: StageState, alarm: Alarm) -> Command:
        self._phase = _Phase.LAG
        if self._lag.has_stalled:
            return self._fault(m, Alarm("stage_stalled", alarm.reason))
        again = stage.commanded_um if self._lag.is_time_to_nudge else None
        return self._answer(m, again, LockState.RECOVERY, (alarm,))

    def _verify(self, state: LockState) -> None:
        self._phase = _Phase.VERIFY
        self._mean = MeanOfGoodFrames(self.settings.verify_frames)
        self._unsettle(state)

    def _take_up(self, mean: MeanOfGoodFrames) -> None:
        self._filter.start(mean.mean_um, mean.se_um)
        self._phase = _Phase.FOLLOW
        self._law.reset()
        self._innovation.reset()
        self._runaway.reset()
        self._lost.reset()
        self._stuck.reset()

    def _lose(self, m: Measurement, lost: Alarm, alarms: Sequence[Alarm]) -> Command:
        self._phase = _Phase.LOST
        self._mean = MeanOfGoodFrames(self.settings.relock_frames)
        self._is_searching = self.settings.search and any(a.code in SEARCHABLE for a in alarms)
        reach = self.settings.max_abs_excursion_um
        reach = math.inf if reach is None else reach
        low_um = max(self._limits.centre_um - reach, self._range_um[0])
        high_um = min(self._limits.centre_um + reach, self._range_um[1])
        self._search.begin(self._last_good_um, low_um, high_um)
        return self._answer(m, None, LockState.LOST, (lost, *alarms))

    def _fault(self, m: Measurement, alarm: Alarm, back_to_um: float | None = None) -> Command:
        self._phase, self._broken = _Phase.FAULT, alarm
        return self._answer(m, back_to_um, LockState.FAULT, (alarm,))

    def _unsettle(self, state: LockState) -> None:
        self._unsettled, self._n_settled = state, 0

    def _believe(self, m: Measurement, at_um: float) -> None:
        if self._filter.is_started:
            self._filter.update(m.z_um - at_um, m.z_se_um)
        else:
            self._filter.start(m.z_um - at_um, m.z_se_um)

    def _authority(self, t_s: float) -> float:
        ramp_s = self.settings.engage_ramp_s
        return 1.0 if ramp_s == 0 else min(max((t_s - self._engaged_t_s) / ramp_s, 0.0), 1.0)

    def _within_range(self, z_um: float) -> float:
        return min(max(z_um, self._range_um[0]), self._range_um[1])

    def _error_um(self, m: Measurement) -> float:
        if not self._filter.is_started:
            return math.nan
        return self._filter.drift_um + self._under_way.at_um(m.frame, m.t_s, m.exposure_s) - self._setpoint_um

    def _answer(
        self, m: Measurement, z_um: float | None, state: LockState, alarms: Sequence[Alarm] = ()
    ) -> Command:
        self._state = state
        if z_um is not None:
            self._under_way.send(m.frame, z_um)
        flags = tuple(alarm.code for alarm in alarms)
        reason = alarms[0].reason if alarms else ""
        return Command(z_um, state, self._error_um(m), self._gates.confidence(m), flags, reason)
