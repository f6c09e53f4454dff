"""Cellpose 3.1 behind our protocol: plane by plane with our linking, or its own `do_3D`; weights from a file."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.learning import need_torch
from parfocal.segmentation._segmentation import Floats, Labels, NetOutput, Segmentation
from parfocal.segmentation.backends._input import (
    Progress,
    as_volume,
    checked_voxel_size,
    finished,
    one_line,
    renumbered,
)
from parfocal.segmentation.backends._options import refuse_links, told_settings
from parfocal.segmentation.planes import LinkSettings, PlaneLinker

_FLOW_LENGTH = 5.0
"""Cellpose teaches its networks flows of this length."""
_STYLE = 256
"""`cellpose.core.run_net` has room for styles of this length and no other."""


@dataclass(frozen=True, eq=False)
class CellposeWeights:
    """Weights of a Cellpose 3 network that were read, or retrained here: a state dict, and its hash."""

    state: Mapping[str, Any]
    sha256: str


@dataclass(frozen=True)
class CellposeSettings:
    """What `cellpose` can be told; names and defaults of thresholds are Cellpose's own.

    Parameters
    ----------
    weights : path, or CellposeWeights
        A file of Cellpose 3 weights (a state dict, as `CPnet.save_model` writes it) that lies on this machine; or
        those of a model that was imported or retrained here, see `model_options`.
    diameter_um : float, optional
        Of a typical nucleus; what the weights were trained at, in pixels, where not told.
    do_3d : bool
        Run the network on planes of all three orientations (Cellpose's `do_3D`); otherwise plane by plane,
        linked by us.
    flow_threshold : float
        Largest flow error of a mask in 2D. Cellpose has none in 3D.
    cellprob_threshold : float
        Smallest logit of a pixel that belongs to a nucleus.
    min_size_px : int
        Smaller masks are dropped, in pixels (2D) or voxels (3D).
    device : str
        `cpu`, `cuda`, `mps`.
    links : LinkSettings, optional
        How planes are linked; not with `do_3d`. Its fields are options too, such as `max_distance_z`.
    on_progress : callable, optional
        Told how many planes of how many a volume's are done; not with `do_3d`, of which Cellpose says nothing.
    """

    weights: str | os.PathLike[str] | CellposeWeights
    diameter_um: float | None = None
    do_3d: bool = False
    flow_threshold: float = 0.4
    cellprob_threshold: float = 0.0
    min_size_px: int = 15
    device: str = "cpu"
    links: LinkSettings | None = None
    on_progress: Progress | None = None


class Cellpose:
    """Backend `cellpose`: the real library, version 3.1 (extra `cellpose`), on weights that the user has.

    Nothing is ever downloaded: where a path does not exist, Cellpose takes another model and fetches it, and where
    keys differ it loads those that fit; so the path, every key and every shape are checked first, and the network
    is filled strictly.

    Raises
    ------
    BadInputError
        Cellpose is missing or is not 3.x; the weights are missing, or no Cellpose 3 weights.
    """

    name = "cellpose"

    def __init__(self, settings: CellposeSettings | None = None, **options: Any) -> None:
        if settings is None and "weights" not in options:
            raise BadInputError(
                "cellpose: no weights were named; expected the path of a file of Cellpose 3 weights on this "
                "machine (nothing is downloaded)"
            )
        self.settings = told = told_settings(CellposeSettings, settings, options, self.name)
        if told.do_3d:
            refuse_links(told.links, "cellpose: do_3d")
        if told.diameter_um is not None and not (math.isfinite(told.diameter_um) and told.diameter_um > 0):
            raise BadInputError(f"cellpose: diameter {told.diameter_um} um, expected a positive number")
        if isinstance(told.weights, CellposeWeights):
            self._state, self.model_hash = told.weights.state, told.weights.sha256
        else:
            self._state, self.model_hash = read_cellpose_weights(told.weights)
        self._model: Any = None

    def segment_planes(
        self, planes: Iterable[NDArray[np.generic]], voxel_size_um: tuple[float, float, float]
    ) -> Generator[Labels, None, Segmentation]:
        """Yield labels of each plane as it arrives; see `Backend`. With `do_3d`, once the last one has come."""
        voxel_size_um = checked_voxel_size(voxel_size_um)
        if self.settings.do_3d:
            found = self.segment_volume(np.stack(list(planes)), voxel_size_um)
            yield from found.labels
            return found
        return (
            yield from self._linked((_normalized(p, _range(p)) for p in map(as_volume, planes)), voxel_size_um)
        )

    def segment_volume(
        self, volume: NDArray[np.generic], voxel_size_um: tuple[float, float, float]
    ) -> Segmentation:
        """Label a volume; see `Backend`. The flow has two axes (y, x) where planes were linked, else three."""
        voxel_size_um = checked_voxel_size(voxel_size_um)
        pixels = as_volume(volume)
        # One range for all planes: an empty plane, stretched by itself, would be full of nuclei made of noise.
        given = _normalized(pixels, _range(pixels))
        if self.settings.do_3d and pixels.shape[0] > 1:
            return self._volume(given, voxel_size_um)
        linked = self._linked((plane[None] for plane in given), voxel_size_um)
        return finished(linked, len(given), self.settings.on_progress)

    def _linked(
        self, planes: Iterable[Floats], voxel_size_um: tuple[float, float, float]
    ) -> Generator[Labels, None, Segmentation]:
        link, flows, logits = PlaneLinker(self.settings.links), list[Floats](), list[Floats]()
        for plane in planes:
            labels, flow, logit = self._plane(plane[0], voxel_size_um)
            flows.append(flow)
            logits.append(logit)
            yield link.add(labels)
        linked = link.finish()
        flow, logit = np.stack(flows, axis=1), np.stack(logits)
        return Segmentation(
            linked.labels,
            voxel_size_um,
            self.name,
            self.model_hash,
            output=NetOutput(flow, logit, np.zeros_like(logit)),
            links=linked.links,
            remarks=(f"Cellpose {_version()}, plane by plane, planes linked",),
        )

    def _plane(self, plane: Floats, voxel_size_um: tuple[float, float, float]) -> tuple[Labels, Floats, Floats]:
        told = self.settings
        masks, flows = self._eval(
            plane[..., None],
            voxel_size_um,
            channel_axis=2,
            flow_threshold=told.flow_threshold,
            max_size_fraction=1.0,
        )
        return renumbered(masks.reshape(plane.shape)), flows[1] / _FLOW_LENGTH, flows[2]

    def _volume(self, volume: Floats, voxel_size_um: tuple[float, float, float]) -> Segmentation:
        z_um, _, x_um = voxel_size_um
        masks, flows = self._eval(
            volume[..., None],
            voxel_size_um,
            z_axis=0,
            channel_axis=3,
            do_3D=True,
            anisotropy=z_um / x_um,
            # A share of the volume: by Cellpose's default, a nucleus that fills 40 % of it is deleted silently.
            max_size_fraction=1.0,
        )
        logit = np.asarray(flows[2], np.float32).reshape(volume.shape)
        flow = np.asarray(flows[1], np.float32).reshape(3, *volume.shape) / np.float32(_FLOW_LENGTH)
        return Segmentation(
            renumbered(masks.reshape(volume.shape)),
            voxel_size_um,
            self.name,
            self.model_hash,
            output=NetOutput(flow, logit, np.zeros_like(logit)),
            remarks=(f"Cellpose {_version()}, do_3D, anisotropy {z_um / x_um:.3g}",),
        )

    def _eval(self, pixels: Floats, voxel_size_um: tuple[float, float, float], **how: Any) -> tuple[Any, Any]:
        _, y_um, x_um = voxel_size_um
        if abs(y_um / x_um - 1.0) > 0.01:
            raise BadInputError(f"cellpose: pixels of {y_um:g} x {x_um:g} um, expected square ones")
        told = self.settings
        model = self._loaded()
        try:
            masks, flows, _ = model.eval(
                pixels,
                channels=[0, 0],
                diameter=None if told.diameter_um is None else told.diameter_um / x_um,
                cellprob_threshold=told.cellprob_threshold,
                min_size=told.min_size_px,
                # Not a bool, which Cellpose would write into the defaults of every later call.
                normalize={"normalize": False},
                **how,
            )
        except (ValueError, RuntimeError, IndexError) as error:
            raise BadInputError(
                f"cellpose: failed on pixels of shape {pixels.shape[:-1]}: {one_line(error)}"
            ) from error
        return masks, flows

    def _loaded(self) -> Any:
        """Return Cellpose's model around our network; importing it takes seconds, so not before it is needed."""
        if self._model is not None:
            return self._model
        import torch
        from cellpose.models import CellposeModel

        device = torch.device(self.settings.device)
        model: Any = CellposeModel(gpu=False, pretrained_model=False, device=device, mkldnn=False)
        net = _network(self._state)
        net.load_state_dict(dict(self._state), strict=True)
        net.eval()
        model.net = _WithWholeStyle(net.to(device))
        model.net_ortho = None  # is not there at all where Cellpose loads no weights by itself
        model.nbase = list(net.nbase)
        model.nchan = net.nchan
        model.diam_mean = float(self._state["diam_mean"][0])
        model.diam_labels = float(self._state["diam_labels"][0])
        self._model = model
        return model


class _WithWholeStyle:
    """A CPnet whose style is filled up with zeros to the length that Cellpose has room for."""

    def __init__(self, net: Any) -> None:
        self._net = net

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    def __call__(self, data: Any) -> tuple[Any, Any, Any]:
        from torch.nn.functional import pad

        out, style, levels = self._net(data)
        return out, pad(style, (0, max(0, _STYLE - style.shape[1]))), levels


def read_cellpose_weights(path: str | os.PathLike[str]) -> tuple[Mapping[str, Any], str]:
    """Read a file of Cellpose 3 weights and check that it is one, whole.

    Parameters
    ----------
    path : path
        As `CPnet.save_model` writes it. Read as plain tensors: no pickled code is run.

    Returns
    -------
    state : mapping of str to tensor
        The state dict.
    sha256 : str
        Of the file.

    Raises
    ------
    BadInputError
        Cellpose 3 or PyTorch is missing, or there is no such file, or it holds something else.
    """
    need_torch("the backend cellpose")
    if find_spec("cellpose") is None:
        raise BadInputError("the backend cellpose needs Cellpose 3: pip install 'parfocal[cellpose]'")
    if not _version().startswith("3."):
        raise BadInputError(
            f"the backend cellpose needs Cellpose 3, found {_version()}; 4.x runs in an environment of its own "
            "through the backend external"
        )
    import torch

    file = Path(path).expanduser()
    if not file.is_file():
        raise BadInputError(f"{file}: no such file, expected Cellpose 3 weights (nothing is downloaded)")
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadInputError(
            f"{file}: no file of weights that can be read safely: {one_line(error)[:160]}"
        ) from error
    if not isinstance(state, Mapping) or not all(hasattr(v, "shape") for v in state.values()):
        raise BadInputError(f"{file}: holds no state dict, expected Cellpose 3 weights")
    if "W2" in state:
        raise BadInputError(f"{file}: weights of Cellpose 4; they run through the backend external")
    try:
        wanted = {name: tuple(value.shape) for name, value in _network(state).state_dict().items()}
    except (KeyError, IndexError, RuntimeError) as error:
        raise BadInputError(f"{file}: no Cellpose 3 weights: {one_line(error)[:160]}") from error
    found = {str(name): tuple(value.shape) for name, value in state.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise BadInputError(
            f"{file}: not the weights of a Cellpose 3 network: {len(wrong)} of {len(wanted)} tensors are missing, "
            f"too much or of another shape, such as {wrong[0]}"
        )
    if found["output.2.weight"][0] != 3:
        raise BadInputError(
            f"{file}: a network of {found['output.2.weight'][0]} outputs, expected 3: no segmenter"
        )
    return state, hashlib.sha256(file.read_bytes()).hexdigest()


def _network(state: Mapping[str, Any]) -> Any:
    """Return the CPnet whose widths a state dict has, with weights of its own."""
    from cellpose.resnet_torch import CPnet

    first = "downsample.down.res_down_0.proj.1.weight"
    if first not in state or "output.2.weight" not in state:
        raise KeyError(f"no tensor {first}")
    widths: list[int] = [int(state[first].shape[1])]
    while (name := f"downsample.down.res_down_{len(widths) - 1}.proj.1.weight") in state:
        widths.append(int(state[name].shape[0]))
    return CPnet(widths, int(state["output.2.weight"].shape[0]), sz=3, diam_mean=30.0)


def _version() -> str:
    from importlib.metadata import version

    return version("cellpose")


def _range(pixels: NDArray[np.generic]) -> tuple[float, float]:
    few = pixels.ravel()[:: max(1, pixels.size // 2_000_000)]
    low, high = np.percentile(few.astype(np.float32), (1.0, 99.8))
    return float(low), float(high)


def _normalized(pixels: NDArray[np.generic], span: tuple[float, float]) -> Floats:
    low, high = span
    return (np.asarray(pixels, np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6))
