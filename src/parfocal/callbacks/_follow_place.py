"""An analysis that follows a data folder: alone in it, and knowing up to when it has done everything."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from parfocal.callbacks._analysis import Analysis
from parfocal.catalog import AlreadyServedError, DataFolder, only_server, write_private
from parfocal.errors import BadInputError

_FIRST_TIME_S = 86_400.0
_OVERLAP_S = 86_400.0
_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True)
class WantedAnalysis:
    """An analysis by name, with its parameters."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        told = " ".join(f"{key}={value}" for key, value in self.parameters.items())
        return f"{self.name} {told}".strip()


def places_of(folder: DataFolder, analyses: Iterable[Analysis]) -> list[Path]:
    """Return where each analysis notes how far it has come; other parameters have another place."""
    places: list[Path] = []
    for analysis in analyses:
        about = json.dumps([analysis.version, analysis.calibration, asdict(analysis.parameters)], default=str)
        name = f"{analysis.name}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"
        places.append(folder.root / "follow" / name)
    return places


@contextlib.contextmanager
def alone(places: Iterable[Path]) -> Generator[None]:
    """Hold the places of analyses; the system lets go of them when the process ends, however it ends.

    Raises
    ------
    BadInputError
        Another process follows with the same analysis.
    """
    with contextlib.ExitStack() as held:
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(only_server(place.with_suffix(".lock")))
            except AlreadyServedError:
                raise BadInputError(
                    f"{place.parent.parent}: another process follows with {place.name.rpartition('-')[0]} and "
                    "these parameters; end it, or ask for others"
                ) from None
        yield


def begin_s(places: Iterable[Path], since_s: float | None) -> float:
    """Return from when on to look for runs: what was told, else where each analysis had come to, less a day.

    The day is for runs that came into the catalog long after they were taken, as recovered ones do.
    """
    if since_s is not None:
        return since_s
    return min(_noted_s(place) for place in places)


def note(places: Iterable[Path], settled_s: float) -> None:
    """Note that everything that began before is settled."""
    for place in places:
        write_private(place.with_suffix(".json"), {"settled_s": settled_s, "pid": os.getpid()})


def _noted_s(place: Path) -> float:
    try:
        return float(json.loads(place.with_suffix(".json").read_text())["settled_s"]) - _OVERLAP_S
    except (OSError, ValueError, KeyError, TypeError):
        return time.time() - _FIRST_TIME_S


def ago_s(text: str) -> float | None:
    """Return the time that `12h`, `2d` or `30min` ago was, s since the epoch; None for text of another kind."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", text.strip())
    return time.time() - float(match[1]) * _UNITS_S[match[2]] if match else None
