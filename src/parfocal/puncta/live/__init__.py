"""What can be said of puncta while a recording goes on: tracks and events that the end may still change."""

from parfocal.puncta.live._live_events import LiveEvents
from parfocal.puncta.live._live_tracks import LiveTracks

__all__ = ["LiveEvents", "LiveTracks"]
