"""Where the pixels of serial sections come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SectionSource(Protocol):
    """Serial sections by id, each a `[z, y, x]` volume that is read when asked for."""

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """Ids in natural order ("02" before "10", "99" before "100")."""
        ...

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x), um."""
        ...

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Shape (z, y, x) of a section, without reading its pixels."""
        ...

    def volume(self, slice_id: str) -> NDArray[np.generic]:
        """Pixels `[z, y, x]` of a section.

        Raises
        ------
        BadInputError
            There is no such section, or it cannot be read.
        """
        ...


@dataclass(frozen=True)
class SectionArrays:
    """Sections that are in memory already."""

    volumes: Mapping[str, NDArray[np.generic]]
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def slice_ids(self) -> tuple[str, ...]:
        """Ids, in the order given."""
        return tuple(self.volumes)

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Shape (z, y, x) of a section."""
        z, y, x = self.volumes[slice_id].shape
        return z, y, x

    def volume(self, slice_id: str) -> NDArray[np.generic]:
        """Pixels of a section."""
        return self.volumes[slice_id]
