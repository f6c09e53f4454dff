"""Puncta followed over time, and how they move."""

from parfocal.puncta.tracking._track import TrackSettings, track_puncta, without_short

__all__ = ["TrackSettings", "track_puncta", "without_short"]
