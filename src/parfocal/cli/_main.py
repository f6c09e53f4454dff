"""`parfocal`: one program, its commands from the faces, its errors in one line."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points
from typing import Annotated, Any

import click
import typer
from bluesky.utils import FailedStatus
from rich.console import Console

from parfocal import __version__
from parfocal.cli import _catalog, _demo, _focus, _replay, _report, _slices
from parfocal.errors import ParfocalError

app = typer.Typer(
    name="parfocal",
    help="A self-driving light microscope on Bluesky.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
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


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    global _debug
    _debug = debug


for _module in (_demo, _catalog, _replay, _focus, _report, _slices):
    _module.add_commands(app)


def _add_faces(arguments: list[str]) -> None:
    """Add the commands that other faces (and other packages) offer under `parfocal.commands`.

    Only the one that is asked for is loaded, or all where help is: windows and benchmarks are slow to import.
    """
    asked = next((a for a in arguments if not a.startswith("-")), "")
    for entry in sorted(entry_points(group="parfocal.commands"), key=lambda e: e.name):
        if asked not in ("", entry.name):
            continue
        face = entry.load()
        if isinstance(face, typer.Typer):
            app.add_typer(face, name=entry.name)
        else:
            app.command(entry.name)(face)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 a fault of ours, 2 something to mend, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    if "--debug" not in given:
        # Bluesky logs the traceback of every plan that fails or is ended; what went wrong is said below.
        logging.getLogger("bluesky").addHandler(logging.NullHandler())
    _add_faces(given)
    try:
        code = app(args=given, standalone_mode=False)
    except _USAGE_ERRORS as error:
        error.show()
        sys.exit(2)
    except (click.Abort, typer.Abort, KeyboardInterrupt):
        _say("interrupted")
        sys.exit(_INTERRUPTED)
    except (ParfocalError, FailedStatus, OSError) as error:
        if _debug:
            raise
        _say(_in_one_line(error))
        sys.exit(2)
    except Exception as error:
        if _debug:
            raise
        said = (str(error).splitlines() or [""])[0]
        _say(f"{type(error).__name__}: {said} (unexpected; `parfocal --debug ...` shows where)")
        sys.exit(1)
    if code == _INTERRUPTED:
        _say("interrupted")
    sys.exit(code or 0)


def _in_one_line(error: BaseException) -> str:
    """Say what a user can mend; of a step that failed in a plan, why the device says it did."""
    if isinstance(error, FailedStatus) and error.__cause__ is not None:
        return _in_one_line(error.__cause__)
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ParfocalError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _say(message: str) -> None:
    Console(stderr=True, highlight=False).print("error:", message, style="red", markup=False, soft_wrap=True)
