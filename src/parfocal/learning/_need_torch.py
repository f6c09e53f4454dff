"""PyTorch is an extra: what needs it says so in one line."""

from __future__ import annotations

from importlib.util import find_spec

from parfocal.errors import BadInputError


def need_torch(what: str) -> None:
    """Refuse to go on where PyTorch or safetensors is not installed.

    Raises
    ------
    BadInputError
        `what` needs a package that is missing.
    """
    if missing := [name for name in ("torch", "safetensors") if find_spec(name) is None]:
        raise BadInputError(
            f"{what} needs PyTorch (not installed: {', '.join(missing)}): pip install 'parfocal[torch]'"
        )
