"""A network for puncta ready to be asked, and what is known of it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.errors import BadInputError
from parfocal.learning import ModelStore, for_inference, load_into, load_weights, need_torch
from parfocal.puncta.networks._build import build_puncta_net
from parfocal.puncta.networks._decode import DecodeSettings
from parfocal.puncta.networks._shape import PunctaNetShape

if TYPE_CHECKING:
    from parfocal.puncta.networks._module import PunctaModule

SHIPPED = "puncta"
SHIPPED_CALCIUM = "puncta-calcium"


@dataclass(frozen=True)
class PunctaNet:
    """A network that tells where puncta are.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode, on `device`.
    shape : PunctaNetShape
    device : str
        `cpu` or `cuda`.
    settings : DecodeSettings
        How its answers are read.
    sigma_scale : float
        By what the sigmas that it states are multiplied, so that 68 % of errors are within one: measured on
        simulated patches when it was trained.
    calcium_logit : float
        From where on there is calcium: where, when it was trained, as many were missed as were found in vain.
    name : str
        For people.
    model_hash : str, optional
        SHA-256 of its weights.
    """

    module: Any
    shape: PunctaNetShape
    device: str = "cpu"
    settings: DecodeSettings = field(default_factory=DecodeSettings)
    sigma_scale: float = 1.0
    calcium_logit: float = 0.0
    name: str = ""
    model_hash: str | None = None

    @property
    def has_calcium(self) -> bool:
        """Whether it looks at a second channel and tells where there is calcium."""
        return bool(self.shape.calcium_widths)


def as_puncta_net(
    module: PunctaModule, *, device: str | None = None, bfloat16: bool | None = None, name: str = ""
) -> PunctaNet:
    """Return a network ready to be asked: a copy, made for that, on the device.

    Parameters
    ----------
    module : torch.nn.Module
        Of `build_puncta_net`.
    device : str, optional
        cuda where there is one, else cpu.
    bfloat16 : bool, optional
        Compute in 16 bits. Where not told: on processors that multiply them themselves, where it is more than
        twice as fast.
    """
    need_torch("a network for puncta")
    import torch

    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if where.startswith("cuda") and not torch.cuda.is_available():
        raise BadInputError(f"puncta network: device {where}, and PyTorch finds none; expected cpu")
    if bfloat16 is None:
        can: Any = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
        bfloat16 = where != "cpu" or bool(can())
    ready = copy.deepcopy(module).eval()
    ready.encoder = for_inference(ready.encoder, bfloat16=bfloat16)
    ready.localization = for_inference(ready.localization, bfloat16=bfloat16)
    if ready.calcium is not None:
        ready.calcium = for_inference(ready.calcium, bfloat16=bfloat16)
    return PunctaNet(ready.to(where), module.shape, where, name=name)


def open_puncta_net(
    weights: str | os.PathLike[str] = SHIPPED, *, device: str | None = None, bfloat16: bool | None = None
) -> PunctaNet:
    """Return the network of a file of weights and its card.

    Parameters
    ----------
    weights : str or path
        `NAME.safetensors`, or the name of weights that came with parfocal: `puncta`, or `puncta-calcium` for
        two channels.
    device, bfloat16
        As in `as_puncta_net`.

    Raises
    ------
    BadInputError
        PyTorch is missing, there are no such weights, or they are not of a network for puncta.
    """
    need_torch("a network for puncta")
    path = Path(weights)
    if path.suffix != ".safetensors":
        path = shipped_weights(str(weights))
    module, recipe, name, sha = read_puncta_module(path)
    net = as_puncta_net(module, device=device, bfloat16=bfloat16, name=name)
    settings = DecodeSettings(threshold=float(recipe.get("threshold", DecodeSettings().threshold)))
    return replace(
        net,
        settings=settings,
        sigma_scale=float(recipe.get("sigma_scale", 1.0)),
        calcium_logit=float(recipe.get("calcium_logit", 0.0)),
        model_hash=sha,
    )


def find_puncta_weights(asked: str | os.PathLike[str] = "", models: str | os.PathLike[str] | None = None) -> Path:
    """Return the file of weights that a text names.

    Parameters
    ----------
    asked : str or path
        A file `NAME.safetensors`; else a name (then the version that is promoted), `name@version`, or how a hash
        begins. Empty: `puncta`.
    models : path, optional
        Folder of models, such as that of the data folder, beside those that came with parfocal.

    Raises
    ------
    BadInputError
        There is none, or more than one.
    """
    path = Path(asked)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise BadInputError(f"{path}: there is no such file of weights")
        return path
    folder = Path(models) if models is not None else shipped_folder() / "none"
    return ModelStore(folder, shipped=(shipped_folder(),)).find(str(asked) or SHIPPED).path


def read_puncta_module(path: Path) -> tuple[PunctaModule, Mapping[str, Any], str, str]:
    """Return the module of a file of weights, its card's recipe, its name and its hash."""
    state, card = load_weights(path)
    module = build_puncta_net(PunctaNetShape.from_architecture(card.architecture))
    load_into(module, state, where=str(path))
    return module, card.recipe, card.name, card.weights_sha256


def shipped_folder() -> Path:
    """Return the folder of the weights for puncta that came with parfocal."""
    return Path(__file__).parents[1] / "weights"


def shipped_weights(name: str) -> Path:
    """Return the path of weights that came with parfocal. `BadInputError` where there are none of that name."""
    path = shipped_folder() / f"{name}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in shipped_folder().glob("*.safetensors"))) or "none"
        raise BadInputError(f"weights {name!r} for puncta did not come with parfocal: there are {there}")
    return path
