"""The microscope as ophyd devices."""

from parfocal.devices._auditor import Auditor, Judge
from parfocal.devices._burst import Burst, BurstSettings
from parfocal.devices._camera import Camera, default_frames_root
from parfocal.devices._light import Light, LightDriver, NoLight
from parfocal.devices._microscope import Backend, Microscope
from parfocal.devices._point import Point
from parfocal.devices._stage import OutOfLimitsError, Stage, StageAxis
from parfocal.devices._stage_driver import StageDriver

__all__ = [
    "Auditor",
    "Backend",
    "Burst",
    "BurstSettings",
    "Camera",
    "Judge",
    "Light",
    "LightDriver",
    "Microscope",
    "NoLight",
    "OutOfLimitsError",
    "Point",
    "Stage",
    "StageAxis",
    "StageDriver",
    "default_frames_root",
]
