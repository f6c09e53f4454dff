"""Cameras and stages through their makers' libraries; each needs its library when it is opened, not before."""

from parfocal.devices.vendors._andor import open_andor
from parfocal.devices.vendors._mcl_stage import open_mcl_stage
from parfocal.devices.vendors._orca import open_orca
from parfocal.devices.vendors._vendor_camera import Binding, VendorCamera

__all__ = ["Binding", "VendorCamera", "open_andor", "open_mcl_stage", "open_orca"]
