"""A microscope that is computed: images by diffraction, a stage with speed, backlash and drift."""

from parfocal.devices.simulated._camera import SimulatedCamera
from parfocal.devices.simulated._core import (
    SampleName,
    SimulatedLight,
    SimulatedMicroscopeCore,
    SimulatedStage,
    simulated_core,
)
from parfocal.devices.simulated._motion import Axis, AxisModel, Move, Twitch

__all__ = [
    "Axis",
    "AxisModel",
    "Move",
    "SampleName",
    "SimulatedCamera",
    "SimulatedLight",
    "SimulatedMicroscopeCore",
    "SimulatedStage",
    "Twitch",
    "simulated_core",
]
