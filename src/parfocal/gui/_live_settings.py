"""What the live window remembers: `autofocus_gui_settings.json` in the data folder."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.focus import LockSettings

SETTINGS_FILE = "autofocus_gui_settings.json"
_LOCK = LockSettings()
_OF_LOCK = (
    "law", "kp", "ki", "max_step_um", "command_deadband_um", "max_abs_excursion_um", "n_beads", "track_roi",
    "track_gain", "track_deadband_px", "track_max_step_px", "background_percentile", "min_roi_intensity_fraction",
)  # fmt: skip
_OF_SWEEP = ("half_range_um", "n_steps", "bidirectional", "settle_s", "model", "expected_slope", "go_to_focus")


@dataclass(frozen=True)
class LiveSettings:
    """Everything that can be set in the window.

    Parameters
    ----------
    roi_px : tuple of int
        y, x, height, width of the bead's region; empty: none was drawn yet.
    half_range_um, n_steps, bidirectional, settle_s, model, expected_slope, go_to_focus
        Of `parfocal.plans.calibrate_focus`.
    law, measure, kp, ki, max_step_um, command_deadband_um, max_abs_excursion_um, n_beads
        Of the lock; see `parfocal.focus.LockSettings`, and `chosen_measure` for the measure, `auto` among them.
    background_percentile, min_roi_intensity_fraction
        Of the lock too; None takes the border for background.
    engage_timeout_s : float
        Time to lock.
    exposure_ms : float or None
        Of the bead camera; None leaves the camera's own.
    track_roi, track_gain, track_deadband_px, track_max_step_px
        How the region follows the bead.
    auto_levels, low_adu, high_adu, colormap
        How the image is shown.
    history_s : float
        How far the diagnostics look back.
    """

    roi_px: tuple[int, ...] = ()
    half_range_um: float = 0.75
    n_steps: int = 21
    bidirectional: bool = True
    settle_s: float = 0.05
    model: str = "zhuang"
    expected_slope: str = "auto"
    go_to_focus: bool = True
    law: str = _LOCK.law
    measure: str = "auto"
    kp: float = _LOCK.kp
    ki: float = _LOCK.ki
    max_step_um: float = _LOCK.max_step_um
    command_deadband_um: float = _LOCK.command_deadband_um
    max_abs_excursion_um: float = _LOCK.max_abs_excursion_um or 5.0
    n_beads: int = _LOCK.n_beads
    background_percentile: float | None = _LOCK.background_percentile
    min_roi_intensity_fraction: float = _LOCK.min_roi_intensity_fraction
    engage_timeout_s: float = 30.0
    exposure_ms: float | None = None
    track_roi: bool = _LOCK.track_roi
    track_gain: float = _LOCK.track_gain
    track_deadband_px: float = _LOCK.track_deadband_px
    track_max_step_px: float = _LOCK.track_max_step_px
    auto_levels: bool = True
    low_adu: float = 0.0
    high_adu: float = 1000.0
    colormap: str = "grey"
    history_s: float = 20.0

    def of_lock(self) -> dict[str, Any]:
        """Return what `lock_focus` takes as settings, `law` among them; what is None is left out."""
        told = {name: getattr(self, name) for name in _OF_LOCK}
        return {name: value for name, value in told.items() if value is not None}

    def of_sweep(self) -> dict[str, Any]:
        """Return what `calibrate_focus` takes."""
        return {name: getattr(self, name) for name in _OF_SWEEP}


def save_settings(folder: Path, settings: LiveSettings) -> None:
    """Write the settings, whole or not at all."""
    with write_atomically(folder / SETTINGS_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8")


def load_settings(folder: Path) -> LiveSettings:
    """Read the settings; the defaults where there is no file.

    Raises
    ------
    BadInputError
        The file cannot be read, or a value is of the wrong kind; the message names it.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return LiveSettings()
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: cannot be read ({error}); the defaults are used") from error
    if not isinstance(told, dict):
        raise BadInputError(f"{path}: holds no settings; the defaults are used")
    defaults = LiveSettings()
    known: dict[str, Any] = {}
    for field in fields(LiveSettings):
        if field.name in told:  # what another version wrote is left alone
            known[field.name] = _checked(path, field.name, told[field.name], getattr(defaults, field.name))
    return replace(defaults, **known)


def _checked(path: Path, name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        is_roi = isinstance(value, list) and len(value) in (0, 4) and all(type(v) is int for v in value)
        if is_roi:
            return tuple(value)
    elif default is None and value is None:
        return None
    elif default is None or isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif type(value) is type(default):
        return value
    expected = "a number or null" if default is None else f"one like {default!r}"
    raise BadInputError(f"{path}: {name} is {value!r}, expected {expected}; the defaults are used")
