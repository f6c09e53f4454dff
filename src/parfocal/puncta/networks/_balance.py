"""How two tasks share one encoder; only what has made sure of PyTorch imports this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from parfocal.puncta.networks._loss_settings import LossSettings
from parfocal.puncta.networks._losses import calcium_terms, mixture_terms, seed_terms
from parfocal.puncta.networks._module import PunctaModule

_MEMORY = 0.95
_KENDALL_LIMIT = 4.0


class PunctaLoss:
    """The loss of a stage: from the network's output and a batch to named terms, whose sum is descended.

    Where both tasks are trained, the length of each one's gradient on the encoder's last layer is measured every
    step and kept in the network's `task_grad_norms` (running means). Tasks are weighed by the settings, and
    further by exp(-s) learnt (Kendall et al. 2018; for losses bounded below by 0), or, with the mixture's
    likelihood, so that calcium's gradient is as long as localization's.

    Parameters
    ----------
    module : PunctaModule
    settings : LossSettings
    tasks : set of {"localization", "calcium"}
    """

    def __init__(self, module: PunctaModule, settings: LossSettings, tasks: frozenset[str]) -> None:
        self._module, self._settings, self._tasks = module, settings, tasks
        self.at_limit = False

    def __call__(self, output: Tensor, puncta: Tensor, counts: Tensor, background: Tensor) -> Mapping[str, Tensor]:
        """Return the terms."""
        how = self._settings
        terms: dict[str, Tensor] = {}
        calcium: dict[str, Tensor] = {}
        if "localization" in self._tasks:
            terms = (
                mixture_terms(output, puncta, counts, background)
                if how.kind == "mixture"
                else seed_terms(output, puncta, counts, background, how)
            )
        if "calcium" in self._tasks:
            calcium = calcium_terms(output, puncta, counts, how)
        if not (terms and calcium):
            return terms or calcium
        first, second = torch.stack(list(terms.values())).sum(), calcium["calcium"]
        norms = self._measure(first, second)
        weights: tuple[Any, Any] = (how.localization_weight, how.calcium_weight)
        if how.use_uncertainty_weighting:
            s = self._module.task_weights()
            self.at_limit = bool((s.detach().abs() >= _KENDALL_LIMIT).any())
            weights = (0.5 * weights[0] * torch.exp(-s[0]), weights[1] * torch.exp(-s[1]))
            terms["task_weights"] = 0.5 * s.sum()
        elif how.kind == "mixture" and norms[1] > 0:
            weights = (weights[0], weights[1] * min(10.0, norms[0] / norms[1]))
        return {name: term if name == "task_weights" else term * weights[0] for name, term in terms.items()} | {
            "calcium": second * weights[1]
        }

    def _measure(self, first: Tensor, second: Tensor) -> tuple[float, float]:
        """Return the running lengths of both gradients on the encoder's last layer."""
        trunk = self._module.trunk()
        kept = self._module.task_grad_norms
        if trunk.requires_grad:
            for k, loss in enumerate((first, second)):
                gradient: Any = torch.autograd.grad(loss, trunk, retain_graph=True, allow_unused=True)[0]
                length = 0.0 if gradient is None else float(gradient.norm())
                if math.isfinite(length):
                    before = float(kept[k])
                    kept[k] = length if before == 0.0 else _MEMORY * before + (1 - _MEMORY) * length
        return float(kept[0]), float(kept[1])
