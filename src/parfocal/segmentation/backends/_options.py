"""Options of a backend, told by name and as plain values, as its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from parfocal.errors import BadInputError
from parfocal.segmentation.planes import LinkSettings

LINK_OPTIONS = frozenset(one.name for one in fields(LinkSettings))
"""Names of what says how planes are linked."""

_Settings = TypeVar("_Settings")
_KINDS: dict[type, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
}


def told_settings(
    kind: type[_Settings], given: _Settings | None, options: Mapping[str, Any], backend: str
) -> _Settings:
    """Return settings of a backend, changed by options.

    Parameters
    ----------
    kind : dataclass type
        Of the settings. Where it has a field `links`, the fields of `LinkSettings` are options too.
    given : settings, optional
        What is changed; the defaults where none are given.
    options : mapping
        By name. A field that is itself made of settings takes a mapping too.
    backend : str
        Its name, for messages.

    Raises
    ------
    BadInputError
        There is no such option, or a value is of another kind or out of range.
    """
    names = {one.name for one in fields(kind)}  # pyright: ignore[reportArgumentType]  (a dataclass)
    told = {name: value for name, value in options.items() if name in names or name not in LINK_OPTIONS}
    flat = {name: value for name, value in options.items() if name not in told}
    if flat and "links" not in names:
        raise BadInputError(f"the backend {backend} has no option {min(flat)}: it links no planes")
    if flat or told.get("links") is not None:
        links = told.get("links") or getattr(given, "links", None)
        told["links"] = nested_settings(LinkSettings, links, f"{backend}: links", flat)
    return _changed(kind, given, told, backend, f"the backend {backend}")


def nested_settings(
    kind: type[_Settings], value: Any, where: str, changes: Mapping[str, Any] | None = None
) -> _Settings:
    """Return settings that are told as such, as a mapping of plain values, or not at all (the defaults).

    Raises
    ------
    BadInputError
        There is no such field, or a value is of another kind or out of range.
    """
    if value is None or isinstance(value, kind):
        return _changed(kind, value, changes or {}, where, where)
    if not isinstance(value, Mapping):
        known = ", ".join(one.name for one in fields(kind))  # pyright: ignore[reportArgumentType]
        raise BadInputError(f"{where} is {value!r}, expected any of {known} with their values")
    named: dict[str, Any] = {str(name): one for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    return _changed(kind, None, {**named, **(changes or {})}, where, where)


def refuse_links(links: LinkSettings | None, backend: str) -> None:
    """Refuse to be told how planes are linked where none are: it would say what did not happen."""
    if links is not None:
        raise BadInputError(f"{backend} links no planes: leave out {_as_told(links)}")


def _changed(
    kind: type[_Settings], given: _Settings | None, changes: Mapping[str, Any], where: str, who: str
) -> _Settings:
    defaults: dict[str, Any] = {one.name: one.default for one in fields(kind)}  # pyright: ignore[reportArgumentType]
    for name, value in changes.items():
        if name not in defaults:
            raise BadInputError(f"{who} has no option {name}; there are {', '.join(defaults)}")
        _check(f"{where}: {name}", value, defaults[name])
    as_fields = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    try:
        return kind(**as_fields) if given is None else replace(given, **as_fields)  # pyright: ignore[reportArgumentType]
    except TypeError as error:  # a value that only the settings themselves know the kind of
        raise BadInputError(f"{where}: {', '.join(changes)}: not of the kind expected ({error})") from error


def _check(where: str, value: Any, default: Any) -> None:
    if default is MISSING or type(default) not in _KINDS:
        return
    expected, words = _KINDS[type(default)]
    is_bool = isinstance(value, bool | np.bool_)
    if is_bool != (expected is bool) or not (is_bool or isinstance(value, expected)):
        raise BadInputError(f"{where} is {value!r}, expected {words}")


def _as_told(links: LinkSettings) -> str:
    usual = LinkSettings()
    told = [name for name, value in links.as_dict().items() if value != getattr(usual, name)]
    return ", ".join(told) or "links"
