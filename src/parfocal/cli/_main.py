"""`parfocal`: one program, its commands from the faces, its errors in one line."""

from __future__ import annotations

import atexit
import gc
import logging
import sys
from importlib import import_module
from typing import Annotated, Any

import click
import typer
from rich.console import Console

from parfocal import __version__
from parfocal.cli._faces import faces
from parfocal.errors import ParfocalError

_MODULES = {
    "_demo": ("demo",),
    "_catalog": ("serve", "stop", "runs", "show", "recover"),
    "_doctor": ("doctor",),
    "_replay": ("replay",),
    "_focus": ("calibrate", "lock"),
    "_characterize": ("characterize",),
    "_report": ("report",),
    "_slices": ("slices",),
    "_segment": ("segment",),
    "_localize": ("localize",),
    "_train": ("train",),
    "_models": ("models",),
    "_review": ("review",),
    "_simulate": ("simulate",),
    "_check_data": ("check-data",),
    "_infer": ("infer",),
    "_evaluate": ("evaluate",),
    "_analyze": ("analyze", "prepare"),
    "_queue": ("queue",),
    "_profile": ("profile",),
}
"""Where each command is, in the order of the help: only the one that is asked for is imported."""

_debug = False
_INTERRUPTED = 130  # what shells say of a command that Ctrl-C has ended, and typer too

# Newer typers carry a click of their own, whose exceptions are not click's: both have this base.
_USAGE_ERRORS: tuple[Any, ...] = tuple(
    base for error in (click.BadParameter, typer.BadParameter) for base in error.__mro__ if hasattr(base, "show")
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"parfocal {__version__}")
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    global _debug
    _debug = debug


def commands(asked: str = "") -> typer.Typer:
    """Return the command line with the command `asked` for, or with all where there is none such.

    Other faces (and other packages) offer theirs as entry points of the group `parfocal.commands`. Devices,
    catalogs and windows take seconds to import, so what is not asked for is not.
    """
    app = typer.Typer(
        name="parfocal",
        help="A self-driving light microscope on Bluesky.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    others = faces()
    is_known = asked in others or any(asked in names for names in _MODULES.values())
    for module, names in _MODULES.items():
        if asked in names or not is_known:
            import_module(f"parfocal.cli.{module}").add_commands(app)
    for name, entry in others.items():
        if asked == name or not is_known:
            face = entry.load()
            if isinstance(face, typer.Typer):
                app.add_typer(face, name=name)
            else:
                app.command(name)(face)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 a fault of ours, 2 something to mend, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    # What is imported stays: looking for cycles in it again and again is a third of the time that it takes.
    gc.set_threshold(20_000, 20, 20)
    # At its end Python looks for cycles among the objects of 3,000 modules: a second, and many on a busy machine,
    # between the last word of a command and the end of its process.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    if "--debug" not in given:
        # Bluesky logs the traceback of every plan that fails or is ended; what went wrong is said below.
        logging.getLogger("bluesky").addHandler(logging.NullHandler())
    if given == ["--version"]:
        typer.echo(f"parfocal {__version__}")
        return
    try:
        asked = next((word for word in given if not word.startswith("-")), "")
        code = commands(asked)(args=given, standalone_mode=False)
    except _USAGE_ERRORS as error:
        error.show()
        sys.exit(2)
    except (click.Abort, typer.Abort, KeyboardInterrupt):
        _say("interrupted")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if _debug:
            raise
        if isinstance(error, ParfocalError | OSError) or _is_failed_status(error):
            _say(_in_one_line(error))
            sys.exit(2)
        said = (str(error).splitlines() or [""])[0]
        _say(f"{type(error).__name__}: {said} (unexpected; `parfocal --debug ...` shows where)")
        sys.exit(1)
    if code == _INTERRUPTED:
        _say("interrupted")
    sys.exit(code or 0)


def _in_one_line(error: BaseException) -> str:
    """Say what a user can mend; of a step that failed in a plan, why the device says it did."""
    if _is_failed_status(error) and error.__cause__ is not None:
        return _in_one_line(error.__cause__)
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ParfocalError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _is_failed_status(error: BaseException) -> bool:
    """Say whether a step of a plan failed; without bluesky, which takes long to import, none can have."""
    utils = sys.modules.get("bluesky.utils")
    return utils is not None and isinstance(error, utils.FailedStatus)


def _say(message: str) -> None:
    Console(stderr=True, highlight=False).print("error:", message, style="red", markup=False, soft_wrap=True)
