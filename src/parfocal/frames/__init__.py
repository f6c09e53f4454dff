"""Where pixels are: the FrameSource protocol, the memory ring, the OME-Zarr store."""

from parfocal.frames._clock import clock_s
from parfocal.frames._frames import Frame, Frames
from parfocal.frames._mirror import FramesMirror
from parfocal.frames._priority import give_way
from parfocal.frames._ring import FrameRing, shared_ring
from parfocal.frames._source import CameraSettings, CapturedFrame, FrameSource, SourceDescription
from parfocal.frames._zarr import ArrayLocation, Codec, FrameWriter, GrowingArray, path_of, uri_of

__all__ = [
    "ArrayLocation",
    "CameraSettings",
    "CapturedFrame",
    "Codec",
    "Frame",
    "FrameRing",
    "FrameSource",
    "FrameWriter",
    "Frames",
    "FramesMirror",
    "GrowingArray",
    "SourceDescription",
    "clock_s",
    "give_way",
    "path_of",
    "shared_ring",
    "uri_of",
]
