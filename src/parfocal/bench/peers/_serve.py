"""The peer's end of the line: JSON requests in, JSON answers out. Standard library only.

A peer script, run by the peers' own interpreter, ends in `serve(versions, run=run, prepare=prepare...)`. Each
line on stdin names one of the functions and its arguments; each answer is one line on stdout. What the
peer's libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(versions: dict[str, str], **functions: Callable[..., dict[str, Any]]) -> None:
    """Answer requests until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    answer({"ready": True, "versions": versions})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(functions[request.pop("call")](**request))
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}"})


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median wall time of one call."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]
