"""Puncta followed over time, and how they move."""

from parfocal.puncta.tracking._mobility import Mobility, mobility_of
from parfocal.puncta.tracking._population import PopulationMsd, PowerLaw, fit_power_law, population_msd
from parfocal.puncta.tracking._stillness import scaled_radius_cut, stillness_p
from parfocal.puncta.tracking._stretches import MobilitySettings
from parfocal.puncta.tracking._track import TrackSettings, track_puncta, without_short

__all__ = [
    "Mobility",
    "MobilitySettings",
    "PopulationMsd",
    "PowerLaw",
    "TrackSettings",
    "fit_power_law",
    "mobility_of",
    "population_msd",
    "scaled_radius_cut",
    "stillness_p",
    "track_puncta",
    "without_short",
]
