"""From easy to hard: the next level begins when the score stays where it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.puncta.networks._recipe import N_LEVELS

_LEAST_GAIN = 1.0


class Curriculum:
    """The level at each step, and the scores that it follows from; kept in a file, so that a resume goes on alike.

    Parameters
    ----------
    path : Path, optional
        JSON lines of step, level from then on, score.
    every_steps : int
        After how many steps there is a score.
    checks : int
        Scores in succession without a gain of 1 that are called a plateau.
    first_level : int
    """

    def __init__(self, path: Path | None, every_steps: int, checks: int, first_level: int = 0) -> None:
        self._path, self._every, self._checks, self._first = path, every_steps, checks, first_level
        self.records: list[tuple[int, int, float]] = []
        if path is not None and path.exists():
            try:
                self.records = [
                    (int(r["step"]), int(r["level"]), float(r["score"]))
                    for r in map(json.loads, path.read_text(encoding="utf-8").splitlines())
                ]
            except (ValueError, KeyError, TypeError) as error:
                raise BadInputError(f"{path}: not the scores of a training ({error}); delete it") from error

    def level_at(self, step: int, score: Callable[[int], float]) -> int:
        """Return the level of a step. `score(level)` is asked where a score is due that is not known.

        Scores of later steps, which a training that was killed has left, are forgotten.
        """
        self.records = [record for record in self.records if record[0] <= step]
        level = self.records[-1][1] if self.records else self._first
        if step % self._every or step == 0 or (self.records and self.records[-1][0] == step):
            return level
        value = score(level)
        if level < N_LEVELS - 1 and self._is_plateau(level, value):
            level += 1
        self.records.append((step, level, value))
        if self._path is not None:
            lines = [json.dumps({"step": s, "level": n, "score": v}) + "\n" for s, n, v in self.records]
            with write_atomically(self._path) as path:
                path.write_text("".join(lines), encoding="utf-8")
        return level

    def _is_plateau(self, level: int, value: float) -> bool:
        """Whether this score and those before it, all of this level, have not gained on the best before them."""
        scores: list[float] = []
        previous = self._first
        for _, after, earlier in self.records:
            if previous == level:  # the level that it was scored at
                scores.append(earlier)
            previous = after
        scores.append(value)
        if len(scores) <= self._checks:
            return False
        best = max(scores[: -self._checks])
        return not max(scores[-self._checks :]) > best + _LEAST_GAIN or not math.isfinite(value)
