"""What the network is taught by; only what has made sure of PyTorch imports this."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from parfocal.puncta.networks._loss_settings import LossSettings
from parfocal.puncta.networks._shape import OUTPUTS

_WINDOW = 2  # px around a punctum's own pixel whose claims are weighed: an offset reaches 1
_COUNT_VARIANCE = 1e-3
_TYPICAL_COUNT = 5.0


def mixture_terms(output: Tensor, puncta: Tensor, counts: Tensor, background: Tensor) -> dict[str, Tensor]:
    """Return the likelihood of the puncta of each patch under a mixture of what all its pixels claim.

    Speiser et al. 2021 (DECODE), with two repairs: the count's term is not multiplied by the count, so that a
    patch without puncta has its say about what should not be found in it, and the count's variance never
    vanishes. With p of each pixel, n puncta theta_e and what pixel k claims (mu_k, sigma_k):

        -log N(n; sum p, sum p (1 - p)) - sum_e log sum_k (p_k / sum p) N(theta_e; mu_k, sigma_k)

    over x, y and ln photons; k runs over the 25 pixels around each punctum.

    Parameters
    ----------
    output : Tensor (n, planes, y, x)
    puncta : Tensor (n, most, 4)
        x, y, ln photons, whether calcium is on.
    counts : Tensor (n,)
        How many rows of `puncta` are real.
    background : Tensor (n, 1, y, x)
    """
    planes = dict(zip(OUTPUTS, output.unbind(dim=1), strict=False))
    logit = planes["logit"]
    p = torch.sigmoid(logit)
    expected = p.sum(dim=(1, 2))
    spread = (p * (1 - p)).sum(dim=(1, 2)) + _COUNT_VARIANCE
    count = 0.5 * torch.log(2 * math.pi * spread) + (counts - expected) ** 2 / (2 * spread)
    at, real = _rows(puncta, counts)
    terms = {"count": count.mean() / _TYPICAL_COUNT, "background": _background(planes["background"], background)}
    if len(real):
        names = ("logit", "dx", "dy", "log_photons", "log_sigma_x", "log_sigma_y", "log_sigma_photons")
        claims, dx, dy = _around(torch.stack([planes[name] for name in names], dim=1), at, real)
        log_p = functional.logsigmoid(claims[:, 0]) - torch.log(expected[at])[:, None]
        means = (dx + claims[:, 1], dy + claims[:, 2], claims[:, 3])
        truth = (torch.zeros_like(real[:, :1]), torch.zeros_like(real[:, :1]), real[:, 2:3])
        total = torch.where(torch.isfinite(claims[:, 0]), log_p, -torch.inf)
        for mean, true, log_sigma in zip(means, truth, claims[:, 4:7].unbind(dim=1), strict=True):
            total = total - 0.5 * ((true - mean) * torch.exp(-log_sigma)) ** 2 - log_sigma - _HALF_LOG_2_PI
        terms["puncta"] = -torch.logsumexp(total, dim=1).sum() / (len(counts) * _TYPICAL_COUNT)
    return terms


def seed_terms(
    output: Tensor, puncta: Tensor, counts: Tensor, background: Tensor, settings: LossSettings
) -> dict[str, Tensor]:
    """Return the seed's own loss, repaired.

    Cross-entropy of each pixel, positives weighted; smooth L1 of the offsets, and of ln photons, at positives; and
    a Gaussian likelihood by which the sigmas are taught (on errors that do not teach the positions). All but
    the last are bounded below by 0.
    """
    planes = dict(zip(OUTPUTS, output.unbind(dim=1), strict=False))
    at, real = _rows(puncta, counts)
    height, width = output.shape[2:]
    column = real[:, 0].round().long().clamp(0, width - 1)
    line = real[:, 1].round().long().clamp(0, height - 1)
    target = torch.zeros_like(planes["logit"])
    target[at, line, column] = 1.0
    terms = {
        "detection": settings.detection_weight * detection_loss(planes["logit"], target, settings),
        "background": _background(planes["background"], background),
    }
    if len(real):
        said = {name: plane[at, line, column] for name, plane in planes.items()}
        errors = {
            "x": said["dx"] - (real[:, 0] - column),
            "y": said["dy"] - (real[:, 1] - line),
            "photons": said["log_photons"] - real[:, 2],
        }
        zero = torch.zeros_like(errors["x"])
        offset = functional.smooth_l1_loss(errors["x"], zero) + functional.smooth_l1_loss(errors["y"], zero)
        terms["offset"] = settings.offset_weight * offset
        terms["photons"] = settings.photon_weight * functional.smooth_l1_loss(errors["photons"], zero)
        likelihood = zero
        for name, error in errors.items():
            log_sigma = said[f"log_sigma_{name}"]
            likelihood = likelihood + 0.5 * (error.detach() * torch.exp(-log_sigma)) ** 2 + log_sigma
        terms["sigmas"] = 0.1 * likelihood.mean()
    return terms


def detection_loss(logit: Tensor, target: Tensor, settings: LossSettings) -> Tensor:
    """Return the cross-entropy of pixels, positives weighted and, with a focal gamma, the easy ones played down.

    alpha weighs positives and 1 - alpha the others, as Lin et al. 2017 define it.
    """
    weight = torch.tensor(positive_weight(target) if settings.pos_weight is None else settings.pos_weight)
    weight = weight.to(logit)
    if settings.focal_gamma == 0.0:
        return functional.binary_cross_entropy_with_logits(logit, target, pos_weight=weight)
    plain = functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    p = torch.sigmoid(logit)
    missed = torch.where(target > 0.5, 1 - p, p)
    alpha = torch.where(target > 0.5, settings.focal_alpha, 1 - settings.focal_alpha)
    return (alpha * missed**settings.focal_gamma * plain).sum() / target.sum().clamp(min=1.0)


def positive_weight(target: Tensor) -> float:
    """Return the root of how many pixels there are to a positive: between 1 and what would balance them."""
    share = float(target.mean())
    return 1.0 if share <= 0.0 else min(50.0, math.sqrt((1 - share) / share))


def calcium_terms(output: Tensor, puncta: Tensor, counts: Tensor, settings: LossSettings) -> dict[str, Tensor]:
    """Return the loss of the calcium decoder: read at puncta, and at as many pixels far from any.

    Cross-entropy (or focal loss), both classes weighing the same however rare events are.
    """
    at, real = _rows(puncta, counts)
    plane = output[:, len(OUTPUTS)]
    height, width = plane.shape[1:]
    line = real[:, 1].round().long().clamp(0, height - 1)
    column = real[:, 0].round().long().clamp(0, width - 1)
    at_puncta = plane[at, line, column]
    is_on = real[:, 3]
    # A fixed lattice of pixels, those near puncta left out.
    step = max(8, height // 6)
    grid_y = torch.arange(step // 2, height, step, device=plane.device)
    lattice = plane[:, grid_y][:, :, grid_y[grid_y < width]]
    free = torch.ones_like(plane, dtype=torch.bool)
    reach = 4
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            free[at, (line + dy).clamp(0, height - 1), (column + dx).clamp(0, width - 1)] = False
    mined = lattice[free[:, grid_y][:, :, grid_y[grid_y < width]]]
    logits = torch.cat([at_puncta, mined])
    target = torch.cat([is_on, torch.zeros_like(mined)])
    # Background far from puncta weighs a quarter of what puncta do.
    weight = torch.cat(
        [torch.ones_like(is_on), torch.full_like(mined, 0.25 * max(1, len(is_on)) / max(1, len(mined)))]
    )
    n_on, n_off = (weight * target).sum(), (weight * (1 - target)).sum()
    balance = torch.where(target > 0.5, 0.5 / n_on.clamp(min=1.0), 0.5 / n_off.clamp(min=1.0))
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if settings.focal_gamma > 0.0:
        p = torch.sigmoid(logits)
        each = each * torch.where(target > 0.5, 1 - p, p) ** settings.focal_gamma
    return {"calcium": (weight * balance * each).sum()}


_HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


def _background(said: Tensor, true: Tensor) -> Tensor:
    return 2.0 * functional.mse_loss(said, true[:, 0])


def _rows(puncta: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return of each real punctum the patch that it is in, and its row."""
    is_real = torch.arange(puncta.shape[1], device=puncta.device) < counts[:, None]
    at = torch.nonzero(is_real)[:, 0]
    return at, puncta[is_real]


def _around(planes: Tensor, at: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the pixels around each punctum say (n, planes, 25), and how far they are from it (n, 25).

    Pixels beyond the patch claim nothing: their logit is -inf.
    """
    height, width = planes.shape[2:]
    span = torch.arange(-_WINDOW, _WINDOW + 1, device=planes.device)
    line = (real[:, 1].round().long()[:, None, None] + span[:, None]).expand(-1, -1, len(span)).flatten(1)
    column = (real[:, 0].round().long()[:, None, None] + span).expand(-1, len(span), -1).flatten(1)
    inside = (line >= 0) & (line < height) & (column >= 0) & (column < width)
    claims = planes[at[:, None], :, line.clamp(0, height - 1), column.clamp(0, width - 1)].transpose(1, 2)
    logit = torch.where(inside, claims[:, 0], -torch.inf)
    claims = torch.cat([logit[:, None], claims[:, 1:]], dim=1)
    return claims, column - real[:, :1], line - real[:, 1:2]
