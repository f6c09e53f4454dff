"""What a U-Net looks like: enough, with its weights, to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from parfocal.errors import BadInputError

NORM_GROUPS = 4
"""Groups of channels that are normalised together; every width is a multiple of it."""


@dataclass(frozen=True)
class UNetShape:
    """The shape of a U-Net.

    Parameters
    ----------
    dims : {2, 3}
        Planes `[y, x]` or volumes `[z, y, x]`.
    n_in, n_out : int
        Channels of the image and of the output; the nuclei networks put flow (`dims` channels), foreground
        and boundary out.
    widths : tuple of int
        Channels of each level, finest first; multiples of 4. A further level halves the resolution.
    z_pool : tuple of bool
        3D alone: whether going down from level k halves z too; one value fewer than `widths`. Empty: always.
        `(False, True)` suits a stack whose planes lie about twice as far apart as its pixels.
    norm : {"group", "batch", "none"}
        `group` normalises by the statistics of the image at hand, which suits small batches; `batch` by
        those of the training set, which :func:`for_inference` folds into the convolutions, so that it costs
        nothing and a tile gives what the whole image gives; `none` normalises nothing, for input whose scale
        means something.
    """

    dims: Literal[2, 3] = 3
    n_in: int = 1
    n_out: int = 5
    widths: tuple[int, ...] = (12, 24, 48)
    z_pool: tuple[bool, ...] = ()
    norm: Literal["group", "batch", "none"] = "group"

    def __post_init__(self) -> None:
        for name, value in (("widths", self.widths), ("z_pool", self.z_pool)):
            object.__setattr__(self, name, tuple(value))
        if self.dims not in (2, 3):
            raise BadInputError(f"U-Net: dims is {self.dims!r}; expected 2 or 3")
        if not (_is_count(self.n_in) and _is_count(self.n_out)):
            raise BadInputError(f"U-Net: n_in {self.n_in!r}, n_out {self.n_out!r}; expected at least 1")
        if not self.widths or not all(_is_count(w) and w % NORM_GROUPS == 0 for w in self.widths):
            raise BadInputError(f"U-Net: widths {self.widths!r}; expected multiples of {NORM_GROUPS}")
        if self.z_pool and (self.dims == 2 or len(self.z_pool) != len(self.widths) - 1):
            raise BadInputError(
                f"U-Net: z_pool {self.z_pool!r} for {self.dims}D and {len(self.widths)} levels; expected"
                f" {'none in 2D' if self.dims == 2 else f'{len(self.widths) - 1} values, or none'}"
            )
        if self.norm not in ("group", "batch", "none"):
            raise BadInputError(f"U-Net: norm is {self.norm!r}; expected group, batch or none")

    @property
    def pools(self) -> tuple[tuple[int, ...], ...]:
        """By what each level's way down divides each axis, finest first."""
        steps = len(self.widths) - 1
        if self.dims == 2:
            return ((2, 2),) * steps
        return tuple((2 if z else 1, 2, 2) for z in self.z_pool or (True,) * steps)

    @property
    def multiple_px(self) -> tuple[int, ...]:
        """What each axis should be a multiple of: other sizes work, their last rows are seen less well."""
        multiple = (1,) * self.dims
        for pool in self.pools:
            multiple = tuple(m * p for m, p in zip(multiple, pool, strict=True))
        return multiple

    @property
    def reach_px(self) -> tuple[int, ...]:
        """How far, on each axis, an output pixel looks: what tiles have to overlap by to agree."""
        scale = (1,) * self.dims
        reach = (0,) * self.dims
        for level in range(len(self.widths)):
            convs = 2 if level == len(self.widths) - 1 else 4  # the coarsest has no way up
            pool = self.pools[level] if level < len(self.pools) else (1,) * self.dims
            reach = tuple(r + convs * s + s * (p - 1) for r, s, p in zip(reach, scale, pool, strict=True))
            scale = tuple(s * p for s, p in zip(scale, pool, strict=True))
        return reach

    def as_architecture(self) -> dict[str, Any]:
        """Return what a :class:`ModelCard` holds as `architecture`."""
        content = {"kind": "unet"} | asdict(self)
        return content | {"widths": list(self.widths), "z_pool": list(self.z_pool)}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> UNetShape:
        """Return the shape that a card describes.

        Raises
        ------
        BadInputError
            It is not a U-Net's, or has names or values that no U-Net has.
        """
        content = dict(architecture)
        if (kind := content.pop("kind", None)) != "unet":
            raise BadInputError(f"architecture: kind is {kind!r}; expected 'unet'")
        try:
            return cls(**content)
        except TypeError as error:
            raise BadInputError(f"architecture of a U-Net: {error}") from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
