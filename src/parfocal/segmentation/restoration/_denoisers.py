"""What denoises: classical methods, our small network, Cellpose 3's, each opened by an explicit name or path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from parfocal.errors import BadInputError
from parfocal.segmentation.restoration._classical import DenoiseMethod, denoise_classical
from parfocal.segmentation.restoration._pixel_noise import PixelNoise
from parfocal.segmentation.restoration._record import Denoiser, Floats

SHIPPED_DENOISER = Path(__file__).parents[1] / "weights" / "denoise2d.safetensors"


@dataclass(frozen=True)
class ClassicalDenoiser:
    """`wavelet` or `nlm`: see `denoise_classical`."""

    method: DenoiseMethod = "wavelet"

    @property
    def name(self) -> str:
        """Its method."""
        return self.method

    @property
    def weights_sha256(self) -> None:
        """It has none."""
        return None

    def __call__(self, planes: Floats, noise: PixelNoise) -> Floats:
        """Return the planes with less noise."""
        return denoise_classical(planes, noise, self.method)


def open_denoiser(name: str | os.PathLike[str] = "wavelet", *, diameter_px: float = 30.0) -> Denoiser:
    """Open a denoiser by name or by an explicit path; nothing is ever downloaded or put in another's place.

    Parameters
    ----------
    name : str or path
        `wavelet`; `nlm`; `denoise2d`, our shipped network; a path that ends in `.safetensors`, a network of ours;
        `cellpose:PATH`, a denoiser of Cellpose 3 (extra `cellpose`).
    diameter_px : float
        Of nuclei; Cellpose brings them to the 30 px that its networks know.

    Raises
    ------
    BadInputError
        No such name, no such file, a file that holds another network, or PyTorch or Cellpose is missing.
    """
    text = os.fspath(name)
    if text in ("wavelet", "nlm"):
        return ClassicalDenoiser("wavelet" if text == "wavelet" else "nlm")
    if text.startswith("cellpose:"):
        from parfocal.segmentation.restoration._cellpose_denoiser import open_cellpose_denoiser

        return open_cellpose_denoiser(Path(text.removeprefix("cellpose:")), diameter_px)
    path = SHIPPED_DENOISER if text == "denoise2d" else Path(text)
    if path.suffix != ".safetensors":
        raise BadInputError(
            f"denoiser: {text!r} is neither wavelet, nlm, denoise2d, a .safetensors file nor cellpose:PATH"
        )
    if not path.is_file():
        raise BadInputError(
            f"denoiser: {path} is not there; `parfocal train denoise2d` makes one, wavelet needs none"
        )
    from parfocal.segmentation.restoration._network_denoiser import open_network_denoiser

    return open_network_denoiser(path)
