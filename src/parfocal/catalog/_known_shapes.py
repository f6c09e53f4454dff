"""Documents of a shape that its schema has accepted are not taken apart again.

event-model and bluesky's writer check every document against its JSON schema, which for events takes a
quarter of the RunEngine's own time, and the writer's again. What the schemas of events and stream datums say is
which keys there are and of which types: the same, event for event.
"""

from __future__ import annotations

from typing import Any, cast

import event_model
from event_model import DocumentNames

_REMEMBERED = 1024
# The schemas let anything be in there.
_OPEN = ("data", "timestamps")


class RememberingValidator:
    """A schema's validator that remembers the shapes (keys and types) that it has accepted."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator
        self._accepted: set[tuple[Any, ...]] = set()

    def validate(self, doc: dict[str, Any]) -> None:
        """Check a document; raises what the schema's own validator raises."""
        shape = tuple([(key, _shape_of(value, key not in _OPEN)) for key, value in doc.items()])
        if shape in self._accepted:
            return
        self._validator.validate(doc)
        if len(self._accepted) >= _REMEMBERED:
            self._accepted.clear()
        self._accepted.add(shape)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._validator, name)


def _shape_of(value: Any, whole: bool) -> Any:
    kind = cast("type[Any]", type(value))
    if kind is float:  # to a schema, 2.0 is an integer
        return kind, value.is_integer()
    if whole and isinstance(value, dict):
        inside = cast("dict[str, Any]", value)
        return kind, tuple([(key, _shape_of(one, True)) for key, one in inside.items()])
    return kind


def remember_shapes() -> None:
    """Let this process check events and stream datums by their shapes; doing so again does nothing."""
    validators: dict[Any, Any] = event_model.schema_validators
    for name in (DocumentNames.event, DocumentNames.stream_datum):
        if not isinstance(validators[name], RememberingValidator):
            validators[name] = RememberingValidator(validators[name])
