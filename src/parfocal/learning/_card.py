"""What goes with a file of weights: what it is, what it was trained on, how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """The card of a file of weights, kept beside it as JSON.

    Parameters
    ----------
    name : str
        For people: `nuclei3d`, `nuclei2d`, `denoise2d`.
    version : str
        `shipped`, or when it was retrained.
    architecture : mapping
        What `build_unet` takes: the network can be built from its card alone.
    weights_sha256 : str
        Of the file of weights: the model's hash, which every result names.
    recipe : mapping
        Generator and its version, seeds, steps, batch, rates: enough to train it again.
    metrics : mapping of str to float
        Measured on held-out data when it was made.
    parent : str, optional
        Hash of the model that it was trained from.
    data : tuple of str
        Hashes of the corrections that it learnt from.
    made : str
        When, UTC, ISO 8601.
    """

    name: str
    version: str
    architecture: Mapping[str, Any]
    weights_sha256: str
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    parent: str | None = None
    data: tuple[str, ...] = ()
    made: str = ""
