"""How to open a camera: what Orca and Andor are told alike."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.devices._told_optics import OpticsTold
from parfocal.devices.vendors._binding import Binding
from parfocal.devices.vendors._vendor_camera import VendorCamera
from parfocal.optics import CameraModel


@dataclass(frozen=True, kw_only=True)
class VendorOptions:
    """Which camera, and what it does not know.

    Parameters
    ----------
    pixel_size_um : float
        Of an unbinned pixel at the sample.
    index : int
        Which camera, as the library counts them, where no `serial` is given.
    serial : str, optional
        Which camera, by its serial number.
    library : str, optional
        Folder of the vendor's library; default: where the system looks for libraries.
    na, wavelength_um : float, optional
        Of the objective and of the light, um; they go into every run.
    buffer_mb : int
        Largest size of the ring of frames, MB.
    camera_model : CameraModel, optional
        Noise of the whole sensor; see `told_camera_model`.
    """

    pixel_size_um: float | None = None
    index: int = 0
    serial: str | None = None
    library: str | None = None
    na: float | None = None
    wavelength_um: float | None = None
    buffer_mb: int = 512
    camera_model: CameraModel | None = None

    def camera(self, binding: Binding) -> VendorCamera:
        """Open the camera behind a binding."""
        told = OpticsTold(self.pixel_size_um, self.na, self.wavelength_um, self.camera_model)
        return VendorCamera(binding, told, self.buffer_mb)
