"""Peers: other people's programs, in an interpreter of their own, timed turn by turn with ours."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from parfocal.errors import BadInputError

_SCRIPTS = Path(__file__).parent / "peers"
_ENVIRONMENT = "PARFOCAL_PEERS_PYTHON"


def peers_python() -> Path:
    """Return the interpreter of the peers' environment.

    `$PARFOCAL_PEERS_PYTHON` where set, else `.venv-peers/bin/python` under the present folder.

    Raises
    ------
    BadInputError
        There is none.
    """
    told = os.environ.get(_ENVIRONMENT)
    where = Path(".venv-peers", *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    python = Path(told) if told else where.absolute()
    if not python.is_file():
        raise BadInputError(
            f"bench: no peers at {python}: run `make peers`, or set {_ENVIRONMENT} to a Python that has them"
        )
    return python


class Peer:
    """A running peer script; use it as a context manager.

    Parameters
    ----------
    script : str
        Name of a file in `parfocal/bench/peers/`, without `.py`.
    python : path, optional
        The interpreter; `peers_python()` by default.
    env : mapping, optional
        Environment variables to add.
    """

    def __init__(self, script: str, *, python: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.script = script
        path = _SCRIPTS / f"{script}.py"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | dict(env or {})
        self._process = subprocess.Popen(
            [str(python or peers_python()), "-u", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._complaints: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_answers, name=f"{script}-answers", daemon=True),
            threading.Thread(target=self._read_complaints, name=f"{script}-stderr", daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self.versions: dict[str, str] = self._answer(120.0)["versions"]
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The peer's packages with their versions."""
        return ", ".join(f"{name} {number}" for name, number in self.versions.items())

    def call(self, function: str, *, timeout_s: float = 300.0, **arguments: Any) -> dict[str, Any]:
        """Call one of the script's functions and return its answer.

        Raises
        ------
        BadInputError
            The peer failed, ended or did not answer in time; the message says what it said.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps({"call": function, **arguments}) + "\n")
            stdin.flush()
        except OSError as error:
            raise BadInputError(f"bench: peer {self.script} has ended: {self._last_words()}") from error
        return self._answer(timeout_s)

    def close(self) -> None:
        """End the peer."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except OSError:
                pass  # it has ended already
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(5)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise BadInputError(f"bench: peer {self.script} gave no answer within {timeout_s:g} s") from None
        if not line:
            raise BadInputError(f"bench: peer {self.script} has ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BadInputError(f"bench: peer {self.script} failed: {' '.join(str(answer['error']).split())}")
        return answer

    def _last_words(self) -> str:
        self._readers[1].join(2)
        return self._complaints[-1] if self._complaints else "it said nothing"

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._complaints.append(line.strip())


def interleaved(ours: Callable[[], float], *peers: Callable[[], float], rounds: int = 15) -> tuple[float, ...]:
    """Return the median of each measurement, taken turn by turn, so that a busy machine is unfair to nobody.

    Each function measures once and returns its value; the first round is a warm-up and does not count.
    """
    values: list[list[float]] = [[] for _ in range(1 + len(peers))]
    for turn in range(rounds + 1):
        for i, measure in enumerate((ours, *peers)):
            value = measure()
            if turn:
                values[i].append(value)
    return tuple(median(one) for one in values)
