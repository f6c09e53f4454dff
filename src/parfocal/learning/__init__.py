"""Training loop, weights and cards, adapters."""

from parfocal.learning._adapters import (
    adapter_card,
    adapter_state,
    add_adapters,
    load_adapter,
    merge_adapters,
    open_adapter,
    save_adapter,
)
from parfocal.learning._build import build_unet
from parfocal.learning._card import ModelCard
from parfocal.learning._cluster import cluster_client
from parfocal.learning._inference import for_inference
from parfocal.learning._need_torch import need_torch
from parfocal.learning._networks import architecture_of, build_network, read_pth
from parfocal.learning._shape import UNetShape
from parfocal.learning._store import ModelStore, StoredModel
from parfocal.learning._store_journal import ModelEvent
from parfocal.learning._train import train
from parfocal.learning._train_settings import Batches, Loss, TrainLog, TrainProgress, TrainSettings
from parfocal.learning._training_files import check_training_files
from parfocal.learning._weights import is_half, load_into, load_weights, save_weights
from parfocal.learning._workers import train_on_workers

__all__ = [
    "Batches",
    "Loss",
    "ModelCard",
    "ModelEvent",
    "ModelStore",
    "StoredModel",
    "TrainLog",
    "TrainProgress",
    "TrainSettings",
    "UNetShape",
    "adapter_card",
    "adapter_state",
    "add_adapters",
    "architecture_of",
    "build_network",
    "build_unet",
    "check_training_files",
    "cluster_client",
    "for_inference",
    "is_half",
    "load_adapter",
    "load_into",
    "load_weights",
    "merge_adapters",
    "need_torch",
    "open_adapter",
    "read_pth",
    "save_adapter",
    "save_weights",
    "train",
    "train_on_workers",
]
