"""Cameras and stages through their makers' libraries; each needs its library when it is opened, not before."""

from parfocal.devices.vendors._andor import AndorOptions, open_andor
from parfocal.devices.vendors._binding import Binding
from parfocal.devices.vendors._mcl_stage import open_mcl_stage
from parfocal.devices.vendors._options import VendorOptions
from parfocal.devices.vendors._orca import OrcaOptions, open_orca
from parfocal.devices.vendors._reach import find_libraries
from parfocal.devices.vendors._vendor_camera import VendorCamera

__all__ = [
    "AndorOptions",
    "Binding",
    "OrcaOptions",
    "VendorCamera",
    "VendorOptions",
    "find_libraries",
    "open_andor",
    "open_mcl_stage",
    "open_orca",
]
