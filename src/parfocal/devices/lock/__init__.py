"""The focus lock: armed with a calibration, a loop at the camera's rate, samples for the run."""

from parfocal.devices.lock._armed import Armed, optics_facts
from parfocal.devices.lock._calibrator import FocusCalibrator
from parfocal.devices.lock._focus_lock import FocusLock
from parfocal.devices.lock._ring import LockRing
from parfocal.devices.lock._samples import LockSampleStream
from parfocal.devices.lock._setpoint import LockHolding, LockSetpoint
from parfocal.devices.lock._shelf import CalibrationShelf, Kept

__all__ = [
    "Armed",
    "CalibrationShelf",
    "FocusCalibrator",
    "FocusLock",
    "Kept",
    "LockHolding",
    "LockRing",
    "LockSampleStream",
    "LockSetpoint",
    "optics_facts",
]
