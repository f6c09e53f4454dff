"""What an analysis of nuclei says while a stack is taken, as lines for a terminal or a log."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def nuclei_lines(say: Callable[[str], object] = print) -> Callable[[str, Any], None]:
    """Return a listener for `Nuclei.subscribe` that says a line a plane, a line a stack, and the verdict.

    Parameters
    ----------
    say : callable
        Takes a line, such as `print` or a logger's `info`.

    Examples
    --------
    >>> listener = nuclei_lines()
    >>> listener("descriptor", {"uid": "d", "name": "planes"})
    >>> row = {"plane": 4, "n_objects": 3, "z_um": -1.0, "labels_after_s": 0.21}
    >>> listener("event", {"descriptor": "d", "data": row})
    plane 4 at z -1.00 um: 3 nuclei, 0.21 s after it was taken
    """
    streams: dict[str, str] = {}

    def listen(name: str, doc: Any) -> None:
        if name == "descriptor":
            streams[doc["uid"]] = doc["name"]
        elif name == "event":
            line = _LINES.get(streams.get(doc["descriptor"], ""))
            if line is not None:
                say(line(doc["data"]))
        elif name == "stop":
            streams.clear()
            reason = f": {doc['reason']}" if doc.get("reason") else ""
            say(str(doc.get("parfocal", {}).get("verdict") or f"{doc['exit_status']}{reason}"))

    return listen


def _plane(row: Any) -> str:
    where = f" at z {row['z_um']:.2f} um" if math.isfinite(row["z_um"]) else ""
    return (
        f"plane {row['plane']}{where}: {row['n_objects']} nuclei, {row['labels_after_s']:.2f} s after it was taken"
    )


def _stack(row: Any) -> str:
    first = f"; look first at {row['uncertain']}" if row["uncertain"] else ""
    return (
        f"{row['labels']}: {row['n_objects']} nuclei in {row['n_planes']} planes, labels "
        f"{row['labels_after_s']:.2f} s after the last plane{first}"
    )


_LINES: dict[str, Callable[[Any], str]] = {"planes": _plane, "stacks": _stack}
