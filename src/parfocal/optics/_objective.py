"""The objective and the camera pixel behind it: all that the diffraction integral needs to know."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class Objective:
    """A detection objective at one emission wavelength, with the camera pixel as the sample sees it.

    Parameters
    ----------
    na : float
        Numerical aperture; below `immersion_index`.
    immersion_index : float
        Refractive index of the medium that the emitters and the objective share.
    wavelength_um : float
        Emission wavelength in vacuum, um.
    pixel_size_um : (float, float)
        Camera pixel at the sample, (y, x), um.
    """

    na: float = 0.8
    immersion_index: float = 1.33
    wavelength_um: float = 0.52
    pixel_size_um: tuple[float, float] = (0.1625, 0.1625)

    def __post_init__(self) -> None:
        if not 0 < self.na < self.immersion_index:
            raise BadInputError(
                f"objective: na is {self.na}, expected above 0 and below the immersion index "
                f"{self.immersion_index}"
            )
        if self.wavelength_um <= 0 or min(self.pixel_size_um) <= 0:
            raise BadInputError("objective: wavelength_um and pixel_size_um must be above 0")

    @property
    def cutoff_per_um(self) -> float:
        """Highest lateral frequency in an image, 2 NA / wavelength, cycles/um."""
        return 2 * self.na / self.wavelength_um

    @property
    def axial_cutoff_per_um(self) -> float:
        """Highest frequency of an image's intensity along z, n (1 - cos alpha) / wavelength, cycles/um.

        Intensity is band-limited in z, which makes interpolation between focal planes exact in the limit.
        """
        n = self.immersion_index
        return (n - math.sqrt(n * n - self.na * self.na)) / self.wavelength_um

    @property
    def depth_of_field_um(self) -> float:
        """Diffraction depth of field, n wavelength / NA squared, um."""
        return self.wavelength_um * self.immersion_index / self.na**2

    def blur_radius_um(self, defocus_um: float) -> float:
        """Return the radius of the geometric light cone at a defocus, um."""
        return abs(defocus_um) * self.na / math.sqrt(self.immersion_index**2 - self.na**2)
