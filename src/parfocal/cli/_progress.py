"""What a command says on a terminal while it works."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def progress(silent: bool, first: str = "reading") -> Generator[Callable[..., None], None, None]:
    """Show what is being done, how far it is and for how long; on stderr: stdout holds the result alone."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=silent,
        transient=True,
    ) as bar:
        task = bar.add_task(first, total=None)

        def say(what: str, how_far: str = "") -> None:
            if how_far:
                bar.update(task, description=f"{what}: {how_far}")
            else:
                bar.reset(task, description=what, total=None)

        yield say
