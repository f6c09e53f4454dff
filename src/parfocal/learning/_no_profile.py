"""Dask's workers without the profile that they take of themselves, which may stop them for good."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin


class NoProfile(WorkerPlugin):
    """Ends the profiling of a worker, and of each that comes in its place.

    A hundred times a second a worker asks Python which thread is where. In Python 3.11 that call can meet another
    thread that begins or ends, each with the lock that the other one waits for: the worker stands still, and its
    scheduler waits for its answer for ever (python/cpython#106883, dask/distributed#8616; mended in 3.11.9). The
    threads of a catalog's writer and of an analysis begin and end with each run.
    """

    name = "parfocal-no-profile"

    def setup(self, worker: Any) -> None:
        """Stop what asks; a worker that takes no profile is left as it is."""
        for what in ("profile", "profile-cycle"):
            # Taken away as well: a worker that begins starts all that it finds there after its plugins.
            asking = worker.periodic_callbacks.pop(what, None)
            if asking is not None:
                asking.stop()
