"""Where pixels are: the FrameSource protocol, the memory ring, the OME-Zarr store."""

from parfocal.frames._clock import clock_s
from parfocal.frames._source import CameraSettings, CapturedFrame, FrameSource, SourceDescription

__all__ = ["CameraSettings", "CapturedFrame", "FrameSource", "SourceDescription", "clock_s"]
