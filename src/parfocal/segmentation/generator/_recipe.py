"""What a synthetic volume may contain: scenes, imaging, and the shares they are drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from parfocal.errors import BadInputError

GENERATOR_VERSION = "4"
"""Changes with every change of what a seed yields: a card that names it can be reproduced."""

Range = tuple[float, float]
Outline = Literal["drawn", "seen", "true"]


@dataclass(frozen=True)
class Scene:
    """One kind of specimen; lengths in voxels of the isotropic grid, levels relative to a bright nucleus.

    Parameters
    ----------
    radius_px : (float, float)
        Mean radius of the volume's nuclei, drawn log-uniformly; `radius_spread` is their own, relative.
    fill : (float, float)
        Nuclei per (4/3 pi (spacing r)^3): 1 is about the densest that falls at random.
    most : int
        No more nuclei than this in a volume.
    spacing : (float, float)
        Least distance of two centres, in sums of their radii; below 1 neighbours flatten each other.
    touching : (float, float)
        Share of nuclei put beside another one on purpose.
    elongation : (float, float)
        Longest axis over the mean of the others; `aligned` is how much neighbours share its direction.
    bump, bend : (float, float)
        How far the outline leaves the ellipsoid, and how much it curves; both relative to the radius.
    level : (float, float)
        Brightness of a nucleus.
    texture : (float, float)
        Relative amplitude of chromatin.
    nucleoli : (int, int)
        Dark balls within a nucleus; `nucleolus_radius` is relative to its own.
    mitotic : (float, float)
        Share of nuclei that are a bright metaphase plate, or the two plates of an anaphase (two objects).
    cytoplasm : (float, float)
        Level of what surrounds each nucleus and is not labelled.
    body : (float, float)
        Level of a large glowing body (an embryo) that holds all nuclei and is not labelled; 0 for none.
    debris : (int, int)
        Unlabelled specks, small and sharp, per 32x64x64 voxels; `blobs` are large and dim ones.
    """

    radius_px: Range
    radius_spread: Range = (0.03, 0.2)
    fill: Range = (0.25, 1.0)
    most: int = 100_000
    spacing: Range = (0.85, 1.1)
    touching: Range = (0.0, 0.5)
    elongation: Range = (1.0, 1.4)
    aligned: Range = (0.0, 1.0)
    bump: Range = (0.0, 0.12)
    bend: Range = (0.0, 0.1)
    level: Range = (0.45, 1.0)
    texture: Range = (0.0, 0.35)
    nucleoli: tuple[int, int] = (0, 3)
    nucleolus_radius: Range = (0.15, 0.35)
    mitotic: Range = (0.0, 0.08)
    cytoplasm: Range = (0.0, 0.12)
    body: Range = (0.0, 0.0)
    debris: tuple[int, int] = (0, 4)
    blobs: tuple[int, int] = (0, 4)


SCENES: Mapping[str, Scene] = {
    "tissue": Scene(radius_px=(4.0, 8.0)),
    "culture": Scene(
        radius_px=(4.0, 9.0), radius_spread=(0.1, 0.3), fill=(0.1, 0.5), touching=(0.3, 0.9), level=(0.25, 1.0),
        bump=(0.03, 0.18),
    ),
    "elongated": Scene(
        radius_px=(4.0, 7.0), elongation=(1.5, 2.6), aligned=(0.5, 1.0), bend=(0.0, 0.35), fill=(0.2, 0.8),
    ),
    "embryo": Scene(
        radius_px=(5.5, 11.0), radius_spread=(0.03, 0.12), fill=(0.1, 0.7), spacing=(0.95, 2.1),
        touching=(0.0, 0.3), elongation=(1.0, 1.25), mitotic=(0.0, 0.25), cytoplasm=(0.0, 0.3),
        body=(0.05, 0.4), debris=(0, 3), blobs=(0, 6), texture=(0.05, 0.4), level=(0.25, 1.0),
    ),
    "ovule": Scene(
        radius_px=(4.5, 9.0), radius_spread=(0.05, 0.2), fill=(0.6, 1.0), spacing=(0.9, 1.15), nucleoli=(1, 2),
        nucleolus_radius=(0.3, 0.55), cytoplasm=(0.02, 0.2), texture=(0.1, 0.4), bump=(0.03, 0.15),
        mitotic=(0.0, 0.05),
    ),
    "mitotic": Scene(radius_px=(5.0, 9.0), mitotic=(0.3, 0.7), fill=(0.15, 0.6), spacing=(1.0, 1.5)),
    "sparse": Scene(radius_px=(4.0, 10.0), fill=(0.02, 0.08), cytoplasm=(0.0, 0.3), debris=(0, 10), blobs=(0, 10)),
    "empty": Scene(radius_px=(4.0, 10.0), fill=(0.0, 0.0), most=0, body=(0.0, 0.3), debris=(0, 10), blobs=(0, 10)),
}  # fmt: skip
"""The kinds of specimen; what each is like is in `docs/explanation/synthetic-nuclei.md`."""


@dataclass(frozen=True)
class Imaging:
    """How a specimen becomes camera counts; every pair is a range to draw from, once per volume.

    Parameters
    ----------
    sigma_z_px, sigma_xy_px : (float, float)
        Blur, voxels of the isotropic grid.
    long_focus : float
        Probability that the blur along z is one of `long_focus_radii` instead, in radii of the volume's nuclei, as
        where a low aperture sees a nucleus far above and below it.
    haze : (float, float)
        Share of light from far out of focus (a blur of `haze_sigma_px`).
    background : (float, float)
        Level of an undulating background.
    decay : (float, float)
        Exponent of the loss of light over the depth of the volume.
    z_step : (float, float)
        Distance of planes in voxels: 1 is isotropic, log-uniform.
    dead_plane, dim_planes : float
        Probability that a plane, or all planes from one on, lost most, or some, of their light.
    plane_jitter : (float, float)
        Relative spread of the brightness of planes.
    peak_photons : (float, float)
        Photons of level 1, log-uniform.
    read_noise_e : (float, float)
        Electrons, RMS.
    gain_adu : (float, float)
        Counts per electron, log-uniform.
    offset_adu : (float, float)
        Counts without light, log-uniform.
    correlated : float
        Probability that noise is blurred too (resampled or compressed images).
    saturated : float
        Probability that the brightest structures are cut off.
    """

    sigma_z_px: Range = (0.6, 3.0)
    sigma_xy_px: Range = (0.5, 1.4)
    long_focus: float = 0.35
    long_focus_radii: Range = (0.3, 0.85)
    haze: Range = (0.0, 0.25)
    haze_sigma_px: Range = (5.0, 8.0)
    background: Range = (0.005, 0.25)
    decay: Range = (0.0, 0.8)
    z_step: Range = (1.0, 5.0)
    dead_plane: float = 0.08
    dim_planes: float = 0.08
    plane_jitter: Range = (0.0, 0.08)
    peak_photons: Range = (10.0, 600.0)
    read_noise_e: Range = (0.0, 2.5)
    gain_adu: Range = (0.3, 4.0)
    offset_adu: Range = (20.0, 2000.0)
    correlated: float = 0.4
    saturated: float = 0.15


_SHARES = {
    "tissue": 0.2, "culture": 0.14, "elongated": 0.1, "embryo": 0.26, "ovule": 0.14, "mitotic": 0.04,
    "sparse": 0.07, "empty": 0.05,
}  # fmt: skip


def _usual_shares() -> dict[str, float]:
    return dict(_SHARES)


@dataclass(frozen=True)
class NucleiRecipe:
    """What `nuclei_volume` draws: a grid, the scenes with their shares, and how they are imaged.

    Parameters
    ----------
    shape_zyx : (int, int, int)
        Of the isotropic grid; a volume sampled with a z step has fewer planes.
    grid_um : float
        Voxel of that grid.
    enlarged : (float, float)
        Factor on every radius, log-uniform.
    shares : mapping of str to float
        How often each of `scenes` is drawn.
    scenes : mapping of str to Scene
        `SCENES` for volumes, `FIELDS` for single planes.
    imaging : Imaging
        Optics and camera.
    outline : {"drawn", "seen", "true"}
        What labels say: how far one draws a nucleus who looks at one plane after the other (`drawn_labels`), how
        far it is seen to reach in the volume as a whole (`seen_labels`), or how far it reached before any blur.

    Raises
    ------
    BadInputError
        An unknown scene or outline, shares that sum to nothing, or a grid too small for a nucleus.
    """

    shape_zyx: tuple[int, int, int] = (32, 64, 64)
    grid_um: float = 0.5
    enlarged: Range = (1.0, 1.0)
    shares: Mapping[str, float] = field(default_factory=_usual_shares)
    scenes: Mapping[str, Scene] = field(default_factory=lambda: SCENES, repr=False)
    imaging: Imaging = field(default_factory=Imaging)
    outline: Outline = "drawn"

    def __post_init__(self) -> None:
        unknown = sorted(set(self.shares) - set(self.scenes))
        if unknown:
            raise BadInputError(f"scene {unknown[0]!r} is unknown: expected one of {', '.join(self.scenes)}")
        if not self.shares or min(self.shares.values()) < 0 or sum(self.shares.values()) <= 0:
            raise BadInputError("shares of scenes must not be negative, and one of them must be above 0")
        if len(self.shape_zyx) != 3 or min(self.shape_zyx) < 1 or max(self.shape_zyx[1:]) < 16:
            raise BadInputError(f"shape_zyx {self.shape_zyx}: expected three sizes, at least 1, 16 and 16 voxels")
        if self.outline not in get_args(Outline):
            raise BadInputError(f"outline {self.outline!r}: expected one of {', '.join(get_args(Outline))}")
        if self.grid_um <= 0:
            raise BadInputError(f"grid_um {self.grid_um}: expected a length above 0")

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain values, as a card keeps it; the scenes are those of the generator's version."""
        return {
            "version": GENERATOR_VERSION,
            "shape_zyx": list(self.shape_zyx),
            "enlarged": list(self.enlarged),
            "shares": dict(self.shares),
            "outline": self.outline,
            "imaging": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.imaging).items()},
        }


def of_scene(name: str, **changes: Any) -> NucleiRecipe:
    """Return a recipe of one scene alone; `changes` are other fields of `NucleiRecipe`."""
    return NucleiRecipe(shares={name: 1.0}, **changes)


def hard_recipe(shape_zyx: tuple[int, int, int] = (32, 64, 64)) -> NucleiRecipe:
    """Return the recipe of the hard held-out set: few photons, haze, wide steps, lost planes, awkward scenes."""
    imaging = Imaging(
        sigma_z_px=(1.5, 3.0), haze=(0.1, 0.25), background=(0.05, 0.3), decay=(0.3, 1.0), z_step=(2.0, 5.0),
        dead_plane=0.3, dim_planes=0.3, peak_photons=(10.0, 60.0), saturated=0.3,
    )  # fmt: skip
    shares = {"embryo": 0.3, "ovule": 0.2, "elongated": 0.15, "mitotic": 0.1, "sparse": 0.15, "empty": 0.1}
    return NucleiRecipe(shape_zyx=shape_zyx, shares=shares, imaging=imaging)


_NO_Z: Range = (1.0, 1.0)

FIELDS: Mapping[str, Scene] = {
    "field": Scene(
        radius_px=(6.0, 18.0), radius_spread=(0.05, 0.4), fill=(0.05, 0.8), spacing=(0.85, 1.15),
        touching=(0.0, 0.7), elongation=(1.0, 1.7), bump=(0.02, 0.18), bend=(0.0, 0.25),
        level=(0.15, 1.0), texture=(0.0, 0.5), nucleoli=(0, 6), nucleolus_radius=(0.1, 0.3),
        debris=(0, 8), blobs=(0, 3),
    ),
    "small": Scene(
        radius_px=(3.5, 7.0), radius_spread=(0.05, 0.3), fill=(0.1, 0.9), spacing=(0.85, 1.2), level=(0.2, 1.0),
        elongation=(1.0, 1.6), debris=(0, 5),
    ),
    "large": Scene(
        radius_px=(16.0, 32.0), radius_spread=(0.05, 0.25), fill=(0.1, 0.8), spacing=(0.85, 1.2),
        touching=(0.0, 0.7), elongation=(1.0, 1.6), bump=(0.02, 0.15), bend=(0.0, 0.2),
        level=(0.2, 1.0), texture=(0.1, 0.6), nucleoli=(0, 9), nucleolus_radius=(0.08, 0.25), debris=(0, 8),
    ),
    "crowded": Scene(
        radius_px=(5.0, 14.0), fill=(0.7, 1.0), spacing=(0.75, 0.95), touching=(0.5, 1.0), elongation=(1.0, 1.8),
        level=(0.3, 1.0), texture=(0.0, 0.5), bump=(0.02, 0.15),
    ),
    "bare": Scene(radius_px=(6.0, 18.0), most=0, fill=(0.0, 0.0), debris=(0, 12), blobs=(0, 6)),
}  # fmt: skip
"""Single planes of a widefield microscope: flat nuclei of very different sizes and contrasts."""


def field_recipe(shape_yx: tuple[int, int] = (128, 128)) -> NucleiRecipe:
    """Return the recipe of single planes."""
    shares = {"field": 0.42, "small": 0.16, "large": 0.14, "crowded": 0.23, "bare": 0.05}
    imaging = Imaging(sigma_xy_px=(0.5, 2.2), z_step=_NO_Z, haze_sigma_px=(6.0, 15.0), peak_photons=(12.0, 1500.0))
    return NucleiRecipe(shape_zyx=(1, *shape_yx), shares=shares, scenes=FIELDS, imaging=imaging)
