"""Networks at work: pixels scaled, cut into tiles, sized as the network knows them."""

from parfocal.segmentation.networks._net import (
    NucleiNet,
    as_net,
    open_net,
    save_net,
    shipped_folder,
    shipped_weights,
)
from parfocal.segmentation.networks._normalise import PixelRange, RunningRange, normalised, pixel_range
from parfocal.segmentation.networks._predict import Prediction, predict, predict_on
from parfocal.segmentation.networks._size import estimate_diameter_um, grid_for
from parfocal.segmentation.networks._tiles import TileMemory, TileSettings, run_tiles

__all__ = [
    "NucleiNet",
    "PixelRange",
    "Prediction",
    "RunningRange",
    "TileMemory",
    "TileSettings",
    "as_net",
    "estimate_diameter_um",
    "grid_for",
    "normalised",
    "open_net",
    "pixel_range",
    "predict",
    "predict_on",
    "run_tiles",
    "save_net",
    "shipped_folder",
    "shipped_weights",
]
