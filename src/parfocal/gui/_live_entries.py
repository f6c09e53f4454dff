"""The fields of the live window, one table a box: what each is called, and what it may be. No Qt here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class Entry:
    """One setting: its name in `LiveSettings`, its label, and what it may be; `none` is shown for None."""

    name: str
    label: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.1
    unit: str = ""
    decimals: int = 3
    choices: tuple[str, ...] = ()
    tip: str = ""
    none: str = ""


SWEEP = (
    Entry("half_range_um", "reach", 0.05, 50, 0.05, "µm", 2, tip="to either side of where z is"),
    Entry("n_steps", "steps", 5, 500, 2, tip="one way"),
    Entry("bidirectional", "up and down", tip="so that hysteresis shows"),
    Entry("settle_s", "settle", 0, 10, 0.01, "s", 3),
    Entry("model", "model", choices=("zhuang", "linear", "poly2", "piecewise")),
    Entry("expected_slope", "slope", choices=("auto", "positive", "negative")),
    Entry("go_to_focus", "end at focus", tip="leave z at the focus that was found"),
)
LOCK = (
    Entry("law", "law", choices=("kalman", "pi")),
    Entry(
        "measure",
        "measure",
        choices=("auto", "direct", "widths", "moments"),
        tip="auto: widths with the law pi or a calibration from a CSV, else direct",
    ),
    Entry(
        "background_percentile", "background", 0, 100, 5, "%", 1, tip="percentile; of moments", none="the border's"
    ),
    Entry(
        "min_roi_intensity_fraction", "least light", 0, 1, 0.05, "", 2, tip="of the spot, over its running mean"
    ),
    Entry("kp", "kp", 0, 5, 0.05, "", 2, tip="of the law pi"),
    Entry("ki", "ki", 0, 5, 0.05, "1/s", 2, tip="of the law pi"),
    Entry("max_step_um", "longest step", 0.001, 10, 0.05, "µm", 3),
    Entry("command_deadband_um", "deadband", 0, 1, 0.005, "µm", 3),
    Entry("max_abs_excursion_um", "excursion", 0.1, 500, 0.5, "µm", 2, tip="farthest from where it engaged"),
    Entry("engage_timeout_s", "time to lock", 0.1, 600, 5, "s", 1),
    Entry("n_beads", "beads", 1, 50, 1, tip="followed at most; one that is lost does not lose the lock"),
    Entry("track_roi", "ROI follows in x, y", tip="the drawn region alone; no stage is moved"),
    Entry("track_gain", "track gain", 0, 1, 0.05, "", 2),
    Entry("track_deadband_px", "track deadband", 0, 20, 0.5, "px", 1),
    Entry("track_max_step_px", "track step", 0.5, 50, 1, "px", 1),
)
SHOWN = (Entry("history_s", "look back", 1, 120, 5, "s", 0, tip="how far the diagnostics do"),)
EXPOSURE = Entry("exposure_ms", "exposure", 0.01, 60000, 1, "ms", 2)
_ALL = {entry.name: entry for entry in (*SWEEP, *LOCK, *SHOWN, EXPOSURE)}


def refuse_unfit(told: Mapping[str, Any]) -> None:
    """Refuse, in one line, a value that its field cannot show: it would be another one there.

    Parameters
    ----------
    told : mapping
        Values by their names in `LiveSettings`.
    """
    for name, value in told.items():
        entry = _ALL[name]
        if value is None:
            if not entry.none:
                raise BadInputError(f"{name} is none, expected a number: the window always has one")
        elif entry.choices:
            if value not in entry.choices:
                raise BadInputError(f"{name} is {value!r}, expected one of {', '.join(entry.choices)}")
        elif not isinstance(value, bool) and not entry.low <= value <= entry.high:
            unit = f" {entry.unit}" if entry.unit else ""
            raise BadInputError(
                f"{name} is {value:g}{unit}, expected {entry.low:g} to {entry.high:g}{unit} in the window"
            )
