"""A document is accepted or refused as by its schema, also after thousands that were well."""

import copy

import event_model
import pytest
from event_model import DocumentNames
from jsonschema import ValidationError

from parfocal.catalog._known_shapes import RememberingValidator, remember_shapes

EVENT = {
    "uid": "a",
    "time": 12.5,
    "data": {"z": 1.0},
    "timestamps": {"z": 12.5},
    "seq_num": 1,
    "filled": {"image": False},
    "descriptor": "d",
}
STREAM_DATUM = {
    "uid": "a/0",
    "stream_resource": "a",
    "descriptor": "d",
    "indices": {"start": 0, "stop": 1},
    "seq_nums": {"start": 1, "stop": 2},
}


def _plain(name):
    validator = event_model.schema_validators[name]
    return getattr(validator, "_validator", validator)


class _Counting:
    def __init__(self, validator):
        self.validator, self.asked = validator, 0

    def validate(self, doc):
        self.asked += 1
        self.validator.validate(doc)


@pytest.mark.parametrize(
    ("name", "good", "where", "value"),
    [
        (DocumentNames.event, EVENT, ("seq_num",), "1"),
        (DocumentNames.event, EVENT, ("seq_num",), 1.5),
        (DocumentNames.event, EVENT, ("time",), "noon"),
        (DocumentNames.event, EVENT, ("time",), None),
        (DocumentNames.event, EVENT, ("data",), [1.0]),
        (DocumentNames.event, EVENT, ("filled", "image"), 3.0),
        (DocumentNames.event, EVENT, ("more",), 1),
        (DocumentNames.stream_datum, STREAM_DATUM, ("indices", "stop"), 1.5),
        (DocumentNames.stream_datum, STREAM_DATUM, ("indices", "stop"), "1"),
        (DocumentNames.stream_datum, STREAM_DATUM, ("seq_nums",), 1),
    ],
)
def test_what_the_schema_refuses_is_refused_after_good_ones_too(name, good, where, value):
    validator = RememberingValidator(_plain(name))
    bad = copy.deepcopy(good)
    inner = bad
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    for _ in range(3):
        validator.validate(good)
    for _ in range(2):
        with pytest.raises(ValidationError):
            validator.validate(bad)


def test_a_whole_number_as_float_lets_no_broken_one_through():
    validator = RememberingValidator(_plain(DocumentNames.event))
    validator.validate(EVENT | {"seq_num": 2.0})  # an integer, to a schema
    with pytest.raises(ValidationError):
        validator.validate(EVENT | {"seq_num": 2.5})


@pytest.mark.parametrize(
    ("name", "doc"), [(DocumentNames.event, EVENT), (DocumentNames.stream_datum, STREAM_DATUM)]
)
def test_a_missing_key_is_a_shape_of_its_own(name, doc):
    validator = RememberingValidator(_plain(name))
    validator.validate(doc)
    for key in set(doc) - {"filled"}:
        with pytest.raises(ValidationError):
            validator.validate({k: v for k, v in doc.items() if k != key})


def test_the_schema_is_asked_once_for_a_shape_and_what_is_measured_is_no_part_of_it():
    schema = _Counting(_plain(DocumentNames.event))
    validator = RememberingValidator(schema)
    for n in range(50):
        validator.validate(EVENT | {"seq_num": n, "data": {"z": "text" if n % 2 else n}, "time": n + 0.5})
    assert schema.asked == 1


def test_shapes_without_end_do_not_fill_the_memory():
    validator = RememberingValidator(_plain(DocumentNames.event))
    for n in range(2500):
        validator.validate(EVENT | {"filled": {f"key {n}": False}})
    assert len(validator._accepted) <= 1024


def test_the_process_is_told_once():
    remember_shapes()
    told = dict(event_model.schema_validators)
    remember_shapes()
    assert event_model.schema_validators == told
    assert isinstance(told[DocumentNames.event], RememberingValidator)
    assert not isinstance(told[DocumentNames.start], RememberingValidator)
