"""A microscope that is computed: images by diffraction, a stage with speed, backlash and drift."""

from parfocal.devices.simulated._camera import SimulatedCamera
from parfocal.devices.simulated._core import (
    SampleName,
    SimulatedMicroscopeCore,
    simulated_core,
)
from parfocal.devices.simulated._faults import SimulatedFaults
from parfocal.devices.simulated._light import SimulatedLight
from parfocal.devices.simulated._motion import Axis, AxisModel, Move, Twitch
from parfocal.devices.simulated._planted import FaultKind, PlantedFault, planted_faults
from parfocal.devices.simulated._spell import Spell
from parfocal.devices.simulated._stage import SimulatedStage
from parfocal.devices.simulated._world import SimulatedWorld

__all__ = [
    "Axis",
    "AxisModel",
    "FaultKind",
    "Move",
    "PlantedFault",
    "SampleName",
    "SimulatedCamera",
    "SimulatedFaults",
    "SimulatedLight",
    "SimulatedMicroscopeCore",
    "SimulatedStage",
    "SimulatedWorld",
    "Spell",
    "Twitch",
    "planted_faults",
    "simulated_core",
]
