"""A scene as plain JSON and back: what a sample's metadata keep, so that it can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar, cast

from parfocal.errors import BadInputError
from parfocal.optics import Drift
from parfocal.puncta.simulation._scene import Background, Blinking, Calcium, CameraChain, Motion, Psf, PunctaScene

_PARTS: dict[str, Any] = {
    "psf": Psf,
    "motion": Motion,
    "blinking": Blinking,
    "background": Background,
    "camera": CameraChain,
    "drift": Drift,
    "calcium": Calcium,
}
_T = TypeVar("_T")


def scene_json(scene: PunctaScene) -> dict[str, Any]:
    """Return a scene as what JSON can hold."""
    return cast(dict[str, Any], _plain(asdict(scene)))


def scene_of(told: Mapping[str, Any], where: str = "scene") -> PunctaScene:
    """Return the scene of such a mapping; what is left out has its default.

    Raises
    ------
    BadInputError
        A key is unknown, or a value cannot be.
    """
    values = {name: value for name, value in told.items() if name not in _PARTS}
    for name, kind in _PARTS.items():
        if name not in told:
            continue
        part = told[name]
        if part is not None and not isinstance(part, Mapping):
            raise BadInputError(f"{where}: {name} is {part!r}, expected its settings")
        values[name] = None if part is None else _made(kind, cast(Mapping[str, Any], part), f"{where}: {name}")
    return _made(PunctaScene, values, where)


def _made(kind: type[_T], values: Mapping[str, Any], where: str) -> _T:
    names = {f.name for f in fields(cast(Any, kind))}
    if unknown := [name for name in values if name not in names]:
        raise BadInputError(f"{where}: {unknown[0]} is unknown, expected some of {', '.join(sorted(names))}")
    try:
        return kind(**{name: _tuples(value) for name, value in values.items()})
    except TypeError as error:
        raise BadInputError(f"{where}: {error}") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in cast(list[Any], value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast(list[Any], value)]
    return value
