"""Plans from a file: read and judged whole, before any of them is in the queue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from parfocal.errors import BadInputError

OnFailure = Literal["skip", "retry", "hold"]
ON_FAILURE: tuple[OnFailure, ...] = ("skip", "retry", "hold")

_KEYS = ("name", "args", "kwargs", "repeat", "meta", "on_failure")
_MAX_ITEMS = 10_000
_MAX_BYTES = 10_000_000
_DEVICE = re.compile(r"__(READABLE|MOVABLE|FLYABLE|DEVICE)__")


class PlanFileError(BadInputError):
    """What is wrong with a file of plans.

    Attributes
    ----------
    problems : tuple of str
        One line each: file, item, what was expected.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        first, *others = problems
        self.problems = (first, *others)
        super().__init__(first + (f" (and {len(others)} more)" if others else ""))


def read_plan_file(path: Path | str, on_failure: OnFailure | None = None) -> list[dict[str, Any]]:
    """Return the items of a file of plans, as the RE Manager takes them.

    The file is a list in YAML; each item has the `name` of a plan and may have `args`, `kwargs`, `repeat` (how
    often it is queued), `meta` (put into the start document of each of its runs) and `on_failure`::

        - name: z_stack
          args: [microscope, 5, 0.5]
          kwargs: {channels: [green]}
          meta: {sample: slide 7}
          repeat: 3
          on_failure: retry

    Parameters
    ----------
    path : path
        The file.
    on_failure : {"skip", "retry", "hold"}, optional
        What is done about an item that fails, where it does not say itself: `meta["parfocal"]["on_failure"]`.

    Raises
    ------
    PlanFileError
        The file cannot be read, or items of it cannot be used; `problems` has a line for each.
    """
    file = Path(path)
    content = _read(file)
    problems: list[str] = []
    items: list[dict[str, Any]] = []
    for number, entry in enumerate(content, 1):
        wrong = list(_wrong_with(entry))
        if wrong:
            problems += [f"{file} item {number}{_called(entry)}: {one}" for one in wrong]
            continue
        items += [_item(entry, on_failure, f"{file.name} item {number}") for _ in range(entry.get("repeat", 1))]
    if not problems and len(items) > _MAX_ITEMS:
        problems = [f"{file}: {len(items)} plans, {_MAX_ITEMS} at most were expected; `repeat` inside the plan"]
    if problems:
        raise PlanFileError(problems)
    return items


def check_items(
    path: Path | str, items: Iterable[Mapping[str, Any]], plans: Mapping[str, Any], devices: Mapping[str, Any]
) -> None:
    """Judge items by the plans and devices that there are, as the RE Manager would, and each device's name.

    Parameters
    ----------
    path : path
        The file, for the messages.
    items : iterable of mapping
        From `read_plan_file`.
    plans, devices : mapping
        Those that are allowed: `client.plans_allowed()["plans_allowed"]`.

    Raises
    ------
    PlanFileError
        With a line for each item that would be refused, or fail at once.
    """
    from bluesky_queueserver import validate_plan

    problems: dict[str, None] = {}
    for item in items:
        where = f"{Path(path).parent / item['meta']['parfocal']['from']} ({item['name']})"
        if item["name"] not in plans:
            problems[f"{where}: there is no such plan; there are {', '.join(sorted(plans))}"] = None
            continue
        success, message = validate_plan(item, allowed_plans=plans, allowed_devices=devices)
        if not success:
            problems[f"{where}: {_in_one_line(message)}"] = None
            continue
        for name, value in _devices_asked(item, plans[item["name"]]["parameters"]):
            if not _is_there(value, devices):
                problems[f"{where}: {name} is {value!r}; a device was expected: {_names(devices)}"] = None
    if problems:
        raise PlanFileError(problems)


def _read(file: Path) -> list[Any]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise PlanFileError([f"{file}: longer than {_MAX_BYTES // 10**6} MB; a list of plans was expected"])
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanFileError([f"{file}: cannot be read ({error.strerror})"]) from error
    except UnicodeDecodeError as error:
        raise PlanFileError([f"{file}: is not a text file in UTF-8"]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise PlanFileError([f"{file}: is not YAML{line}: {getattr(error, 'problem', None) or error}"]) from error
    if not isinstance(content, list) or not content:
        raise PlanFileError([f"{file}: a list of plans was expected, each beginning with `- name:`"])
    return cast("list[Any]", content)


def _wrong_with(entry: Any) -> Iterable[str]:
    if not isinstance(entry, dict):
        yield f"{entry!r:.60}; a plan was expected, `- name: z_stack` and below it args, kwargs"
        return
    told = cast("dict[Any, Any]", entry)
    for key in told:
        if key not in _KEYS:
            yield f"{key!r} is not known; {', '.join(_KEYS)} were expected"
    if not isinstance(told.get("name"), str) or not told["name"].isidentifier():
        yield "`name` of a plan was expected"
    if not isinstance(told.get("args", []), list):
        yield f"args is {told['args']!r:.60}; a list was expected"
    for key in ("kwargs", "meta"):
        value = told.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in cast("dict[Any, Any]", value)):
            yield f"{key} is {value!r:.60}; names with values were expected"
    repeat = told.get("repeat", 1)
    if not isinstance(repeat, int) or isinstance(repeat, bool) or not 1 <= repeat <= _MAX_ITEMS:
        yield f"repeat is {repeat!r}; a whole number from 1 to {_MAX_ITEMS} was expected"
    if told.get("on_failure", "skip") not in ON_FAILURE:
        yield f"on_failure is {told['on_failure']!r}; one of {', '.join(ON_FAILURE)} was expected"
    for path, value in _leaves(told):
        yield f"{path} is {value!r}; text, a number, true, false or a list or mapping of these was expected"


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Yield what YAML can say and JSON, which the queue keeps items as, cannot: dates, bytes, sets."""
    if isinstance(value, dict):
        for key, one in cast("dict[Any, Any]", value).items():
            yield from _leaves(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, one in enumerate(cast("list[Any]", value)):
            yield from _leaves(one, f"{path}[{index}]")
    elif value is not None and not isinstance(value, str | int | float | bool):
        yield path, value


def _item(entry: dict[str, Any], on_failure: OnFailure | None, origin: str) -> dict[str, Any]:
    meta = dict(entry.get("meta", {}))
    policy = entry.get("on_failure", on_failure)
    ours = {**meta.get("parfocal", {}), "from": origin, **({"on_failure": policy} if policy else {})}
    return {
        "item_type": "plan",
        "name": entry["name"],
        "args": list(entry.get("args", [])),
        "kwargs": dict(entry.get("kwargs", {})),
        "meta": {**meta, "parfocal": ours},
    }


def _devices_asked(item: Mapping[str, Any], parameters: list[dict[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Yield the parameters of an item that stand for a device, and what was given."""
    given = dict(zip((one["name"] for one in parameters), item["args"])) | dict(item["kwargs"])
    for one in parameters:
        kind = str(one.get("annotation", {}).get("type", ""))
        value = given.get(one["name"])
        if isinstance(value, str) and (_DEVICE.search(kind) or one["name"] == "microscope"):
            yield one["name"], value


def _is_there(value: str, devices: Mapping[str, Any]) -> bool:
    """Say whether a device, or a part of one such as `microscope.camera`, is allowed."""
    first, *parts = value.split(".")
    found: Any = devices.get(first)
    for part in parts:
        found = (found or {}).get("components", {}).get(part)
    return found is not None


def _names(devices: Mapping[str, Any]) -> str:
    return ", ".join(sorted(devices)) or "none is allowed"


def _called(entry: Any) -> str:
    name: Any = cast("dict[Any, Any]", entry).get("name") if isinstance(entry, dict) else None
    return f" ({name})" if isinstance(name, str) else ""


def _in_one_line(message: str) -> str:
    return " ".join(message.removeprefix("Plan validation failed:").split())
