"""What the patches are like that a network is trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from parfocal.errors import BadInputError

PATCHES_VERSION = "2"
"""2: light at rest in the calcium channel is uneven, and what is left of old events is there. Puncta as in 1."""
Range = tuple[float, float]


@dataclass(frozen=True)
class PatchRecipe:
    """What patches are drawn from; each patch draws its own PSF, camera, light and motion.

    Parameters
    ----------
    crop_px : int
        Side of a patch.
    density_per_1000_px : (float, float)
        Puncta, drawn evenly.
    photons : (float, float)
        Of a punctum in a frame, evenly in the logarithm.
    background : (float, float)
        Photons per pixel, evenly in the logarithm.
    sigma_px : (float, float)
        Width of the spot's core, evenly in the logarithm.
    empty_share : float
        Of patches without a punctum.
    diffraction_share : float
        Of patches whose spots are those of a round pupil, in focus and out of it, not Gaussians.
    emccd_share : float
        Of patches taken with an EMCCD, not an sCMOS camera.
    moving_share : float
        Of patches whose puncta move from frame to frame, by up to 1.2 px.
    steady_share : float
        Of patches whose puncta are all there in all three frames.
    no_neighbour_share : float
        Of frames before and after that are not there.
    structured_share : float
        Of patches whose background is uneven.
    uneven_calcium_share : float
        Of patches whose calcium channel at rest is uneven.
    most_puncta : int
        Room for so many in a patch.
    """

    crop_px: int = 48
    density_per_1000_px: Range = (0.0, 5.5)
    photons: Range = (180.0, 12000.0)
    background: Range = (4.0, 550.0)
    sigma_px: Range = (0.6, 1.7)
    empty_share: float = 0.1
    diffraction_share: float = 0.45
    emccd_share: float = 0.25
    moving_share: float = 0.4
    steady_share: float = 0.45
    no_neighbour_share: float = 0.08
    structured_share: float = 0.4
    uneven_calcium_share: float = 0.7
    most_puncta: int = 48

    def __post_init__(self) -> None:
        if self.crop_px < 16 or self.crop_px % 8:
            raise BadInputError(f"patches: crop_px is {self.crop_px}; expected a multiple of 8 from 16 on")
        for name in ("density_per_1000_px", "photons", "background", "sigma_px"):
            low, high = getattr(self, name)
            least = 0.0 if name == "density_per_1000_px" else 1e-3
            if not least <= low <= high:
                raise BadInputError(f"patches: {name} is {low:g} to {high:g}; expected a range from {least:g} on")

    def as_dict(self) -> dict[str, Any]:
        """Return it as a card keeps it."""
        return {"version": PATCHES_VERSION} | asdict(self)


N_LEVELS = 3


def recipe_at(level: int, hardest: PatchRecipe) -> PatchRecipe:
    """Return the recipe of a level of the curriculum: few bright puncta, then more, then all there is.

    The seed's are 5, 15 and 30 puncta of 2000, 1000 and 500 photons in 512 x 512 px; these rise alike, to the
    densities that a network is for.
    """
    if level >= N_LEVELS - 1:
        return hardest
    low, high = hardest.density_per_1000_px
    dimmest, brightest = hardest.photons
    at_most, at_least = ((0.3, 8.0), (0.6, 3.0))[level]
    return replace(
        hardest,
        density_per_1000_px=(low, max(low, high * at_most)),
        photons=(min(dimmest * at_least, brightest), brightest),
    )
