"""What TAB offers: runs inside `catalog.run("`, plans inside `RE(`, devices and arguments inside a plan."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ophyd import Device

from parfocal.catalog import Catalog
from parfocal.devices import Microscope
from parfocal.errors import CatalogError

_RUN = re.compile(r"""([\w.]+)\.(?:run|analyses_of|raw_of|documents)\(\s*["']([^"']*)$""")
_KEY = re.compile(r"""([\w.]+)\[\s*["']([^"']*)$""")
_CHOICE = re.compile(r"""\b(\w+)\s*=\s*["']([^"']*)$""")
_CHANNELS = re.compile(r"""\b(channels|channel)\s*=\s*\[?(?:[^\[\]()]*,)?\s*["']([^"']*)$""")
_WORD = re.compile(r"(\w*)$")


def completions(line: str, names: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Return what may stand at the end of a line.

    Parameters
    ----------
    line : str
        What is typed, until the cursor.
    names : mapping of str to object
        What is known at the prompt.

    Returns
    -------
    fragment : str
        The part of it that a completion replaces.
    found : list of (str, str)
        Completions, and what each is: `run`, `plan`, `device`, `argument`, `value`.
    """
    if match := _RUN.search(line) or _KEY.search(line):
        whose, _, shelf = match[1].rpartition(".")
        is_shelf = shelf in ("raw", "analysis")
        catalog = _named(whose if is_shelf else match[1], names)
        if isinstance(catalog, Catalog):
            uids = _runs(catalog, (shelf,) if is_shelf else ("raw", "analysis"))
            return match[2], [(uid, "run") for uid in uids if uid.startswith(match[2])]
    call = _innermost_call(line)
    if call is None:
        return "", []
    function, given = _named(call[0], names), call[1]
    if (match := _CHANNELS.search(given)) and (channels := _channels(given, names)):
        return match[2], [(one, "value") for one in channels if one.startswith(match[2])]
    if match := _CHOICE.search(given):
        choices = _choices(function, match[1])
        return match[2], [(one, "value") for one in choices if one.startswith(match[2])]
    word = _WORD.search(given)
    fragment = word[1] if word else ""
    if given[: len(given) - len(fragment)].rstrip()[-1:] not in ("", ","):
        return "", []  # within an argument
    if _is_plan(function):
        return fragment, _of_plan(function, given, fragment, names)
    if call[0] == "RE" or call[0].endswith((".RE", "session.run")):
        return fragment, [(n, "plan") for n, one in names.items() if n.startswith(fragment) and _offers(n, one)]
    return "", []


def make_matcher(shell: Any) -> Callable[[Any], Any]:
    """Return a matcher for the completer of an IPython."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher(identifier="parfocal")
    def matcher(context: Any) -> Any:
        line = str(context.line_with_cursor)[: context.cursor_position]
        try:
            fragment, found = completions(line, shell.user_ns)
        except Exception:  # TAB shows no traceback
            fragment, found = "", []
        return {
            "completions": [SimpleCompletion(text=text, type=kind) for text, kind in found],
            "matched_fragment": fragment,
            # Where a run or a value is asked for, names and files would only be in the way.
            "suppress": bool(found) and (not fragment or found[0][1] in ("run", "value")),
        }

    return matcher


def _runs(catalog: Catalog, shelves: tuple[str, ...]) -> list[str]:
    try:
        return catalog.recent_uids(shelves=shelves)
    except CatalogError:
        return []


def _named(dotted: str, names: Mapping[str, Any]) -> Any:
    """Return what a dotted name stands for; attributes are looked up without running anything."""
    first, *rest = dotted.split(".")
    found = names.get(first)
    for name in rest:
        found = inspect.getattr_static(found, name, None)
    return found


def _innermost_call(line: str) -> tuple[str, str] | None:
    """Return the name that is called where the line ends, and what is given to it so far."""
    depth = 0
    for k in range(len(line) - 1, -1, -1):
        if line[k] == ")":
            depth += 1
        elif line[k] == "(":
            depth -= 1
            if depth < 0:
                name = re.search(r"([\w.]+)\s*$", line[:k])
                return (name[1], line[k + 1 :]) if name else None
    return None


def _is_plan(function: Any) -> bool:
    return callable(function) and inspect.isgeneratorfunction(inspect.unwrap(function))


def _offers(name: str, one: Any) -> bool:
    return not name.startswith("_") and _is_plan(one)


def _of_plan(plan: Any, given: str, fragment: str, names: Mapping[str, Any]) -> list[tuple[str, str]]:
    parameters = inspect.signature(plan).parameters
    used = set(re.findall(r"\b(\w+)\s*=", given))
    found: list[tuple[str, str]] = []
    if "," not in given:  # the microscope comes first
        found = [(name, "device") for name, one in names.items() if not name.startswith("_") and _is_device(one)]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found += [
        (f"{name}=", "argument") for name, one in parameters.items() if one.kind in kinds and name not in used
    ]
    return [(text, kind) for text, kind in found if text.startswith(fragment)]


def _is_device(one: Any) -> bool:
    return isinstance(one, Device)


def _choices(function: Any, argument: str) -> list[str]:
    """Return the words that an argument may be, where its annotation names them."""
    try:
        hint = get_type_hints(inspect.unwrap(function)).get(argument)
    except (TypeError, NameError, AttributeError):
        return []
    hints = (hint, *get_args(hint))
    return [str(word) for one in hints if get_origin(one) is Literal for word in get_args(one)]


def _channels(given: str, names: Mapping[str, Any]) -> list[str]:
    for name in re.findall(r"\w+", given):
        one = names.get(name)
        if isinstance(one, Microscope):
            return list(one.backend.light.channels)
    return []
