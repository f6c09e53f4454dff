"""What was asked for: figures with three levels, what to look at where one is missed, verdicts in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["excellent", "good", "target", "missed", "not measured"]
Group = Literal["localization", "calcium", "combined", "physics"]


@dataclass(frozen=True)
class Gate:
    """One figure and its levels.

    Parameters
    ----------
    figure : str
        Its name among the figures.
    name : str
        In words.
    unit : str
        "nm", "%", "frames/s" or none. A figure in % is a share of 1 among the figures.
    target, good, excellent : float
        In `unit`; reached where the figure is better than, or equal to it.
    higher_is_better : bool
    group : str
    advice : str
        What to look at where the target is missed.
    """

    figure: str
    name: str
    unit: str
    target: float
    good: float
    excellent: float
    higher_is_better: bool
    group: Group
    advice: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of a gate.

    Parameters
    ----------
    gate : Gate
    value : float or None
        In the gate's unit; None where it was not measured.
    level : str
        The best level that was reached; `missed` below the target.
    """

    gate: Gate
    value: float | None
    level: Level

    @property
    def is_met(self) -> bool | None:
        """Whether the target was reached; None where it was not measured."""
        return None if self.value is None else self.level != "missed"

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        gate = self.gate
        if self.value is None:
            return f"{gate.name}: not measured"
        value = f"{gate.name} {_number(self.value)}{_unit(gate.unit)}"
        if self.level == "missed":
            asked = (
                f"{'at least' if gate.higher_is_better else 'at most'} {_number(gate.target)}{_unit(gate.unit)}"
            )
            return f"{value}: not met, {asked} is asked" + (f"; {gate.advice}" if gate.advice else "")
        reached = {"target": gate.target, "good": gate.good, "excellent": gate.excellent}[self.level]
        side = "at least" if gate.higher_is_better else "at most"
        return f"{value}: met, {self.level} ({side} {_number(reached)}{_unit(gate.unit)})"


def _gate(
    figure: str, name: str, unit: str, levels: tuple[float, float, float], group: Group, advice: str = ""
) -> Gate:
    return Gate(figure, name, unit, *levels, levels[2] > levels[0], group, advice)


GATES: tuple[Gate, ...] = (
    _gate(
        "rmse_nm",
        "position error (RMSE)",
        "nm",
        (50, 30, 20),
        "localization",
        "compare the spots' width with the model's; above 100 nm look for an offset (--remove-wobble)",
    ),
    _gate("precision", "precision", "%", (85, 90, 95), "localization", "raise the detection threshold"),
    _gate("recall", "recall", "%", (85, 90, 95), "localization", "lower the detection threshold"),
    _gate(
        "frames_per_s", "speed", "frames/s", (20, 50, 100), "localization", "use the classical detector, or a GPU"
    ),
    _gate(
        "calcium_f1",
        "calcium events (F1)",
        "%",
        (80, 85, 90),
        "calcium",
        "see whether false or missing events prevail (precision, recall)",
    ),
    _gate(
        "sensitivity",
        "calcium sensitivity",
        "%",
        (85, 90, 95),
        "calcium",
        "where all is background: class balance, focal loss",
    ),
    _gate(
        "specificity",
        "calcium specificity",
        "%",
        (80, 85, 90),
        "calcium",
        "waves and bleed-through call for rejection",
    ),
    _gate(
        "association",
        "calcium at its own punctum",
        "%",
        (70, 80, 90),
        "combined",
        "see whether both channels are aligned in time and space",
    ),
    _gate(
        "completeness",
        "track completeness",
        "%",
        (60, 75, 85),
        "combined",
        "allow more missing frames, or longer steps",
    ),
    _gate(
        "colocalization_nm",
        "calcium to punctum distance",
        "nm",
        (200, 100, 50),
        "combined",
        "see whether both channels are registered",
    ),
)
"""The tables that puncta and calcium are judged by: target, good, excellent."""

PHYSICS_GATES: tuple[Gate, ...] = (
    _gate(
        "rmse_over_bound",
        "position error over Cramér-Rao's bound",
        "",
        (1.3, 1.2, 1.15),
        "physics",
        "isolated puncta should come near the bound: compare widths, gain and read noise with the camera's",
    ),
    _gate(
        "within_one_sigma_off",
        "share of errors within one stated sigma, off 68.3 % by",
        "%",
        (5, 3, 2),
        "physics",
        "stated errors are not true ones: multiply them by the scale that is told",
    ),
    _gate(
        "efficiency",
        "efficiency",
        "",
        (50, 75, 85),
        "physics",
        "crowded scenes need the network, or fits of several emitters",
    ),
    _gate(
        "false_per_1000_px",
        "false positives per 1000 px of an empty movie",
        "",
        (0.1, 0.05, 0.01),
        "physics",
        "raise the detection threshold",
    ),
)
"""What the tables do not ask for, and physics does."""

TRAINING_GATES: tuple[Gate, ...] = (
    _gate("recall", "recall", "%", (90, 92, 95), "localization", "lower the detection threshold, or train longer"),
    _gate(
        "rmse_nm",
        "position error (RMSE)",
        "nm",
        (50, 30, 20),
        "localization",
        "train longer; above 100 nm debug first: are the spots' width and shape the microscope's (PSF model), "
        "did the training converge",
    ),
    _gate(
        "false_share",
        "false positives",
        "%",
        (10, 8, 5),
        "localization",
        "raise the detection threshold, or train longer",
    ),
    _gate("precision", "precision", "%", (80, 90, 95), "localization", "check the detection threshold first"),
)
"""What a localization network should reach before calcium is added to it.

False positives are 1 less precision: they are what is expected of a training that is done, and the target of
precision is where the threshold is to blame rather than the training.
"""

HYBRID_GATES: tuple[Gate, ...] = (
    _gate(
        "rmse_nm",
        "position error (RMSE)",
        "nm",
        (50, 30, 20),
        "localization",
        "if the network for puncta alone was better, this task was degraded: adjust the weights of the losses",
    ),
    _gate("calcium_f1", "calcium events (F1)", "%", (85, 88, 90), "calcium", "adjust the weights of the losses"),
    _gate(
        "network_calcium_f1",
        "calcium by the network (F1 of punctum-frames)",
        "%",
        (85, 88, 90),
        "calcium",
        "adjust the weights of the losses",
    ),
    _gate(
        "association", "calcium at its own punctum", "%", (80, 85, 90), "combined", "check the alignment in time"
    ),
    _gate(
        "frames_per_s",
        "speed",
        "frames/s",
        (50, 75, 100),
        "localization",
        "use a GPU, or the network without fits (--detector network)",
    ),
)
"""What a network for both tasks should reach before it is used on real recordings."""

GATE_TABLES: dict[str, tuple[Gate, ...]] = {
    "general": GATES + PHYSICS_GATES,
    "training": TRAINING_GATES,
    "hybrid": HYBRID_GATES,
}
"""The tables by the names that a command knows."""


def verdicts(figures: Mapping[str, float | None], gates: Sequence[Gate] = GATES) -> list[Verdict]:
    """Lay figures beside gates, in the gates' order.

    Parameters
    ----------
    figures : mapping of str to float or None
        Shares of 1 where a gate is in %. What is missing, None or NaN was not measured. Of `within_one_sigma` the
        distance from 0.683, of `precision` the share that is false, follow by themselves.
    gates : sequence of Gate
    """
    told = dict(figures)
    within, precision = told.get("within_one_sigma"), told.get("precision")
    if within is not None:
        told.setdefault("within_one_sigma_off", abs(within - math.erf(math.sqrt(0.5))))
    if precision is not None:
        told.setdefault("false_share", 1 - precision)
    return [_verdict(gate, told.get(gate.figure)) for gate in gates]


def _verdict(gate: Gate, figure: float | None) -> Verdict:
    if figure is None or math.isnan(figure):
        return Verdict(gate, None, "not measured")
    # a share of 0.85 must reach 85 %, whatever the last bit says
    value = round(100 * figure, 9) if gate.unit == "%" else float(figure)
    levels: tuple[tuple[Level, float], ...] = (
        ("excellent", gate.excellent),
        ("good", gate.good),
        ("target", gate.target),
    )
    for level, limit in levels:
        if (value >= limit) if gate.higher_is_better else (value <= limit):
            return Verdict(gate, value, level)
    return Verdict(gate, value, "missed")


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
