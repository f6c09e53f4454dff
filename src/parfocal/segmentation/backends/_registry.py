"""The backends by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import Backend

DEFAULT_BACKEND = "unet2d+link"
"""What is used when nothing is said; `watershed` where PyTorch is not installed."""


def _network(backend: str, name: str, **options: Any) -> Backend:
    try:
        module: Any = import_module("parfocal.segmentation.backends._unet")
    except ModuleNotFoundError as error:
        raise BadInputError(f"the backend {backend} is not part of this installation ({error.name})") from error
    return getattr(module, name)(**options)


def _default(**options: Any) -> Backend:
    return _network("default", "UNetPlanes", linked=False, **options)


def _unet2d_link(**options: Any) -> Backend:
    return _network("unet2d+link", "UNetPlanes", **options)


def _unet3d(**options: Any) -> Backend:
    return _network("unet3d", "UNetVolume", **options)


def _cellpose(**options: Any) -> Backend:
    from parfocal.segmentation.backends._cellpose import Cellpose

    return Cellpose(**options)


def _watershed(**options: Any) -> Backend:
    from parfocal.segmentation.backends._watershed import Watershed

    return Watershed(**options)


def _external(**options: Any) -> Backend:
    from parfocal.segmentation.backends._external import External

    return External(**options)


BACKENDS: dict[str, Callable[..., Backend]] = {
    "default": _default,
    "unet2d+link": _unet2d_link,
    "unet3d": _unet3d,
    "cellpose": _cellpose,
    "watershed": _watershed,
    "external": _external,
}
"""Name to what makes it; each imports what it needs when it is called."""
LINKS_PLANES = frozenset({"unet2d+link", "cellpose", "watershed"})
"""Those that take the fields of `LinkSettings`, such as `max_distance_z`, as options."""
TELLS_PROGRESS = frozenset({"default", "unet2d+link", "unet3d", "cellpose"})
"""Those that have the option `on_progress`: the others are quick, or another program."""


def open_backend(name: str | None = None, **options: Any) -> Backend:
    """Make a backend ready.

    Parameters
    ----------
    name : str, optional
        In `BACKENDS`. Where nothing is said: `unet2d+link`, or `watershed` where PyTorch is not installed.
    **options
        The fields of its settings, such as `diameter_um`, which all take; of those in `LINKS_PLANES` the fields of
        `LinkSettings` too, such as `max_distance_z`. One that is None counts as not told.

    Returns
    -------
    Backend

    Raises
    ------
    BadInputError
        No such backend or option; a package or a file that it needs is missing.
    """
    chosen = name or default_backend()
    if chosen not in BACKENDS:
        raise BadInputError(f"no backend {chosen!r}; there are {', '.join(BACKENDS)}")
    return BACKENDS[chosen](**{key: value for key, value in options.items() if value is not None})


def default_backend() -> str:
    """Return the name of what is used when nothing is said."""
    has_torch = all(find_spec(package) is not None for package in ("torch", "safetensors"))
    return DEFAULT_BACKEND if has_torch else "watershed"
