"""From what the network says of each pixel to a table of puncta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError

Found = NDArray[np.float64]


@dataclass(frozen=True)
class DecodeSettings:
    """How puncta are read from the network's answer.

    Parameters
    ----------
    threshold : float
        Least probability of a punctum, of the pixels that claim it together.
    least_pixel : float
        Pixels less probable than this claim nothing.
    same_px : float
        Claims on places this close are one.
    """

    threshold: float = 0.5
    least_pixel: float = 0.05
    same_px: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise BadInputError(f"puncta network: threshold is {self.threshold!r}; expected above 0, at most 1")
        if not 0 < self.least_pixel <= 1:
            raise BadInputError(
                f"puncta network: least_pixel is {self.least_pixel!r}; expected above 0, at most 1"
            )
        if not self.same_px > 0:
            raise BadInputError(f"puncta network: same_px is {self.same_px!r}; expected above 0")


def decode(planes: NDArray[Any], settings: DecodeSettings | None = None) -> Found:
    """Return puncta `[n, 9]` of one frame's answer `[planes, y, x]`.

    Columns: y, x (px), probability, ln photons (counts), ln background over the level, sigma of x, of y (px), of
    ln photons, calcium logit. The network's maxima over 3 x 3 pixels and the sum over neighbours (DECODE) are
    taken of those pixels alone that claim the same place.
    """
    from parfocal.puncta.networks._decode_kernel import N_COLUMNS, gather

    how = settings or DecodeSettings()
    told = np.array(planes, np.float32)
    told[0] = 1.0 / (1.0 + np.exp(-told[0]))
    found = np.empty((max(64, told[0].size // 40), N_COLUMNS))
    n = gather(told, how.least_pixel, how.threshold, how.same_px, found)
    if n > len(found):
        found = np.empty((n, N_COLUMNS))
        n = gather(told, how.least_pixel, how.threshold, how.same_px, found)
    return found[:n]
