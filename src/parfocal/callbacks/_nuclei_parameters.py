"""What the labels of a run depend on, and the backend that follows from it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from parfocal.errors import BadInputError
from parfocal.segmentation import Backend
from parfocal.segmentation.backends import (
    LINKS_PLANES,
    USUAL_MODELS,
    default_backend,
    model_options,
    open_backend,
)
from parfocal.segmentation.planes import LinkSettings

LINKS_OF_RUNS = (
    "min_overlap_ratio",
    "max_distance_z",
    "min_containment",
    "fill_gaps",
    "neck_ratio",
    "min_depth_planes",
    "thin_objects",
    "follow_drift",
)
"""What runs can be told of linking: fields of `LinkSettings` and of `NucleiParameters`."""


@dataclass(frozen=True)
class NucleiParameters:
    """What the labels depend on.

    `backend` is a name in `BACKENDS` (empty: the default; `external` is for files), `model` a name, version or
    hash of weights, for `cellpose` the path of a file (empty: the one that is promoted; what is kept is its hash),
    `diameter_um` that of a typical nucleus (0: found), `channel` the one that shows nuclei (empty: the first that
    comes). `restoration` is what is tried on each stack once it is complete, and kept where it helps
    (`restore_if_it_helps`). From `min_overlap_ratio` to `follow_drift`: how planes are linked, see `LinkSettings`;
    None takes its default. What is kept is what was used, or None of a backend that links no planes.
    `n_uncertain` objects of each stack are named for review.
    """

    backend: str = ""
    model: str = ""
    diameter_um: float = 0.0
    restoration: Literal["none", "auto", "denoise", "deblur", "denoise+deblur"] = "none"
    channel: str = ""
    min_overlap_ratio: float | None = None
    max_distance_z: int | None = None
    min_containment: float | None = None
    fill_gaps: bool | None = None
    neck_ratio: float | None = None
    min_depth_planes: int | None = None
    thin_objects: Literal["keep", "merge", "drop"] | None = None
    follow_drift: bool | None = None
    n_uncertain: int = 10

    @property
    def links(self) -> dict[str, Any]:
        """What is told of linking, by name."""
        told = {name: getattr(self, name) for name in LINKS_OF_RUNS}
        return {name: value for name, value in told.items() if value is not None}


def make_backend(parameters: NucleiParameters, models: Path | str | None) -> Backend:
    """Return what labels the stacks of a run.

    Raises
    ------
    BadInputError
        There is no such backend, model or way to link, or it is for files.
    """
    name = parameters.backend or default_backend()
    if name == "external":
        raise BadInputError("nuclei: the backend external is for files, not for runs: no command can be told")
    named: dict[str, Any] = {"weights": parameters.model}
    options = named if _is_file(name, parameters.model) else model_options(name, models, parameters.model)
    if name == "watershed":
        options["dims"] = 2  # planes as they come are linked; a stack that is labelled anew is, too
    return open_backend(name, diameter_um=parameters.diameter_um or None, **options, **parameters.links)


def needs_store(parameters: NucleiParameters) -> bool:
    """Say whether the model is looked up in a store of models, which only a data folder has."""
    backend = parameters.backend or default_backend()
    has_store = backend in USUAL_MODELS or backend == "cellpose"
    return has_store and bool(parameters.model) and not _is_file(backend, parameters.model)


def _is_file(backend: str, model: str) -> bool:
    """Say whether a model is a file of Cellpose's weights and not the name of one in the store."""
    is_path = "/" in model or os.sep in model or Path(model).expanduser().is_file()
    return backend not in USUAL_MODELS and bool(model) and is_path


def as_used(parameters: NucleiParameters, models: Path | str | None) -> NucleiParameters:
    """Return parameters by what they come to: backend and model by name and hash, how planes are linked."""
    made = make_backend(parameters, models)
    used = LinkSettings(**parameters.links).as_dict() if made.name in LINKS_PLANES else {}
    links: dict[str, Any] = {name: used.get(name) for name in LINKS_OF_RUNS}
    return replace(parameters, backend=made.name, model=made.model_hash or "", **links)


def make_as_used(used: NucleiParameters, told_model: str, models: Path | str | None) -> Backend:
    """Return the backend of parameters by what they came to, with the very weights that their hash names.

    Raises
    ------
    BadInputError
        The file of weights is another one by now.
    """
    # A store finds its models by hash, whichever is promoted meanwhile; a file has its path alone.
    by = replace(used, model=told_model) if _is_file(used.backend, told_model) else used
    made = make_backend(by, models)
    if (made.model_hash or "") != used.model:
        raise BadInputError(f"{told_model}: not the weights any more with which the run began, {used.model[:12]}")
    return made
