"""Simulated recordings of puncta and calcium, and all that is true of them."""

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
    "puncta_frames",
    "simulate_puncta",
]
