"""What was measured of a camera or a stage, as numbers, rows and maps that carry their own hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.sealed_json import SealedJson, content_hash, plain

CharacterizationKind = Literal["camera", "stage", "latency", "pixel_size"]
KINDS: tuple[CharacterizationKind, ...] = ("camera", "stage", "latency", "pixel_size")

_SEALED = SealedJson(
    "parfocal-characterization",
    1,
    "characterization",
    "is no characterization",
    "a file of `parfocal characterize`",
)


@dataclass(frozen=True, eq=False)
class Characterization:
    """What one run of `characterize_...` found.

    Attributes
    ----------
    kind : {"camera", "stage", "latency", "pixel_size"}
        What was measured.
    about : mapping
        What it holds for: camera, its serial number and settings; stage and axis.
    numbers : mapping of str to float, int or str
        The result; NaN where it could not be had. `<name>_se` is the standard error of `<name>`.
    rows : sequence of mapping
        What the numbers come from: a level of light, a step, an approach, a frame; for plots.
    issues : sequence of (severity, message)
        `refuses`: not to be used; `warns`; `tells`.
    maps : mapping of str to ndarray
        Of every pixel, where there are any.
    """

    kind: CharacterizationKind
    about: Mapping[str, Any]
    numbers: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...] = ()
    issues: tuple[tuple[str, str], ...] = ()
    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    @property
    def is_usable(self) -> bool:
        """Whether nothing refuses it."""
        return all(severity != "refuses" for severity, _ in self.issues)

    def why_not(self) -> str:
        """Return what refuses it, in one line; empty where nothing does."""
        return "; ".join(message for severity, message in self.issues if severity == "refuses")

    def content(self) -> dict[str, Any]:
        """Return everything but the maps as plain values, and of them a hash."""
        return plain(
            {
                "kind": self.kind,
                "about": dict(self.about),
                "numbers": dict(self.numbers),
                "rows": [dict(row) for row in self.rows],
                "issues": [list(issue) for issue in self.issues],
                "maps_sha256": maps_hash(self.maps),
            }
        )

    @property
    def sha256(self) -> str:
        """Hash of the content, maps included."""
        return content_hash(self.content())

    def to_json(self) -> str:
        """Return everything but the maps as sealed JSON."""
        return _SEALED.to_text(self.content())


def maps_hash(maps: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of maps: names, kinds, shapes and values; empty for none."""
    if not maps:
        return ""
    whole = hashlib.sha256()
    for name in sorted(maps):
        array = np.ascontiguousarray(maps[name])
        whole.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def characterization_from_json(
    text: str, name: str, maps: Mapping[str, NDArray[Any]] | None = None
) -> Characterization:
    """Return a characterization from sealed JSON and its maps; `name` is what errors call it.

    Raises
    ------
    BadInputError
        No such file, or it or its maps were changed after they were written. Without maps, none are checked.
    """
    content = _SEALED.content_of(text, name)
    if content.get("kind") not in KINDS:
        raise BadInputError(f"{name}: is a characterization of {content.get('kind')!r}, expected one of {KINDS}")
    if maps is not None and content["maps_sha256"] != maps_hash(maps):
        raise BadInputError(f"{name}: its maps were changed after they were saved; characterize again")
    nan = float("nan")  # JSON has no word for it
    return Characterization(
        content["kind"],
        content["about"],
        {key: nan if value is None else value for key, value in content["numbers"].items()},
        tuple({key: nan if value is None else value for key, value in row.items()} for row in content["rows"]),
        tuple((str(severity), str(message)) for severity, message in content["issues"]),
        dict(maps or {}),
    )


def run_uid_of(text: str) -> str:
    """Return the run that a file says it was measured in; empty where it does not."""
    return str(json.loads(text).get("run_uid", ""))
