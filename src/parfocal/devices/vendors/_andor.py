"""Andor's sCMOS cameras (Neo, Zyla, Sona, Marana ...) through SDK3, bound by pylablib (extra `hardware`)."""

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
    windows_names,
)
from parfocal.devices.vendors._vendor_camera import VendorCamera
from parfocal.errors import BadInputError, HardwareError

_PLAIN = {
    "AT_ERR_CONNECTION": "the camera is not connected",
    "AT_ERR_INVALIDHANDLE": "the camera is no longer open",
    "AT_ERR_NOTINITIALISED": "the library is not initialised",
    "AT_ERR_COMM": "the camera does not answer",
    "AT_ERR_HARDWARE_OVERFLOW": "frames came faster than they could be taken over",
    "AT_ERR_OUTOFRANGE": "a value is out of range",
    "AT_ERR_NOTWRITABLE": "that cannot be set now",
    "AT_ERR_TIMEDOUT": "it took too long",
    "AT_ERR_BUFFERFULL": "there is no room for another buffer",
    "AT_ERR_DEVICEINUSE": "another program has the camera",
    "AT_ERR_DEVICENOTFOUND": "there is no such camera",
    "AT_ERR_NOMEMORY": "not enough memory; take a smaller buffer_mb",
}
_GONE = {
    "AT_ERR_CONNECTION",
    "AT_ERR_INVALIDHANDLE",
    "AT_ERR_NOTINITIALISED",
    "AT_ERR_COMM",
    "AT_ERR_DEVICENOTFOUND",
}


class AndorBinding:
    """A `Binding` to SDK3."""

    def __init__(self, index: int, serial: str | None, library: str | None, gain_mode: str | None) -> None:
        self.name = f"Andor {serial or index}"
        self._index = index
        self._serial = serial
        self._gain_mode = gain_mode
        self._ticks_per_s = 0.0
        self._frames_per_s = 0.0
        self._sdk3 = import_pylablib("Andor", "Andor.AndorSDK3")
        tell_library("andor_sdk3", library)
        try:
            with windows_names():
                self._sdk3.lib.initlib()
        except (OSError, AttributeError) as error:
            raise BadInputError(
                f"Andor: SDK3 cannot be loaded ({library or 'looked for atcore.dll'}); install it, "
                "or give `library`, the folder with an atcore.dll"
            ) from error

    def open(self) -> Any:
        """Open the camera by its serial number, else by its index, and remember which it was."""
        try:
            n_cameras = int(self._sdk3.get_cameras_number())
        except Exception as error:
            raise HardwareError(f"{self.name}: cameras cannot be counted: {self.words(error)}") from error
        camera = chosen_camera(self.name, self._index, self._serial, n_cameras, self._open, self._serial_of)
        try:
            self._serial = self._serial_of(camera)
            self._prepare(camera)
        except BadInputError:
            self.release(camera)
            raise
        except Exception as error:
            self.release(camera)
            raise HardwareError(f"{self.name} cannot be set up: {self.words(error)}") from error
        return camera

    def release(self, camera: Any) -> None:
        """Let go of what is left, step by step: pylablib's `close` gives up at the first error."""
        library, controller = self._sdk3.lib, self._sdk3.libctl
        for step in (
            lambda: camera._buffer_mgr.stop_loop(),  # noqa: SLF001  (a thread of pylablib's that waits for frames)
            lambda: library.AT_Command(camera.handle, "AcquisitionStop"),
            lambda: library.AT_Flush(camera.handle),
            lambda: camera._unregister_events(),  # noqa: SLF001
            lambda: library.AT_Close(camera.handle),
            lambda: controller.close(camera._opid),  # noqa: SLF001
        ):
            with suppress(Exception):
                step()
        camera.handle = None

    def is_gone(self, error: Exception) -> bool:
        """Say whether the camera has to be opened again."""
        return getattr(error, "name", None) in _GONE

    def words(self, error: Exception) -> str:
        """Return the error in one line, with SDK3's own name for it."""
        name = getattr(error, "name", None)
        if not isinstance(name, str):
            return one_line(error)
        return f"{_PLAIN.get(name, 'SDK3 says no')} ({getattr(error, 'func', 'SDK3')}: {name})"

    def model(self, camera: Any) -> str:
        """Return vendor, model and serial number."""
        info = camera.get_device_info()
        return f"Andor {info.camera_model} {info.serial_number}"

    def dtype(self, camera: Any) -> np.dtype[np.generic]:
        """Return the type of its pixels; 12 bits in 1.5 bytes are unpacked to 16."""
        n_bytes = float(camera.get_attribute_value("BytesPerPixel", default=2.0))
        return np.dtype(np.uint8) if n_bytes <= 1 else np.dtype(np.uint16) if n_bytes <= 2 else np.dtype(np.uint32)

    def exposure_range_s(self, camera: Any) -> tuple[float, float]:
        """Return the shortest and longest exposure with the present ROI."""
        low_s, high_s = camera.get_attribute("ExposureTime").update_limits()
        return float(low_s), float(high_s)

    def set_exposure(self, camera: Any, exposure_s: float) -> None:
        """Set the exposure, then the frame rate: pylablib sets it before, by the limits of the old exposure."""
        camera.set_exposure(exposure_s)
        camera.set_frame_period(0)

    def binnings(self, camera: Any) -> tuple[int, ...]:
        """Return the binnings up to the largest; which between are possible the camera says when asked."""
        largest = [
            int(attribute.max or 1)
            for name in ("AOIHBin", "AOIVBin")
            if (attribute := camera.get_attribute(name, update_properties=True, error_on_missing=False))
            is not None
            and attribute.writable
        ]
        return tuple(range(1, min(largest) + 1)) if len(largest) == 2 else (1,)

    def gain_range(self, camera: Any) -> tuple[float, float] | None:
        """Return None: gain is chosen by name, as `gain_mode`, when the camera is opened."""
        return None

    def gain(self, camera: Any) -> float:
        """Return 1."""
        return 1.0

    def set_gain(self, camera: Any, gain: float) -> None:
        """Do nothing: see `gain_range`."""

    def temperature_c(self, camera: Any) -> float | None:
        """Return the sensor's temperature."""
        value = camera.get_attribute_value("SensorTemperature", error_on_missing=False)
        return None if value is None else float(value)

    def readout_s(self, camera: Any) -> float:
        """Return the readout time with the present ROI, and note the frame rate of the sequence to come."""
        self._frames_per_s = float(camera.get_attribute_value("FrameRate", default=0.0))
        return float(camera.get_attribute_value("ReadoutTime", default=0.0))

    def stamp_s(self, info: Any) -> float | None:
        """Return the camera's time stamp; None where it sends none."""
        ticks = int(getattr(info, "timestamp_dev", -1))
        return ticks / self._ticks_per_s if ticks >= 0 and self._ticks_per_s else None

    def lost_between(self, before: Any, info: Any) -> int:
        """Return how many frame periods lie between two stamps, less one: SDK3 numbers no frames."""
        earlier_s, later_s = self.stamp_s(before), self.stamp_s(info)
        if earlier_s is None or later_s is None:
            return 0
        return max(0, round((later_s - earlier_s) * self._frames_per_s) - 1)

    def _prepare(self, camera: Any) -> None:
        """Cool, stamp frames, and choose pixels that need no unpacking."""
        encoding = camera.get_attribute("PixelEncoding", update_properties=True, error_on_missing=False)
        if encoding is not None and encoding.writable and "Mono16" in encoding.values:
            encoding.set_value("Mono16")
        if self._gain_mode is not None:
            modes = camera.get_attribute("SimplePreAmpGainControl", update_properties=True, error_on_missing=False)
            if modes is None or self._gain_mode not in modes.values:
                there = list(modes.values) if modes is not None else []
                raise BadInputError(f"{self.name}: gain_mode is {self._gain_mode!r}, expected one of {there}")
            modes.set_value(self._gain_mode)
        for name in ("SensorCooling", "MetadataEnable", "MetadataTimestamp"):
            switch = camera.get_attribute(name, update_properties=True, error_on_missing=False)
            if switch is not None and switch.writable:
                switch.set_value(True)
        self._ticks_per_s = float(camera.get_attribute_value("TimestampClockFrequency", default=0))

    def _open(self, index: int) -> Any:
        try:
            return new_camera(self._sdk3.AndorSDK3Camera, index, self.release)
        except Exception as error:
            raise HardwareError(f"{self.name} cannot be opened: {self.words(error)}") from error

    def _serial_of(self, camera: Any) -> str:
        return str(camera.get_device_info().serial_number)


@dataclass(frozen=True, kw_only=True)
class AndorOptions(VendorOptions):
    """How to open an Andor camera, `library` being the folder of `atcore.dll`; SDK3's simulated ones count last.

    Parameters
    ----------
    gain_mode : str, optional
        One of the camera's own names, such as `16-bit (low noise & high well capacity)`.
    """

    gain_mode: str | None = None


def open_andor(options: AndorOptions) -> VendorCamera:
    """Open an Andor SDK3 camera; its cooler is switched on.

    Raises
    ------
    BadInputError
        pylablib or SDK3 is missing, no such gain mode, or no pixel size is told.
    HardwareError
        The camera is not there, or does not open.
    """
    binding = AndorBinding(options.index, options.serial, options.library, options.gain_mode)
    return options.camera(binding)
