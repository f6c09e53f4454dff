"""Simulated recordings of puncta and calcium, and all that is true of them."""

from parfocal.puncta.simulation._check_data import SampleCheck, check_data, check_sample
from parfocal.puncta.simulation._sample_files import read_metadata, read_sample, sample_name, write_sample
from parfocal.puncta.simulation._scene import (
    IMMOBILE,
    MOTIONS,
    Background,
    Blinking,
    Calcium,
    CameraChain,
    Motion,
    Psf,
    PunctaScene,
)
from parfocal.puncta.simulation._scene_json import scene_json, scene_of
from parfocal.puncta.simulation._simulate import (
    PunctaFrame,
    PunctaRecording,
    PunctaSimulation,
    puncta_frames,
    simulate_puncta,
)

__all__ = [
    "IMMOBILE",
    "MOTIONS",
    "Background",
    "Blinking",
    "Calcium",
    "CameraChain",
    "Motion",
    "Psf",
    "PunctaFrame",
    "PunctaRecording",
    "PunctaScene",
    "PunctaSimulation",
    "SampleCheck",
    "check_data",
    "check_sample",
    "puncta_frames",
    "read_metadata",
    "read_sample",
    "sample_name",
    "scene_json",
    "scene_of",
    "simulate_puncta",
    "write_sample",
]
