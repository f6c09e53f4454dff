"""How dense is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class DensityRange:
    """From how many spots per square micrometer to how many is right."""

    low_per_um2: float
    high_per_um2: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.high_per_um2) and 0 <= self.low_per_um2 < self.high_per_um2):
            raise BadInputError(
                f"density: {self.low_per_um2:g} to {self.high_per_um2:g} per um2, two rising numbers of 0 or more "
                "were expected"
            )

    def says(self, density_per_um2: float) -> str:
        """Return `too few`, `too many`, or nothing where it is right."""
        if density_per_um2 < self.low_per_um2:
            return "too few"
        return "too many" if density_per_um2 > self.high_per_um2 else ""
