"""A stored lock, read back: the samples of stream `lock` and what the documents say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.catalog import Catalog
from parfocal.errors import BadInputError
from parfocal.focus import LockSamples, LockSettings, LockSummary, summarize_lock

_STREAM = "lock"
_LAST = "_command_um"
_LATER = ("n_beads",)  # not in runs of the first locks


@dataclass(frozen=True, eq=False)
class LockRun:
    """One run with a stream `lock`.

    Attributes
    ----------
    start, stop : mapping
        Its documents; `stop` is empty while it runs.
    columns : mapping of str to ndarray
        Each of shape (n,), by the names of `parfocal.devices.LockRing`: `t_s`, `error_um`, `state`, ...
    """

    start: Mapping[str, Any]
    stop: Mapping[str, Any]
    columns: Mapping[str, NDArray[Any]]

    @property
    def uid(self) -> str:
        """Uid of the run."""
        return str(self.start["uid"])

    @property
    def lock(self) -> Mapping[str, Any]:
        """What the start document says of the lock: calibration, its run, law, region."""
        return self.start.get("parfocal", {}).get("lock", {})

    @property
    def settings(self) -> LockSettings:
        """Every option: those that the run was told, the defaults for the rest."""
        arguments = self.start.get("plan_args", {})
        known = {f.name for f in fields(LockSettings)}
        told = {k: v for k, v in (arguments.get("settings") or {}).items() if k in known}
        law = self.lock.get("law") or arguments.get("law")
        return LockSettings(**(told | ({"law": law} if law else {})))

    @property
    def samples(self) -> LockSamples:
        """The samples as the summary takes them."""
        c = self.columns
        return LockSamples(
            frame=c["frame"].astype(np.int64),
            **{name: c[name].astype(np.float64) for name in ("t_s", "error_um", "z_um", "z_se_um", "command_um")},
            photons=c["photons"].astype(np.float64),
            confidence=c["confidence"].astype(np.float64),
            state=c["state"].astype(np.str_),
            latency_s=c["answer_s"].astype(np.float64),
            setpoint_um=c["setpoint_um"].astype(np.float64),
            exposure_s=float(self.lock.get("exposure_s") or math.nan),
            command_to_motion_s=float(self.lock.get("command_to_motion_s") or 0.0),
            is_held=np.array(["held" in str(flags).split() for flags in c["flags"]], np.bool_),
        )

    @property
    def summary(self) -> LockSummary:
        """The numbers of the report."""
        return summarize_lock(self.samples, self.settings.latency_frames)

    def simulated(self) -> list[str]:
        """Return what was simulated, in words; empty where everything was hardware, as far as it is told."""
        told = self.start.get("simulated")
        if isinstance(told, Mapping):
            return [str(name) for name, is_simulated in told.items() if is_simulated]
        return ["microscope"] if "simulate" in str(self.start.get("instrument", "")) else []


def read_lock_run(catalog: Catalog, which: str) -> LockRun:
    """Read a run with a stream `lock` from the catalog.

    Parameters
    ----------
    catalog : Catalog
        Where it is.
    which : str
        Uid, its beginning, scan id or `newest`.

    Raises
    ------
    BadInputError
        The run has no stream `lock`.
    """
    run: Any = catalog.run(which)
    start, stop = run.metadata["start"], run.metadata.get("stop") or {}
    if _STREAM not in run and not start.get("parfocal", {}).get("lock"):
        raise BadInputError(f"run {start['uid'][:8]} ({start.get('plan_name', '?')}) has no stream lock to report")
    return LockRun(start, stop, _columns(run))


def _columns(run: Any) -> dict[str, NDArray[Any]]:
    names = ("t_s", "frame", "error_um", "z_um", "z_se_um", "setpoint_um", "command_um", "stage_um", "photons",
             "background", "sigma_x_px", "sigma_y_px", "x_px", "y_px", "confidence", "arrival_s", "fit_s",
             "answer_s", "state", "flags")  # fmt: skip
    table = run[_STREAM].read() if _STREAM in run else {}
    keys = [str(key) for key in table]
    if not any(key.endswith(_LAST) for key in keys):  # it failed before the first sample
        words = ("state", "flags")
        return {name: np.zeros(0, dtype=np.str_ if name in words else np.float64) for name in names}
    prefix = next((key.removesuffix(_LAST) for key in keys if key.endswith(_LAST)), None)
    missing = [name for name in names if f"{prefix}_{name}" not in keys]
    if missing:
        raise BadInputError(f"stream lock has no column {', '.join(missing)}: was it written by a focus lock?")
    since_then = [name for name in _LATER if f"{prefix}_{name}" in keys]
    return {name: np.asarray(table[f"{prefix}_{name}"]) for name in (*names, *since_then)}
