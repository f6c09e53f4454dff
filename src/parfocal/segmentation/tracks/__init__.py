"""Nuclei over time."""

from parfocal.segmentation.tracks._tracks import (
    NucleusTracks,
    TrackScore,
    compare_tracks,
    track_objects,
    track_tables,
)

__all__ = ["NucleusTracks", "TrackScore", "compare_tracks", "track_objects", "track_tables"]
