"""Calibrations of one data folder: each a file, found by name, by hash, or as the newest."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from parfocal.errors import BadInputError
from parfocal.files import within, write_atomically
from parfocal.fitting import Calibration, calibration_from_json, calibration_hash, calibration_to_json


@dataclass(frozen=True)
class Kept:
    """A calibration, the run that it was made in (empty where that is not known), and its file."""

    calibration: Calibration
    run_uid: str
    path: Path


class CalibrationShelf:
    """A folder of calibrations.

    Parameters
    ----------
    root : Path
        Made when the first is kept.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def keep(self, calibration: Calibration, run_uid: str) -> Path:
        """Write a calibration, with the run it was made in, whole or not at all; return its file."""
        self.root.mkdir(parents=True, exist_ok=True)
        sha256 = calibration_hash(calibration)
        path = self.root / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}_{sha256[:12]}.json"
        content = json.loads(calibration_to_json(calibration)) | {"run_uid": run_uid}
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return path

    def reject(self, which: str) -> Path:
        """Move a calibration (see `find`) into the folder `rejected`, which is not searched; return its file."""
        path = self.find(which).path
        aside = self.root / "rejected"
        aside.mkdir(exist_ok=True)
        return path.replace(aside / path.name)

    def find(self, which: str = "newest") -> Kept:
        """Return a calibration by file name, by how its hash begins, or the newest that may be armed with.

        Raises
        ------
        BadInputError
            There is none, several fit, or the path leaves the folder.
        """
        files = sorted(self.root.glob("*.json")) if self.root.is_dir() else []
        if which == "newest":
            for path in reversed(files):
                kept = _read(path)
                if kept.calibration.is_armable:
                    return kept
            raise BadInputError(f"no calibration in {self.root} to arm with: run calibrate_focus first")
        if which.endswith(".json"):
            path = within(self.root, which)
            if not path.is_file():
                raise BadInputError(f"calibration {which!r} is not in {self.root}")
            return _read(path)
        fitting = [path for path in files if path.stem.partition("_")[2].startswith(which[:12])]
        if len(fitting) != 1:
            raise BadInputError(
                f"calibration {which!r}: {len(fitting)} in {self.root} begin so; "
                "expected a file's name, the beginning of one hash, or newest"
            )
        return _read(fitting[0])


def _read(path: Path) -> Kept:
    text = path.read_text(encoding="utf-8")
    calibration = calibration_from_json(text, str(path))
    return Kept(calibration, str(json.loads(text).get("run_uid", "")), path)
