"""What a prompt is told once, when a session starts in it."""

from __future__ import annotations

import sys
from typing import Any

from bluesky_tiled_plugins import BlueskyRun

from parfocal.catalog import run_html, run_text
from parfocal.prompt._completion import make_matcher
from parfocal.prompt._live import is_worker

_MARK = "_parfocal_matcher"


def set_up_prompt(RE: Any = None) -> bool:  # noqa: N803  (the ecosystem's name for it)
    """Set up the IPython that this is typed into: displays, completion and bluesky's magics; once is enough.

    Parameters
    ----------
    RE : RunEngine, optional
        What `%mov`, `%movr` and `%ct` run with, so that what they take is in the catalog too; without one
        there are no magics.

    Returns
    -------
    bool
        Whether there is an IPython here.
    """
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    if shell is None or is_worker():
        return False
    load_ipython_extension(shell)
    if RE is not None:
        from bluesky.magics import BlueskyMagics

        BlueskyMagics.RE = RE
        shell.register_magics(BlueskyMagics)
    return True


def load_ipython_extension(shell: Any) -> None:
    """Set up displays and completion: what `%load_ext parfocal.prompt` calls."""
    # Tiled's own classes: they cannot be taught, but a prompt can. Each of them, since each has a `__repr__`.
    formatters = shell.display_formatter.formatters
    for kind in _kinds(BlueskyRun):
        formatters["text/plain"].for_type(kind, _print_run)
        formatters["text/html"].for_type(kind, _run_as_html)
    completer = shell.Completer
    if not hasattr(completer, _MARK):
        matcher = make_matcher(shell)
        setattr(completer, _MARK, matcher)
        completer.custom_matchers.append(matcher)


def _kinds(cls: type) -> list[type]:
    return [cls, *(kind for below in cls.__subclasses__() for kind in _kinds(below))]


def _run_as_html(run: Any) -> str:
    return run_html(run.metadata)


def _print_run(run: Any, printer: Any, cycle: bool) -> None:
    printer.text(repr(run) if cycle else run_text(run.metadata))
