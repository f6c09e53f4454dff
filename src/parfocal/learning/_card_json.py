"""Cards in and out as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from parfocal.errors import BadInputError
from parfocal.learning._card import ModelCard
from parfocal.learning._on_disk import read_bytes

_FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{64}")


def card_bytes(card: ModelCard) -> bytes:
    """Return the file of a card.

    Raises
    ------
    BadInputError
        The card holds what JSON cannot.
    """
    try:
        text = json.dumps({"format": _FORMAT} | asdict(card), indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"card of {card.name} {card.version}: cannot be written as JSON: {error}") from error
    return (text + "\n").encode()


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises
    ------
    BadInputError
        It is missing, is not JSON, or lacks what a card must have.
    """
    try:
        content: object = json.loads(read_bytes(path))
    except ValueError as error:
        raise BadInputError(f"{path}: not JSON: {error}") from error
    return card_from(content, where=str(path))


def card_from(content: object, *, where: str) -> ModelCard:
    """Return the card that a JSON document holds.

    Raises
    ------
    BadInputError
        A field is missing or of another type.
    """
    if not isinstance(content, Mapping):
        raise BadInputError(f"{where}: not a model's card; expected a JSON object")
    fields = cast("Mapping[str, Any]", content)
    if fields.get("format") != _FORMAT:
        raise BadInputError(f"{where}: card format {fields.get('format')!r}; this version reads {_FORMAT}")

    def field(name: str, kind: type[Any], default: Any = None) -> Any:
        value = fields.get(name, default)
        if not isinstance(value, kind):
            raise BadInputError(f"{where}: {name} is {value!r}; expected {_KINDS[kind]}")
        return value

    card = ModelCard(
        name=field("name", str),
        version=field("version", str),
        architecture=field("architecture", dict),
        weights_sha256=field("weights_sha256", str),
        recipe=field("recipe", dict, {}),
        metrics=field("metrics", dict, {}),
        parent=None if fields.get("parent") is None else field("parent", str),
        data=tuple(str(item) for item in field("data", list, [])),
        made=field("made", str, ""),
    )
    if not _HASH.fullmatch(card.weights_sha256):
        raise BadInputError(f"{where}: weights_sha256 is {card.weights_sha256!r}; expected 64 hexadecimal digits")
    return card


_KINDS = {str: "text", dict: "an object", list: "a list"}
