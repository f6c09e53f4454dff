"""What the network for puncta looks like: enough, with its weights, to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from parfocal.errors import BadInputError
from parfocal.learning import UNetShape

KIND = "puncta"
N_FRAMES = 3
"""Frames that are looked at: the one before, the one asked about, the one after."""
PLANES_A_CHANNEL = 2
"""Of each channel: the picture with its noise made even, and how bright its background is."""
OUTPUTS = ("logit", "dx", "dy", "log_photons", "background", "log_sigma_x", "log_sigma_y", "log_sigma_photons")
"""What the localization decoder says of each pixel, in this order."""
_FINER = 2


@dataclass(frozen=True)
class PunctaNetShape:
    """The shape of a network for puncta.

    An encoder sees each frame by itself and is the same for all; decoders see what it made of three frames. All
    work at half the resolution, four pixels being four channels, and a pixel's answers are laid back in place.

    Parameters
    ----------
    n_channels : {1, 2}
        Puncta alone, or puncta and calcium.
    base_channels : int
        What the encoder hands on of each frame; a multiple of 4.
    widths : tuple of int
        Of the localization decoder, a U-Net, finest first; multiples of 4.
    calcium_widths : tuple of int
        Of the calcium decoder; empty where there is none.
    """

    n_channels: int = 1
    base_channels: int = 24
    widths: tuple[int, ...] = (48, 64, 64)
    calcium_widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("widths", "calcium_widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.n_channels not in (1, 2):
            raise BadInputError(f"puncta network: n_channels is {self.n_channels!r}; expected 1 or 2")
        if self.calcium_widths and self.n_channels != 2:
            raise BadInputError("puncta network: a calcium decoder needs n_channels 2")
        _ = (self.encoder, self.localization)  # they check the rest

    @property
    def encoder(self) -> UNetShape:
        """Of the part that sees one frame."""
        n_in = PLANES_A_CHANNEL * self.n_channels * _FINER**2
        return UNetShape(2, n_in, self.base_channels, (2 * self.base_channels,), norm="none")

    @property
    def localization(self) -> UNetShape:
        """Of the part that tells where puncta are."""
        n_in = N_FRAMES * self.base_channels
        return UNetShape(2, n_in, len(OUTPUTS) * _FINER**2, self.widths, norm="none")

    @property
    def calcium(self) -> UNetShape | None:
        """Of the part that tells whether there is calcium; None where there is none."""
        if not self.calcium_widths:
            return None
        return UNetShape(2, N_FRAMES * self.base_channels, _FINER**2, self.calcium_widths, norm="none")

    @property
    def n_out(self) -> int:
        """Planes that come out."""
        return len(OUTPUTS) + bool(self.calcium_widths)

    @property
    def multiple_px(self) -> int:
        """What both sides of a picture must be a multiple of."""
        return _FINER * self.localization.multiple_px[0]

    @property
    def reach_px(self) -> int:
        """How far an output pixel looks: what tiles have to overlap by to agree."""
        return _FINER * (self.encoder.reach_px[0] + self.localization.reach_px[0])

    def as_architecture(self) -> dict[str, Any]:
        """Return what a `ModelCard` holds as `architecture`."""
        content = {"kind": KIND} | asdict(self)
        return content | {"widths": list(self.widths), "calcium_widths": list(self.calcium_widths)}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> PunctaNetShape:
        """Return the shape that a card describes. `BadInputError` where it is another network's."""
        content = dict(architecture)
        if (kind := content.pop("kind", None)) != KIND:
            raise BadInputError(f"architecture: kind is {kind!r}; expected {KIND!r}")
        try:
            return cls(**content)
        except TypeError as error:
            raise BadInputError(f"architecture of a puncta network: {error}") from error
