"""Characterizations of one data folder: each a file, found by name, or as the newest of a camera or a stage."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import within, write_atomically
from parfocal.focus import Characterization, CharacterizationKind, characterization_from_json, run_uid_of


@dataclass(frozen=True)
class KeptCharacterization:
    """A characterization, the run that it was measured in, and its file."""

    found: Characterization
    run_uid: str
    path: Path


class CharacterizationShelf:
    """A folder of characterizations: `<time>_<kind>_<hash>.json`, and beside it maps as `.npz`.

    Parameters
    ----------
    root : Path
        Made when the first is kept.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def keep(self, found: Characterization, run_uid: str) -> Path:
        """Write a characterization, with the run it was measured in, maps first; return its file."""
        self.root.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = self.root / f"{stamp}_{found.kind}_{found.sha256[:12]}.json"
        if found.maps:
            packed = io.BytesIO()
            arrays: dict[str, Any] = dict(found.maps)
            np.savez_compressed(packed, **arrays)
            with write_atomically(path.with_suffix(".npz")) as temporary:
                temporary.write_bytes(packed.getvalue())
        content = json.loads(found.to_json()) | {"run_uid": run_uid}
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return path

    def newest(self, kind: CharacterizationKind, about: Mapping[str, Any]) -> KeptCharacterization | None:
        """Return the newest usable one of a kind that was measured of the same thing; None where there is none.

        Parameters
        ----------
        kind : {"camera", "stage", "latency", "pixel_size"}
            Which.
        about : mapping
            What it must say it is about; what is not named here may be anything.

        Raises
        ------
        BadInputError
            It was changed after it was saved.
        """
        files = sorted(self.root.glob(f"*_{kind}_*.json"), reverse=True) if self.root.is_dir() else []
        for path in files:
            text = path.read_text(encoding="utf-8")
            found = characterization_from_json(text, str(path))
            if found.is_usable and all(found.about.get(key) == value for key, value in about.items()):
                return self._with_maps(path, text)
        return None

    def find(self, name: str) -> KeptCharacterization:
        """Return one by its file's name, or by how its hash begins.

        Raises
        ------
        BadInputError
            There is none, several begin so, it was changed after it was saved, or the path leaves the folder.
        """
        if name.endswith(".json"):
            path = within(self.root, name)
            if not path.is_file():
                raise BadInputError(f"characterization {name!r} is not in {self.root}")
            return self._with_maps(path, path.read_text(encoding="utf-8"))
        files = sorted(self.root.glob("*.json")) if self.root.is_dir() else []
        fitting = [path for path in files if path.stem.rpartition("_")[2].startswith(name[:12])]
        if len(fitting) != 1 or not name:
            raise BadInputError(
                f"characterization {name!r}: {len(fitting)} in {self.root} begin so; "
                "expected a file's name or the beginning of one hash"
            )
        return self._with_maps(fitting[0], fitting[0].read_text(encoding="utf-8"))

    def _with_maps(self, path: Path, text: str) -> KeptCharacterization:
        maps = _read_maps(path.with_suffix(".npz")) if json.loads(text)["characterization"]["maps_sha256"] else {}
        return KeptCharacterization(characterization_from_json(text, str(path), maps), run_uid_of(text), path)


def _read_maps(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInputError(
            f"{path} cannot be read ({error}); expected the maps of a characterization: characterize again"
        ) from None
