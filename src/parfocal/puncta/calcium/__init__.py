"""Calcium at puncta: light read where each punctum is, events, and what they have to do with it."""

from parfocal.puncta.calcium._associate import (
    Association,
    AssociationSettings,
    TrackAssociation,
    associate,
    own_events,
)
from parfocal.puncta.calcium._baseline import BaselineSettings, baseline, noise_sd
from parfocal.puncta.calcium._colocalize import Colocalization, MobilityContrast, calcium_by_mobility, colocalize
from parfocal.puncta.calcium._events import EventSettings, find_events
from parfocal.puncta.calcium._labels import DEFAULT_CLASSES, BinaryLabels, LabelSettings, binary_labels
from parfocal.puncta.calcium._live_events import LiveEvents
from parfocal.puncta.calcium._pairs import paired_recording
from parfocal.puncta.calcium._reading import Readings, ReadSettings, calcium_sigma_px, join_readings, read_signals
from parfocal.puncta.calcium._sites import CalciumSites, SiteSettings, find_sites
from parfocal.puncta.calcium._statistics import (
    chance_of,
    false_discovery,
    lagged,
    odds_ratio,
    pearson,
    spearman,
)
from parfocal.puncta.calcium._traces import calcium_traces, estimate_bleed_through, traces_of

__all__ = [
    "DEFAULT_CLASSES",
    "Association",
    "AssociationSettings",
    "BaselineSettings",
    "BinaryLabels",
    "CalciumSites",
    "Colocalization",
    "EventSettings",
    "LabelSettings",
    "LiveEvents",
    "MobilityContrast",
    "ReadSettings",
    "Readings",
    "SiteSettings",
    "TrackAssociation",
    "associate",
    "baseline",
    "binary_labels",
    "calcium_by_mobility",
    "calcium_sigma_px",
    "calcium_traces",
    "chance_of",
    "colocalize",
    "estimate_bleed_through",
    "false_discovery",
    "find_events",
    "find_sites",
    "join_readings",
    "lagged",
    "noise_sd",
    "odds_ratio",
    "own_events",
    "paired_recording",
    "pearson",
    "read_signals",
    "spearman",
    "traces_of",
]
