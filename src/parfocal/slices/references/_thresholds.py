"""Calibrated thresholds as a file that carries the hash of its own content."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.sealed_json import SealedJson, content_hash, plain
from parfocal.slices._verdict import Verdict
from parfocal.slices.references._rank import MetricRank

_FILE = SealedJson("parfocal-reference-thresholds", 1, "thresholds", "holds no thresholds", "saved thresholds")


@dataclass(frozen=True)
class Threshold:
    """One metric's cut between bad and great.

    Attributes
    ----------
    metric : str
        Its name.
    value : float
        Where it cuts.
    interval : tuple of float
        Bootstrap interval of it.
    higher_is_better : bool
        Which side is good; the cut itself is.
    auc : float
        How well it tells bad from great.
    auc_interval : tuple of float
        How sure that is.
    loo_correct, loo_n : int
        Of bad and great references judged by a threshold found without them.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    higher_is_better: bool
    auc: float
    auc_interval: tuple[float, float]
    loo_correct: int
    loo_n: int

    @classmethod
    def of(cls, rank: MetricRank) -> Threshold:
        """Return the threshold of a ranked metric."""
        return cls(
            rank.name,
            rank.threshold,
            rank.threshold_interval,
            rank.higher_is_better,
            rank.auc,
            rank.auc_interval,
            rank.loo_correct,
            rank.loo_n,
        )

    def judge(self, value: float) -> Verdict:
        """Return whether a value is on the good side."""
        if not math.isfinite(value):
            return Verdict(False, f"{self.metric} is not a number", value)
        good = value >= self.value if self.higher_is_better else value <= self.value
        sign = "<" if self.higher_is_better else ">"
        return Verdict(good, "" if good else f"{self.metric} {value:.4g} {sign} {self.value:.4g}", value)


@dataclass(frozen=True)
class CalibratedRule:
    """A selection rule's parameters that told bad from great best, and how well they did."""

    rule: str
    parameters: Mapping[str, Any]
    auc: float
    auc_interval: tuple[float, float]


@dataclass(frozen=True)
class ReferenceThresholds:
    """What a calibration against references leaves behind.

    Attributes
    ----------
    thresholds : tuple of Threshold
        Of every ranked metric, best first.
    rules : tuple of CalibratedRule
        Of every selection rule that did better than chance, best first.
    winner : str
        The metric that is better than all others beyond doubt; empty where none is.
    chosen : str
        The metric that a person chose, else the winner; empty where neither is.
    why : str
        Why there is, or is no, winner.
    references : mapping of name to (category, SHA-256 of its pixels)
        What it was found on.
    settings : mapping
        confidence, n_bootstrap, seed.
    """

    thresholds: tuple[Threshold, ...]
    rules: tuple[CalibratedRule, ...] = ()
    winner: str = ""
    chosen: str = ""
    why: str = ""
    references: Mapping[str, tuple[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, metric: str = "") -> Threshold:
        """Return one threshold: of `metric`, else of the chosen metric.

        Raises
        ------
        BadInputError
            There is none of that name, or none was chosen and none named.
        """
        wanted = metric or self.chosen
        if not wanted:
            raise BadInputError(f"thresholds: no metric was chosen ({self.why}); name one of {self._names()}")
        for threshold in self.thresholds:
            if threshold.metric == wanted:
                return threshold
        raise BadInputError(f"thresholds: no metric {wanted!r}; expected one of {self._names()}")

    def choose(self, metric: str) -> ReferenceThresholds:
        """Return the same with a person's choice of the metric to go by."""
        return replace(self, chosen=self.of(metric).metric)

    def judge(self, metrics: Mapping[str, float], metric: str = "") -> Verdict:
        """Return whether a stack is good enough, by its metrics as `score_labelled` gives them."""
        threshold = self.of(metric)
        if threshold.metric not in metrics:
            raise BadInputError(f"thresholds: {threshold.metric} was not measured; given: {', '.join(metrics)}")
        return threshold.judge(float(metrics[threshold.metric]))

    def parameters_for(self, rule: str) -> dict[str, Any]:
        """Return the calibrated parameters of a selection rule; empty where it has none."""
        return next((dict(one.parameters) for one in self.rules if one.rule == rule), {})

    def _names(self) -> str:
        return ", ".join(threshold.metric for threshold in self.thresholds)


def thresholds_to_json(thresholds: ReferenceThresholds) -> str:
    """Return thresholds as JSON: format, version, sha256 of the content's canonical form, content."""
    return _FILE.to_text(_content(thresholds))


def thresholds_hash(thresholds: ReferenceThresholds) -> str:
    """Return the SHA-256 of thresholds' content, by which selections cite them."""
    return content_hash(_content(thresholds))


def thresholds_from_json(text: str, name: str = "thresholds") -> ReferenceThresholds:
    """Read thresholds; `name` is what errors call them.

    Raises
    ------
    BadInputError
        Not JSON, another format or version, or the content was changed after it was written.
    """
    content = _FILE.content_of(text, name)
    try:
        return ReferenceThresholds(
            thresholds=tuple(_threshold(one) for one in content["thresholds"]),
            rules=tuple(
                CalibratedRule(one["rule"], one["parameters"], _number(one["auc"]), _pair(one["auc_interval"]))
                for one in content["rules"]
            ),
            winner=str(content["winner"]),
            chosen=str(content["chosen"]),
            why=str(content["why"]),
            references={key: (str(told[0]), str(told[1])) for key, told in content["references"].items()},
            settings=dict(content["settings"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadInputError(f"{name}: lacks what thresholds need ({error}); calibrate again") from None


def save_thresholds(path: str | os.PathLike[str], thresholds: ReferenceThresholds) -> Path:
    """Write thresholds to a JSON file, whole or not at all; return its path."""
    target = Path(path)
    with write_atomically(target) as temporary:
        temporary.write_text(thresholds_to_json(thresholds), encoding="utf-8")
    return target


def load_thresholds(path: str | os.PathLike[str]) -> ReferenceThresholds:
    """Read a file of `save_thresholds`.

    Raises
    ------
    BadInputError
        It is not there, is something else, or was changed after it was written.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}; expected saved thresholds") from error
    except UnicodeDecodeError:
        raise BadInputError(f"{path}: is no text; expected saved thresholds") from None
    return thresholds_from_json(text, str(path))


def _content(thresholds: ReferenceThresholds) -> dict[str, Any]:
    return plain(
        {
            "thresholds": [asdict(one) for one in thresholds.thresholds],
            "rules": [
                {
                    "rule": one.rule,
                    "parameters": dict(one.parameters),
                    "auc": one.auc,
                    "auc_interval": one.auc_interval,
                }
                for one in thresholds.rules
            ],
            "winner": thresholds.winner,
            "chosen": thresholds.chosen,
            "why": thresholds.why,
            "references": {name: list(told) for name, told in thresholds.references.items()},
            "settings": dict(thresholds.settings),
        }
    )


def _threshold(d: Mapping[str, Any]) -> Threshold:
    return Threshold(
        str(d["metric"]),
        _number(d["value"]),
        _pair(d["interval"]),
        bool(d["higher_is_better"]),
        _number(d["auc"]),
        _pair(d["auc_interval"]),
        int(d["loo_correct"]),
        int(d["loo_n"]),
    )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _pair(value: Any) -> tuple[float, float]:
    low, high = value
    return _number(low), _number(high)
