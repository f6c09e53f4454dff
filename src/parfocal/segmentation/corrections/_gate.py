"""Is a retrained model better? On corrections that it has not seen, and no worse on what it knew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation._segmentation import NetOutput
from parfocal.segmentation.corrections._crops import LearningCrop
from parfocal.segmentation.corrections._kinds import Labels
from parfocal.segmentation.flows import MaskSettings, masks_from_output
from parfocal.segmentation.generator import Outline
from parfocal.segmentation.measures import compare
from parfocal.segmentation.training import as_metrics, held_out_scores

if TYPE_CHECKING:
    from torch import nn

_PLANES_A_CROP = 8


@dataclass(frozen=True)
class GateSettings:
    """When a retrained model takes the place of the one that it was trained from.

    Parameters
    ----------
    min_gain : float
        AP at an IoU of 0.5 on held-out corrections has to rise by more than this.
    max_loss : float
        And on simulated volumes it may fall by less than this.
    n_simulated : int
        Simulated images of each kind.
    """

    min_gain: float = 0.01
    max_loss: float = 0.02
    n_simulated: int = 8


@dataclass(frozen=True)
class GateResult:
    """What the gate found.

    Parameters
    ----------
    passed : bool
        Whether the model may be promoted.
    reason : str
        In a line.
    corrections_before, corrections_after : float
        Mean AP at 0.5 on the held-out corrections.
    simulated_before, simulated_after : float
        Mean AP at 0.5 on simulated images.
    n_corrections : int
        How many were held out.
    """

    passed: bool
    reason: str
    corrections_before: float
    corrections_after: float
    simulated_before: float
    simulated_after: float
    n_corrections: int


def ap_on_crops(net: nn.Module, crops: Sequence[LearningCrop], dims: int, diameter_px: float) -> float:
    """Return the mean over crops of `corrected_ap`; for a network of planes, of that of up to 8 planes.

    Parameters
    ----------
    net : torch.nn.Module
        In evaluation mode, on the CPU.
    crops : sequence of LearningCrop
        At the size that it knows.
    dims : {2, 3}
    diameter_px : float
        That size.
    """
    settings = MaskSettings(diameter_px=diameter_px)
    return float(np.mean([_ap(net, crop, dims, settings) for crop in crops])) if crops else float("nan")


def gate(
    before: nn.Module,
    after: nn.Module,
    crops: Sequence[LearningCrop],
    dims: int,
    diameter_px: float,
    settings: GateSettings | None = None,
    on_step: Callable[[str], object] | None = None,
    outline: Outline = "drawn",
) -> GateResult:
    """Compare two networks on held-out corrections and on simulated images.

    Parameters
    ----------
    before, after : torch.nn.Module
        The one in use, and the retrained one.
    crops : sequence of LearningCrop
        Corrections that neither has seen.
    dims, diameter_px
        See `ap_on_crops`.
    settings : GateSettings, optional
    on_step : callable, optional
        Told what is being measured.
    outline : {"drawn", "seen", "true"}
        Which outlines of simulated nuclei the network in use was taught; see `outline_of`.
    """
    how = settings or GateSettings()
    tell = on_step or (lambda _what: None)
    tell("held-out corrections")
    on_crops = [ap_on_crops(net, crops, dims, diameter_px) for net in (before, after)]
    tell("simulated images")
    simulated = [_simulated(net, dims, how.n_simulated, outline) for net in (before, after)]
    gain, loss = on_crops[1] - on_crops[0], simulated[0] - simulated[1]
    if not crops:
        passed, reason = False, "no correction was held out to judge by"
    elif not gain > how.min_gain:
        passed, reason = False, f"AP on held-out corrections {gain:+.3f}, more than +{how.min_gain:g} was expected"
    elif not loss < how.max_loss:
        passed, reason = False, f"AP on simulated images {-loss:+.3f}, a loss below {how.max_loss:g} was expected"
    else:
        passed, reason = True, f"AP on held-out corrections {gain:+.3f}, on simulated images {-loss:+.3f}"
    return GateResult(passed, reason, on_crops[0], on_crops[1], simulated[0], simulated[1], len(crops))


def _simulated(net: nn.Module, dims: int, n: int, outline: Outline) -> float:
    scores = as_metrics(held_out_scores(net, dims, n, outline=outline))
    return float(np.mean([value for name, value in scores.items() if name.endswith("_ap50")]))


def _ap(net: nn.Module, crop: LearningCrop, dims: int, settings: MaskSettings) -> float:
    whole = crop.weight >= crop.weight.max()
    if dims == 3:
        found = masks_from_output(_said(net, crop.image), settings, None, 1)
        return corrected_ap(crop.labels, found, whole)
    planes = np.flatnonzero(whole.any(axis=(1, 2)))
    chosen = planes[np.linspace(0, planes.size - 1, min(_PLANES_A_CROP, planes.size)).round().astype(int)]
    each: list[float] = []
    for z in chosen:
        found = masks_from_output(_said(net, crop.image[z]), settings, None, 1)
        each.append(corrected_ap(crop.labels[z], found, whole[z]))
    return float(np.mean(each))


def corrected_ap(truth: Labels, found: Labels, where: NDArray[np.bool_]) -> float:
    """Return TP / (TP + FP + FN) at an IoU of 0.5 of objects that lie by half at least in what was corrected.

    Neighbours that nobody has looked at are as the old model drew them: they would speak for it.
    """
    compared = compare(truth, found)
    pairs = compared.at(0.5).pairs
    true_here, found_here = _mostly_in(truth, where), _mostly_in(found, where)
    hits = sum(int(one) in true_here for one in pairs[:, 0])
    misses = len(true_here) - hits
    # Found here, and not what a neighbour is.
    matched = {int(one) for one in pairs[:, 1]}
    false = len(found_here - matched)
    total = hits + misses + false
    return hits / total if total else 1.0


def _mostly_in(labels: Labels, where: NDArray[np.bool_]) -> set[int]:
    sizes = np.bincount(labels.ravel())
    inside = np.bincount(labels[where].ravel(), minlength=sizes.size)
    return {int(one) for one in np.flatnonzero((inside * 2 >= sizes) & (sizes > 0)) if one}


def _said(net: nn.Module, image: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> NetOutput:
    """Return what a network says of an image that is at its size and scale."""
    import torch

    multiple = 16
    padding = [(0, -n % multiple) for n in image.shape]
    padded = np.pad(image, padding, mode="reflect" if min(image.shape) > multiple else "edge")
    with torch.inference_mode():
        said = net(torch.from_numpy(np.ascontiguousarray(padded))[None, None])[0].float().numpy()
    here = tuple(slice(0, n) for n in image.shape)
    ndim = image.ndim
    return NetOutput(
        np.ascontiguousarray(said[(slice(0, ndim), *here)]),
        np.ascontiguousarray(said[(ndim, *here)]),
        np.ascontiguousarray(said[(ndim + 1, *here)]),
    )
