"""A file of plans: read whole, judged whole, every fault named with its item."""

from pathlib import Path

import pytest

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError

pytest.importorskip("bluesky_queueserver", reason="extra `queue` is not installed")

from parfocal.queue import (
    PlanFileError,
    allowed_by_profile,
    check_items,
    find_profile,
    read_plan_file,
    shipped_profiles,
)


@pytest.fixture(scope="module")
def allowed():
    return allowed_by_profile(shipped_profiles() / "simulated")


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "plan.yml"
        file.write_text(text)
        return file

    return write


def judged(file, allowed):
    items = read_plan_file(file)
    check_items(file, items, *allowed)
    return items


def problems(file, allowed=None):
    with pytest.raises(PlanFileError) as caught:
        judged(file, allowed) if allowed else read_plan_file(file)
    assert all(str(file) in line and "\n" not in line for line in caught.value.problems)
    return caught.value.problems


def test_items_are_repeated_and_carry_what_is_done_when_they_fail(written, allowed):
    file = written(
        """
- name: z_stack
  args: [microscope, 2, 0.5]
  kwargs: {channels: [green]}
  meta: {sample: slide 7}
  repeat: 2
- name: z_burst
  args: [microscope]
  on_failure: hold
"""
    )
    items = read_plan_file(file, "retry")
    check_items(file, items, *allowed)
    assert [item["name"] for item in items] == ["z_stack", "z_stack", "z_burst"]
    assert items[0]["meta"] == {
        "sample": "slide 7",
        "parfocal": {"from": "plan.yml item 1", "on_failure": "retry"},
    }
    assert items[2]["meta"]["parfocal"]["on_failure"] == "hold"
    assert items[0]["meta"] is not items[1]["meta"]


def test_every_fault_of_a_file_is_told_with_its_item(written):
    told = problems(
        written(
            """
- name: z_stack
  repeat: 0
- plan: z_stack
- z_stack
- name: z_burst
  args: microscope
  kwargs: [1]
- name: z_burst
  on_failure: again
- name: z_burst
  kwargs: {since: 2026-03-01}
- name: z_burst
  args: [microscope]
"""
        )
    )
    assert [line.split(":")[0].rsplit("item ", 1)[1] for line in told] == [
        "1 (z_stack)", "2", "2", "3", "4 (z_burst)", "4 (z_burst)", "5 (z_burst)", "6 (z_burst)"
    ]  # fmt: skip
    for words, line in zip(
        ("whole number", "'plan' is not known", "`name`", "a plan was expected", "a list", "names with values",
         "skip, retry, hold", "kwargs.since"), told
    ):  # fmt: skip
        assert words in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a list of plans"),
        ("name: z_stack", "a list of plans"),
        ("- name: [", "is not YAML in line"),
        ("- name: z_stack\n  repeat: 9000\n- name: z_stack\n  repeat: 9000", "10000 at most"),
        ("- name: !!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_what_is_no_list_of_plans_is_refused(written, text, words):
    assert words in problems(written(text))[0]


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "cannot be read" in problems(tmp_path / "none.yml")[0]


def test_what_could_not_run_is_refused_before_anything_is_queued(written, allowed):
    told = problems(
        written(
            """
- {name: z_stak, args: [microscope]}
- {name: z_stack, args: [microscope], kwargs: {half_rang_um: 2}}
- {name: z_stack, args: [microscop]}
- {name: z_stack, args: [microscope.camara]}
- {name: focus_locked, args: [microscope, microscope]}
- {name: calibrate_focus, args: [scope]}
- {name: z_stack, args: [microscope.camera, 1, 1]}
"""
        ),
        allowed,
    )
    for number, words in enumerate(
        ("no such plan; there are", "half_rang_um", "'microscop'; a device was expected: microscope",
         "'microscope.camara'", "no such plan", "'scope'"), 1
    ):  # fmt: skip
        assert f"item {number} " in told[number - 1]
        assert words in told[number - 1]
    assert len(told) == 6


def test_a_fault_of_a_repeated_item_is_told_once(written, allowed):
    assert len(problems(written("- {name: z_stak, args: [microscope], repeat: 50}"), allowed)) == 1


@pytest.mark.parametrize("profile", ["simulated", "micromanager"])
def test_an_operator_runs_all_plans_and_an_observer_none(profile, tmp_path):
    folder = find_profile(profile, DataFolder(tmp_path))
    plans, devices = allowed_by_profile(folder, "operator")
    assert {"z_stack", "image_puncta", "acquire_until_certain", "acquire_sections", "calibrate_focus"} <= set(
        plans
    )
    assert "microscope" in devices
    plans, devices = allowed_by_profile(folder, "observer")
    assert plans == {}
    assert "camera" in devices["microscope"]["components"]
    with pytest.raises(BadInputError, match="no group 'guest'"):
        allowed_by_profile(folder, "guest")
