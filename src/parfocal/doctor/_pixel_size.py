"""Whether pixels are as large as measured: a measured size is not put in the place of the told one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parfocal.catalog import DataFolder
from parfocal.devices import CharacterizationShelf, KeptCharacterization, read_devices_file
from parfocal.doctor._check import Check
from parfocal.errors import BadInputError

_ALLOWED = 0.02


def check_pixel_size(folder: DataFolder, profile: Path | None = None) -> Iterator[Check]:
    """Compare the newest measured pixel size of each camera with what is told; nothing where none was measured.

    Every device tells its pixel size, and what is told counts: positions, calibrations and stored runs rest on it.
    So the measured one is not applied, but said here.

    Parameters
    ----------
    folder : DataFolder
        Where characterizations are kept.
    profile : Path, optional
        A profile's folder: a `pixel_size_um` of its devices is what is told now, else what was told then counts.
    """
    now_um = _told_by(profile)
    for kept in _newest(CharacterizationShelf(folder.characterizations)):
        numbers, about = kept.found.numbers, kept.found.about
        measured_um, se_um = float(numbers["pixel_size_um"]), float(numbers["pixel_size_se_um"])
        told_um = now_um or float(numbers.get("told_pixel_size_um", math.nan))
        name = " ".join(filter(None, (str(about.get("camera", "")), str(about.get("serial", "")))))
        said = (
            f"{name}: measured {measured_um:.4g} ± {se_um:.2g} um (run {kept.run_uid[:8]}), told {told_um:.4g} um"
        )
        if not math.isfinite(told_um):
            yield Check("profile: pixel size", "warn", f"{name}: measured {measured_um:.4g} um", _ADVICE)
        elif abs(measured_um / told_um - 1) <= _ALLOWED + 3 * se_um / measured_um:
            yield Check("profile: pixel size", "ok", said)
        else:
            yield Check("profile: pixel size", "warn", said, _ADVICE)


_ADVICE = "what is told counts, the measured size is not applied: write it into devices.yml as pixel_size_um"


def _told_by(profile: Path | None) -> float:
    """Return the one pixel size that a profile tells; 0 where it tells none, or several."""
    if profile is None:
        return 0.0
    try:
        listed = read_devices_file(profile / "devices.yml")
    except BadInputError:  # said by the check of the profile
        return 0.0
    told: set[Any] = {e["pixel_size_um"] for entries in listed.values() for e in entries if "pixel_size_um" in e}
    return float(told.pop()) if len(told) == 1 else 0.0


def _newest(shelf: CharacterizationShelf) -> list[KeptCharacterization]:
    """Return the newest usable measurement of each camera and stage."""
    found: dict[str, KeptCharacterization] = {}
    for path in sorted(shelf.root.glob("*_pixel_size_*.json")) if shelf.root.is_dir() else ():
        kept = shelf.find(path.name)
        if kept.found.is_usable:
            found[str(sorted(kept.found.about.items()))] = kept
    return list(found.values())
