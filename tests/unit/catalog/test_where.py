import pytest
from tiled.queries import Comparison, Eq, Like, NotEq

from parfocal.catalog._where import queries
from parfocal.errors import BadInputError


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("sample=fish 3", Eq("start.sample", "fish 3")),
        (" sample.name = fish=3 ", Eq("start.sample.name", "fish=3")),
        ("scan_id=12", Eq("start.scan_id", 12)),
        ('sample="12"', Eq("start.sample", "12")),
        ("checked=true", Eq("start.checked", True)),
        ("operator!=me", NotEq("start.operator", "me")),
        ("sample.age_h>=36.5", Comparison("ge", "start.sample.age_h", 36.5)),
        ("scan_id<7", Comparison("lt", "start.scan_id", 7)),
        ("stop.exit_status=success", Eq("stop.exit_status", "success")),
        ("start.plan_name~z_*k?", Like("start.plan_name", "z_%k_")),
        ("time>2026-03-01T00:00:00Z", Comparison("gt", "start.time", 1772323200.0)),
    ],
)
def test_a_condition_says_what_it_reads_like(said, meant):
    assert queries(said) == [meant]


def test_a_mapping_means_equal_and_all_conditions_must_hold():
    assert queries({"scan_id": 3, "sample.name": "a"}) == [Eq("start.scan_id", 3), Eq("start.sample.name", "a")]
    assert len(queries(["a=1", "b>2"])) == 2


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("sample", "KEY=VALUE was expected"),
        ("=3", "KEY=VALUE was expected"),
        ("a=[1,2]", "no value to compare with"),
        ("a=null", "no value to compare with"),
        ("a>true", "have no order"),
        ("time>=soon", "cannot be read"),
    ],
)
def test_a_condition_that_cannot_be_read_is_said_in_a_line(said, words):
    with pytest.raises(BadInputError, match=words) as refused:
        queries(said)
    assert "\n" not in str(refused.value)
