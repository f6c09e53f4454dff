"""scipy.fft with the types that its stubs leave open."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft


def fft2(array: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the 2-D transform over the last two axes, in the precision of its input."""
    return np.asarray(fft.fft2(array))


def rfft2(array: NDArray[Any]) -> NDArray[np.complex128]:
    """Return the transform of real arrays over the last two axes, in the precision of its input."""
    return np.asarray(fft.rfft2(array))


def irfft2(array: NDArray[Any], shape: tuple[int, int], overwrite: bool = False) -> NDArray[np.float64]:
    """Return the real inverse of `rfft2`, in the precision of its input."""
    return np.asarray(fft.irfft2(array, s=shape, overwrite_x=overwrite))


def frequencies(n: int, step: float = 1.0) -> NDArray[np.float64]:
    """Return the frequencies of `fft2` along one axis."""
    return np.asarray(fft.fftfreq(n, step), dtype=np.float64)


def half_frequencies(n: int, step: float = 1.0) -> NDArray[np.float64]:
    """Return the frequencies of `rfft2` along the last axis."""
    return np.asarray(fft.rfftfreq(n, step), dtype=np.float64)


def even_size(at_least: int) -> int:
    """Return an even size that transforms quickly, not below `at_least`."""
    half = fft.next_fast_len((at_least + 1) // 2, real=True)
    return 2 * int(half or (at_least + 1) // 2)
