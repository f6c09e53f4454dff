"""What the command line says of the live window's fields: it wins over what is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from parfocal.errors import BadInputError
from parfocal.focus import Law, LockSettings, chosen_law, read_lock_settings, wanted_measure
from parfocal.gui._live_entries import refuse_unfit
from parfocal.gui._live_settings import LiveSettings


@dataclass(frozen=True)
class Told:
    """What was told.

    Parameters
    ----------
    fields : mapping
        By name in `LiveSettings`.
    others : mapping
        Options of `LockSettings` that have no field: they count until the window is closed.
    """

    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    others: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def remark(self) -> str:
        """The options without a field, for the log of events."""
        return ", ".join(f"{name} {value}" for name, value in self.others.items())


def exposure_ms_of(exposure_ms: float | None, exposure_s: float | None, loop_hz: float | None) -> float | None:
    """Return the exposure that one of three options tells, ms; None where none does."""
    told = {"--exposure-ms": exposure_ms, "--exposure-s": exposure_s, "--loop-hz": loop_hz}
    given = [name for name, value in told.items() if value is not None]
    if len(given) > 1:
        raise BadInputError(f"{' and '.join(given)} set the same exposure: give one of them")
    if exposure_s is not None:
        return 1e3 * exposure_s
    if loop_hz is not None and not loop_hz > 0:
        raise BadInputError(f"--loop-hz is {loop_hz:g}, expected above 0")
    return 1e3 / loop_hz if loop_hz is not None else exposure_ms


def told_of(
    sweep: Mapping[str, Any],
    lock: Mapping[str, Any],
    settings: Path | None = None,
    *,
    law: Law | None = None,
    use_gaussian_fit: bool | None = None,
    fast_mode: bool = False,
) -> Told:
    """Return what the options say; None is what was not given.

    Parameters
    ----------
    sweep : mapping
        Options by name in `LiveSettings`.
    lock : mapping
        Options by name in `LockSettings`.
    settings : Path, optional
        Of `--settings`: under the options.
    law, use_gaussian_fit, fast_mode
        As of `parfocal lock`.

    Raises
    ------
    BadInputError
        Something does not fit, or has no place in the window: in one line.
    """
    options = read_lock_settings(settings, lock)
    chosen = chosen_law(law, lock.get("kp"), lock.get("ki"), options)
    if chosen is not None:
        options["law"] = chosen
    LockSettings(**options)  # says what makes no sense, before anything opens
    shown = {each.name for each in fields(LiveSettings)}
    of_fields = {name: value for name, value in sweep.items() if value is not None}
    of_fields |= {name: value for name, value in options.items() if name in shown}
    measure = wanted_measure(use_gaussian_fit, fast_mode, lock.get("background_percentile"))
    if use_gaussian_fit is not None or fast_mode:
        of_fields["measure"] = measure
        if measure != "moments":
            of_fields["background_percentile"] = None  # a remembered one is of moments
    refuse_unfit(of_fields)
    return Told(of_fields, {name: value for name, value in options.items() if name not in shown})
