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
    """When a retrained model takes the place of the one that it was trained from: never in a tie.

    Parameters
    ----------
    min_gain : float
        AP at an IoU of 0.5 on held-out corrections has to rise by more than this.
    max_loss : float
        And on simulated volumes it may fall by less than this.
    n_simulated : int
        Simulated images of each kind.
    min_corrections : int
        With fewer held-out corrections there is no judging.
    """

    min_gain: float = 0.01
    max_loss: float = 0.02
    n_simulated: int = 8
    min_corrections: int = 2


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
    n_better, n_worse : int
        On how many of them AP rose, and fell.
    """

    passed: bool
    reason: str
    corrections_before: float
    corrections_after: float
    simulated_before: float
    simulated_after: float
    n_corrections: int
    n_better: int = 0
    n_worse: int = 0


def ap_on_crops(
    net: nn.Module, crops: Sequence[LearningCrop], dims: int, diameter_px: float
) -> NDArray[np.float64]:
    """Return `corrected_ap` of each crop; for a network of planes, the mean over up to 8 planes of it.

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
    return np.array([_ap(net, crop, dims, settings) for crop in crops])


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
    was, now = (ap_on_crops(net, crops, dims, diameter_px) for net in (before, after))
    tell("simulated images")
    simulated = [_simulated(net, dims, how.n_simulated, outline) for net in (before, after)]
    n_better, n_worse = int((now > was).sum()), int((now < was).sum())
    mean_was, mean_now = (float(each.mean()) if each.size else float("nan") for each in (was, now))
    refused = _refusal(how, was, now, simulated[1] - simulated[0])
    reason = refused or (
        f"AP on {_held_out(len(crops))} {mean_now - mean_was:+.3f} (better on {n_better}, worse on {n_worse}), "
        f"on simulated images {simulated[1] - simulated[0]:+.3f}"
    )
    return GateResult(
        not refused, reason, mean_was, mean_now, simulated[0], simulated[1], len(crops), n_better, n_worse
    )


def _refusal(how: GateSettings, was: NDArray[np.float64], now: NDArray[np.float64], simulated_gain: float) -> str:
    """Return why a model is not promoted, in plain words; nothing where it is."""
    if was.size < how.min_corrections:
        return (
            f"only {_held_out(was.size)}: at least {how.min_corrections} are needed to judge; correct more objects"
        )
    gain = float(now.mean() - was.mean())
    if not gain > how.min_gain:
        expected = f"a rise of AP by more than {how.min_gain:g} was expected"
        if np.array_equal(was, now):
            right = ", where nothing was wrong" if (was == 1.0).all() else ""
            return f"no better and no worse on {_held_out(was.size)}{right}: {expected}"
        better, worse = int((now > was).sum()), int((now < was).sum())
        return f"AP on {_held_out(was.size)} {gain:+.3f} (better on {better}, worse on {worse}): {expected}"
    if not -simulated_gain < how.max_loss:
        return f"AP on simulated images {simulated_gain:+.3f}: a loss below {how.max_loss:g} was expected"
    return ""


def _held_out(n: int) -> str:
    return f"{n} held-out correction{'' if n == 1 else 's'}"


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
