"""Hamamatsu's cameras (Orca Flash, Fusion, Quest ...) through DCAM-API, bound by pylablib (extra `hardware`)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from parfocal.devices.vendors._options import VendorOptions
from parfocal.devices.vendors._pylablib import (
    chosen_camera,
    import_pylablib,
    new_camera,
    one_line,
    tell_library,
)
from parfocal.devices.vendors._vendor_camera import VendorCamera
from parfocal.errors import BadInputError, HardwareError

_PLAIN = {
    "DCAMERR_NOCONNECTION": "the camera is not connected",
    "DCAMERR_NOCAMERA": "there is no camera",
    "DCAMERR_INVALIDHANDLE": "the camera is no longer open",
    "DCAMERR_INVALIDCAMERA": "the camera is gone",
    "DCAMERR_FAILREADCAMERA": "the camera does not answer",
    "DCAMERR_FAILWRITECAMERA": "the camera does not listen",
    "DCAMERR_UNREACH": "the camera cannot be reached",
    "DCAMERR_UNLOADED": "DCAM was unloaded",
    "DCAMERR_BUSY": "the camera is busy",
    "DCAMERR_NOTREADY": "the camera is not ready",
    "DCAMERR_NORESOURCE": "not enough resources; close other programs",
    "DCAMERR_NOMEMORY": "not enough memory; take a smaller buffer_mb",
    "DCAMERR_COOLINGTROUBLE": "its cooling has failed",
    "DCAMERR_FAILOPENCAMERA": "the camera cannot be opened; does another program have it?",
    "DCAMERR_OUTOFRANGE": "a value is out of range",
}
_GONE = {
    "DCAMERR_NOCONNECTION",
    "DCAMERR_NOCAMERA",
    "DCAMERR_INVALIDHANDLE",
    "DCAMERR_INVALIDCAMERA",
    "DCAMERR_FAILREADCAMERA",
    "DCAMERR_FAILWRITECAMERA",
    "DCAMERR_UNREACH",
    "DCAMERR_UNLOADED",
}


class OrcaBinding:
    """A `Binding` to DCAM."""

    def __init__(self, index: int, serial: str | None, library: str | None, readout_speed: str | None) -> None:
        self.name = f"Orca {serial or index}"
        self._index = index
        self._serial = serial
        self._readout_speed = readout_speed
        self._dcam = import_pylablib("Orca", "DCAM.DCAM")
        tell_library("dcamapi", library)
        try:
            self._dcam.lib.initlib()
        except (OSError, AttributeError) as error:
            raise BadInputError(
                f"Orca: Hamamatsu's DCAM-API cannot be loaded ({library or 'looked for dcamapi.dll'}); install it "
                "or give `library`, the folder with a dcamapi.dll"
            ) from error

    def open(self) -> Any:
        """Open the camera by its serial number, else by its index, and remember which it was."""
        n_cameras = int(self._dcam.get_cameras_number())
        camera = chosen_camera(self.name, self._index, self._serial, n_cameras, self._open, self._serial_of)
        self._serial = self._serial_of(camera)
        if self._readout_speed is not None:
            try:
                camera.set_readout_speed(self._readout_speed)
            except Exception as error:
                speeds = list(camera.get_all_readout_speeds())
                self.release(camera)
                raise BadInputError(
                    f"{self.name}: readout_speed is {self._readout_speed!r}, expected one of {speeds}"
                ) from error
        return camera

    def release(self, camera: Any) -> None:
        """Let go of what is left, step by step: pylablib's `close` gives up at the first error."""
        library, controller = self._dcam.lib, self._dcam.libctl
        # Without the last step DCAM would never look for cameras again.
        for step in (
            lambda: library.dcamcap_stop(camera.handle),
            lambda: library.dcambuf_release(camera.handle, 0),
            lambda: library.dcamwait_close(camera.dcamwait.hwait),
            lambda: library.dcamdev_close(camera.handle),
            lambda: controller.close(camera._opid),  # noqa: SLF001  (pylablib keeps it to itself)
        ):
            with suppress(Exception):
                step()
        camera.handle = None

    def is_gone(self, error: Exception) -> bool:
        """Say whether the camera has to be opened again."""
        return getattr(error, "name", None) in _GONE

    def words(self, error: Exception) -> str:
        """Return the error in one line, with DCAM's own name for it."""
        name = getattr(error, "name", None)
        if not isinstance(name, str):
            return one_line(error)
        function = getattr(error, "func", "DCAM")
        return f"{_PLAIN.get(name, 'DCAM says no')} ({function}: {name})"

    def model(self, camera: Any) -> str:
        """Return vendor, model and serial number."""
        info = camera.get_device_info()
        return " ".join(str(part) for part in (info.vendor, info.model, info.serial_number))

    def dtype(self, camera: Any) -> np.dtype[np.generic]:
        """Return the type of its pixels."""
        bits = int(camera.get_attribute_value("BIT PER CHANNEL", default=16))
        return np.dtype(np.uint8) if bits <= 8 else np.dtype(np.uint16) if bits <= 16 else np.dtype(np.uint32)

    def exposure_range_s(self, camera: Any) -> tuple[float, float]:
        """Return the shortest and longest exposure with the present ROI."""
        low_s, high_s = camera.get_attribute("EXPOSURE TIME").update_limits()
        return float(low_s), float(high_s)

    def set_exposure(self, camera: Any, exposure_s: float) -> None:
        """Set the exposure; the frame rate follows."""
        camera.set_exposure(exposure_s)

    def binnings(self, camera: Any) -> tuple[int, ...]:
        """Return the binnings that it has."""
        return tuple(int(value) for value in camera.get_attribute("BINNING").ivalues)

    def gain_range(self, camera: Any) -> tuple[float, float] | None:
        """Return the range of contrast gain, or of sensitivity (electron multiplication)."""
        attribute = self._gain(camera)
        return None if attribute is None else (float(attribute.min), float(attribute.max))

    def gain(self, camera: Any) -> float:
        """Return the gain; 1 where it has none."""
        attribute = self._gain(camera)
        return 1.0 if attribute is None else float(attribute.get_value())

    def set_gain(self, camera: Any, gain: float) -> None:
        """Set the gain."""
        attribute = self._gain(camera)
        if attribute is not None:
            attribute.set_value(gain)

    def temperature_c(self, camera: Any) -> float | None:
        """Return the sensor's temperature."""
        value = camera.get_attribute_value("SENSOR TEMPERATURE", error_on_missing=False)
        return None if value is None else float(value)

    def readout_s(self, camera: Any) -> float:
        """Return the readout time with the present ROI."""
        return float(camera.get_attribute_value("TIMING READOUT TIME", default=0.0))

    def stamp_s(self, info: Any) -> float | None:
        """Return the driver's time stamp; some cameras have none and say 0."""
        return float(info.timestamp_us) * 1e-6 if info.timestamp_us > 0 else None

    def lost_between(self, before: Any, info: Any) -> int:
        """Return the gap in the camera's own counter (which may wrap, or stay at 0), or in the driver's."""
        gaps = (info.camerastamp - before.camerastamp - 1, info.framestamp - before.framestamp - 1)
        return max(0, *gaps)

    def _gain(self, camera: Any) -> Any:
        for name in ("CONTRAST GAIN", "SENSITIVITY"):
            attribute = camera.get_attribute(name, error_on_missing=False)
            if attribute is not None and attribute.writable:
                return attribute
        return None

    def _open(self, index: int) -> Any:
        try:
            return new_camera(self._dcam.DCAMCamera, index, self.release)
        except Exception as error:
            raise HardwareError(f"{self.name} cannot be opened: {self.words(error)}") from error

    def _serial_of(self, camera: Any) -> str:
        return str(camera.get_device_info().serial_number).split()[-1]


@dataclass(frozen=True, kw_only=True)
class OrcaOptions(VendorOptions):
    """How to open a Hamamatsu camera, `library` being the folder of `dcamapi.dll`.

    Parameters
    ----------
    readout_speed : str, optional
        `slow`, `normal` or `fast`, as far as the camera has them.
    """

    readout_speed: str | None = None


def open_orca(options: OrcaOptions) -> VendorCamera:
    """Open a Hamamatsu camera.

    Raises
    ------
    BadInputError
        pylablib or DCAM-API is missing, or no pixel size is told.
    HardwareError
        The camera is not there, or does not open.
    """
    binding = OrcaBinding(options.index, options.serial, options.library, options.readout_speed)
    return options.camera(binding)
