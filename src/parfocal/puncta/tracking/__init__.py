"""Puncta followed over time, and how they move."""

from parfocal.puncta.tracking._live import LiveTracker
from parfocal.puncta.tracking._mobility import Mobility, mobility_of
from parfocal.puncta.tracking._population import PopulationMsd, PowerLaw, fit_power_law, population_msd
from parfocal.puncta.tracking._stillness import scaled_radius_cut, stillness_p
from parfocal.puncta.tracking._stretches import MobilitySettings
from parfocal.puncta.tracking._tables import (
    TRACK_COLUMNS,
    read_tracks_csv,
    write_mobility_csv,
    write_tracks_csv,
)
from parfocal.puncta.tracking._track import TrackSettings, track_puncta, without_short

__all__ = [
    "TRACK_COLUMNS",
    "LiveTracker",
    "Mobility",
    "MobilitySettings",
    "PopulationMsd",
    "PowerLaw",
    "TrackSettings",
    "fit_power_law",
    "mobility_of",
    "population_msd",
    "read_tracks_csv",
    "scaled_radius_cut",
    "stillness_p",
    "track_puncta",
    "without_short",
    "write_mobility_csv",
    "write_tracks_csv",
]
