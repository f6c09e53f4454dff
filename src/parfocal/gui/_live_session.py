"""What stands between the live window and the RunEngine: plans by name, one at a time, in a thread of their own.

::

    window --calibrate(), start_lock(), move_z()--> queue --> engine thread: RE(plan)
           --cancel(), stop_lock()----------------> RE.abort / lock.release, from any thread
           <--Began, Progressed, Fitted, Ended------ documents, derived documents, what RE raises

It computes nothing: the plans are those of `parfocal.plans`, and what a sweep came to is read from the derived
run of `FocusCalibration`. No Qt here.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator, RunEngineInterrupted

from parfocal.callbacks import FocusCalibration
from parfocal.devices import Microscope
from parfocal.errors import BadInputError, CatalogError, ParfocalError
from parfocal.fitting import CalibrationKind, ExpectedSlope, calibration_from_json, calibration_hash
from parfocal.focus import Law, MeasureChoice, chosen_measure, read_calibration, save_sweep
from parfocal.gui._happenings import Began, Ended, Fitted, Happening, Noted, Progressed, in_one_line
from parfocal.plans import calibrate_focus, lock_focus
from parfocal.report import read_lock_run, write_lock_report
from parfocal.session import Session

RoiPx = tuple[int, int, int, int]
Hear = Callable[[Happening], None]
_LONGEST_LOCK_S = 30 * 86400.0
_FIT_TIMEOUT_S = 60.0
_REPORT_S = 20.0  # until the catalog holds a run that has ended
_RELEASE_S = 3.0  # a lock's run looks twice a second whether it is over
KICK_UM = 0.3


class LiveSession:
    """Runs plans for a window.

    Parameters
    ----------
    session : Session
        Of `start_session(..., in_thread=True)`.
    microscope : Microscope
        With a bead camera and a lock.
    hear : callable
        Told what happens, in whatever thread it happens.

    Attributes
    ----------
    doing : str
        What runs now; empty for nothing.
    home_um : float
        Where z stood at the beginning.
    review : Fitted or None
        A calibration that waits to be accepted or rejected.
    """

    def __init__(self, session: Session, microscope: Microscope, hear: Hear) -> None:
        self.session = session
        self.microscope = microscope
        self.doing = ""
        self.home_um = float(microscope.xyz.z.position)
        self.review: Fitted | None = None
        self._hear = hear
        self._cancelled = False
        self._jobs: queue.SimpleQueue[tuple[str, MsgGenerator[Any]] | None] = queue.SimpleQueue()
        already = (each for each in session.analyses if isinstance(each, FocusCalibration))
        self._analysis = next(already, None) or session.add(FocusCalibration(emit=session.writer))
        self._analysis.subscribe(self._take_derived)
        self._token = session.RE.subscribe(self._take_document)
        self._streams: dict[str, str] = {}
        self._raw_of: dict[str, str] = {}
        self._steps = (0, 0)
        self._fitted: Fitted | None = None
        self._lock_uid = ""
        self._thread = threading.Thread(target=self._work, name="live-engine", daemon=True)
        self._thread.start()

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.session.catalog.folder.root

    @property
    def is_simulated(self) -> bool:
        """Whether the stage is that of the simulated world, which may be kicked."""
        return hasattr(self.microscope.backend.stage, "bump")

    # -- what the window asks for -------------------------------------------------------------------

    def calibrate(self, roi_px: RoiPx, options: Mapping[str, Any]) -> None:
        """Sweep and fit a bead; `options` are those of `calibrate_focus`. Nothing is armed before `accept`."""
        self._need_free("calibrate")
        self.review = self._fitted = None
        self._run("calibrate", calibrate_focus(cast(Any, self.microscope), roi_px, arm=False, **options))

    def start_lock(
        self, roi_px: RoiPx, options: Mapping[str, Any], measure: MeasureChoice = "auto", timeout_s: float = 30.0
    ) -> None:
        """Engage within a time and hold focus until `stop_lock`; `options` are those of `LockSettings`."""
        self._need_free("start autofocus")
        armed = self.microscope.lock.armed
        if armed is None:
            raise BadInputError(
                "autofocus needs a calibration: draw the ROI round one bright bead, press Calibrate, then Accept"
            )
        told = dict(options)
        law = cast(Law, told.pop("law", "kalman"))
        chosen = chosen_measure(measure, law, armed.calibration)
        if told.get("background_percentile") is not None and chosen != "moments":
            raise BadInputError(
                f"the background's percentile is of the measure moments, and {chosen} finds the background "
                "itself: choose moments, or leave the background to the border"
            )
        plan = lock_focus(
            cast(Any, self.microscope),
            _LONGEST_LOCK_S,
            roi_px=roi_px,
            law=law,
            measure=chosen,
            settings=told,
            timeout_s=timeout_s,
            md={"exposure_s": float(self.microscope.focus_camera.facts.settings.exposure_s)},
        )
        self._lock_uid = ""
        self._run("autofocus", plan)

    def stop_lock(self) -> None:
        """End the lock's run: z stays where it is, and is free."""
        if self.doing != "autofocus":
            return
        self._cancelled = True
        if self.microscope.lock.is_engaged:
            self.microscope.lock.release()
        else:
            self.cancel()

    def cancel(self) -> None:
        """Abort what runs: the plan puts z back, and the lock is released."""
        if not self.doing:
            return
        self._cancelled = True
        threading.Thread(target=self._abort, name="live-abort", daemon=True).start()

    def move_z(self, z_um: float) -> None:
        """Send z somewhere."""
        self._need_free("move z")
        self.microscope.xyz.z.check_value(z_um)
        self._run("move", bps.mv(self.microscope.xyz.z, z_um))

    def set_exposure(self, exposure_s: float) -> None:
        """Set the bead camera's exposure."""
        self._need_free("set the exposure")
        self._run("exposure", bps.mv(self.microscope.focus_camera.exposure_s, exposure_s))

    def kick(self, by_um: float = KICK_UM) -> None:
        """Knock against the simulated stage: the focus jumps, and no encoder tells the lock."""
        bump = getattr(self.microscope.backend.stage, "bump", None)
        if bump is None:
            raise BadInputError("a kick is for the simulated stage: a real one is kicked by hand")
        bump(by_um)
        self._hear(Noted(f"kicked the stage by {by_um:+g} um"))

    def accept(self, roi_px: RoiPx) -> None:
        """Arm the lock with the calibration under review."""
        if self.review is None:
            raise BadInputError("there is no calibration to accept: calibrate first")
        self._need_free("accept a calibration")
        self.microscope.lock.prepare(self.review.sha256[:12], roi_px)
        self._hear(Noted(f"calibration {self.review.sha256[:12]} accepted: the lock is armed"))
        self.review = None

    def reject(self) -> None:
        """Put the calibration under review aside; the lock stays as it was."""
        if self.review is None:
            return
        self.microscope.lock.calibrations.reject(self.review.sha256[:12])
        self._hear(Noted(f"calibration {self.review.sha256[:12]} rejected and put aside"))
        self.review = None

    def load(
        self,
        path: Path,
        roi_px: RoiPx | None = None,
        model: CalibrationKind = "zhuang",
        expected_slope: ExpectedSlope = "auto",
    ) -> None:
        """Arm the lock with a file: JSON of ours, or a `calibration_sweep.csv`, to which model and slope apply.

        Raises
        ------
        BadInputError
            It cannot be read, or is not of this light path.
        """
        if not path.is_file():
            raise BadInputError(f"{path}: calibration not found; name another, or calibrate here")
        pixel_um = float(self.microscope.focus_camera.facts.pixel_size_um[0])
        calibration = read_calibration(path, kind=model, expected_slope=expected_slope, pixel_size_um=pixel_um)
        self.microscope.lock.arm(calibration, roi_px)
        self._hear(Noted(f"calibration {calibration_hash(calibration)[:12]} read from {path.name}"))

    def load_kept(self, which: str, roi_px: RoiPx | None = None) -> None:
        """Arm the lock with a calibration of the data folder: newest, a file's name, or how its hash begins."""
        self.microscope.lock.prepare(which, roi_px)
        armed = self.microscope.lock.armed
        self._hear(Noted(f"calibration {armed.sha256[:12] if armed is not None else which}: the lock is armed"))

    def close(self, timeout_s: float = 20.0) -> None:
        """Abort what runs, release the lock, and end the thread; session and microscope stay open."""
        self.stop_lock()
        if self.doing != "autofocus":
            self.cancel()
        self._jobs.put(None)
        self._thread.join(_RELEASE_S)
        if self._thread.is_alive():
            self.cancel()
            self._thread.join(timeout_s)
        self.microscope.make_safe()
        if self.session.RE.state == "idle":
            self.session.RE.unsubscribe(self._token)

    # -- the engine's thread ------------------------------------------------------------------------

    def _need_free(self, what: str) -> None:
        if self.doing:
            raise BadInputError(f"cannot {what} while {self.doing} runs: stop that first")

    def _run(self, what: str, plan: MsgGenerator[Any]) -> None:
        self.doing, self._cancelled = what, False
        self._jobs.put((what, plan))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            what, plan = job
            self._hear(Began(what))
            error, is_cancelled = self._call(plan)
            if what == "calibrate" and not is_cancelled:
                self._show_fit()
            self.doing = ""
            self._hear(Ended(what, error, is_cancelled))
            if what == "autofocus" and self._lock_uid:
                self._write_report(self._lock_uid)

    def _call(self, plan: MsgGenerator[Any]) -> tuple[str, bool]:
        engine = self.session.RE
        if self._cancelled:  # before it began
            plan.close()
            return "", True
        try:
            engine(plan)
        except RunEngineInterrupted:
            return "", True
        except Exception as error:  # whatever a driver raises, the window says it in a line
            if self._cancelled:
                return "", True
            return in_one_line(error), False
        return "", self._cancelled

    def _abort(self) -> None:
        engine, waited = self.session.RE, threading.Event()
        for _ in range(200):  # the plan may be on its way into the engine
            if not self.doing:
                return
            if engine.state == "running":
                with suppress(Exception):  # it ended by itself meanwhile
                    engine.abort("cancelled in the live window")
                return
            waited.wait(0.01)

    def _show_fit(self) -> None:
        """Hand over what the derived run says, and write the sweep where it is looked for."""
        if not self._analysis.drain(_FIT_TIMEOUT_S):
            self._hear(Noted(f"the sweep was not fitted within {_FIT_TIMEOUT_S:g} s"))
            return
        fitted = self._fitted
        if fitted is None:
            return
        self.review = fitted
        try:
            path = self.folder / "calibration_sweep.csv"
            save_sweep(path, fitted.calibration, created_at_unix_s=time.time())
            self._hear(Noted(f"wrote {path.name} and {path.stem}.meta.json"))
        except (OSError, ParfocalError) as error:
            self._hear(Noted(f"calibration_sweep.csv was not written: {in_one_line(error)}"))
        self._hear(fitted)

    def _write_report(self, uid: str) -> None:
        """Write what a lock came to, also one that failed, as `parfocal lock` does; the latest stays."""
        try:
            if not self.session.drain(_REPORT_S):
                raise CatalogError(f"the catalog does not hold the run yet; `parfocal report {uid[:8]}` writes it")
            told, shown = write_lock_report(read_lock_run(self.session.catalog, uid), self.folder)
            self._hear(Noted(f"wrote {told.name} and {shown.name}"))
        except Exception as error:  # the lock is over and its run is kept: the window goes on, whatever it was
            self._hear(Noted(f"the lock's report was not written: {in_one_line(error)}"))

    # -- documents ----------------------------------------------------------------------------------

    def _take_document(self, name: str, doc: Mapping[str, Any]) -> None:
        """Count the steps of a sweep, and note which run is the lock's, in the engine's thread."""
        if name == "start":
            if doc.get("plan_name") == "lock_focus":
                self._lock_uid = str(doc["uid"])
            args = doc.get("plan_args", {})
            ways = 2 if args.get("is_bidirectional") else 1
            self._steps = (0, int(args.get("n_steps", 0)) * ways)
        elif name == "descriptor":
            self._streams[doc["uid"]] = doc["name"]
        elif name == "event" and self._streams.get(doc["descriptor"]) in ("sweep", "failures"):
            self._steps = (self._steps[0] + 1, self._steps[1])
            z_um = float(doc["data"].get(self.microscope.xyz.z.name, float("nan")))
            self._hear(Progressed(*self._steps, z_um))

    def _take_derived(self, name: str, doc: Mapping[str, Any]) -> None:
        """Keep the calibration of a derived run, in the analysis' thread."""
        if name == "start":
            self._raw_of[doc["uid"]] = str(doc["parfocal"]["raw"]["uid"])
        elif name == "descriptor":
            self._streams[doc["uid"]] = doc["name"]
            self._raw_of[doc["uid"]] = self._raw_of.get(doc["run_start"], "")
        elif name == "event" and self._streams.get(doc["descriptor"]) == "calibration":
            data = doc["data"]
            calibration = calibration_from_json(data["json"])
            self._fitted = Fitted(calibration, str(data["sha256"]), self._raw_of.get(doc["descriptor"], ""))
