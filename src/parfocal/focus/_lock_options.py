"""What a lock's options come to, in the command and in the window alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import yaml

from parfocal.errors import BadInputError
from parfocal.focus._lock_settings import LockSettings


def region_of_xywh(given: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
    """Return y, x, height, width of `--track-roi-xy X Y W H`."""
    if given is None:
        return None
    x, y, width, height = given
    if width != height or width < 7 or x < 0 or y < 0:
        raise BadInputError(
            f"--track-roi-xy is {x} {y} {width} {height}, expected X Y W H of a square of 7 px or more"
        )
    return y, x, height, width


def read_lock_settings(path: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of `LockSettings`: those of a JSON or YAML file, and over them those given by name."""
    told: dict[str, Any] = {}
    if path is not None:
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BadInputError(f"--settings {path}: cannot be read ({' '.join(str(error).split())})") from error
        if not isinstance(read, dict):
            raise BadInputError(f"--settings {path}: names and values were expected, such as `max_step_um: 0.1`")
        told = {str(name): value for name, value in cast("dict[Any, Any]", read).items()}
    known = {f.name: f.default for f in fields(LockSettings)}
    for name, value in told.items():
        if name not in known:
            raise BadInputError(f"--settings {path}: no option {name!r}; see LockSettings for all")
        _check_type(path, name, value, known[name])
    return told | {name: value for name, value in given.items() if value is not None}


def _check_type(path: Path | None, name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, expected = isinstance(value, str), "a word"
    elif isinstance(default, int):
        fits, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    else:
        is_none = value is None and (default is None or name in _MAY_BE_NONE)
        fits, expected = is_none or (isinstance(value, int | float) and not isinstance(value, bool)), "a number"
    if not fits:
        raise BadInputError(f"--settings {path}: {name} is {value!r}, expected {expected}")


_MAY_BE_NONE = ("max_abs_excursion_um",)  # its default is a number; None turns it off
