"""A Dask cluster, reached by the address of its scheduler."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from parfocal.errors import BadInputError

_CONNECT_S = 10


@contextmanager
def cluster_client(scheduler: str) -> Generator[Any, None, None]:
    """Give a client of a Dask scheduler, and close it; its workers are profiled no more (see `NoProfile`).

    It is not Dask's default client: that would compute what Tiled's own client reads, too.

    Parameters
    ----------
    scheduler : str
        Its address, `tcp://...`.

    Raises
    ------
    BadInputError
        Dask is not installed, or no scheduler answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise BadInputError("--scheduler needs Dask distributed: pip install 'parfocal[dask]'") from error
    from parfocal.learning._no_profile import NoProfile

    try:
        client: Any = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BadInputError(f"--scheduler {scheduler}: no scheduler answers there ({error})") from error
    with client:
        client.register_plugin(NoProfile())
        yield client
