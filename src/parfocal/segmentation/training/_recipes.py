"""How each network is trained: its shape, what it is shown, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from parfocal.errors import BadInputError
from parfocal.learning import UNetShape
from parfocal.segmentation.generator import Imaging, NucleiRecipe, Outline, field_recipe

Kind = Literal["nuclei3d", "nuclei2d", "denoise2d"]
Size = Literal["small", "shipped", "further"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SIZES: tuple[Size, ...] = get_args(Size)


@dataclass(frozen=True)
class TrainStage:
    """Steps that belong together: the rate rises over `warm_up_steps`, then falls (cosine) to its `end_fraction`.

    Where `holds_statistics`, those of batch normalisation are measured on fresh patches before the first step and
    stay: the network is finished as it will be used, and how a patch is seen no longer depends on its neighbours.
    """

    name: str
    steps: int
    rate: float
    end_fraction: float
    warm_up_steps: int
    holds_statistics: bool = False


@dataclass(frozen=True)
class TrainRecipe:
    """One training, from beginning to end: a steady rate first, then one that falls to nearly nothing.

    Parameters
    ----------
    kind : {"nuclei3d", "nuclei2d", "denoise2d"}
        What the network is for.
    shape : UNetShape
        Of the network.
    sources : tuple of NucleiRecipe
        What it is shown, each as often as the others.
    batch : int
        Patches a step.
    steady_steps, settle_steps, hold_steps : int
        Steps of each of `stages`.
    rate : float
        Learning rate of the steady steps.
    seed : int
        Of weights and patches.
    segmenter_weight : float
        For `denoise2d`: how much what the segmenter makes of the restored plane counts, beside the mean absolute
        difference.
    """

    kind: Kind
    shape: UNetShape
    sources: tuple[NucleiRecipe, ...]
    batch: int
    steady_steps: int
    settle_steps: int
    hold_steps: int
    rate: float = 2e-3
    seed: int = 0
    segmenter_weight: float = 0.1

    @property
    def steps(self) -> int:
        """In all."""
        return self.steady_steps + self.settle_steps + self.hold_steps

    @property
    def stages(self) -> tuple[TrainStage, ...]:
        """A steady rate; then one that falls; then a low one with the statistics of batch normalisation held."""
        return (
            TrainStage("steady", self.steady_steps, self.rate, 1.0, 30),
            TrainStage("settle", self.settle_steps, self.rate, 0.1, 10),
            TrainStage("hold", self.hold_steps, 0.2 * self.rate, 0.15, 10, holds_statistics=True),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as a card keeps it."""
        content = asdict(self)
        del content["shape"]
        return content | {"sources": [source.as_dict() for source in self.sources]}


_SECTIONS = NucleiRecipe(shape_zyx=(14, 128, 128), enlarged=(1.0, 1.6))
# What was found in planes that hold nothing was the first weights' worst fault.
_MORE_EMPTY_SECTIONS = {**_SECTIONS.shares, "empty": 0.12, "sparse": 0.1}
_MORE_BARE_FIELDS = {**field_recipe().shares, "bare": 0.12}
_NOISY = Imaging(peak_photons=(2.0, 120.0), read_noise_e=(0.0, 4.0), saturated=0.05)
_RECIPES: Mapping[tuple[Kind, Size], TrainRecipe] = {
    ("nuclei3d", "shipped"): TrainRecipe(
        "nuclei3d", UNetShape(dims=3, n_out=5, widths=(16, 32, 64, 96), norm="batch"),
        (NucleiRecipe(shape_zyx=(32, 48, 48)),), batch=4, steady_steps=900,
        settle_steps=450, hold_steps=100, seed=3,
    ),
    ("nuclei3d", "further"): TrainRecipe(
        "nuclei3d", UNetShape(dims=3, n_out=5, widths=(16, 32, 64, 96), norm="batch"),
        (NucleiRecipe(shape_zyx=(48, 48, 48)),), batch=3, steady_steps=200, settle_steps=650, hold_steps=80,
        rate=1.5e-3, seed=34,
    ),
    ("nuclei3d", "small"): TrainRecipe(
        "nuclei3d", UNetShape(dims=3, n_out=5, widths=(12, 24, 48), norm="batch"),
        (NucleiRecipe(shape_zyx=(32, 48, 48)),), batch=2, steady_steps=900,
        settle_steps=500, hold_steps=100, seed=13,
    ),
    ("nuclei2d", "shipped"): TrainRecipe(
        "nuclei2d", UNetShape(dims=2, n_out=4, widths=(24, 48, 96, 128), norm="batch"),
        (_SECTIONS, field_recipe((128, 128))), batch=8, steady_steps=750, settle_steps=450, hold_steps=100, seed=2,
    ),
    ("nuclei2d", "further"): TrainRecipe(
        "nuclei2d", UNetShape(dims=2, n_out=4, widths=(24, 48, 96, 128), norm="batch"),
        (
            replace(_SECTIONS, shares=_MORE_EMPTY_SECTIONS),
            replace(field_recipe((128, 128)), shares=_MORE_BARE_FIELDS),
        ),
        batch=8, steady_steps=150, settle_steps=420, hold_steps=80, rate=1.5e-3, seed=22,
    ),
    ("nuclei2d", "small"): TrainRecipe(
        "nuclei2d", UNetShape(dims=2, n_out=4, widths=(16, 32, 64), norm="batch"),
        (_SECTIONS, field_recipe((128, 128))), batch=4, steady_steps=900, settle_steps=500,
        hold_steps=100, seed=12,
    ),
    ("denoise2d", "shipped"): TrainRecipe(
        "denoise2d", UNetShape(dims=2, n_out=1, widths=(16, 32, 64, 96), norm="batch"),
        (replace(_SECTIONS, imaging=_NOISY), replace(field_recipe((128, 128)), imaging=_NOISY)),
        batch=4, steady_steps=250, settle_steps=180, hold_steps=30, seed=4,
    ),
    ("denoise2d", "small"): TrainRecipe(
        "denoise2d", UNetShape(dims=2, n_out=1, widths=(16, 32, 64), norm="batch"),
        (replace(_SECTIONS, imaging=_NOISY), replace(field_recipe((128, 128)), imaging=_NOISY)),
        batch=4, steady_steps=450, settle_steps=260, hold_steps=40, seed=14,
    ),
}  # fmt: skip


def train_recipe(
    kind: str,
    size: str = "small",
    *,
    steps: int | None = None,
    seed: int | None = None,
    outline: Outline | None = None,
) -> TrainRecipe:
    """Return a recipe by name.

    Parameters
    ----------
    kind : {"nuclei3d", "nuclei2d", "denoise2d"}
    size : {"small", "shipped", "further"}
        `small` ends within half an hour on two CPU cores; by `shipped` the weights in the package were made, and
        by `further` then trained on.
    steps, seed : int, optional
        Other than the recipe's; steps are shared out as the recipe does.
    outline : {"drawn", "seen", "true"}, optional
        What labels say, other than the recipe's; see `NucleiRecipe`.

    Raises
    ------
    BadInputError
        An unknown name, or fewer than 3 steps.
    """
    if kind not in KINDS:
        raise BadInputError(f"cannot train {kind!r}: expected one of {', '.join(KINDS)}")
    if size not in SIZES:
        raise BadInputError(f"recipe {size!r} is unknown: expected one of {', '.join(SIZES)}")
    if (kind, size) not in _RECIPES:
        raise BadInputError(f"recipe {size!r}: there is none of {kind}; expected small or shipped")
    recipe = _RECIPES[kind, size]
    if steps is not None:
        if steps < 3:
            raise BadInputError(f"{steps} steps: expected at least 3")
        hold = max(1, round(steps * recipe.hold_steps / recipe.steps))
        settle = max(1, round(steps * recipe.settle_steps / recipe.steps))
        recipe = replace(recipe, steady_steps=steps - settle - hold, settle_steps=settle, hold_steps=hold)
    if seed is not None:
        if seed < 0:
            raise BadInputError(f"seed {seed}: expected 0 or more")
        recipe = replace(recipe, seed=seed)
    if outline is not None:
        recipe = replace(recipe, sources=tuple(replace(source, outline=outline) for source in recipe.sources))
    return recipe
