"""`--show-live`: what a command was told, handed to the live window, and nothing dropped."""

from __future__ import annotations

from typing import Any

import typer

from parfocal.cli._faces import faces
from parfocal.errors import BadInputError

_NO_PLACE = {
    "duration": "it holds until `Stop autofocus` is pressed",
    "out": "its files go to the data folder",
    "as_json": "it prints nothing",
}
_NO_PLACE_OF = {"lock": {"go_to_focus": "it holds the focus that it is started at"}}
_ALWAYS = ("camera", "stage", "axis")  # whose defaults are of the command


def open_window(context: typer.Context) -> None:
    """Hand over to the live window: it opens the microscope itself, and runs the same plans."""
    arguments = live_arguments(context)
    window = typer.Typer(add_completion=False)
    window.command()(faces()["live"].load())
    window(args=arguments, standalone_mode=False)


def live_arguments(context: typer.Context) -> list[str]:
    """Return what a command was told as `parfocal live` takes it.

    Raises
    ------
    BadInputError
        An option was given that the window has no place for.
    """
    arguments: list[str] = []
    no_place = _NO_PLACE | _NO_PLACE_OF.get(str(context.info_name), {})
    for param in context.command.params:
        name = str(param.name)
        source = context.get_parameter_source(name)
        is_told = source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")
        if name == "show_live" or not (is_told or name in _ALWAYS):
            continue
        if name in no_place:
            told = param.opts[0]
            raise BadInputError(f"--show-live: the window has no place for {told}: {no_place[name]}; leave it out")
        arguments += _spelled(param, context.params[name])
    return arguments


def _spelled(param: Any, value: Any) -> list[str]:
    """Return an option as it is typed."""
    option = next(each for each in param.opts if each.startswith("--"))
    if isinstance(value, bool):
        return [option if value else param.secondary_opts[0]]
    if param.multiple:
        return [word for each in value for word in (option, str(each))]
    if isinstance(value, tuple | list):
        return [option, *(str(each) for each in value)]
    return [option, str(value)]
