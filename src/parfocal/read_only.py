"""Arrays as compiled kernels are handed them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", bound=np.generic)


def read_only(array: NDArray[_Number]) -> NDArray[_Number]:
    """Return the same memory, not to be written to.

    To numba an array that may be written to and one that may not are of two types, and each is seconds of
    compiling for whoever comes first. Frames come as both: those of a live camera are shared, and may not be
    written to. What a kernel only reads is handed to it through this, so that it is compiled once.

    Parameters
    ----------
    array : ndarray
        Of any shape and dtype; it stays as it is.

    Returns
    -------
    ndarray
        A view of it.
    """
    view = array.view()
    view.flags.writeable = False
    return view
