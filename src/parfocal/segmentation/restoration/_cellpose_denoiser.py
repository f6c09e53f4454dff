"""Cellpose 3's denoiser from a file that is named and checked before Cellpose is asked.

Cellpose puts its default model in the place of a path that does not exist, and downloads it; loads files whose
keys do not fit without a word; upsamples if `upsample` is anywhere in the path; and changes its own defaults when
`normalize` is True or False. None of that can happen here.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.learning import need_torch
from parfocal.segmentation.restoration._pixel_noise import PixelNoise

Floats = NDArray[np.float32]

_WIDTHS = [1, 32, 64, 128, 256]
_DIAMETER_PX = 30.0


@dataclass(frozen=True)
class CellposeDenoiser:
    """A `cellpose.denoise.DenoiseModel` whose file was checked."""

    name: str
    weights_sha256: str
    model: Any
    diameter_px: float

    def __call__(self, planes: Floats, noise: PixelNoise) -> Floats:
        """Return the planes with less noise, brought back to the grey scale that they had; `noise` is not needed.

        Cellpose normalises tile by tile unless told not to: the volume's 1st and 99th percentile are brought to 0
        and 1 here, so that its tiles fit together.
        """
        low, high = (float(v) for v in np.percentile(planes, (1, 99)))
        if not high > low:
            return planes.copy()
        out = np.empty_like(planes)
        for z, plane in enumerate(planes):
            scaled = ((plane - low) / (high - low)).astype(np.float32)
            answer = self.model.eval(
                scaled, channels=[0, 0], normalize={"normalize": False}, diameter=self.diameter_px
            )
            out[z] = np.asarray(answer, np.float32).reshape(plane.shape)
        return out * (high - low) + low


def open_cellpose_denoiser(path: Path, diameter_px: float = _DIAMETER_PX) -> CellposeDenoiser:
    """Check a file of weights, and let Cellpose load it.

    Raises
    ------
    BadInputError
        It is not there, is no file of tensors, has other names or shapes than Cellpose 3's denoiser, its path
        says `upsample`, or PyTorch or Cellpose 3 is missing.
    """
    if not path.is_file():
        raise BadInputError(f"{path}: no such file; give the path of a Cellpose 3 denoiser, nothing is downloaded")
    if "upsample" in str(path):
        raise BadInputError(f"{path}: Cellpose upsamples where a path says 'upsample'; rename the file or folder")
    if not diameter_px > 0:
        raise BadInputError(f"{path}: diameter_px is {diameter_px:g}, expected above 0")
    need_torch("Cellpose's denoiser")
    if find_spec("cellpose") is None or find_spec("cellpose.denoise") is None:
        raise BadInputError("Cellpose's denoiser needs Cellpose 3: pip install 'parfocal[cellpose]'")
    content = path.read_bytes()
    _check_keys(path)
    from cellpose import denoise  # takes 10 s to import, and is asked only for a file that fits

    model_class: Any = getattr(denoise, "DenoiseModel", None)
    if model_class is None:
        raise BadInputError("Cellpose 4 has no denoiser: pip install 'parfocal[cellpose]' for 3.1")
    import torch

    model = model_class(pretrained_model=str(path), device=torch.device("cpu"), nchan=1)
    return CellposeDenoiser(f"cellpose {path.name}", hashlib.sha256(content).hexdigest(), model, diameter_px)


def _check_keys(path: Path) -> None:
    """Compare names and shapes in the file with those of the network that Cellpose will put them into."""
    import torch
    from cellpose.resnet_torch import CPnet

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BadInputError(f"{path}: not a file of weights ({str(error).splitlines()[0][:80]})") from None
    if not isinstance(state, dict):
        raise BadInputError(f"{path}: holds a {type(state).__name__}, expected names and tensors")
    found: dict[str, Any] = state
    wanted: dict[str, Any] = CPnet(_WIDTHS, 1, 3, mkldnn=False, max_pool=True).state_dict()
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            raise BadInputError(f"{path}: {name} is missing; expected the weights of a Cellpose 3 denoiser")
        if name not in wanted:
            raise BadInputError(f"{path}: {name} is no part of a Cellpose 3 denoiser")
        shape = tuple(getattr(found[name], "shape", ()))
        if shape != tuple(wanted[name].shape):
            raise BadInputError(
                f"{path}: {name} has shape {shape}, a Cellpose 3 denoiser's is {tuple(wanted[name].shape)}"
            )
