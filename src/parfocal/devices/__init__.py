"""The microscope as ophyd devices."""

from parfocal.devices._auditor import Auditor, Judge, RememberingJudge
from parfocal.devices._burst import Burst, BurstSettings
from parfocal.devices._camera import Camera, default_frames_root
from parfocal.devices._characterization_shelf import CharacterizationShelf, KeptCharacterization
from parfocal.devices._characterizer import Characterizer, characterization_row
from parfocal.devices._columns import FAILURE, POINT, Columns
from parfocal.devices._factories import (
    focus_microscope,
    micromanager_microscope,
    recorded_microscope,
    simulated_microscope,
)
from parfocal.devices._faults import FAULTS, Fault, FaultInjector, FaultOrder, FaultSwitch
from parfocal.devices._feed import FedFrame, FeedReader, FrameFeed
from parfocal.devices._focus_hardware import (
    FOCUS_CAMERAS,
    STAGES,
    open_focus_backend,
    open_focus_camera,
    open_stage_driver,
)
from parfocal.devices._light import Light, LightDriver, LightLevel, NoLight
from parfocal.devices._load_devices import load_devices, read_devices_file
from parfocal.devices._measured_noise import MeasuredNoise, camera_identity, find_noise, model_of
from parfocal.devices._microscope import Backend, Microscope
from parfocal.devices._named_microscope import named_microscope
from parfocal.devices._stage import LeasedError, OutOfLimitsError, Stage, StageAxis
from parfocal.devices._stage_driver import StageDriver
from parfocal.devices._step_recorder import DarkSwitch, StepRecorder, TimedMove
from parfocal.devices._together import Together
from parfocal.devices.lock import (
    Armed,
    CalibrationShelf,
    FocusCalibrator,
    FocusLock,
    Kept,
    LockRing,
    LockSampleStream,
    LockSetpoint,
    optics_facts,
)
from parfocal.devices.micromanager import micromanager_backend

__all__ = [
    "FAILURE",
    "FAULTS",
    "FOCUS_CAMERAS",
    "POINT",
    "STAGES",
    "Armed",
    "Auditor",
    "Backend",
    "Burst",
    "BurstSettings",
    "CalibrationShelf",
    "Camera",
    "CharacterizationShelf",
    "Characterizer",
    "Columns",
    "DarkSwitch",
    "Fault",
    "FaultInjector",
    "FaultOrder",
    "FaultSwitch",
    "FedFrame",
    "FeedReader",
    "FocusCalibrator",
    "FocusLock",
    "FrameFeed",
    "Judge",
    "Kept",
    "KeptCharacterization",
    "LeasedError",
    "Light",
    "LightDriver",
    "LightLevel",
    "LockRing",
    "LockSampleStream",
    "LockSetpoint",
    "MeasuredNoise",
    "Microscope",
    "NoLight",
    "OutOfLimitsError",
    "RememberingJudge",
    "Stage",
    "StageAxis",
    "StageDriver",
    "StepRecorder",
    "TimedMove",
    "Together",
    "camera_identity",
    "characterization_row",
    "default_frames_root",
    "find_noise",
    "focus_microscope",
    "load_devices",
    "micromanager_backend",
    "micromanager_microscope",
    "model_of",
    "named_microscope",
    "open_focus_backend",
    "open_focus_camera",
    "open_stage_driver",
    "optics_facts",
    "read_devices_file",
    "recorded_microscope",
    "simulated_microscope",
]
