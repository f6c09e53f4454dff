"""Stages that are not done twice: each in a folder of its own, with a hash of all that it was made from."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from parfocal import __version__
from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.slices.ledger import StageResult, read_metrics, write_metrics

_DONE = "done.json"
_HASHES = "input_hashes.json"
_BLOCK = 1 << 22
_TOKEN = 12  # hexadecimal digits


@dataclass(eq=False)
class Stages:
    """Runs stages in a folder; one whose inputs, parameters and outputs are as they were is skipped.

    A stage works in a temporary folder that takes its name when all is written, so a run that was ended leaves
    whole stages, and a hidden folder that the next one removes. Pixel files are hashed once: their hashes are kept
    with size and time.

    Attributes
    ----------
    root : Path
        Where the folders of the stages are.
    done, skipped : list of str
        What this run did, and what it found done.
    """

    root: Path
    done: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])
    _hashes: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]], repr=False)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        known = _json(self.root / _HASHES)
        self._hashes = {k: v for k, v in known.items() if isinstance(v, list)}

    def run(
        self,
        name: str,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Path],
        work: Callable[[Path], StageResult],
    ) -> tuple[Path, StageResult]:
        """Return the folder of a stage and what it said; `work(folder)` is called only where it has to be.

        Parameters
        ----------
        name : str
            Of the stage and its folder.
        parameters : mapping
            What it is told, as JSON holds it.
        inputs : mapping of str to Path
            Files and folders it reads; their contents count, not their names.
        work : callable
            Writes into the folder and returns the result.
        """
        folder = self.root / name
        told = {
            "stage": name,
            "parfocal": __version__,
            "parameters": dict(parameters),
            "inputs": {key: self.hash_of(path) for key, path in sorted(inputs.items())},
        }
        key = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
        known = _json(folder / _DONE)
        if known.get("key") == key and known.get("outputs") == _outputs(folder):
            self.skipped.append(name)
            return folder, _result(name, known, folder)
        for left in self.root.glob(f".{name}.{'[0-9a-f]' * _TOKEN}"):  # by a run that was killed in this stage
            shutil.rmtree(left, ignore_errors=True)
        temporary = self.root / f".{name}.{secrets.token_hex(_TOKEN // 2)}"
        temporary.mkdir()
        try:
            result = work(temporary)
            write_metrics(temporary / "metrics", result)
            content = {**told, "key": key, "messages": list(result.messages), "outputs": _outputs(temporary)}
            with write_atomically(temporary / _DONE) as file:
                file.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.done.append(name)
        return folder, result

    def hash_of(self, path: Path) -> str:
        """Return the SHA-256 of a file, or of all files of a folder with their names."""
        if path.is_file():
            return self._of_file(path)
        if not path.is_dir():
            raise BadInputError(f"{path}: no such file or folder")
        whole = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path))):
            whole.update(f"{file.relative_to(path).as_posix()} {self._of_file(file)}\n".encode())
        return whole.hexdigest()

    def keep_hashes(self) -> None:
        """Write the hashes of the input files, for the next run."""
        with write_atomically(self.root / _HASHES) as file:
            file.write_text(json.dumps(self._hashes), encoding="utf-8")

    def _of_file(self, path: Path) -> str:
        stat = path.stat()
        name, seen = str(path.absolute()), [stat.st_size, stat.st_mtime_ns]
        known = self._hashes.get(name)
        if known is not None and known[:2] == seen:
            return str(known[2])
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        self._hashes[name] = [*seen, digest.hexdigest()]
        return digest.hexdigest()


def _outputs(folder: Path) -> dict[str, int]:
    """Return the sizes of the files of a stage, by name: what a later run must find."""
    if not folder.is_dir():
        return {}
    return {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != _DONE
    }


def _result(name: str, known: Mapping[str, Any], folder: Path) -> StageResult:
    numbers = read_metrics(folder / "metrics") if (folder / "metrics").is_dir() else {}
    messages = tuple(str(m) for m in cast(list[Any], known.get("messages") or []))
    stages = {stage for of_slice in numbers.values() for stage in of_slice}
    stage = next(iter(stages), name)
    return StageResult(stage, (), {i: of[stage] for i, of in numbers.items() if stage in of}, messages)


def _hidden(path: Path) -> bool:
    """Whether a path lies in something that is only being written; Zarr's own `.zarray` and its kind count."""
    return any(part.startswith(".") and not part.startswith(".z") for part in path.parts)


def _json(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast(dict[str, Any], content) if isinstance(content, dict) else {}
