"""A microscope that shows a recorded stack."""

from parfocal.devices.recorded._camera import RecordedCamera
from parfocal.devices.recorded._microscope import RecordedLight, RecordedMicroscope
from parfocal.devices.recorded._stage import RecordedStage
from parfocal.devices.recorded._view import RecordedView

__all__ = ["RecordedCamera", "RecordedLight", "RecordedMicroscope", "RecordedStage", "RecordedView"]
