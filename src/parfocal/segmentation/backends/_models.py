"""The networks that people have: those that came with parfocal, and those retrained here."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from parfocal.errors import BadInputError
from parfocal.learning import ModelStore, StoredModel, load_weights, need_torch
from parfocal.segmentation.backends._cellpose import CellposeWeights
from parfocal.segmentation.networks import NucleiNet, as_net, shipped_folder

USUAL_MODELS = {"default": "nuclei2d", "unet2d+link": "nuclei2d", "unet3d": "nuclei3d"}
"""Backends with a network of ours, and the name of the one that each takes when nobody says which."""


def model_store(folder: str | os.PathLike[str]) -> ModelStore:
    """Return the models of a folder beside those that came with parfocal."""
    return ModelStore(folder, shipped=(shipped_folder(),))


def open_model(store: ModelStore, asked: str, *, device: str | None = None) -> NucleiNet:
    """Return a network of a store, its adapters merged, ready to be asked.

    Parameters
    ----------
    store : ModelStore
        See `model_store`.
    asked : str
        A name (then the version that is promoted), `name@version`, or the beginning of a hash.
    device : str, optional
        cuda where there is one, else cpu.

    Raises
    ------
    BadInputError
        PyTorch is missing, there is no such model, or it is none that finds nuclei.
    """
    need_torch("a network")
    found = store.find(asked)
    known = _recipe(store, found).get("diameter_px")
    size: dict[str, Any] = {} if known is None else {"diameter_px": float(known)}
    net = as_net(store.network(found), device=device, name=found.name, **size)
    return replace(net, model_hash=found.weights_sha256)


def model_options(backend: str, models: str | os.PathLike[str] | None, asked: str = "") -> dict[str, Any]:
    """Return what `open_backend` has to be told to take the model that is promoted, or that was asked for.

    Parameters
    ----------
    backend : str
        Of those with a network of ours; `cellpose` where a model is asked for. For others nothing is returned.
    models : path, optional
        Folder of models; without one, those that came with parfocal.
    asked : str
        See `open_model`; empty for the one of the backend.

    Raises
    ------
    BadInputError
        See `open_model`; or a model is asked for of a backend that takes none.
    """
    if asked and backend not in USUAL_MODELS:
        if backend != "cellpose":
            raise BadInputError(f"model {asked}: the backend {backend} takes none of ours")
        return {"weights": _cellpose_weights(models, asked)}
    if backend not in USUAL_MODELS or (models is None and not asked):
        return {}
    store = model_store(models if models is not None else shipped_folder() / "none")
    return {"weights": open_model(store, asked or USUAL_MODELS[backend])}


def _cellpose_weights(models: str | os.PathLike[str] | None, asked: str) -> CellposeWeights:
    """Return a network of Cellpose's that was imported or retrained here, its adapters merged."""
    need_torch("the backend cellpose")
    store = model_store(models if models is not None else shipped_folder() / "none")
    found = store.find(asked)
    root = store.lineage(found)[-1]
    if root.card.architecture.get("kind") != "cpnet":
        raise BadInputError(f"model {asked}: is no network of Cellpose's; it runs by unet2d+link or unet3d")
    return CellposeWeights(store.network(found).state_dict(), found.weights_sha256)


def _recipe(store: ModelStore, model: StoredModel) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in reversed(store.lineage(model)):
        merged.update(load_weights(one.path)[1].recipe)
    return merged
